"""What may be given for a tensor: an array, or anything NumPy makes one of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from entropic_ae.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ArrayLike", "as_tensor"]

ArrayLike: TypeAlias = Any
"""A tensor, an array, a DataFrame or nested lists of numbers."""


def as_tensor(values: ArrayLike, who: str) -> Tensor:
    """Return numbers as a tensor; a tensor is returned unchanged, on its device and with its gradient.

    Arguments:
        values: a tensor, or what scikit-learn calls array-like: an array, a DataFrame, nested lists.
        who: the function or the argument, for the error message.

    Raises: InputError for anything else: text, objects, ragged lists, sparse matrices, masked values.

    >>> as_tensor([[1.0, 2.0]], "knn_entropy")
    tensor([[1., 2.]], dtype=torch.float64)
    """
    import torch

    if isinstance(values, torch.Tensor):
        return values
    if np.ma.is_masked(values):
        raise InputError(f"{who} expects numbers, got masked values; remove their rows, or fill them.")
    try:
        array = np.array(values)  # a copy: tensors must be writeable and have no negative strides
    except (ValueError, TypeError, RuntimeError):  # ragged lists, tensors that need a gradient
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{who} expects numbers in a tensor or an array, got {type(values).__name__}; give what "
            "numpy.asarray turns into numbers of one type."
        )
    return torch.from_numpy(array.astype(np.float64) if array.dtype == np.longdouble else array)
