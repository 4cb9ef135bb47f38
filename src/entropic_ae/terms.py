"""Terms of the objective: each sums over features and averages over the batch; Objective adds them up."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.errors import InputError
from entropic_ae.estimators import knn_entropy

__all__ = ["TERMS", "NegativeEntropy", "Objective", "SquaredError", "Term"]


@dataclass(frozen=True)
class Term:
    """Base of all terms: calling one gives its unweighted value, a 0-dimensional tensor to be minimised.

    Attributes:
        weight: what the term is multiplied by in the objective.
        name: the term in logs.
        setting: its weight among the settings of a recipe, as in ``--set entropy=0.5``.

    >>> class CodeNorm(Term):
    ...     name = setting = "code_norm"
    ...
    ...     def __call__(self, model, trace):
    ...         return trace.code.z.square().sum(1).mean()
    >>> CodeNorm(0.1).weight
    0.1
    """

    weight: float = 1.0

    name: ClassVar[str] = ""
    setting: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise InputError(f"{self.setting} must be a finite weight of at least 0, got {self.weight}.")

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:
        """Return the term's value for one pass of a minibatch through the model."""
        raise NotImplementedError

    def check(self, model: Autoencoder) -> None:
        """Raise InputError if the term cannot be minimised on this model."""

    @property
    def least_batch(self) -> int:
        """The smallest batch that the term is defined on."""
        return 1


@dataclass(frozen=True)
class SquaredError(Term):
    """Reconstruction error ||x_hat - x||^2, summed over channels and pixels, averaged over the batch.

    >>> trace = Trace(torch.zeros(5, 1, 8, 8), None, torch.ones(5, 1, 8, 8))
    >>> SquaredError()(None, trace).item()
    64.0
    """

    name = "squared_error"
    setting = "squared_error"

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the error in squared units of [0, 1] pixels."""
        return (trace.x_hat - trace.x).square().flatten(1).sum(1).mean()


@dataclass(frozen=True)
class NegativeEntropy(Term):
    """Minus the Kozachenko-Leonenko entropy of the minibatch's codes, in nats: equation (2) of the paper.

    The weight is the paper's beta, for an error summed over pixels.

    Attributes:
        k: which nearest neighbour the estimate looks at.

    Raises: InputError, when the objective is built, if the bottleneck does not bound the entropy.

    >>> from entropic_ae.bottlenecks import Code
    >>> trace = Trace(None, Code(torch.tensor([[0.0], [1.0], [3.0]])), None)
    >>> round(NegativeEntropy()(None, trace).item(), 4)
    -2.1946
    """

    k: int = 1

    name = "negative_entropy"
    setting = "entropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise InputError(f"{self.setting}.k must be at least 1, got {self.k}.")

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return minus the entropy of the codes; not finite if a code is not, rather than an error."""
        return -knn_entropy(trace.code.z, self.k, check_finite=False)

    @property
    def least_batch(self) -> int:
        """The code itself and its k neighbours."""
        return self.k + 1

    def check(self, model: Autoencoder) -> None:
        """Refuse a bottleneck under which the entropy has no maximum."""
        if not model.bottleneck.bounds_entropy:
            raise InputError(
                "NegativeEntropy needs a bottleneck that bounds the entropy (BatchNorm, ...), got "
                f"{type(model.bottleneck).__name__}: the loss would be unbounded below."
            )


class Objective:
    """The sum of weight times term that a system minimises.

    Arguments:
        terms: the terms, each name once.
        model: what they will be minimised on; a combination that cannot work is refused here.

    Raises: InputError if there is no term, a name comes twice, or a term refuses the model.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> objective = Objective([SquaredError(), NegativeEntropy(0.05)], model)
    >>> loss, values = objective(model, model(torch.rand(10, 1, 8, 8)))
    >>> list(values)
    ['squared_error', 'negative_entropy']
    """

    def __init__(self, terms: Iterable[Term], model: Autoencoder) -> None:
        self.terms = tuple(terms)
        names = [term.name for term in self.terms]
        if not names or len(set(names)) < len(names):
            raise InputError(f"an objective needs at least one term and each only once, got {names}.")
        for term in self.terms:
            term.check(model)

    def __call__(self, model: Autoencoder, trace: Trace) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum and each term's unweighted value; in float32 at least under autocast.

        A term of weight 0 is measured, without a gradient, but does not enter the sum.
        """
        values = {}
        with torch.autocast(trace.x.device.type, enabled=False):
            for term in self.terms:
                with torch.set_grad_enabled(torch.is_grad_enabled() and term.weight > 0):
                    values[term.name] = term(model, trace)
            weighted = [term.weight * values[term.name] for term in self.terms if term.weight > 0]
            total = torch.stack(weighted).sum() if weighted else torch.zeros((), device=trace.x.device)
        return total, {name: value.detach() for name, value in values.items()}


TERMS: dict[str, type[Term]] = {term.name: term for term in (SquaredError, NegativeEntropy)}
