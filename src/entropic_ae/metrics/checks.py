"""What every metric on features requires of them."""

from __future__ import annotations

from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError

__all__ = ["checked_features"]


def checked_features(features: ArrayLike, name: str, *, least: int = 2, width: int | None = None) -> Tensor:
    """Return features as float64 on the CPU.

    Arguments:
        features: (N, F).
        name: whose they are, in errors.
        least: rows at least.
        width: F of the features that they are compared with.

    Raises: InputError: another shape, too few rows, another width, or values that are not finite.
    """
    features = as_tensor(features, f"{name} features")
    if features.ndim != 2 or features.shape[1] == 0:
        raise InputError(
            f"{name} features must be a matrix (N, F), got shape {tuple(features.shape)}; "
            "flatten what belongs to one image to one row."
        )
    if len(features) < least:
        raise InputError(
            f"a distance needs at least {least} rows of {name} features, got {len(features)}; give more images."
        )
    features = features.detach().cpu().double()
    if not bool(features.isfinite().all()):
        raise InputError(
            f"{name} features must be finite, got NaN or infinite values; "
            "look for a diverged model or a damaged feature network."
        )
    if width is not None and features.shape[1] != width:
        raise InputError(
            f"real and fake features must have one width, got {width} and {features.shape[1]}; "
            "compute both with the same feature space."
        )
    return features
