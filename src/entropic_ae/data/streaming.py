"""Hub data sets read as a stream: images are stored at the required size, without a copy of the data set.

They are stored in parts, each a cache file written atomically: an interrupted stream resumes after the last part.
Stored images are uncompressed (PGM and PPM), cropped and resized by ``Fit``; they are then read like any table.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from PIL import ImageOps

from entropic_ae.data.decoding import Fit, Table, cache_folder, digest, quiet
from entropic_ae.data.folders import columns, opened
from entropic_ae.data.formats import DAMAGE, GREY, is_deep, opened_image, verify
from entropic_ae.data.hub import check_remote, hub_errors, hub_revision, known_splits
from entropic_ae.errors import InputError
from entropic_ae.storage.files import atomic, read_json, write_json

if TYPE_CHECKING:
    import datasets

__all__ = ["stream_tables"]

_PART = 4096  # images
_AT_ONCE = 64  # encoded images in memory


def stream_tables(name: str, side: int | None) -> dict[str, Table]:
    """Return the splits of the Hub's data set ``name`` (owner/name), read as a stream once per revision.

    Arguments:
        side: side in pixels of the square stored of each image; None stores full images.

    Raises: InputError: as for ``hub_tables``; parts read before the connection was lost are kept.
    """
    import datasets

    check_remote(name)
    index = cache_folder() / f"{digest('stream', name, side)}.json"
    known = read_json(index) if index.is_file() else None
    kept = chain(*known["parts"].values()) if known else ()
    if not all((cache_folder() / part).is_file() for part in kept):
        known = None  # a part is missing from the cache
    revision = hub_revision(name)
    if revision is None and known is None:
        raise InputError(
            f"the data set {name} is not completely cached on this machine and the Hugging Face Hub cannot be "
            "reached; go online: an interrupted stream is resumed."
        )
    if known is None or revision not in (None, known["revision"]):
        with hub_errors(name, "try again: an interrupted stream is resumed."), quiet(count=None, hub=True):
            splits = known_splits(name, datasets.load_dataset(name, revision=revision, streaming=True))
            parts = {
                split: _parts(rows, f"{split} images of {name}", [name, revision, split, side], side)
                for split, rows in splits.items()
            }
        known = {"revision": revision, "parts": parts}
        write_json(index, known)
    return {split: _table(names, split, name) for split, names in known["parts"].items()}


def _table(names: list[str], split: str, source: str) -> Table:
    """Open the parts of a split."""
    import datasets

    rows = datasets.concatenate_datasets([datasets.Dataset.from_file(str(cache_folder() / n)) for n in names])
    return opened(rows, split, source)._replace(key=digest("stream", names))


def _parts(rows: datasets.IterableDataset, what: str, key: list[Any], side: int | None) -> list[str]:
    """Read the missing parts of a split; return the file names of all parts, of which the last is short."""
    import datasets
    import pyarrow

    rows = rows if rows.features else rows._resolve_features()
    image, label = columns(rows.features, what)
    encoded = datasets.Image(decode=False)
    kept = datasets.Features({image: encoded, **({label: rows.features[label]} if label else {})})
    rows = rows.select_columns(list(kept)).cast_column(image, encoded)
    names: list[str] = []
    count, last = 0, _PART
    while last == _PART:
        name = f"{digest('part', *key, count)}.arrow"
        path = cache_folder() / name
        if not path.is_file():
            break
        last = len(datasets.Dataset.from_file(str(path)))
        names.append(name)
        count += last
    found = _reduced(iter(rows.skip(count) if count else rows), image, side, key[0])
    with datasets.utils.tqdm(initial=count, unit=" images", desc=f"reading {what}") as bar:
        while last == _PART:
            part = []
            for row in islice(found, _PART):
                part.append(row)
                bar.update()
            last = len(part)
            name = f"{digest('part', *key, count)}.arrow"
            table = pyarrow.Table.from_pylist(part, schema=kept.arrow_schema)
            with (
                atomic(cache_folder() / name) as path,
                pyarrow.OSFile(str(path), "wb") as file,
                pyarrow.ipc.new_stream(file, table.schema) as writer,
            ):
                writer.write_table(table)
            names.append(name)
            count += last
    return names


def _reduced(rows: Iterator[dict[str, Any]], image: str, side: int | None, name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows in order with reduced images; damaged ones are empty, and counted when decoded."""

    def keep(row: dict[str, Any]) -> dict[str, Any]:
        entry = row[image] or {}
        content = _content(entry, name)  # here a lost connection ends the stream
        try:
            content = _small(content, side)
        except InputError:
            raise
        except DAMAGE:
            content = b""
        return {**row, image: {"bytes": content, "path": entry.get("path")}}

    with ThreadPoolExecutor() as pool:  # downloads and Pillow release the GIL
        while some := list(islice(rows, _AT_ONCE)):
            yield from pool.map(keep, some)


def _content(entry: dict[str, Any], name: str) -> bytes:
    """Return an encoded image: its bytes, or the content of its path if that is in the data set itself."""
    content, path = entry.get("bytes"), entry.get("path") or ""
    if content is None and path.rpartition("::")[2].startswith(f"hf://datasets/{name}@"):
        from datasets.utils.file_utils import xopen

        with xopen(path, "rb") as file:
            content = file.read()
    return content or b""


def _small(content: bytes, side: int | None) -> bytes:
    """Return an image as an uncompressed file, grey if it was, cropped and resized to a square of that side."""
    stream = io.BytesIO(content)
    verify(stream)
    with opened_image(stream) as image:
        if is_deep(image):
            raise InputError(
                "hf-stream: reads images one by one, and images of more than 8 bits need a look at the whole set; "
                "give hf:owner/name, or save the set with 8 bits."
            )
        if image.mode == "F":
            raise InputError(
                "the data set holds images of floating-point pixels, expected 8 or 16 bits; save it with 8 bits."
            )
        turned = ImageOps.exif_transpose(image)
        width, height = (side, side) if side else turned.size
        fitted = Fit(1 if GREY.fullmatch(image.mode) else 3, height, width).fitted(turned)
    kept = io.BytesIO()
    fitted.save(kept, "PPM")
    return kept.getvalue()
