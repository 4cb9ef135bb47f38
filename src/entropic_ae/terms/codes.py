"""Terms of the codes and their posteriors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.bottlenecks import Identity
from entropic_ae.distributed import gather
from entropic_ae.errors import InputError
from entropic_ae.estimators import knn_entropy, mmd2
from entropic_ae.terms.term import Term

__all__ = ["CodeNorm", "KullbackLeibler", "MaximumMeanDiscrepancy", "NegativeEntropy"]


@dataclass(frozen=True)
class KullbackLeibler(Term):
    """Kullback-Leibler divergence of each code's posterior from N(0, I), in nats: the VAE's.

    Raises: InputError, when the objective is built, if the bottleneck gives no posterior.

    >>> from entropic_ae.bottlenecks import GaussianPosterior
    >>> code = GaussianPosterior(2)(torch.tensor([[1.0, 2.0, 0.0, 0.0]]))
    >>> KullbackLeibler()(None, Trace(None, code, None)).item()
    2.5
    """

    name = "kl_divergence"
    setting = "kl"

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the divergence summed over dimensions, averaged over the batch."""
        posterior = trace.code.posterior
        assert posterior is not None
        zeros = torch.zeros_like(posterior.mean)
        prior = Independent(Normal(zeros, zeros + 1, validate_args=False), 1, validate_args=False)
        return kl_divergence(posterior, prior).mean()

    def check(self, model: Autoencoder) -> None:
        """Refuse a bottleneck without a posterior."""
        if not model.bottleneck.has_posterior:
            raise InputError(
                "KullbackLeibler needs a bottleneck with a posterior (GaussianPosterior, ...), got "
                f"{type(model.bottleneck).__name__}."
            )


@dataclass(frozen=True)
class MaximumMeanDiscrepancy(Term):
    """Squared maximum mean discrepancy between the minibatch's codes and as many draws from the prior: WAE-MMD.

    Unbiased, with the seven inverse multiquadratic kernels of ``mmd2``; the draws are new at each step.
    The prior is the bottleneck's, N(0, I) without a model.

    Reference: Tolstikhin et al. (2017), algorithm 2.

    >>> from entropic_ae.bottlenecks import Code, Identity
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), Identity(4), MLPDecoder((1, 8, 8), 4))
    >>> far = Trace(None, Code(torch.full((50, 4), 100.0)), None)
    >>> MaximumMeanDiscrepancy()(model, far).item() > 5
    True
    """

    name = "mmd"
    setting = "mmd"

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:
        """Return the discrepancy of the minibatch; slightly negative at times, as an unbiased estimate is."""
        z = gather(trace.code.z)
        bottleneck = Identity(z.shape[1]) if model is None else model.bottleneck
        return mmd2(z, bottleneck.prior().sample((len(z),)).to(z, non_blocking=True))

    @property
    def least_batch(self) -> int:
        """An unbiased estimate needs pairs."""
        return 2


@dataclass(frozen=True)
class CodeNorm(Term):
    """Squared norm of the codes, ||z||^2, summed over dimensions.

    Reference: Ghosh et al. (2019), section 3; their code has no factor 1/2 either.

    >>> from entropic_ae.bottlenecks import Code
    >>> CodeNorm()(None, Trace(None, Code(torch.full((5, 4), 2.0)), None)).item()
    16.0
    """

    name = "code_norm"
    setting = "code_norm"

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the mean squared norm."""
        return trace.code.z.square().sum(1).mean()


@dataclass(frozen=True)
class NegativeEntropy(Term):
    """Minus the Kozachenko-Leonenko entropy of the minibatch's codes, in nats: equation (2) of the paper.

    The weight is the paper's beta, for an error summed over pixels.

    A minibatch of 100 codes in 16 dimensions says little of their entropy: the estimate reaches its maximum while
    the codes are still nats from theirs. With ``memory`` each code's neighbours are looked for among so many codes
    of the latest minibatches too, see ``CodeMemory``: a sharper estimate, at the price of a rectangular matrix of
    distances.

    In evaluation the constraints hold for the running statistics only roughly, and codes that are too large have
    an entropy beyond the maximum. So there the bottleneck's ``excess_energy`` is added: the value is the
    divergence of the codes from the prior less its entropy, equal to minus the entropy wherever the constraints
    hold. Without it the lowest validation loss would be that of running statistics that lag. Nor do codes of the
    training images count in evaluation.

    Attributes:
        k: which nearest neighbour the estimate looks at.
        memory: how many codes of earlier minibatches are candidates besides; 0 as in the paper.

    Raises: InputError, when the objective is built, if the bottleneck does not bound the entropy.

    >>> from entropic_ae.bottlenecks import Code
    >>> trace = Trace(None, Code(torch.tensor([[0.0], [1.0], [3.0]])), None)
    >>> round(NegativeEntropy()(None, trace).item(), 4)
    -2.1946
    """

    k: int = 1
    memory: int = 0

    name = "negative_entropy"
    setting = "entropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise InputError(f"{self.setting}.k must be at least 1, got {self.k}.")
        if self.memory < 0:
            raise InputError(f"{self.setting}.memory must be at least 0, got {self.memory}.")

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:
        """Return minus the entropy of the codes; not finite if a code is not, rather than an error.

        The estimate is the bottleneck's, ``knn_entropy`` without a model.
        """
        z = gather(trace.code.z)
        estimate = knn_entropy if model is None else model.bottleneck.entropy
        if model is not None and not model.training:
            return model.bottleneck.excess_energy(z) - estimate(z, self.k, check_finite=False)
        return -estimate(z, self.k, others=trace.recent if self.memory else None, check_finite=False)

    @property
    def recent_codes(self) -> int:
        """The memory."""
        return self.memory

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
