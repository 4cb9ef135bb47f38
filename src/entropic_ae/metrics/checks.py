"""Checks of the features that a metric is given."""

from __future__ import annotations

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError

__all__ = ["checked_features"]


def checked_features(
    real: ArrayLike, fake: ArrayLike, least: int = 1, *, names: tuple[str, str] = ("real", "fake")
) -> tuple[Tensor, Tensor]:
    """Return two sets of features as tensors on one device; InputError names the one that is not valid.

    They stay in their own precision, on the GPU if the first is there and on the CPU otherwise.
    """
    real, fake = (as_tensor(x, f"{name} features").detach() for x, name in zip((real, fake), names, strict=True))
    for name, features in zip(names, (real, fake), strict=True):
        if features.ndim != 2 or features.shape[1] == 0:
            raise InputError(
                f"{name} features must be a matrix (N, F), got shape {tuple(features.shape)}; "
                "flatten what belongs to one image to one row."
            )
        if len(features) < least:
            raise InputError(
                f"a distance needs at least {least} rows of {name} features, got {len(features)}; "
                "give more images."
            )
        if not bool(torch.isfinite(features).all()):
            raise InputError(
                f"{name} features must be finite, got NaN or infinite values; "
                "look for a diverged model or a damaged feature network."
            )
    if real.shape[1] != fake.shape[1]:
        raise InputError(
            f"{names[0]} and {names[1]} features must have one width, got {real.shape[1]} and {fake.shape[1]}; "
            "compute both with the same feature space."
        )
    device = real.device if real.device.type == "cuda" else torch.device("cpu")  # others have no float64
    return real.to(device), fake.to(device)
