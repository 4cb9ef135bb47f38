"""Damage images and run folders, use them as the command line does, and count what comes of it.

``python tools/fuzz.py --cases 2000 --seed 0 --out results/fuzz.json`` tries so many damaged inputs, every kind of
file with every kind of damage in turn. Each must end in one of these ways:

- refused: one sentence and exit code 2;
- told: a warning names what was left out or removed, and the rest is as it was;
- same: the result is that of the undamaged input, to the bit;
- as written: the result is another, and no checksum could have told: the pixels of a JPEG or an array, a number in
  a JSON or CSV file, the files that a folder holds.

A traceback, a hang, or another result where a checksum could have told is a failure, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gzip
import io
import json
import os
import random
import shutil
import signal
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import safetensors.torch
import torch
from PIL import Image

from entropic_ae import cli
from entropic_ae.data import ImageData, load_images
from entropic_ae.data.formats import SUFFIXES
from entropic_ae.errors import InputError
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json

__all__ = ["FAILURES", "SUBJECTS", "fuzz", "main"]

FAILURES = ("traceback", "hang", "silent")
_ORDER = (*FAILURES, "refused", "told", "as written", "same")  # of several uses, the first counts
_DARK = 32  # of 255
_LIMIT = 60  # seconds after which a use hangs
_MEMORY = 8 << 30  # bytes of addresses, so that an absurd size is an error and no machine out of memory

Damage = Callable[[Path, random.Random], None]


# Damage to the bytes of a file.


def _place(content: bytes, rng: random.Random) -> int:
    """Return a place: one in three in the header."""
    return rng.randrange(min(64, len(content)) if rng.random() < 1 / 3 else len(content))


def _block(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = _place(content, rng)
    return start, min(len(content), start + rng.randint(1, 200))


def _flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    changed[_place(content, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwritten(content: bytes, rng: random.Random) -> bytes:
    start, end = _block(content, rng)
    return content[:start] + rng.randbytes(end - start) + content[end:]


def _zeroed(content: bytes, rng: random.Random) -> bytes:
    start, end = _block(content, rng)
    return content[:start] + bytes(end - start) + content[end:]


def _cut(content: bytes, rng: random.Random) -> bytes:
    start, end = _block(content, rng)
    return content[:start] + content[end:]


def _doubled(content: bytes, rng: random.Random) -> bytes:
    start, end = _block(content, rng)
    return content[:end] + content[start:]


BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "truncated": lambda content, rng: content[: rng.randrange(len(content))],
    "empty": lambda *_: b"",
    "a bit flipped": _flipped,
    "a block overwritten": _overwritten,
    "a block zeroed": _zeroed,
    "a block cut out": _cut,
    "a block doubled": _doubled,
    "bytes inserted": lambda content, rng: (
        content[: (at := _place(content, rng))] + rng.randbytes(9) + content[at:]
    ),
    "bytes appended": lambda content, rng: content + rng.randbytes(rng.randint(1, 100)),
    "noise instead": lambda content, rng: rng.randbytes(len(content)),
    "a page of HTML instead": lambda *_: b"<!doctype html><title>404 Not Found</title>\n" * 9,
}


def _in_bytes(change: Callable[[bytes, random.Random], bytes]) -> Damage:
    def damage(path: Path, rng: random.Random) -> None:
        path.write_bytes(change(path.read_bytes(), rng))

    return damage


# Damage to files as a whole.


def _missing(path: Path, rng: random.Random) -> None:  # noqa: ARG001
    path.unlink()


def _renamed(path: Path, rng: random.Random) -> None:  # noqa: ARG001
    path.rename(path.with_name(f"{path.name}.bak"))


def _folder_instead(path: Path, rng: random.Random) -> None:  # noqa: ARG001
    path.unlink()
    path.mkdir()


def _link_instead(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(rng.choice(["/nowhere/at/all", path.name]))  # dangling, or to itself


def _pipe_instead(path: Path, rng: random.Random) -> None:  # noqa: ARG001
    path.unlink()
    os.mkfifo(path)  # opening one waits for somebody at its other end


def _swapped(path: Path, rng: random.Random) -> None:
    """Let a file and another, of its folder or the one above, take each other's places."""
    places = [place for folder in (path.parent, path.parent.parent) for place in sorted(folder.iterdir())]
    other = rng.choice([place for place in places if place.is_file() and place != path and place.suffix])
    content = other.read_bytes()
    other.write_bytes(path.read_bytes())
    path.write_bytes(content)


FILES: dict[str, Damage] = {
    "missing": _missing,
    "renamed": _renamed,
    "a folder instead": _folder_instead,
    "a link to nothing instead": _link_instead,
    "a pipe instead": _pipe_instead,
    "swapped with a neighbour": _swapped,
}


# Damage to the values in a file.

_VALUES = (
    *(None, True, False, 0, 1, -1, 2, 3, 10**9, -(10**9), 2**63, 10**40, 0.5, -0.0, 1e-300, 1e300),
    *(float("nan"), float("inf"), "", "eae", "a\n\x1b[31mb", "../../etc", "[b]", "9" * 5000, "\ud800", "\0"),
    *([], [1], [[]], {}, {"": 0}, [0] * 100),
)


def _nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a JSON value with every key in it."""
    if isinstance(value, dict | list):
        for key, one in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from _nodes(one)


def _in_json(change: Callable[[Any, list[tuple[Any, Any]], random.Random], Any]) -> Damage:
    def damage(path: Path, rng: random.Random) -> None:
        content = json.loads(path.read_text())
        changed = change(content, list(_nodes(content)), rng)
        path.write_text(json.dumps(content if changed is None else changed))

    return damage


def _set_value(content: Any, nodes: list[tuple[Any, Any]], rng: random.Random) -> None:  # noqa: ARG001
    holder, key = rng.choice(nodes)
    holder[key] = rng.choice(_VALUES)


def _drop_value(content: Any, nodes: list[tuple[Any, Any]], rng: random.Random) -> None:  # noqa: ARG001
    holder, key = rng.choice(nodes)
    del holder[key]


def _swap_values(content: Any, nodes: list[tuple[Any, Any]], rng: random.Random) -> Any:
    (one, key), (other, name) = rng.sample(nodes, 2)
    first, second = json.dumps(one[key]), json.dumps(other[name])  # copies: one may lie in the other
    one[key] = json.loads(second)
    with contextlib.suppress(KeyError, IndexError):
        other[name] = json.loads(first)
    return json.loads(json.dumps(content))


def _rename_key(content: Any, nodes: list[tuple[Any, Any]], rng: random.Random) -> None:  # noqa: ARG001
    holder, key = rng.choice([node for node in nodes if isinstance(node[0], dict)])
    holder[rng.choice([f"{key}s", "", "\x1b[31m", key.upper()])] = holder.pop(key)


JSON: dict[str, Damage] = {
    "a value of another kind": _in_json(_set_value),
    "another value of another kind": _in_json(_set_value),
    "a value dropped": _in_json(_drop_value),
    "two values swapped": _in_json(_swap_values),
    "a key renamed": _in_json(_rename_key),
    "another document": _in_json(lambda *given: given[2].choice(_VALUES[1:])),
}


def _in_csv(path: Path, rng: random.Random) -> None:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    row = rng.choice(rows)
    values = ["", "nan", "inf", "-1", "1e999", "x", '"', "\0", "9" * 5000, "1,2", "\n", "\x1b[31m"]
    row[rng.randrange(len(row))] = rng.choice(values)
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")


def _png_of_huge_size(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    sizes = [2**31 - 1, 2**31, 2**32 - 1, 60_000, 20_000, 0, 17]
    content[16:24] = struct.pack(">II", rng.choice(sizes), rng.choice(sizes))
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def _npz_of_another_header(path: Path, rng: random.Random) -> None:
    """Write a header that claims something else before the same values; the checksums of the archive are right."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    shapes = ["(10**12, 16, 16)", "(1000000000000, 16, 16)", "(-1, 16, 16)", "(40, 16, 15)", "(40, 256)", "()"]
    kinds = ["|u1", "|O", "<f8", "|b1", "<i2", "|S9", "<M8[s]", "nonsense"]
    header = f"{{'descr': '{rng.choice(kinds)}', 'fortran_order': False, 'shape': {rng.choice(shapes)}, }}\n"
    members[name] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + members[name][128:]
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def _safetensors_of_another_header(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    first, second = rng.sample(names, 2)
    change = rng.randrange(7)
    if change == 0:
        header[first]["shape"] = [10**12]
    elif change == 1:
        header[first]["dtype"] = rng.choice(["I32", "F64", "BF16", "U8", "F8_E4M3", "nonsense"])
    elif change == 2:  # two tensors take each other's places
        header[first], header[second] = header[second], header[first]
    elif change == 3:
        header[first + "s"] = header.pop(first)
    elif change == 4:
        header["__metadata__"] = rng.choice([None, {}, {"entropic_ae": "[" * 50_000}, {"entropic_ae": "3"}])
    elif change == 5:
        header[first]["data_offsets"] = [0, 2**63]
    text = json.dumps(header).encode()
    length = len(text) if change != 6 else rng.choice([2**63, 2**40, len(text) + 10**6, 0])
    path.write_bytes(length.to_bytes(8, "little") + text + content[8 + size :])


def _parquet_of_other_columns(path: Path, rng: random.Random) -> None:
    rows = pyarrow.parquet.read_table(path).to_pylist()
    column, value = rng.choice(
        [
            ("image", {"bytes": None, "path": None}),
            ("image", {"bytes": None, "path": "/etc/hostname"}),
            ("image", {"bytes": b"", "path": "\x1b[31m"}),
            *(("label", value) for value in (None, -1, 10**15, "a\nb", 0.5, [1], {"a": 1}, b"x")),
        ]
    )
    whole = rng.random() < 0.5 or column == "label"
    for row in rows if whole else [rng.choice(rows)]:
        row[column] = value
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


_OTHERS = ("webp", "bmp", "gif", "tiff", "ppm")
_NEWER = tuple(suffix for suffix in ("avif", "jp2", "heic") if suffix in SUFFIXES)
_DEEP = (np.uint16, np.int32, np.uint8)  # of TIFF files, the last with three pages


def _depth(values: np.ndarray, rng: random.Random) -> np.ndarray:
    """Return an image, (16, 16, 3) uint8, in grey of another depth."""
    grey = values[:, :, 0] / 255
    most, kind = rng.choice(
        [
            *((most, np.uint16) for most in (1, 3, 255, 1023, 4095, 16383, 65535)),
            *((most, np.int32) for most in (1, 4095, 65535, 10**6, 2**31 - 1)),
            *((most, np.uint8) for most in (1, 16, 255)),
            (1, np.float32),
            (1, bool),
        ]
    )
    scaled = grey * most
    if rng.random() < 0.2 and kind is np.int32:
        scaled = scaled - most / 2
    return (scaled if kind is np.float32 else np.rint(scaled)).astype(kind)


def _another_depth(path: Path, rng: random.Random, *, whole: bool = False) -> None:
    """Write an image, or all of its folder, in another depth; as TIFF where PNG holds no such values."""
    state = rng.getstate()
    for place in sorted(path.parent.iterdir()) if whole else [path]:
        rng.setstate(state)
        pixels = np.random.default_rng(int(place.stem)).integers(256, size=(16, 16, 3), dtype=np.uint8)
        image = Image.fromarray(_depth(pixels, rng))
        tags = {262: 0} if rng.random() < 0.2 and image.mode == "I;16" else {}
        if place.suffix == ".tif" or image.mode in ("I", "F"):
            image.save(place, "TIFF", tiffinfo=tags)
        else:
            image.save(place)


def _another_array(path: Path, rng: random.Random) -> None:
    """Write the images as an array of another type, range or shape."""
    pixels = np.random.default_rng(0).integers(256, size=(40, 16, 16, 3), dtype=np.uint8)
    arrays: list[Callable[[], np.ndarray]] = [
        lambda: pixels > 127,
        lambda: (pixels > 127).astype(np.uint8),
        lambda: pixels // 16,
        lambda: pixels / 255,
        lambda: (pixels / 127.5 - 1).astype(np.float32),
        lambda: np.where(pixels > 250, np.nan, pixels),
        *(
            lambda kind=kind: pixels.astype(kind)
            for kind in (np.uint16, np.int64, np.int8, complex, "S3", "M8[s]")
        ),
        lambda: pixels[0],
        lambda: pixels[0, :, :, 0],
        lambda: pixels.transpose(3, 0, 1, 2),
        lambda: pixels.reshape(40, -1),
        lambda: np.concatenate([pixels, pixels[..., :1]], axis=3),
        lambda: pixels[:0],
        lambda: np.asfortranarray(pixels),
        lambda: pixels.astype(">u2"),
        lambda: np.float64(3.0),
    ]
    np.save(path, rng.choice(arrays)())


_NAMES = (
    *(b"a\nb.png", b"a\x1b[31m.png", b"\xff\xfe.png", b"-rf.png", b"$(id).png", b"%s%n{0}.png", b"[red]x.png"),
    *(b"*?.png", b"'\".png", b" .png", b"a.PNG", b"x" * 250 + b".png", "\u202egnp.png".encode(), b"a.png.png"),
    *(b"test_1.png", b"a\\b.png", b"con.png", "\N{GRINNING FACE}.png".encode(), b"a\t.png"),
)


def _hostile_name(path: Path, rng: random.Random) -> None:
    path.rename(os.fsdecode(os.path.join(os.fsencode(path.parent), rng.choice(_NAMES))))  # noqa: PTH118 - bytes


# Uses: what is done with a damaged input.


@dataclass(frozen=True)
class Result:
    """What a use gives: something to compare, and what was said meanwhile; refused if nothing was given.

    Attributes:
        value: bytes or images; None where the use was refused.
        told: warnings.
    """

    value: Any
    told: str = ""


_BLACK = Result({b"nearly black": 1}, "")


def _command(*arguments: str | Path) -> Result:
    """Call the command line in this process; a sentence with exit code 2 is a refusal, anything else an error."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["entropic-ae", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            cli.main()
    except SystemExit as stop:
        lines = err.getvalue().splitlines()
        if stop.code not in (None, 0):
            if stop.code != 2 or not lines or not lines[-1].startswith("error: ") or not lines[-1].isprintable():
                raise RuntimeError(f"exit code {stop.code} with {err.getvalue()[-500:]!r}") from None
            return Result(None, lines[-1])
        return Result(b"", "\n".join(line for line in lines if line.startswith("warning:")))
    finally:
        sys.argv = before
    raise RuntimeError("the command line came back without an exit code")


def _images(data: ImageData) -> dict[bytes, int]:
    """Return each image of all the splits with how often it comes; a label belongs to its image."""
    found: Counter[bytes] = Counter()
    for split in (data.train, data.validation, data.test):
        labels = split.labels if split.labels is not None else [None] * len(split.images)
        found.update(
            image.numpy().tobytes() + str(label).encode()
            for image, label in zip(split.images, labels, strict=True)
        )
    return dict(found)


def _read(root: Path, name: str, *, paged: bool = False) -> Result:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            data = load_images(f"pages:{root / name}" if paged else root / name)
            told = "\n".join(str(one.message) for one in said)
            most = max(int(split.images.max()) for split in (data.train, data.validation, data.test))
            if most < _DARK and not told:  # every input has bright values
                return _BLACK
            return Result(_images(data), told)
        except (InputError, OSError) as error:  # which the command line makes a sentence of
            return Result(None, str(error))


def _sample(root: Path, density: str) -> Result:
    out = root / "drawn.npz"
    done = _command("sample", root / "run", "--density", density, "--n", 4, "--device", "cpu", "--out", out)
    return done if done.value is None else Result(np.load(out)["images"].tobytes(), done.told)


def _report(root: Path) -> Result:
    done = _command("report", root / "run", "--out", root / "page.html")
    if done.value is None:
        return done
    return Result((root / "page.html").read_text().replace(str(root), ""), done.told)


_TRAIN = ("train", "eae", "digits", "--limit", "60", "--device", "cpu", "--set", "width=2", "batch_size=20")


def _resume(root: Path) -> Result:
    done = _command(*_TRAIN, "--epochs", "2", "--resume", "--out", root / "run")
    return done if done.value is None else Result((root / "run/weights.safetensors").read_bytes(), done.told)


def _evaluate(root: Path) -> Result:
    options = ("--features", "pixels", "--n", "20", "--densities", "gaussian", "--device", "cpu")
    done = _command("evaluate", root / "run", *options)
    if done.value is None:
        return done
    return Result(json.loads((root / "run/metrics.json").read_text())["pixels"]["distances"], done.told)


# Subjects: what is damaged.


@dataclass(frozen=True)
class Subject:
    """A kind of input.

    Attributes:
        target: what is damaged, under the root of the inputs; one of those that a pattern names.
        damages: by name.
        uses: by name; each damaged input is used in all these ways.
        unchecked: the damages after which another result is as written, since no checksum could tell;
            all of them if the format has none.
        every: it is tried in one round of so many; more than 1 for a use that takes long.
    """

    target: str
    damages: dict[str, Damage]
    uses: dict[str, Callable[[Path], Result]]
    unchecked: frozenset[str] = field(default_factory=frozenset)
    every: int = 1


_BYTES = {name: _in_bytes(change) for name, change in BYTES.items()}
_JSON = {**_BYTES, **JSON, **FILES}
_ANY = frozenset([*_JSON, "another cell", "other columns", "another header", "huge size", "hostile name"])
_ANY |= {"another depth", "another depth of all", "another array"}
_WHOLE = frozenset([*FILES, "empty"])  # what a folder holds is as written
_PAGE = {"report": _report}
_DRAWN = {"sample": partial(_sample, density="prior")}

SUBJECTS: dict[str, Subject] = {
    "PNG image": Subject(
        "png/*.png",
        {**_BYTES, **FILES, "huge size": _png_of_huge_size, "hostile name": _hostile_name},
        {"load": partial(_read, name="png")},
        _WHOLE,
    ),
    "JPEG image": Subject(
        "jpeg/*/*.jpg",
        {**_BYTES, **FILES, "hostile name": _hostile_name},
        {"load": partial(_read, name="jpeg")},
        _ANY,
    ),
    "WEBP, BMP, GIF, TIFF or PPM image": Subject(
        "others/*",
        {**_BYTES, **FILES, "hostile name": _hostile_name},
        {"load": partial(_read, name="others")},
        _ANY,
    ),
    **{
        f"{depth}-bit PNG image": Subject(
            f"png{depth}/*.png",
            {
                **_BYTES,
                **FILES,
                "huge size": _png_of_huge_size,
                "another depth": _another_depth,
                "another depth of all": partial(_another_depth, whole=True),
            },
            {"load": partial(_read, name=f"png{depth}")},
            _WHOLE | {"another depth", "another depth of all"},
        )
        for depth in (12, 16)
    },
    "TIFF image of 16 or 32 bits, or of pages": Subject(
        "tiff/*",
        {
            **_BYTES,
            **FILES,
            "another depth": _another_depth,
            "another depth of all": partial(_another_depth, whole=True),
        },
        {"load": partial(_read, name="tiff"), "load pages": partial(_read, name="tiff", paged=True)},
        _ANY,
    ),
    "AVIF, JPEG 2000 or HEIC image": Subject(
        "newer/*", {**_BYTES, **FILES}, {"load": partial(_read, name="newer")}, _ANY
    ),
    "NumPy archive": Subject(
        "images.npz",
        {**_BYTES, **FILES, "another header": _npz_of_another_header},
        {"load": partial(_read, name="images.npz")},
        frozenset(["another header", *FILES]),
    ),
    "NumPy array": Subject(
        "images.npy",
        {**_BYTES, **FILES, "another array": _another_array},
        {"load": partial(_read, name="images.npy")},
        _ANY,
    ),
    "parquet file": Subject(
        "images.parquet",
        {**_BYTES, **FILES, "other columns": _parquet_of_other_columns},
        {"load": partial(_read, name="images.parquet")},
        _ANY,
    ),
    "IDX file": Subject("idx/*", {**_BYTES, **FILES}, {"load": partial(_read, name="idx")}, _ANY),
    "compressed IDX file": Subject(
        "idx-gz/*",
        {**_BYTES, **FILES},
        {"load": partial(_read, name="idx-gz")},
        frozenset([*FILES, "bytes appended"]),
    ),
    "HDF5 file": Subject("images.h5", {**_BYTES, **FILES}, {"load": partial(_read, name="images.h5")}, _ANY),
    "safetensors file of images": Subject(
        "images.safetensors",
        {**_BYTES, **FILES, "another header": _safetensors_of_another_header},
        {"load": partial(_read, name="images.safetensors")},
        _ANY,
    ),
    "WebDataset tar": Subject("tar/*.tar", {**_BYTES, **FILES}, {"load": partial(_read, name="tar")}, _ANY),
    "folder of save_to_disk": Subject(
        "saved/*", {**_BYTES, **FILES}, {"load": partial(_read, name="saved")}, _ANY
    ),
    "run.json": Subject("run/run.json", _JSON, _DRAWN),
    "run.json, resumed": Subject("run/run.json", _JSON, {"resume": _resume}),
    "run.json, reported": Subject("run/run.json", _JSON, _PAGE, _ANY, every=4),
    "weights": Subject(
        "run/weights.safetensors",
        {**_BYTES, **FILES, "another header": _safetensors_of_another_header},
        _DRAWN,
    ),
    "density": Subject(
        "run/densities/gaussian.safetensors",
        {**_BYTES, **FILES, "another header": _safetensors_of_another_header},
        {"sample": partial(_sample, density="gaussian")},
    ),
    "checkpoint": Subject("run/checkpoints/last.ckpt", {**_BYTES, **FILES}, {"resume": _resume}),
    "log.csv": Subject("run/log.csv", {**_BYTES, **FILES, "another cell": _in_csv}, _PAGE, _ANY, every=4),
    "metrics.json": Subject("run/metrics.json", _JSON, _PAGE, _ANY, every=4),
    "picture of a run": Subject(
        "run/*.png", {**_BYTES, **FILES, "huge size": _png_of_huge_size}, _PAGE, _ANY, every=4
    ),
}


def _prepare_deep(root: Path, i: int, image: np.ndarray) -> None:
    """Make the images of more than 8 bits, of several pages, and of newer formats."""
    grey = image[:, :, 0].astype(np.uint16)
    kind = _DEEP[i % len(_DEEP)]
    places = {
        f"png12/{i:02}.png": (grey * 16 + 15, {}),
        f"png16/{i:02}.png": (grey * 257, {}),
        f"tiff/{i:02}.tif": (grey.astype(kind) * (1 if kind is np.uint8 else 257), {}),
        f"newer/{i:02}.{_NEWER[i % len(_NEWER)]}": (image, {"quality": 90}),
    }
    for name, (values, options) in places.items():
        (root / name).parent.mkdir(exist_ok=True)
        picture = Image.fromarray(values)
        more = {"save_all": True, "append_images": [picture.rotate(90), picture.rotate(180)]}
        picture.save(
            root / name, **options, **(more if values.dtype == np.uint8 and name.startswith("tiff") else {})
        )


def _prepare_containers(root: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    """Write the images as IDX, HDF5 and safetensors files, as WebDataset tars and as a folder of save_to_disk."""
    import datasets

    grey = np.ascontiguousarray(pixels[:, :, :, 0])
    for folder, suffix, opening in (("idx", "", open), ("idx-gz", ".gz", gzip.open)):
        (root / folder).mkdir()
        for split, part in (("train", slice(30)), ("t10k", slice(30, 40))):
            for name, values in (("images-idx3", grey[part]), ("labels-idx1", labels[part].astype(np.uint8))):
                head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
                with opening(root / folder / f"{split}-{name}-ubyte{suffix}", "wb") as file:
                    file.write(head + values.tobytes())
    with contextlib.suppress(ImportError):
        import h5py

        with h5py.File(root / "images.h5", "w") as file:
            file["images"], file["labels"] = pixels, labels
    tensors = {"images": torch.from_numpy(pixels), "labels": torch.from_numpy(labels)}
    safetensors.torch.save_file(tensors, root / "images.safetensors")
    encoded = [_png(image) for image in pixels]
    (root / "tar").mkdir()
    for split, part in (("train", range(30)), ("test", range(30, 40))):
        with tarfile.open(root / "tar" / f"{split}.tar", "w") as archive:
            for i in part:
                for suffix, content in (("png", encoded[i]), ("cls", str(labels[i]).encode())):
                    member = tarfile.TarInfo(f"{i:03}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    rows = {"image": [{"bytes": one, "path": None} for one in encoded], "label": labels.tolist()}
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(rows, features).save_to_disk(root / "saved")


def _png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def prepare(root: Path) -> None:
    """Make every input, undamaged."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(256, size=(40, 16, 16, 3), dtype=np.uint8)
    for i, image in enumerate(pixels[:12]):
        other = f"others/{i:02}.{_OTHERS[i % len(_OTHERS)]}"
        for place in (root / f"png/{i:02}.png", root / f"jpeg/{'ab'[i % 2]}/{i:02}.jpg", root / other):
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place)
        _prepare_deep(root, i, image)
    labels = generator.integers(3, size=40)
    _prepare_containers(root, pixels, labels)
    np.savez(root / "images.npz", images=pixels, labels=labels)
    np.save(root / "images.npy", pixels)
    rows = [
        {"image": {"bytes": _png(image), "path": f"{i}.png"}, "label": int(labels[i])}
        for i, image in enumerate(pixels)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), root / "images.parquet")
    run = root / "run"
    for done in (_command(*_TRAIN, "--epochs", "1", "--out", run), _sample(root, "gaussian"), _evaluate(root)):
        if done.value is None:
            raise RuntimeError(done.told)
    (root / "drawn.npz").unlink()


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raise _HangError where a use takes too long; end the process where not even that helps."""

    def stop(*_: Any) -> None:
        raise _HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_LIMIT)
    faulthandler.dump_traceback_later(3 * _LIMIT, exit=True)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


class _HangError(BaseException):
    """A use has taken too long."""


def _outcome(use: Callable[[Path], Result], root: Path, expected: Any, *, unchecked: bool) -> tuple[str, str]:
    """Use a damaged input; return how it ended, and what there is to say of a failure."""
    try:
        with _limited():
            result = use(root)
    except _HangError:
        return "hang", f"more than {_LIMIT} s"
    except Exception:
        return "traceback", traceback.format_exc(limit=-6)
    if result.value is None or result.value == expected:
        return "refused" if result.value is None else "same", ""
    images = isinstance(expected, dict) and all(isinstance(key, bytes) for key in expected)
    if result.told and images and all(expected.get(image, 0) >= n for image, n in result.value.items()):
        return "told", result.told  # images are left out, and no other has changed
    if unchecked and result != _BLACK:
        return "as written", ""
    return "silent", f"another result{f', with {result.told!r}' if result.told else ''}"


def fuzz(cases: range, seed: int, folder: Path, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Try damaged inputs, each in a copy of its own.

    Arguments:
        cases: their numbers, from 0 on; in each round comes every damage to every subject whose turn it is.
        seed: of what is damaged, and how.
        folder: an empty one, for the inputs and what is cached of them.
        tell: called with progress.

    Returns: counts by subject and damage, and what there is to say of each failure.
    """
    import datasets

    inputs, cache = folder / "inputs", datasets.config.HF_DATASETS_CACHE
    inputs.mkdir()
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    try:
        prepare(inputs)
        return _tried(cases, seed, folder, tell)
    finally:
        datasets.config.HF_DATASETS_CACHE = cache


def _tried(cases: range, seed: int, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    expected: dict[str, Any] = {}
    counts: dict[str, dict[str, Counter[str]]] = {}
    failures: list[dict[str, Any]] = []
    for case, (name, damage) in islice(enumerate(_order(seed)), cases.start, cases.stop):
        subject = SUBJECTS[name]
        own = random.Random(f"{seed} {case}")
        found: list[tuple[str, str]] = []
        for use_name, use in subject.uses.items():
            place = f"{name} {use_name}"
            if place not in expected:
                root = _copy(folder)
                expected[place] = use(root).value
                shutil.rmtree(root)
            root = _copy(folder)
            state = own.getstate()
            subject.damages[damage](own.choice(sorted(root.glob(subject.target))), own)
            own.setstate(state)  # the same damage for each use
            found.append(_outcome(use, root, expected[place], unchecked=damage in subject.unchecked))
            if found[-1][0] in FAILURES:
                failures.append(
                    {"case": case, "subject": name, "damage": damage, "use": use_name, "what": found[-1][1]}
                )
                tell(f"case {case}, {name}, {damage}, {use_name}: {found[-1][0]}\n{found[-1][1]}")
            shutil.rmtree(root)
        worst = min((outcome for outcome, _ in found), key=_ORDER.index)
        counts.setdefault(name, {}).setdefault(damage, Counter())[worst] += 1
        shutil.rmtree(folder / "cache", ignore_errors=True)
        if (case + 1) % 100 == 0:
            tell(f"{case + 1} of {cases.stop}")
    return _summary(cases.stop, seed, counts, failures)


def _copy(folder: Path) -> Path:
    return Path(shutil.copytree(folder / "inputs", folder / "work", symlinks=True))


def _order(seed: int) -> Iterator[tuple[str, str]]:
    """Yield subjects and damages round by round, each round in an order of its own."""
    for number in count():
        pairs = [(n, damage) for n, one in SUBJECTS.items() if number % one.every == 0 for damage in one.damages]
        random.Random(f"{seed} {number}").shuffle(pairs)
        yield from pairs


def _summary(
    cases: int, seed: int, counts: dict[str, dict[str, Counter[str]]], failures: list[dict[str, Any]]
) -> dict[str, Any]:
    total: Counter[str] = Counter()
    for damages in counts.values():
        for outcomes in damages.values():
            total.update(outcomes)
    by_subject = {
        name: {damage: dict(sorted(found.items())) for damage, found in sorted(counts[name].items())}
        for name in sorted(counts)
    }
    return {"cases": cases, "seed": seed, "outcomes": dict(total), "by_subject": by_subject, "failures": failures}


def _joined(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Add what was found later to what was found before, of the same seed."""
    counts: dict[str, dict[str, Counter[str]]] = {}
    for one in (before, after):
        for name, damages in one["by_subject"].items():
            for damage, outcomes in damages.items():
                counts.setdefault(name, {}).setdefault(damage, Counter()).update(outcomes)
    return _summary(after["cases"], after["seed"], counts, before["failures"] + after["failures"])


def main() -> int:
    """Try what the arguments say; return 1 if anything failed."""
    parser = argparse.ArgumentParser(description="Damage images and run folders, and count what comes of it.")
    parser.add_argument("--cases", type=int, default=2000, help="in all, with those that OUT holds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, help="a JSON file; where it was written by the same commit, go on in it"
    )
    arguments = parser.parse_args()
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    torch.set_num_threads(1)
    same = {"seed": arguments.seed, "machine": machine(), "versions": versions(), "git_commit": git_commit()}
    before = read_json(arguments.out) if arguments.out is not None and arguments.out.exists() else {}
    if any(before.get(name) != value for name, value in same.items()):
        before = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        cases = range(before.get("cases", 0), arguments.cases)
        found = fuzz(cases, arguments.seed, Path(folder), partial(print, file=sys.stderr, flush=True))
    seconds = before.get("seconds", 0) + round(time.monotonic() - started)
    found = {**(_joined(before, found) if before else found), "seconds": seconds, **same}
    print(json.dumps(found["outcomes"]))
    if arguments.out is not None:
        write_json(arguments.out, found)
    return 1 if found["failures"] else 0


def render_damages(path: Path) -> str:
    """Return what became of damaged files: a row a kind of file."""
    from benchmarks.tables import markdown  # for pages only: a script of tools/ does not find it

    found = read_json(path)
    rows = {
        subject: sum((Counter(outcomes) for outcomes in damage.values()), Counter())
        for subject, damage in found["by_subject"].items()
    }
    total = sum(rows.values(), Counter())
    head = ("refused", "told", "same", "as written", "traceback", "hang", "silent")
    lines = [[name, *(f"{row[outcome]:,}" for outcome in head)] for name, row in (*rows.items(), ("all", total))]
    return f"{markdown(['', *head], lines)}\n\n{sum(total.values()):,} damaged inputs."


if __name__ == "__main__":
    sys.exit(main())
