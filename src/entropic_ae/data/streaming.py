"""Sets of the Hub read as a stream: of each image what fits the size is kept, and no copy of the set.

The images come in parts, each a file of the cache once it is whole: a stream that was interrupted goes on behind
the last of them. What is kept is not compressed (PGM and PPM), cut and resized as ``Fit`` does it; from there it
takes the way of any other table.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from entropic_ae.data.decoding import DAMAGE, FORMATS, GREY, Fit, Table, cache_folder, digest, quiet, verify
from entropic_ae.data.hub import check_remote, hub_errors, hub_revision, known_splits
from entropic_ae.data.tables import columns, opened
from entropic_ae.errors import InputError
from entropic_ae.storage.files import atomic, read_json, write_json

if TYPE_CHECKING:
    import datasets

__all__ = ["stream_tables"]

_PART = 4096  # images
_AT_ONCE = 64  # encoded images in memory


def stream_tables(name: str, side: int | None) -> dict[str, Table]:
    """Return the splits of the Hub's data set ``name`` (owner/name), which is read as a stream, once a revision.

    Arguments:
        side: of the square that is kept of each image, in pixels; None keeps whole images.

    Raises: InputError: as for ``hub_tables``; what came before the Hub was lost is kept.
    """
    import datasets

    check_remote(name)
    index = cache_folder() / f"{digest('stream', name, side)}.json"
    known = read_json(index) if index.is_file() else None
    kept = chain(*known["parts"].values()) if known else ()
    if not all((cache_folder() / part).is_file() for part in kept):
        known = None  # a part of the cache is gone
    revision = hub_revision(name)
    if revision is None and known is None:
        raise InputError(
            f"the data set {name} has not been read whole on this machine and the Hugging Face Hub cannot be "
            "reached; go online: a stream goes on where it ended."
        )
    if known is None or revision not in (None, known["revision"]):
        with hub_errors(name, "try again: a stream goes on where it ended."), quiet(count=None, hub=True):
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
    """Read what is missing of a split; return the names of the files that hold it, of which the last is short."""
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
    """Yield rows with what is kept of their images, in order; nothing of the damaged, which decoding counts."""

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

    with ThreadPoolExecutor() as pool:  # the Hub is waited for, and Pillow decodes, outside the lock
        while some := list(islice(rows, _AT_ONCE)):
            yield from pool.map(keep, some)


def _content(entry: dict[str, Any], name: str) -> bytes:
    """Return an encoded image: its bytes, or what lies at its path if that is in the data set itself."""
    content, path = entry.get("bytes"), entry.get("path") or ""
    if content is None and path.rpartition("::")[2].startswith(f"hf://datasets/{name}@"):
        from datasets.utils.file_utils import xopen

        with xopen(path, "rb") as file:
            content = file.read()
    return content or b""


def _small(content: bytes, side: int | None) -> bytes:
    """Return an image as an uncompressed file, grey if it was, cut to a square of that side."""
    stream = io.BytesIO(content)
    verify(stream)
    with Image.open(stream, formats=FORMATS) as image:
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
