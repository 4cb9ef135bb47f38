"""The base class of all bottlenecks, and the bottleneck without a constraint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from entropic_ae.distributed import processes
from entropic_ae.errors import InputError
from entropic_ae.estimators import knn_entropy
from entropic_ae.priors import Normal

__all__ = ["Bottleneck", "Code", "Codes", "Identity", "as_float"]


class Code(NamedTuple):
    """The output of a bottleneck for a batch.

    Attributes:
        z: codes, (N, D).
        posterior: the distribution of z given h, or None if z is deterministic.

    >>> Code(torch.zeros(3, 2)).posterior is None
    True
    """

    z: Tensor
    posterior: Distribution | None = None


class Bottleneck(nn.Module):
    """Base of all bottlenecks: ``forward(h) -> Code`` and ``prior() -> Distribution`` over (D,).

    Attributes:
        latent_dim: length D of a code.
        in_features: length of the encoder's output that ``forward`` takes.
        bounds_entropy: whether the constraints bound the entropy of the codes, so that the prior is the
            maximum-entropy distribution under them and its entropy the maximum.
        is_discrete: whether codes are of a finite alphabet, see ``priors.Alphabet``. Their entropy is that of
            probabilities, which ``NegativeDiscreteEntropy`` raises, and not that of a density.
        has_posterior: whether codes have a posterior; they are samples of it in training, its mean in evaluation.
        entropy: the entropy estimator for the space of the codes, called like ``knn_entropy(z, k, others=None)``.

    >>> Bottleneck(3).prior().event_shape
    torch.Size([3])
    """

    bounds_entropy: ClassVar[bool] = False
    is_discrete: ClassVar[bool] = False
    has_posterior: ClassVar[bool] = False
    entropy: ClassVar[Callable[..., Tensor]] = staticmethod(knn_entropy)

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 1:
            raise InputError(f"latent_dim must be at least 1, got {latent_dim}.")
        self.latent_dim = latent_dim

    @property
    def in_features(self) -> int:
        """Length of the encoder's output."""
        return self.latent_dim

    @property
    def least_batch(self) -> int:
        """The smallest batch for which the bottleneck is defined in training."""
        return 1

    def forward(self, h: Tensor) -> Code:
        """Map the encoder's output, (N, in_features), to codes."""
        raise NotImplementedError

    def inverse(self, z: Tensor) -> Tensor:
        """Return what the decoder decodes for codes, (N, D), as ``forward`` gives them: the codes themselves.

        Every decoding passes through this method. A bottleneck whose codes are an invertible map of what the
        decoder was trained on undoes that map here.
        """
        return z

    def for_decoder(self, z: Tensor) -> Tensor:
        """Return what the decoder sees of codes, (N, D), that have just been made of images: the codes themselves.

        A bottleneck that adds noise for the decoder alone, in training, does it here.
        """
        return z

    def check_batch(self, h: Tensor) -> None:
        """Raise InputError for a shape other than (N, in_features), or a batch too small for training."""
        if h.dim() != 2 or h.shape[1] != self.in_features:
            raise InputError(
                f"{type(self).__name__}({self.latent_dim}) expects (N, {self.in_features}), got shape "
                f"{tuple(h.shape)}; give the encoder's output that length."
            )
        if self.training and (size := len(h) * processes()) < self.least_batch:
            raise InputError(
                f"{type(self).__name__} needs a batch of at least {self.least_batch} in training, got {size}; "
                "raise the batch size or switch to eval()."
            )

    def excess_energy(self, z: Tensor) -> Tensor:
        """Return the mean negative log density of codes, (N, D), under the prior, minus its entropy, in nats.

        The prior is the Gibbs distribution of the constraints, so this is, to first order, the entropy gained by
        violating them. It is 0 if the constraints hold, as in training; under running statistics it can have
        either sign.
        """
        return 0.5 * (z.square().sum(1).mean() - self.latent_dim)

    def prior(self) -> Distribution:
        """Return the prior over codes, (D,), on the CPU."""
        return Normal.standard(self.latent_dim)

    def describe_inverse(self) -> list[dict[str, Any]]:
        """Return the operations of ``inverse``, as ``describe`` does: none where codes are decoded unchanged."""
        return []

    def describe(self) -> list[dict[str, Any]]:
        """Return the operations of ``forward`` in evaluation, in order, for the export to safetensors.

        Each is a dictionary with the name of the operation as ``op`` and its arguments, numbers or tensors. The
        operations are those of ``export.layers``; docs/export.md lists them.

        Raises: InputError for a bottleneck that does not define this method.
        """
        raise InputError(
            f"{type(self).__name__} cannot be exported to safetensors without a method describe(); define it, or "
            "export --to onnx."
        )


class Identity(Bottleneck):
    """No constraint: the code is the encoder's output.

    The prior is N(0, I) by convention only; nothing makes the codes follow it.

    >>> Identity(2)(torch.ones(3, 2)).z.shape
    torch.Size([3, 2])
    """

    def forward(self, h: Tensor) -> Code:
        """Return (N, D) unchanged, in at least float32, whatever the autocast state."""
        self.check_batch(h)
        return Code(as_float(h))

    def describe(self) -> list[dict[str, Any]]:
        """Return no operation."""
        return []


class Codes(nn.Module):
    """A bottleneck that returns only the codes, as a tensor, for use in ``nn.Sequential``.

    If codes have a posterior, they are its samples in training and its means in evaluation. For the posterior
    itself, call ``bottleneck``.

    Arguments:
        bottleneck: maps (N, in_features) to codes, (N, D).

    >>> net = nn.Sequential(nn.Linear(5, 2), Codes(Identity(2)), nn.Linear(2, 5))
    >>> net(torch.ones(3, 5)).shape
    torch.Size([3, 5])
    """

    def __init__(self, bottleneck: Bottleneck) -> None:
        super().__init__()
        self.bottleneck = bottleneck

    def forward(self, h: Tensor) -> Tensor:
        """Return the codes, (N, D), of the encoder's output, (N, in_features)."""
        code: Code = self.bottleneck(h)
        return code.z


def as_float(h: Tensor) -> Tensor:
    """Convert to at least float32, for statistics and entropies.

    >>> as_float(torch.zeros(2).bfloat16()).dtype
    torch.float32
    """
    return h if h.dtype == torch.float64 else h.float()
