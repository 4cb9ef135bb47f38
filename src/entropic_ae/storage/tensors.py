"""Tensors in safetensors files, with a digest that detects damage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from entropic_ae.errors import InputError
from entropic_ae.storage.files import atomic

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["digest", "parameters", "read_tensors", "unpack_tensors", "write_tensors"]

# The only metadata entry of a safetensors file: the order of several entries, and so the bytes, would vary.
_METADATA = "entropic_ae"
_DIGEST = "sha256"  # part of that entry: the format itself has no checksum


def read_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file and its metadata; both are empty if it is missing or damaged."""
    path = Path(path)
    try:
        return unpack_tensors(path.read_bytes()) if path.is_file() else ({}, {})
    except (OSError, InputError):
        return {}, {}


def unpack_tensors(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file; InputError if they are damaged.

    A file of ``write_tensors`` is compared with its digest. A file without a digest is not checked.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
    except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(" ".join(str(error).split()).rstrip(":.")) from None
    size = int.from_bytes(content[:8], "little")
    found = json.loads(content[8 : 8 + size]).get("__metadata__") or {}
    try:
        metadata: dict[str, str] = json.loads(found[_METADATA]) if _METADATA in found else found
        written = metadata.pop(_DIGEST, None)
        sound = all(isinstance(value, str) for value in metadata.values())
    except (ValueError, AttributeError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise InputError("its metadata are damaged")
    if written is not None and written != digest(tensors):
        raise InputError("its values do not match its digest")
    return tensors, metadata


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 of names, types, shapes and values.

    >>> import torch
    >>> digest({"a": torch.zeros(2)}) == digest({"a": torch.zeros(2, 1)})
    False
    """
    import torch

    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def write_tensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as a safetensors file, atomically; OSError if there is no space or permission.

    A digest of the tensors is added to the metadata, by which reading detects damage.
    """
    from safetensors.torch import save

    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    content = save(tensors, {_METADATA: json.dumps({**(metadata or {}), _DIGEST: digest(tensors)})})
    with atomic(path) as temporary:
        temporary.write_bytes(content)  # safetensors' writer raises another error for a full disk


def parameters(state: Mapping[str, Tensor], dim: int, **shapes: str) -> list[Tensor]:
    """Return the parameters of a density or a transport from its state, in the order of ``shapes``, as float64.

    Arguments:
        state: from a file, which is not trusted.
        dim: the length D.
        shapes: of each parameter by name, one letter per dimension; the same letter is the same length throughout.

    Raises: KeyError for a parameter that is missing, has another shape, or is not finite.

    >>> import torch
    >>> parameters({"mean": torch.zeros(3)}, 2, mean="D")
    Traceback (most recent call last):
        ...
    KeyError: 'mean has shape (3,), expected (2,)'
    """
    lengths = {"D": dim}
    found = []
    for name, letters in shapes.items():
        tensor = state[name]
        if tensor.dim() == len(letters):
            for letter, length in zip(letters, tensor.shape, strict=True):
                lengths.setdefault(letter, length)
        expected = tuple(lengths.get(letter, letter) for letter in letters)
        if tuple(tensor.shape) != expected or 0 in expected:
            raise KeyError(f"{name} has shape {tuple(tensor.shape)}, expected {expected}")
        if not tensor.is_floating_point() or not bool((tensor := tensor.double()).isfinite().all()):
            raise KeyError(f"{name} is not finite")
        found.append(tensor)
    return found
