"""Terms of the objective: each sums over features and averages over the batch; Objective adds them up."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn.utils.parametrize import is_parametrized

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.errors import InputError
from entropic_ae.estimators import knn_entropy, mmd2

__all__ = [
    "TERMS",
    "CodeNorm",
    "DecoderDecay",
    "DecoderGradient",
    "GaussianLikelihood",
    "KullbackLeibler",
    "MaximumMeanDiscrepancy",
    "NegativeEntropy",
    "Objective",
    "SquaredError",
    "Term",
]

_LEAST_ERROR = 1e-6  # a squared error below the rounding of 8-bit images, at which a learned scale stops


@dataclass(frozen=True)
class Term:
    """Base of all terms: calling one gives its unweighted value, a 0-dimensional tensor to be minimised.

    A term is called with a model and a ``Trace`` of one pass through it. In a model of your own, fill in what the
    term looks at and leave None elsewhere: ``KullbackLeibler()(None, Trace(None, code, None))``.

    Attributes:
        weight: what the term is multiplied by in the objective.
        name: the term in logs.
        setting: its weight among the settings of a recipe, as in ``--set entropy=0.5``.

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
class GaussianLikelihood(Term):
    """Negative log likelihood of the images under N(x_hat, gamma^2 I), gamma learned; in nats.

    gamma^2 is taken at its optimum for the minibatch, the mean squared error, so that the term over P values is
    P / 2 * (log(2 pi gamma^2) + 1), with the gradient that the squared error has at that gamma; it falls no lower
    than 0.001. The code of Dai and Wipf makes gamma a parameter, which gradient descent brings to the same place
    with a delay.

    References: Dai and Wipf (2019); the closed form is that of Rybkin, Daniilidis and Levine (2021).

    >>> trace = Trace(torch.zeros(5, 1, 8, 8), None, torch.ones(5, 1, 8, 8))
    >>> round(GaussianLikelihood()(None, trace).item() / 64, 4)
    1.4189
    """

    name = "negative_log_likelihood"
    setting = "likelihood"

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the sum over a code's or an image's values, averaged over the batch."""
        error = (trace.x_hat - trace.x).square().mean()
        variance = error.detach().clamp_min(_LEAST_ERROR)
        return 0.5 * trace.x[0].numel() * ((2 * math.pi * variance).log() + error / variance)


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

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:  # noqa: ARG002
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

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:
        """Return the discrepancy of the minibatch; slightly negative at times, as an unbiased estimate is."""
        z = trace.code.z
        return mmd2(z, model.bottleneck.prior().sample((len(z),)).to(z, non_blocking=True))

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

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the mean squared norm."""
        return trace.code.z.square().sum(1).mean()


@dataclass(frozen=True)
class DecoderDecay(Term):
    """Sum of the decoder's squared weights (not its biases or batch norms): L2 regularisation.

    Under spectral normalisation the weights before it count. A batch norm after a layer undoes any scale of its
    weights: on the paper's decoder the decay of all layers but the last leaves the map as it is, and changes the
    effective learning rate.

    Attributes:
        convolutions: whether the kernels of convolutions count, transposed ones included.
        linear: whether the weights of linear layers count.

    Raises: InputError, when the objective is built, if the decoder has no such weight.

    Reference: the rows AE-L2 and RAE-L2 of Ghosh et al. (2019); in their code the convolutions alone count on
    MNIST and CIFAR-10, the linear layer too on CelebA.

    >>> from entropic_ae.bottlenecks import Identity
    >>> model = Autoencoder(nn.Identity(), Identity(2), nn.Linear(2, 3))
    >>> _ = nn.init.ones_(model.decoder.weight)
    >>> DecoderDecay()(model, None).item()
    6.0
    """

    convolutions: bool = True
    linear: bool = True

    name = "decoder_decay"
    setting = "decoder_decay"

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the sum of squares."""
        return torch.stack([weight.square().sum() for weight in self._weights(model)]).sum()

    def check(self, model: Autoencoder) -> None:
        """Refuse a decoder without a weight that counts."""
        if not self._weights(model):
            raise InputError(
                f"DecoderDecay found no weight in {type(model.decoder).__name__} to sum; set "
                f"{self.setting}.convolutions or {self.setting}.linear."
            )

    def _weights(self, model: Autoencoder) -> list[Any]:
        kinds: tuple[type[nn.Module], ...] = ()
        kinds += (nn.Conv2d, nn.ConvTranspose2d) if self.convolutions else ()
        kinds += (nn.Linear,) if self.linear else ()
        layers = [layer for layer in model.decoder.modules() if isinstance(layer, kinds)]
        # of a normalised layer, ``weight`` is computed, by a power iteration at each look
        return [
            layer.get_submodule("parametrizations.weight").original
            if is_parametrized(layer, "weight")
            else layer.weight
            for layer in layers
        ]


@dataclass(frozen=True)
class DecoderGradient(Term):
    """Squared Frobenius norm of the decoder's Jacobian, ||d x_hat / d z||^2: the gradient penalty of RAE-GP.

    Estimated without the Jacobian, and without bias, by one backward pass: E ||v^T J||^2 = ||J||^2 for random
    signs v. It looks at ``trace.x_hat`` and ``trace.code.z``, which must require a gradient in training; in
    validation the decoder is run once more. With batch norm in the decoder an image depends on the other codes of
    its minibatch too; these derivatives count, and are small.

    The definition in the paper of Ghosh et al. (2019, section 3) is followed; their code differentiates the sum of
    x_hat^2 instead, and averages over batch and D.

    >>> from entropic_ae.bottlenecks import Code, Identity
    >>> model = Autoencoder(nn.Identity(), Identity(2), nn.Linear(2, 3, bias=False))
    >>> _ = nn.init.eye_(model.decoder.weight)
    >>> z = torch.zeros(5, 2, requires_grad=True)
    >>> DecoderGradient()(model, Trace(None, Code(z), model.decode(z))).item()
    2.0
    """

    name = "decoder_gradient"
    setting = "decoder_gradient"

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:
        """Return the squared norm summed over pixels and dimensions, averaged over the batch."""
        z, x_hat = trace.code.z, trace.x_hat
        is_minimised = torch.is_grad_enabled()
        if not (z.requires_grad and x_hat.requires_grad):
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                x_hat = model.decode(z)
        signs = torch.empty_like(x_hat).bernoulli_().mul_(2).sub_(1)
        (gradient,) = torch.autograd.grad(x_hat, z, signs, create_graph=is_minimised, retain_graph=True)
        return gradient.square().sum(1).mean()


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
        terms: the terms, each name once; one of weight 0 is left out, so that it costs nothing.
        model: what they will be minimised on; a combination that cannot work is refused here.

    Raises: InputError if no term has a weight, a name comes twice, or a term refuses the model.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> objective = Objective([SquaredError(), NegativeEntropy(0.05)], model)
    >>> loss, values = objective(model, model(torch.rand(10, 1, 8, 8)))
    >>> list(values)
    ['squared_error', 'negative_entropy']
    """

    def __init__(self, terms: Iterable[Term], model: Autoencoder) -> None:
        given = tuple(terms)
        self.terms = tuple(term for term in given if term.weight > 0)
        names = [term.name for term in given]
        if not self.terms or len(set(names)) < len(names):
            shown = ", ".join(f"{term.name} of weight {term.weight}" for term in given) or "none"
            raise InputError(
                f"an objective needs at least one term with a weight above 0, and each only once, got {shown}."
            )
        for term in self.terms:
            term.check(model)

    def __call__(self, model: Autoencoder, trace: Trace) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum and each term's unweighted value; in float32 at least under autocast."""
        with torch.autocast(trace.x.device.type, enabled=False):
            values = {term.name: term(model, trace) for term in self.terms}
            total = torch.stack([term.weight * values[term.name] for term in self.terms]).sum()
        return total, {name: value.detach() for name, value in values.items()}


TERMS: dict[str, type[Term]] = {
    term.name: term
    for term in (
        SquaredError,
        GaussianLikelihood,
        NegativeEntropy,
        KullbackLeibler,
        MaximumMeanDiscrepancy,
        CodeNorm,
        DecoderDecay,
        DecoderGradient,
    )
}
