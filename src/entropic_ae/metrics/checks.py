"""What every metric on features requires of them."""

from __future__ import annotations

from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor, has_double
from entropic_ae.errors import InputError

__all__ = ["checked_features", "checked_pair", "checked_rows"]


def checked_features(features: ArrayLike, name: str, *, least: int = 2, width: int | None = None) -> Tensor:
    """Return features as float64 on the CPU.

    Arguments:
        features: (N, F).
        name: whose they are, in errors.
        least: rows at least.
        width: F of the features that they are compared with.

    Raises: InputError: another shape, too few rows, another width, or values that are not finite.
    """
    found = _checked(features, name, least)
    if width is not None:
        _same_width(width, found.shape[1], ("real", "fake"))
    return found.cpu().double()


def checked_pair(real: ArrayLike, fake: ArrayLike, *, least: int = 1) -> tuple[Tensor, Tensor]:
    """Return two sets of features in their own precision, on the GPU if the first is there, else on the CPU.

    Raises: InputError: as of ``checked_features``.
    """
    x = checked_rows(real, "real", least=least)
    return x, checked_rows(fake, "fake", least=least, like=x)


def checked_rows(
    features: ArrayLike,
    name: str,
    *,
    least: int = 1,
    like: Tensor | None = None,
    like_name: str = "real",
) -> Tensor:
    """Return features in their own precision, on the GPU if they are there, else on the CPU.

    Arguments:
        features: (N, F).
        name: whose they are, in errors.
        least: rows at least.
        like: features that they are compared with, of the same width, on whose device they are moved.
        like_name: whose those are.

    Raises: InputError: as of ``checked_features``.
    """
    found = _checked(features, name, least)
    if like is not None:
        _same_width(like.shape[1], found.shape[1], (like_name, name))
        return found.to(like.device)
    return found if has_double(found.device) else found.cpu()


def _checked(features: ArrayLike, name: str, least: int) -> Tensor:
    features = as_tensor(features, f"{name} features").detach()
    if features.ndim != 2 or features.shape[1] == 0:
        raise InputError(
            f"{name} features must be a matrix (N, F), got shape {tuple(features.shape)}; "
            "flatten what belongs to one image to one row."
        )
    if len(features) < least:
        raise InputError(
            f"a distance needs at least {least} rows of {name} features, got {len(features)}; give more images."
        )
    if not bool(features.isfinite().all()):
        raise InputError(
            f"{name} features must be finite, got NaN or infinite values; "
            "look for a diverged model or a damaged feature network."
        )
    return features


def _same_width(first: int, second: int, names: tuple[str, str]) -> None:
    if first != second:
        raise InputError(
            f"{names[0]} and {names[1]} features must have one width, got {first} and {second}; "
            "compute both with the same feature space."
        )
