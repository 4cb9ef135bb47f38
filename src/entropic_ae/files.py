"""Files written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropic_ae.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["atomic", "check_free", "read_json", "read_tensors", "write_json", "write_tensors", "write_text"]

_LARGEST_JSON = 16 << 20  # characters; what the library writes has some thousands


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends without an error.

    The temporary name keeps the suffix, since writers such as Pillow choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
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


def read_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file and its metadata; both are empty if it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return tensors, file.metadata() or {}
    except (OSError, SafetensorError):
        return {}, {}


def write_tensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as a safetensors file, whole or not at all; OSError if there is no space or permission."""
    from safetensors.torch import save

    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)
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
            text = file.read(_LARGEST_JSON + 1)
        if len(text) > _LARGEST_JSON:
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
