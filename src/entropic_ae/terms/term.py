"""The base class of all terms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.errors import InputError

__all__ = ["Term"]


@dataclass(frozen=True)
class Term:
    """Base class of all terms. Calling a term returns its unweighted value, a 0-dimensional tensor to minimise.

    A term is called with a model and the ``Trace`` of one pass through it. With a custom model, fill in the fields
    that the term uses and set the others to None: ``KullbackLeibler()(None, Trace(None, code, None))``.

    Attributes:
        weight: factor of the term in the objective.
        name: name of the term in logs.
        setting: name of the weight among the settings of a recipe, as in ``--set entropy=0.5``.
        derives_twice: whether its gradient needs second derivatives of the networks.

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
        """Return the value of the term for one pass of a minibatch through the model."""
        raise NotImplementedError

    def check(self, model: Autoencoder) -> None:
        """Raise InputError if the term cannot be minimised on this model."""

    def prepared(self, network: Callable[[str], nn.Module | None]) -> Term:  # noqa: ARG002
        """Return the term with what it needs of the training images.

        Arguments:
            network: returns the frozen network of a name, for ``FeatureError``; None if the name is no such one.
        """
        return self

    def with_images(self, images: Tensor) -> Term:  # noqa: ARG002
        """Return the term with what it computes once of all training images, uint8 (N, C, H, W)."""
        return self

    def new_state(self) -> nn.Module | None:
        """Return what the term keeps between steps, as ``trace.state``, saved in checkpoints; None for nothing."""
        return None

    @property
    def recent_codes(self) -> int:
        """The number of codes of earlier minibatches that the term uses, passed as ``trace.recent``."""
        return 0

    @property
    def least_batch(self) -> int:
        """The smallest batch for which the term is defined."""
        return 1

    def least_batch_of(self, model: Autoencoder) -> int:  # noqa: ARG002
        """Return the smallest batch for which the term is defined on a model."""
        return self.least_batch
