"""Tables of encoded images as splits in memory, with what is left out of them: told once, and counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from entropic_ae.data.decoding import Fit, Table, decode, names_of, scan
from entropic_ae.data.depth import are_ones, check_readable, warn_of_few_bright
from entropic_ae.data.formats import passed_over
from entropic_ae.data.images import DataWarning, LeftOutWarning, Split
from entropic_ae.errors import InputError, warn

__all__ = ["Decoded", "class_names_of", "decoded_splits", "scanned", "skipped"]


def class_names_of(tables: Mapping[str, Table], classes: int | None) -> tuple[str, ...] | None:
    """Return the names of the classes, unless some table has others, or there are not as many different ones."""
    found = {table.class_names for table in tables.values() if table.labels is not None}
    names = found.pop() if len(found) == 1 else None
    return names if names and len(names) == len(set(names)) == classes else None


def skipped(tables: Mapping[str, Table]) -> dict[str, int]:
    """Return the number of files that are no images, by suffix."""
    return {suffix: n for table in tables.values() for suffix, n in table.skipped.items()}


def scanned(tables: Mapping[str, Table], source: str) -> dict[str, np.ndarray]:
    """Return the headers of all splits; one warning each counts files and pages that are passed over."""
    found = [scan(table) for table in tables.values()]
    headers = {key: np.concatenate([one[key] for one in found]) for key in found[0]}
    check_readable(headers, source)
    if others := passed_over(skipped(tables)):
        warn(f"files of {source} that are no images here are passed over: {others}.", LeftOutWarning)
    more = headers["pages"] - 1
    if more.any() and not any(table.paged for table in tables.values()):
        warn(
            f"{more.sum():,} further pages of {(more > 0).sum():,} TIFF files of {source} are passed over; give "
            f"pages:{source} to read every page.",
            DataWarning,
        )
    return headers


class Decoded(NamedTuple):
    """Splits, their images' rows in the tables, whether they held 0 and 1, and the names of damaged images."""

    splits: dict[str, Split]
    rows: dict[str, np.ndarray]
    ones: bool
    damaged: list[str]

    def names(self, tables: Mapping[str, Table], key: str) -> list[str]:
        """Return the names of the files of a split's images; none unless they are files."""
        names = names_of(tables[key])
        return [] if names is None else [names[row] for row in self.rows[key]]


def decoded_splits(
    tables: Mapping[str, Table], fit: Fit, source: str, *, shuffled: bool = False, look: bool = True
) -> Decoded:
    """Decode every split; one warning counts the damaged images.

    Arguments:
        look: whether images of 0 and 1 become 0 and 255.
    """
    splits: dict[str, Split] = {}
    found: dict[str, np.ndarray] = {}
    damaged: list[str] = []
    for key, table in tables.items():
        images, rows, names = decode(table, fit, shuffled=shuffled)
        found[key] = rows
        labels = None if table.labels is None else torch.from_numpy(table.labels[rows]).long()
        splits[key] = Split(images, labels)
        damaged += names
    if damaged:
        total = len(damaged) + sum(len(split.images) for split in splits.values())
        if len(damaged) == total:
            raise InputError(f"none of the {total} images of {source} can be read; give undamaged images.")
        more = ", ..." if len(damaged) > 3 else ""
        warn(
            f"{len(damaged)} of {total} images of {source} cannot be read and are left out: "
            f"{', '.join(damaged[:3])}{more}.",
            LeftOutWarning,
        )
    if look and fit.white is not None:
        warn_of_few_bright([split.images for split in splits.values()], source, fit.white)
    if look and are_ones([split.images for split in splits.values()], source):
        fit = replace(fit, ones=True)
        splits = {
            key: Split(decode(table, fit, shuffled=shuffled)[0], splits[key].labels)
            for key, table in tables.items()
        }
    return Decoded(splits, found, fit.ones, damaged)
