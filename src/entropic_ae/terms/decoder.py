"""Terms of the decoder itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.distributed import share
from entropic_ae.errors import InputError
from entropic_ae.terms.term import Term

__all__ = ["DecoderDecay", "DecoderGradient"]


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
    derives_twice = True

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:
        """Return the squared norm summed over pixels and dimensions, averaged over the batch."""
        z, x_hat = trace.code.z, trace.x_hat
        is_minimised = torch.is_grad_enabled()
        if not (z.requires_grad and x_hat.requires_grad):
            with torch.enable_grad():
                z = z.detach().to(torch.promote_types(z.dtype, torch.float32)).requires_grad_()
                x_hat = model.decode(z)
        signs = share(x_hat, lambda draws: draws.bernoulli_().mul_(2).sub_(1))
        (gradient,) = torch.autograd.grad(x_hat, z, signs, create_graph=is_minimised, retain_graph=True)
        return gradient.square().sum(1).mean()
