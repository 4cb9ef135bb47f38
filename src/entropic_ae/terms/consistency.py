"""Terms on what noise on the code does: to images decoded twice, and to the code of a decoded image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.errors import InputError
from entropic_ae.terms.term import Term

__all__ = ["CodeConsistency", "ImageConsistency"]


@dataclass(frozen=True)
class ImageConsistency(Term):
    """Squared distance of two decodings of each code with other noise, summed over an image.

    The first is the reconstruction, the second is decoded from the same code turned towards another draw by
    another angle, see ``NoisyBatchNorm``. In evaluation, without noise, it is 0.

    Raises: InputError, when the objective is built, if the bottleneck gives the decoder no noise.

    Reference: the Sphere Encoder, 2026, https://arxiv.org/abs/2602.15030.

    >>> import torch
    >>> from entropic_ae.bottlenecks import NoisyBatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), NoisyBatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> ImageConsistency()(model, model(torch.rand(10, 1, 8, 8))).item() > 0
    True
    """

    weight: float = 0.5

    name = setting = "image_consistency"

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:
        """Return the distance summed over values, averaged over the batch."""
        with model.second_pass():
            again = model.decode(model.bottleneck.for_decoder(trace.code.z), trace.labels)
        return (trace.x_hat - again).square().flatten(1).sum(1).mean()

    def check(self, model: Autoencoder) -> None:
        """Reject a bottleneck without noise."""
        if not getattr(model.bottleneck, "noise_angle", 0):
            raise InputError(
                "ImageConsistency needs a bottleneck that turns codes for the decoder (noisy-batch-norm or "
                f"noisy-sphere, with noise_angle above 0), got {type(model.bottleneck).__name__}."
            )


@dataclass(frozen=True)
class CodeConsistency(Term):
    """Squared distance of each code from the code of its decoded image, summed over dimensions.

    The image is the reconstruction, in training decoded from the code with its noise if the bottleneck has any. So
    the encoder learns to give back the code that was meant, and rounds of ``sample`` come nearer to an image. The
    code itself is a target without gradient.

    Reference: the Sphere Encoder, 2026, https://arxiv.org/abs/2602.15030.

    >>> import torch
    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> CodeConsistency()(model, model(torch.rand(10, 1, 8, 8))).item() > 0
    True
    """

    weight: float = 0.1

    name = setting = "code_consistency"

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:
        """Return the distance summed over dimensions, averaged over the batch."""
        with model.second_pass():
            again = model.encode(trace.x_hat, trace.labels)
        return (again - trace.code.z.detach()).square().sum(1).mean()
