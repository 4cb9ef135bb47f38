"""Files and folders written atomically, JSON, locks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
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
    "sha256",
    "write_json",
    "write_text",
]

LARGEST_TEXT = 16 << 20  # characters, of a JSON file or a log; what the library writes has some thousands
_UNFINISHED = ".unfinished-"  # how the name of a temporary file or folder starts: then 8 characters, -, its name
_SYNCS = 16  # files at a time: 2000 small ones took 0.4 s on an ext4 disk, and 11 s one after another
# Seconds without a write after which no live process is writing: a file takes seconds, an export minutes. By age
# and not by a lock, since folders are also written where file systems have none.
_IDLE = 24 * 3600


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends without an error.

    What was written is on the disk before it takes its name, so that after a loss of power too the file is the one
    of before or the new one. The temporary name keeps the suffix, since writers such as Pillow choose the format
    by it.
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

    The place must be free, see ``check_free``; with ``overwrite`` each file goes into the folder that is there, in
    place of that of its name. What was written is on the disk before, as for ``atomic``.
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
            folder.rmdir()  # OSError if another process has written there meanwhile
        _publish(whole, 0o777)
        whole.rename(folder)
    finally:
        shutil.rmtree(whole, ignore_errors=True)


def _publish(path: Path, mode: int) -> None:
    """Give a temporary file or folder, which is private, the permissions of any other."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(mode & ~mask)


def _sync(path: Path) -> None:
    """Wait until a file, which its writer has closed, is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


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


def remove_unfinished(folder: Path | str, own: Collection[str] = ()) -> None:
    """Remove what killed processes left of ``atomic`` and ``atomic_folder`` in a folder.

    Arguments:
        folder: where they were writing; nothing happens if it is missing.
        own: names of files that no other process can be writing, whose temporaries go at once. All others may be
            a live process's, and go after a day without a write.
    """
    for path in Path(folder).glob(f"{_UNFINISHED}*"):
        name = path.name.removeprefix(_UNFINISHED).partition("-")[2]
        with suppress(FileNotFoundError):  # it has just taken its name
            if name not in own and time.time() - path.stat().st_mtime < _IDLE:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


@contextmanager
def locked(path: Path | str, wait: float = -1) -> Iterator[bool]:
    """Hold a lock for the time of the block; the operating system frees it when the process dies.

    The file of that path is made and stays. That other processes see the lock takes a file system with locks, as
    local disks and NFS have.

    Arguments:
        path: of the lock.
        wait: seconds for which it is waited for; without an end if negative.

    Yields: whether it is held; False where another process holds it still.
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
    """Hold a lock, as ``locked`` does.

    Arguments:
        path: of the lock.
        taken: the sentence of the InputError where another process holds it.
        wait: seconds for which it is waited for.
    """
    with locked(path, wait) as mine:
        if not mine:
            raise InputError(taken)
        yield


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


def sha256(content: bytes | memoryview) -> str:
    """Return the SHA-256 of bytes, in hexadecimal digits.

    >>> sha256(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(content).hexdigest()
