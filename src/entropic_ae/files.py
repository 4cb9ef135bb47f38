"""Files written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropic_ae.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "atomic",
    "check_free",
    "claimed",
    "LARGEST_TEXT",
    "read_json",
    "read_tensors",
    "remove_unfinished",
    "unpack_tensors",
    "write_json",
    "write_tensors",
    "write_text",
]

LARGEST_TEXT = 16 << 20  # characters, of a JSON file or a log; what the library writes has some thousands
# One entry of the metadata of a safetensors file: several would come in any order, and the bytes with them.
_METADATA = "entropic_ae"
_DIGEST = "sha256"  # in it: the format has no checksum of its own


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends without an error.

    What was written is on the disk before it takes its name, so that after a loss of power too the file is the one
    of before or the new one. The temporary name keeps the suffix, since writers such as Pillow choose the format
    by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:  # the writer has closed its own
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes private files
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_free(folder: Path | str, *, overwrite: bool = False) -> None:
    """Raise InputError unless a folder can be made in a place: nothing is there, or an empty folder.

    With ``overwrite`` a folder with files will do too.

    >>> check_free(__file__)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: ...files.py exists and is not overwritten; give another place.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and (overwrite or not any(folder.iterdir()))):
        raise InputError(f"{folder} exists and is not overwritten; give another place.")


def remove_unfinished(folder: Path | str) -> None:
    """Remove the temporary files that killed processes left in a folder; only where none may be writing."""
    for path in Path(folder).glob(".*-*"):
        if re.fullmatch(r"\..+-\w{8}(\.\w+)?", path.name) and path.is_file():
            path.unlink(missing_ok=True)


@contextmanager
def claimed(path: Path | str, taken: str) -> Iterator[None]:
    """Hold a lock for the time of the block; the operating system frees it when the process dies.

    The file of that path is made and stays. That other processes see the lock takes a file system with locks, as
    local disks and NFS have.

    Arguments:
        path: of the lock.
        taken: the sentence of the InputError where another process holds it.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(taken) from None
    try:
        yield
    finally:
        lock.release()


def read_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file and its metadata; both are empty if it is missing or damaged."""
    path = Path(path)
    try:
        return unpack_tensors(path.read_bytes()) if path.is_file() else ({}, {})
    except (OSError, InputError):
        return {}, {}


def unpack_tensors(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file; InputError says what is damaged.

    One that ``write_tensors`` made is compared with the digest in it. One that has none is taken as it is.
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
    if written is not None and written != _digest(tensors):
        raise InputError("its values are not those that were written")
    return tensors, metadata


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 of names, types, shapes and values."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_tensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as a safetensors file, whole or not at all; OSError if there is no space or permission.

    The metadata gain a digest of the tensors, by which reading notices damage.
    """
    from safetensors.torch import save

    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    content = save(tensors, {_METADATA: json.dumps({**(metadata or {}), _DIGEST: _digest(tensors)})})
    with atomic(path) as temporary:
        temporary.write_bytes(content)  # safetensors' own writer has another error for a full disk


def write_json(path: Path | str, content: Any) -> None:
    """Write ``content`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path | str, text: str) -> None:
    """Write text as UTF-8, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """Read a JSON file; InputError names the file if it is missing, damaged, too large or nested too deep."""
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST_TEXT + 1)
        if len(text) > LARGEST_TEXT:
            raise InputError(f"{path} is damaged (more than 16 MiB of JSON); restore it or make it anew.")
        return json.loads(text)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; expected a JSON file there.") from None
    except RecursionError:
        raise InputError(f"{path} is damaged (nested too deep); restore it or make it anew.") from None
    except InputError:  # a ValueError too
        raise
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise InputError(f"{path} is damaged ({error}); restore it or make it anew.") from None
