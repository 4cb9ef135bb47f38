"""Terms that push codes to their prior by other means than the entropy, and a loss module for other models."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.bottlenecks import Code, Identity
from entropic_ae.distributed import gather, processes
from entropic_ae.errors import InputError
from entropic_ae.estimators import (
    cramer_wold,
    energy_distance,
    epps_pulley,
    knn_divergence,
    knn_entropy,
    matricial_free_energy,
    norm_transport,
    sliced_transport,
)
from entropic_ae.estimators.entropy import digamma, log_ball
from entropic_ae.priors import Normal
from entropic_ae.terms.term import Term

__all__ = [
    "CodeLoss",
    "CramerWold",
    "EnergyDistance",
    "KNNDivergence",
    "KoLeo",
    "MatricialFreeEnergy",
    "NormTransport",
    "SIGReg",
    "SlicedWasserstein",
]


class CodeLoss(nn.Module):
    """A term on codes as a module with one input: a loss for any model.

    The codes are compared with N(0, I). Where ``torch.distributed`` is initialised, they are those of all
    processes, and the average of the gradients, which distributed training takes, is that of the whole batch.

    Arguments:
        term: one that reads the codes alone, such as ``SIGReg``, ``KoLeo`` or ``NegativeEntropy``.

    >>> import torch
    >>> z = torch.randn(100, 8, requires_grad=True)
    >>> CodeLoss(SIGReg(slices=64))(z).backward()
    >>> z.grad.shape
    torch.Size([100, 8])
    """

    def __init__(self, term: Term) -> None:
        super().__init__()
        if not isinstance(term, Term):
            raise InputError(f"CodeLoss expects a term on codes, such as SIGReg(), got {term!r}.")
        if term.recent_codes:
            raise InputError(
                f"CodeLoss sees one minibatch, and {term!r} also counts codes of earlier ones; set memory=0, or "
                "use an Objective, which keeps them."
            )
        self.term = term

    def forward(self, z: Tensor) -> Tensor:
        """Return the weighted value for codes, (N, D); not a number if one of them is none.

        Raises: InputError for codes that are no floats or not (N, D), too few of them, or a term that needs more
            than codes.
        """
        least = self.term.least_batch
        if z.ndim != 2 or not z.is_floating_point() or len(z) * processes() < least:
            raise InputError(
                f"CodeLoss expects codes as floats of shape (N, D), N at least {least}, got {tuple(z.shape)} of "
                f"{str(z.dtype).removeprefix('torch.')}."
            )
        try:
            value = self.term(None, Trace(None, Code(z), None))  # type: ignore[arg-type]
        except (AssertionError, AttributeError, TypeError) as error:  # without a model, images and posteriors
            raise InputError(f"CodeLoss expects a term that reads codes alone, got {self.term!r}.") from error
        return self.term.weight * value + 0 * z.mean()

    def extra_repr(self) -> str:
        """Return the term with its settings."""
        return repr(self.term)


@dataclass(frozen=True)
class _OfPairs(Term):
    """A term of several codes at once."""

    @property
    def least_batch(self) -> int:
        """Two codes."""
        return 2


@dataclass(frozen=True)
class _OfNormal(_OfPairs):
    """A term that compares codes with N(0, I), whatever the bottleneck."""

    def check(self, model: Autoencoder) -> None:
        """Reject a bottleneck whose prior is not N(0, I)."""
        with torch.device("cpu"):  # a model of which only the sizes are wanted is on the device meta
            prior = model.bottleneck.prior()
        if type(prior) is not Normal or bool((prior.mean != 0).any() or (prior.variance != 1).any()):
            raise InputError(
                f"{type(self).__name__} compares codes with N(0, I), and {type(model.bottleneck).__name__} has "
                "another prior; use BatchNorm, Whitening or Identity, or a term that draws from the prior "
                "(MaximumMeanDiscrepancy, EnergyDistance, KNNDivergence)."
            )


def _prior(model: Autoencoder | None, z: Tensor) -> Distribution:
    return (Identity(z.shape[1]) if model is None else model.bottleneck).prior()


def _draws(model: Autoencoder | None, z: Tensor) -> Tensor:
    return _prior(model, z).sample((len(z),)).to(z, non_blocking=True)


@dataclass(frozen=True)
class EnergyDistance(_OfPairs):
    """Energy distance between N codes of a minibatch and N draws from the prior; see ``energy_distance``.

    Each step takes new draws. The prior is that of the bottleneck, or N(0, I) without a model.

    Reference: Szekely and Rizzo, "Energy statistics: a class of statistics based on distances", 2013,
    https://doi.org/10.1016/j.jspi.2013.03.018.

    >>> import torch
    >>> EnergyDistance()(None, Trace(None, Code(torch.full((50, 4), 9.0)), None)).item() > 20
    True
    """

    name = setting = "energy_distance"

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:
        """Return the unbiased estimate for the minibatch, which may be slightly negative."""
        z = gather(trace.code.z)
        return energy_distance(z, _draws(model, z), check_finite=False)


@dataclass(frozen=True)
class KNNDivergence(_OfPairs):
    """Nearest-neighbour divergence of N codes of a minibatch from N draws of the prior, in nats.

    For codes that follow the prior the bias of the entropy's estimate stands in that of the cross entropy too, and
    cancels. For others it does not: in one direction the divergence still prefers codes on a sphere to normal ones
    from some 16 dimensions on. The symmetric one does not at 16, and does not tell them apart from 100 codes of 32
    dimensions or more. Each step takes new draws; see ``knn_divergence``. It needs no bottleneck that bounds the
    entropy.

    Attributes:
        k: order of the nearest neighbour.
        symmetric: add the divergence of the draws from the codes.

    Reference: Wang, Kulkarni and Verdu, "Divergence estimation for multidimensional densities via
    k-nearest-neighbor distances", 2009, https://doi.org/10.1109/TIT.2009.2016060.

    >>> import torch
    >>> KNNDivergence()(None, Trace(None, Code(torch.randn(50, 4) + 5), None)).item() > 5
    True
    """

    k: int = 1
    symmetric: bool = False

    name = setting = "knn_divergence"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise InputError(f"{self.setting}.k must be at least 1, got {self.k}.")

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:
        """Return the estimate for the minibatch, which may be negative."""
        z = gather(trace.code.z)
        drawn = _draws(model, z)
        value = knn_divergence(z, drawn, self.k, check_finite=False)
        return value + knn_divergence(drawn, z, self.k, check_finite=False) if self.symmetric else value

    @property
    def least_batch(self) -> int:
        """A code and its k neighbours."""
        return self.k + 1


@dataclass(frozen=True)
class SlicedWasserstein(_OfNormal):
    """Squared sliced 2-Wasserstein distance of the codes of a minibatch from N(0, I).

    Each step takes new directions; see ``sliced_transport``. Behind a batch norm it is the shape term of VISReg.

    Attributes:
        slices: number of directions.

    References: Kolouri, Pope, Martin and Rohde, "Sliced-Wasserstein autoencoder", 2018,
    https://arxiv.org/abs/1804.01947; "VISReg", 2026, https://arxiv.org/abs/2606.02572.

    >>> import torch
    >>> 20 < SlicedWasserstein()(None, Trace(None, Code(torch.randn(50, 4) + 5), None)).item() < 30
    True
    """

    slices: int = 256

    name = setting = "sliced_wasserstein"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_slices(self.setting, self.slices)

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the distance for the minibatch."""
        return sliced_transport(gather(trace.code.z), slices=self.slices)


@dataclass(frozen=True)
class SIGReg(_OfNormal):
    """Sketched isotropic Gaussian regularisation of LeJEPA: the Epps-Pulley statistic on random directions.

    Each step takes new directions; see ``epps_pulley``. LeJEPA's value is this times the number of codes, so a
    weight of theirs times their batch size is a weight here.

    Attributes:
        slices: number of directions; 1,024 in LeJEPA.

    Reference: Balestriero and LeCun, "LeJEPA: provable and scalable self-supervised learning without the
    heuristics", 2025, https://arxiv.org/abs/2511.08544.

    >>> import torch
    >>> SIGReg()(None, Trace(None, Code(torch.randn(50, 4) + 5), None)).item() > 0.2
    True
    """

    slices: int = 256

    name = setting = "sigreg"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_slices(self.setting, self.slices)

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the statistic for the minibatch."""
        return epps_pulley(gather(trace.code.z), slices=self.slices)


@dataclass(frozen=True)
class CramerWold(_OfNormal):
    """Squared Cramer-Wold distance of the codes of a minibatch from N(0, I), in closed form; see ``cramer_wold``.

    The Cramer-Wold autoencoder minimises its logarithm; here it is the distance itself.

    Reference: Knop et al., "Cramer-Wold auto-encoder", 2020, https://jmlr.org/papers/v21/19-560.html.

    >>> import torch
    >>> CramerWold()(None, Trace(None, Code(torch.randn(50, 4) + 5), None)).item() > 0.2
    True
    """

    name = setting = "cramer_wold"

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the distance for the minibatch."""
        return cramer_wold(gather(trace.code.z))


@dataclass(frozen=True)
class MatricialFreeEnergy(_OfNormal):
    """Free energy of the singular values of the codes of a minibatch; see ``matricial_free_energy``.

    It sees the covariance alone, so behind whitening it is a constant, and is refused. A minibatch must have more
    codes than dimensions.

    Reference: Sonthalia and Nadakuditi, "Matricial free energy as a Gaussianizing regularizer", 2025,
    https://arxiv.org/abs/2510.17120.

    >>> import torch
    >>> z = torch.randn(50, 4)
    >>> lower, higher = (MatricialFreeEnergy()(None, Trace(None, Code(x), None)) for x in (z, 3 * z))
    >>> bool(lower < higher)
    True
    """

    name = setting = "free_energy"

    def least_batch_of(self, model: Autoencoder) -> int:
        """Return one code more than dimensions."""
        return model.bottleneck.latent_dim + 1

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the free energy for the minibatch."""
        return matricial_free_energy(gather(trace.code.z))

    def check(self, model: Autoencoder) -> None:
        """Reject another prior than N(0, I), and whitened codes, whose singular values are equal."""
        super().check(model)
        if model.bottleneck.least_batch > model.bottleneck.latent_dim:
            raise InputError(
                "MatricialFreeEnergy sees the covariance of the codes alone, which "
                f"{type(model.bottleneck).__name__} fixes: it would be constant; use BatchNorm or Identity."
            )


@dataclass(frozen=True)
class NormTransport(_OfNormal):
    """Squared 2-Wasserstein distance of the norms of the codes from those of N(0, I); see ``norm_transport``.

    Beside ``NegativeEntropy`` it holds what the estimate of few codes gets wrong: it prefers codes of equal norm.

    >>> import torch
    >>> z = torch.randn(500, 4)
    >>> shell = z / z.norm(dim=1, keepdim=True) * 2
    >>> NormTransport()(None, Trace(None, Code(shell), None)).item() > 0.3
    True
    """

    name = setting = "norm_transport"

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the distance for the minibatch."""
        return norm_transport(gather(trace.code.z))


@dataclass(frozen=True)
class KoLeo(_OfPairs):
    r"""KoLeo loss of DINOv2: minus the mean logarithm of the nearest distance between normalised codes.

    It is the Kozachenko-Leonenko entropy of $z / \|z\|$ without its constants, and divided by -D. The norms of
    the codes do not count. Codes that coincide have a finite value and no gradient, where DINOv2's depends on its
    constant of 1e-8.

    References: Sablayrolles, Douze, Schmid and Jegou, "Spreading vectors for similarity search", 2018,
    https://arxiv.org/abs/1806.03198; Oquab et al., "DINOv2", 2023, https://arxiv.org/abs/2304.07193.

    >>> import torch
    >>> round(KoLeo()(None, Trace(None, Code(torch.eye(2)), None)).item(), 4)  # both are sqrt(2) apart
    -0.3466
    """

    name = setting = "koleo"

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the loss for the minibatch."""
        z = nn.functional.normalize(gather(trace.code.z), dim=1)
        n, dim = z.shape
        constant = log_ball(dim) + math.log(n - 1) - digamma(1)
        return (constant - knn_entropy(z, check_finite=False)) / dim


def _check_slices(setting: str, slices: int) -> None:
    if slices < 1:
        raise InputError(f"{setting}.slices must be at least 1, got {slices}.")
