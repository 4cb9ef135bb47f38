"""Terms on codes and their posteriors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.bottlenecks import Identity
from entropic_ae.distributed import gather
from entropic_ae.errors import InputError
from entropic_ae.estimators import distinct_codes, knn_entropy, mmd2
from entropic_ae.terms.term import Term

__all__ = ["CodeNorm", "KullbackLeibler", "MaximumMeanDiscrepancy", "NegativeEntropy"]


@dataclass(frozen=True)
class KullbackLeibler(Term):
    r"""Kullback-Leibler divergence $KL(q(z|x) \,\|\, N(0, I))$ of the posterior of each code, in nats.

    Raises: InputError, when the objective is built, if the bottleneck has no posterior.

    Reference: Kingma and Welling, "Auto-encoding variational Bayes", 2013, https://arxiv.org/abs/1312.6114.

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
        """Reject a bottleneck without a posterior."""
        if not model.bottleneck.has_posterior:
            raise InputError(
                "KullbackLeibler needs a bottleneck with a posterior (GaussianPosterior, ...), got "
                f"{type(model.bottleneck).__name__}."
            )


@dataclass(frozen=True)
class MaximumMeanDiscrepancy(Term):
    """Squared maximum mean discrepancy between N codes of a minibatch and N draws from the prior, as in WAE-MMD.

    The estimate is unbiased and uses the seven inverse multiquadratic kernels of ``mmd2``. Each step takes new
    draws. The prior is that of the bottleneck, or N(0, I) without a model.

    Reference: Tolstikhin et al., "Wasserstein auto-encoders", 2017, algorithm 2, https://arxiv.org/abs/1711.01558.

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
        """Return the unbiased estimate for the minibatch, which may be slightly negative."""
        z = gather(trace.code.z)
        bottleneck = Identity(z.shape[1]) if model is None else model.bottleneck
        drawn = bottleneck.prior().sample((len(z),)).to(z, non_blocking=True)
        return mmd2(z, drawn, check_finite=False)

    @property
    def least_batch(self) -> int:
        """An unbiased estimate needs pairs."""
        return 2


@dataclass(frozen=True)
class CodeNorm(Term):
    r"""Squared norm of the codes, $\|z\|^2$, summed over dimensions, averaged over the batch.

    Reference: Ghosh et al., "From variational to deterministic autoencoders", 2019, section 3,
    https://arxiv.org/abs/1903.12436. As in their code, there is no factor 1/2.

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
    """Negative Kozachenko-Leonenko entropy of the codes of a minibatch, in nats: equation (2) of the paper.

    The weight is the paper's beta, for a squared error summed over pixels.

    A minibatch of 100 codes in 16 dimensions gives a coarse estimate: it reaches its maximum while the entropy of
    the codes is still several nats below the maximum. ``memory`` adds codes of the latest minibatches to the
    candidate neighbours (see ``CodeMemory``). The estimate is then sharper, at the cost of a rectangular matrix of
    distances.

    In evaluation mode the running statistics meet the constraints only approximately, and codes that are too large
    have an entropy above the maximum. So the bottleneck's ``excess_energy`` is added. The value is then the
    divergence of the codes from the prior, minus the entropy of the prior; where the constraints hold, it equals
    the negative entropy. Without this correction, lagging running statistics would give the lowest validation
    loss. The memory is not used in evaluation mode, and equal codes count once.

    Attributes:
        k: order of the nearest neighbour in the estimate.
        memory: number of codes of earlier minibatches among the candidates; 0, as in the paper, uses none.

    Raises: InputError, when the objective is built, if the bottleneck does not bound the entropy.

    Reference: Ghose, Rashwan and Poupart, "Batch norm with entropic regularization turns deterministic
    autoencoders into generative models", 2020, https://arxiv.org/abs/2002.10631.

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
        """Return the negative entropy of the codes; non-finite codes give a non-finite value, not an error.

        The estimator is that of the bottleneck, or ``knn_entropy`` without a model.
        """
        z = gather(trace.code.z)
        estimate = knn_entropy if model is None else model.bottleneck.entropy
        if model is not None and not model.training:
            return model.bottleneck.excess_energy(z) - estimate(
                distinct_codes(z, self.k), self.k, check_finite=False
            )
        return -estimate(z, self.k, others=trace.recent if self.memory else None, check_finite=False)

    @property
    def recent_codes(self) -> int:
        """The memory."""
        return self.memory

    @property
    def least_batch(self) -> int:
        """A code and its k neighbours."""
        return self.k + 1

    def check(self, model: Autoencoder) -> None:
        """Reject a bottleneck under which the entropy is unbounded, or of which it is no density's."""
        if model.bottleneck.is_discrete:
            raise InputError(
                "NegativeEntropy is that of a density, and the codes of "
                f"{type(model.bottleneck).__name__} are of a finite alphabet; use NegativeDiscreteEntropy "
                "(terms=squared_error+negative_discrete_entropy, or the recipe q-eae)."
            )
        if not model.bottleneck.bounds_entropy:
            raise InputError(
                "NegativeEntropy needs a bottleneck that bounds the entropy (BatchNorm, ...), got "
                f"{type(model.bottleneck).__name__}: the loss would be unbounded below."
            )
