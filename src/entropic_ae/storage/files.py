"""Files and folders written atomically, JSON, locks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError

__all__ = [
    "LARGEST_TEXT",
    "atomic",
    "atomic_folder",
    "check_free",
    "claimed",
    "locked",
    "read_json",
    "remove_unfinished",
    "set_aside",
    "sha256",
    "write_json",
    "write_text",
]

LARGEST_TEXT = 16 << 20  # characters, of a JSON file or a log; those of the library have some thousands
_UNFINISHED = ".unfinished-"  # prefix of a temporary file or folder; then 8 characters, -, and the final name
_SYNCS = 16  # files at a time: 2000 small ones took 0.4 s on an ext4 disk, and 11 s sequentially
# Seconds without a write after which a temporary file is a leftover: a file takes seconds, an export minutes. Age
# is used instead of a lock, since some file systems have no locks.
_IDLE = 24 * 3600


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends without an error.

    The content is flushed to the disk before the rename, so even after a power loss the file is either the old
    one or the new one. The temporary name keeps the suffix, by which writers such as Pillow choose the format.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_UNFINISHED, suffix=f"-{path.name}", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        _publish(temporary, 0o666)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path | str, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder`` that takes its place when the block ends without an error.

    ``folder`` must be missing or empty, see ``check_free``. With ``overwrite`` each file is moved into an existing
    folder and replaces the file of its name. The content is flushed to the disk first, as for ``atomic``.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder.parent)
    whole = Path(tempfile.mkdtemp(prefix=_UNFINISHED, suffix=f"-{folder.name}", dir=folder.parent))
    try:
        yield whole
        with ThreadPoolExecutor(_SYNCS) as pool:
            list(pool.map(_sync, [path for path in whole.rglob("*") if path.is_file()]))
        if overwrite and folder.is_dir():
            for path in whole.iterdir():
                path.replace(folder / path.name)
            return
        if folder.is_dir():
            folder.rmdir()  # OSError if another process has written into it meanwhile
        _publish(whole, 0o777)
        whole.rename(folder)
    finally:
        shutil.rmtree(whole, ignore_errors=True)


@contextmanager
def set_aside(folder: Path, paths: Iterable[Path]) -> Iterator[None]:
    """Move files and folders out of the way; they are removed when the block ends, and put back if it fails.

    Arguments:
        folder: on whose disk they are kept meanwhile, in a hidden folder.
        paths: of files and folders directly below ``folder``.
    """
    kept = Path(tempfile.mkdtemp(prefix=_UNFINISHED, suffix=f"-{folder.name}", dir=folder))
    moved = []
    try:
        for path in paths:
            path.rename(kept / path.name)
            moved.append(path)
        yield
    except BaseException:
        for path in moved:
            (kept / path.name).replace(path)
        raise
    finally:
        shutil.rmtree(kept, ignore_errors=True)


def _publish(path: Path, mode: int) -> None:
    """Give a temporary file or folder, which is private, the default permissions."""
    mask = os.umask(0o077)  # it can only be read by setting it; files of other threads are private meanwhile
    os.umask(mask)
    path.chmod(mode & ~mask)


def _sync(path: Path) -> None:
    """Wait until a closed file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def check_free(folder: Path | str, *, overwrite: bool = False) -> None:
    """Raise InputError unless the path is free: missing, or an empty folder.

    With ``overwrite`` a folder with files is accepted too.

    >>> check_free(__file__)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: ...files.py exists and is not overwritten; give another place.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and (overwrite or not any(folder.iterdir()))):
        raise InputError(f"{folder} exists and is not overwritten; give another place.")


def remove_unfinished(folder: Path | str, own: Collection[str] = ()) -> None:
    """Remove the leftovers of ``atomic`` and ``atomic_folder`` in killed processes from a folder.

    Arguments:
        folder: to clean; nothing happens if it is missing.
        own: names of files that no other process can be writing, whose temporaries are removed at once. All others
            may belong to a live process, and are removed after a day without a write.
    """
    for path in Path(folder).glob(f"{_UNFINISHED}*"):
        name = path.name.removeprefix(_UNFINISHED).partition("-")[2]
        with suppress(FileNotFoundError):  # it has just been renamed
            if name not in own and time.time() - path.stat().st_mtime < _IDLE:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


@contextmanager
def locked(path: Path | str, wait: float = -1) -> Iterator[bool]:
    """Hold a lock within the block; the operating system releases it when the process dies.

    The lock file is created and stays. Other processes see the lock only on a file system with locks, such as
    local disks and NFS.

    Arguments:
        path: of the lock file.
        wait: seconds to wait for the lock; no limit if negative.

    Yields: whether the lock is held; False if another process still holds it.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=wait)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def claimed(path: Path | str, taken: str, wait: float = 0.0) -> Iterator[None]:
    """Hold a lock, as ``locked`` does, or raise InputError.

    Arguments:
        path: of the lock file.
        taken: message of the InputError if another process holds the lock.
        wait: seconds to wait for the lock.
    """
    with locked(path, wait) as mine:
        if not mine:
            raise InputError(taken)
        yield


def write_json(path: Path | str, content: Any) -> None:
    """Write ``content`` as indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path | str, text: str) -> None:
    """Write text as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """Read a JSON file; InputError names the file if it is missing, damaged, too large or nested too deep."""
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST_TEXT + 1)
        if len(text) > LARGEST_TEXT:
            raise InputError(f"{path} is damaged (more than 16 MiB of JSON); restore it or create it again.")
        content = json.loads(text)
        if "\\u" in text:  # half a character, which no file of text could hold
            json.dumps(content, ensure_ascii=False).encode()
        return content
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; expected a JSON file there.") from None
    except RecursionError:
        raise InputError(f"{path} is damaged (nested too deep); restore it or create it again.") from None
    except InputError:  # is a ValueError too
        raise
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError and UnicodeEncodeError
        raise InputError(f"{path} is damaged ({error}); restore it or create it again.") from None


def sha256(content: bytes | memoryview) -> str:
    """Return the SHA-256 of bytes, in hexadecimal digits.

    >>> sha256(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(content).hexdigest()
