"""The depth of a set of images: which value becomes 255, by a look at the set as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from entropic_ae.data.formats import GREY
from entropic_ae.errors import InputError, warn

__all__ = ["ONES", "are_ones", "check_readable", "warn_of_few_bright", "white_of"]

ONES = 1  # the white of images of 0 and 1
_WHITES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))  # of scanners, cameras and detectors
_FULL = _WHITES[-1]
_DARK = 32  # of 255; a set whose values all are below is nearly black
_FEW = 1000  # a set of which less than one pixel in these is brighter, too


def check_readable(headers: Mapping[str, np.ndarray], source: str) -> None:
    """Raise InputError if no image can be read, or if some hold floating-point values."""
    sound = headers["mode"] != ""
    if not sound.any():
        reasons = sorted(set(headers["reason"]) - {""})
        why = (
            f" ({', '.join(reasons)}); save them as PNG of 8 or 16 bits" if reasons else "; give undamaged images"
        )
        raise InputError(f"none of the {len(sound)} images of {source} can be read{why}.")
    if "F" in headers["mode"]:
        raise InputError(
            f"{source} holds images of floating-point pixels, expected 8 or 16 bits; save them as 8-bit PNG."
        )


def white_of(headers: Mapping[str, np.ndarray], source: str, white: int | None = None) -> int | None:
    """Return the value that becomes 255 in images of more than 8 bits; None if there are none.

    It is the largest value that 8, 10, 12, 14 or 16 bits hold, of the fewest bits that hold the set: one for the
    set, so that single dark images stay dark. A warning tells any other than 65,535.

    Arguments:
        headers: of all images of the set, from ``scan``.
        source: name used in messages.
        white: the value of a set that is known already, used instead without a word.

    Raises: InputError for negative values, for values above 65,535 or above the known white, and for 16-bit colour
        of which fewer than 15 bits are in use, since Pillow reads the upper 8.
    """
    deep = headers["high"] >= 0
    if not deep.any():
        return None
    low, high = int(headers["low"][deep].min()), int(headers["high"][deep].max())
    total = int(deep.sum())
    count = f"{total:,} image{'s' * (total > 1)} of {source}"
    if low < 0:
        raise InputError(
            f"{count} hold values from {low:,} to {high:,}, expected 0 or more; add {-low:,} to all of them and "
            "save them as uint16."
        )
    known = None if white in (None, ONES) else white
    if high > (known or _FULL):
        expected = f"expected at most {known:,} as in the run's set" if known else "expected at most 65,535"
        raise InputError(f"{count} hold values up to {high:,}, {expected}; rescale all by one factor.")
    white = known or next(value for value in _WHITES if value >= high)
    colour = deep & np.array([not GREY.fullmatch(mode) or mode == "LA" for mode in headers["mode"]])
    if white < _FULL and colour.any():
        most = int(headers["high"][colour].max())
        raise InputError(
            f"{int(colour.sum()):,} images of {source} are 16-bit colour or have alpha, of values up to about "
            f"{most:,}: only the upper 8 bits of such files can be read; rescale them to 0 to 65,535, or "
            "save them with 8 bits."
        )
    if known is None and high > 1 and white < _FULL:
        warn(
            f"{count} have more than 8 bits and values up to {high:,}: {white:,} becomes white (255), for the "
            "whole set."
        )
    return white


def are_ones(images: Sequence[Tensor], source: str | None = None) -> bool:
    """Return whether uint8 images hold 0 and 1 only, with a 1 among them.

    Arguments:
        images: of all splits.
        source: name used in warnings, of 0 and 1, which become 0 and 255, and of images that are black or
            nearly so; None warns of nothing.
    """
    most = 0
    for part in images:
        for start in range(0, len(part), 1000):
            most = max(most, int(part[start : start + 1000].max()))
            if most >= _DARK:
                return False
    if source is not None and most == 0:
        warn(f"the images of {source} are all black: every value is 0; look at the files.")
    elif source is not None and most == 1:
        warn(f"the images of {source} hold 0 and 1 only: 1 becomes white (255).")
    elif source is not None and most > 1:
        warn(
            f"the largest value of the images of {source} is {most} of 255: they are nearly black; "
            "rescale them if white is meant."
        )
    return most == 1


def warn_of_few_bright(images: Sequence[Tensor], source: str, white: int) -> None:
    """Warn if a few bright pixels, such as defects or a mark, make a set of more than 8 bits nearly black.

    Arguments:
        images: of all splits, uint8.
        source: name used in the warning.
        white: the value that became 255.
    """
    total, bright = sum(part.numel() for part in images), 0
    for part in images:
        for start in range(0, len(part), 1000):
            bright += int((part[start : start + 1000] >= _DARK).sum())
            if bright * _FEW >= total:
                return
    warn(
        f"only {bright:,} of {total:,} pixels of {source} are brighter than {_DARK * white // 255:,} of "
        f"{white:,}, which becomes white (255): the rest is nearly black; limit the values if the few are defects "
        "or marks."
    )
