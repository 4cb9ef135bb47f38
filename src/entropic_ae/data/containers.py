"""Files of arrays by name: NumPy, IDX, HDF5 and safetensors files; nothing is unpickled."""

from __future__ import annotations

import gzip
import math
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from entropic_ae.errors import InputError

__all__ = ["KINDS", "array_named", "holds_arrays", "idx_files", "named_arrays"]

KINDS = ".npz, .npy, IDX, HDF5 or .safetensors"
# errors of the readers for a damaged file, or one whose header claims more than fits in memory
_DAMAGE = (
    *(OSError, ValueError, EOFError, LookupError, SyntaxError, TypeError, OverflowError, RecursionError),
    *(MemoryError, RuntimeError, NotImplementedError, struct.error, tokenize.TokenError, zipfile.BadZipFile),
    *(zlib.error, SafetensorError),
)
_IDX_NAME = re.compile(r".*[-.]idx(\d(-ubyte)?)?(\.gz)?", re.IGNORECASE)
_IDX_SPLITS = {"train": "train", "t10k": "test", "test": "test"}  # first words of MNIST's files
_IDX_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_LARGEST_RATIO = 1100  # of deflate: a header that claims more is damaged

Arrays = Mapping[str, Callable[[], np.ndarray]]


def holds_arrays(path: Path) -> bool:
    """Return whether the name of a file is that of a file of arrays.

    >>> [holds_arrays(Path(name)) for name in ("a.npz", "train-images-idx3-ubyte.gz", "a.h5", "a.png")]
    [True, True, True, False]
    """
    return path.suffix.lower() in _READERS or _IDX_NAME.fullmatch(path.name) is not None


def array_named(source: str) -> tuple[str, str | None]:
    """Return the file and the name of FILE:NAME, an array in a file of arrays; other sources have no name.

    >>> array_named("/a/b.h5:left/images"), array_named("hf:owner/name")
    (('/a/b.h5', 'left/images'), ('hf:owner/name', None))
    """
    file, _, name = source.rpartition(":")
    return (file, name) if file and holds_arrays(Path(file)) else (source, None)


def idx_files(folder: Path) -> dict[str, Path]:
    """Return MNIST's IDX files in a folder by the name of their array, ``train_images`` and so on.

    >>> idx_files(Path("/nowhere"))
    {}
    """
    found = {}
    for path in sorted(folder.glob("*")):
        first, _, rest = path.name.lower().partition("-")
        kind = re.match(r"images|labels", rest)
        if kind and first in _IDX_SPLITS and _IDX_NAME.fullmatch(path.name) and path.is_file():
            found[f"{_IDX_SPLITS[first]}_{kind[0]}"] = path
    return found


def named_arrays(path: Path) -> Arrays:
    """Return the arrays of a file, or of a folder of IDX files, by name, each as a function that reads it.

    Raises: InputError if the file is damaged, or its reader is not installed; so do the functions.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.npz")
    >>> np.savez(file, images=np.zeros((5, 8, 8)))
    >>> {name: read().shape for name, read in named_arrays(file).items()}
    {'images': (5, 8, 8)}
    """
    if path.is_dir():
        return {name: _careful(_read_idx, file) for name, file in idx_files(path).items()}
    reader = _idx if _IDX_NAME.fullmatch(path.name) else _READERS[path.suffix.lower()]
    with _told(path):
        return {name: _careful(read, path) for name, read in reader(path).items()}


def _careful(read: Callable[[Path], np.ndarray], path: Path) -> Callable[[], np.ndarray]:
    def told() -> np.ndarray:
        with _told(path):
            return read(path)

    return told


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise the readers' errors as InputError."""
    try:
        yield
    except InputError:
        raise
    except _DAMAGE as error:
        if "Object arrays" in str(error):
            raise InputError(
                f"{path} holds pickled objects, which are never opened; expected uint8 images: save them as "
                "one array of dtype uint8."
            ) from None
        kind = {".npz": "a NumPy", ".npy": "a NumPy", ".safetensors": "a safetensors"}.get(path.suffix.lower())
        kind = kind or ("an HDF5" if path.suffix.lower() in _READERS else "an IDX")
        raise InputError(f"{path} is damaged or not {kind} file; restore it or save it again.") from None


def _npz(path: Path) -> dict[str, Callable[[Path], np.ndarray]]:
    def read(key: str) -> Callable[[Path], np.ndarray]:
        def one(path: Path) -> np.ndarray:
            with np.load(path, allow_pickle=False) as content:
                return content[key]

        return one

    content = np.load(path, allow_pickle=False)
    if isinstance(content, np.ndarray):
        return {path.stem: lambda _: content}
    with content:
        return {key: read(key) for key in content.files}


def _idx(path: Path) -> dict[str, Callable[[Path], np.ndarray]]:
    """Return the images of an IDX file, and the labels of the file beside it whose name says labels and idx1."""
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    plain = name.removesuffix(".gz")
    beside = [path.with_name(one) for one in (name, plain, f"{plain}.gz") if one != path.name]
    labels = next((one for one in beside if one.is_file()), None)
    found: dict[str, Callable[[Path], np.ndarray]] = {"images": _read_idx}
    if labels is not None and "images" in path.name:
        found["labels"] = lambda _: _read_idx(labels)
    return found


def _read_idx(path: Path) -> np.ndarray:
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        zero, kind, rank = struct.unpack(">HBB", file.read(4))
        shape = struct.unpack(f">{rank}I", file.read(4 * rank))
        if zero or kind not in _IDX_DTYPES:
            raise ValueError("not IDX")
        dtype = np.dtype(_IDX_DTYPES[kind])
        size = math.prod(shape) * dtype.itemsize
        if size > _LARGEST_RATIO * path.stat().st_size:
            raise ValueError("a header of too many values")
        content = file.read(size + 1)
    if len(content) != size:
        raise ValueError("another number of values than the header says")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _hdf5(path: Path) -> dict[str, Callable[[Path], np.ndarray]]:
    try:
        import h5py
    except ImportError:
        raise InputError(f"{path} needs h5py; pip install 'entropic-ae[hdf5]'.") from None

    def read(name: str) -> Callable[[Path], np.ndarray]:
        def one(path: Path) -> np.ndarray:
            with h5py.File(path, "r") as file:
                if file[name].external or file[name].is_virtual:  # could be any file of this machine
                    raise InputError(f"{path}: '{name}' is stored in other files, which are not opened; copy it.")
                return np.asarray(file[name][()])

        return one

    names: list[str] = []

    def visit(name: str, item: Any) -> None:  # of hard links only
        if isinstance(item, h5py.Dataset):
            names.append(name)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return {name: read(name) for name in names}


def _safetensors(path: Path) -> dict[str, Callable[[Path], np.ndarray]]:
    from safetensors import safe_open

    def read(name: str) -> Callable[[Path], np.ndarray]:
        def one(path: Path) -> np.ndarray:
            with safe_open(path, framework="pt") as file:
                tensor = file.get_tensor(name)
            half = tensor.is_floating_point() and tensor.element_size() < 4  # NumPy lacks some of these types
            return (tensor.float() if half else tensor).numpy()

        return one

    with safe_open(path, framework="pt") as file:
        return {name: read(name) for name in file.keys()}  # noqa: SIM118 - not a mapping


_READERS: dict[str, Callable[[Path], dict[str, Callable[[Path], np.ndarray]]]] = {
    ".npz": _npz,
    ".npy": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".safetensors": _safetensors,
}
