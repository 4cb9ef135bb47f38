"""What may be given for a tensor, and where float64 is computed: on the CPU, if the device has none."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from entropic_ae.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["ArrayLike", "as_double", "as_tensor", "exact", "has_double"]

_WITHOUT_DOUBLE = frozenset({"mps"})  # types of devices that have no float64

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


def has_double(device: Any) -> bool:
    """Return whether a device, a ``torch.device``, computes in float64; Apple's GPU does not.

    >>> import torch
    >>> has_double(torch.device("cpu")), has_double(torch.device("mps"))
    (True, False)
    """
    return device.type not in _WITHOUT_DOUBLE


def as_double(x: Tensor) -> Tensor:
    """Return a tensor as float64: on its device, or on the CPU if the device has none; gradients pass.

    >>> import torch
    >>> as_double(torch.ones(1)).dtype
    torch.float64
    """
    return x.double() if has_double(x.device) else x.cpu().double()


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function that computes in float64 inside move its tensors to the CPU if their device has none.

    A result in float64 stays on the CPU, any other goes back to the device. Gradients pass both ways.

    >>> import torch
    >>> @exact
    ... def mean(x):
    ...     return x.double().mean().float()
    >>> mean(torch.tensor([1.0, 2.0]))
    tensor(1.5000)
    """

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        import torch

        given = (value for value in (*arguments, *options.values()) if isinstance(value, torch.Tensor))
        device = next((value.device for value in given if not has_double(value.device)), None)
        return function(*arguments, **options) if device is None else _on_cpu(function, arguments, options, device)

    return call


def _on_cpu(function: Callable[..., Any], arguments: Any, options: Any, device: Any) -> Any:
    import torch

    def moved(value: Any) -> Any:
        return value.cpu() if isinstance(value, torch.Tensor) else value

    found = function(*map(moved, arguments), **{name: moved(value) for name, value in options.items()})
    back = isinstance(found, torch.Tensor) and found.dtype != torch.float64
    return found.to(device) if back else found
