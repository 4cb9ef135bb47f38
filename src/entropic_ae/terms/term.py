"""What all terms share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.errors import InputError

__all__ = ["Term"]


@dataclass(frozen=True)
class Term:
    """Base of all terms: calling one gives its unweighted value, a 0-dimensional tensor to be minimised.

    A term is called with a model and a ``Trace`` of one pass through it. In a model of your own, fill in what the
    term looks at and leave None elsewhere: ``KullbackLeibler()(None, Trace(None, code, None))``.

    Attributes:
        weight: what the term is multiplied by in the objective.
        name: the term in logs.
        setting: its weight among the settings of a recipe, as in ``--set entropy=0.5``.
        derives_twice: whether its gradient is a second derivative of the networks.

    >>> class Sparsity(Term):
    ...     name = setting = "sparsity"
    ...
    ...     def __call__(self, model, trace):
    ...         return trace.code.z.abs().sum(1).mean()
    >>> Sparsity(0.1).weight
    0.1
    """

    weight: float = 1.0

    name: ClassVar[str] = ""
    setting: ClassVar[str] = ""
    derives_twice: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise InputError(f"{self.setting} must be a finite weight of at least 0, got {self.weight}.")

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:
        """Return the term's value for one pass of a minibatch through the model."""
        raise NotImplementedError

    def check(self, model: Autoencoder) -> None:
        """Raise InputError if the term cannot be minimised on this model."""

    @property
    def recent_codes(self) -> int:
        """How many codes of earlier minibatches the term looks at, as ``trace.recent``."""
        return 0

    @property
    def least_batch(self) -> int:
        """The smallest batch that the term is defined on."""
        return 1
