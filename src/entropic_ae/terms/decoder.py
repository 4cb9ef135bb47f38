"""Terms on the decoder."""

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
    """Sum of the decoder's squared weights, without biases and batch norms: L2 regularisation.

    With spectral normalisation the unnormalised weights are summed. A batch norm after a layer cancels the scale
    of its weights. So on the paper's decoder, decay of all layers but the last does not change the function, only
    the effective learning rate.

    Attributes:
        convolutions: whether to include the kernels of convolutions, transposed ones too.
        linear: whether to include the weights of linear layers.

    Raises: InputError, when the objective is built, if the decoder has no such weight.

    Reference: Ghosh et al., "From variational to deterministic autoencoders", 2019,
    https://arxiv.org/abs/1903.12436, rows AE-L2 and RAE-L2. Their code includes only the convolutions on MNIST and
    CIFAR-10, and the linear layer too on CelebA.

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
        """Reject a decoder without a weight to sum."""
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
    r"""Squared Frobenius norm of the decoder's Jacobian, $\|J\|_F^2$ with $J = \partial \hat x / \partial z$.

    This is the gradient penalty of RAE-GP. One backward pass gives an unbiased estimate, without the Jacobian:
    $E \|v^T J\|^2 = \|J\|_F^2$ for random signs v. The term uses ``trace.x_hat`` and ``trace.code.z``, which must
    require a gradient in training; in validation the decoder is run again. With batch norm in the decoder, an
    image also depends on the other codes of its minibatch; these derivatives are included and small.

    Reference: Ghosh et al., "From variational to deterministic autoencoders", 2019, section 3,
    https://arxiv.org/abs/1903.12436. Their paper is followed; their code differentiates the sum of the squared
    x_hat instead, and averages over batch and D.

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
                x_hat = model.decode(z, trace.labels)
        signs = share(x_hat, lambda draws: draws.bernoulli_().mul_(2).sub_(1))
        (gradient,) = torch.autograd.grad(x_hat, z, signs, create_graph=is_minimised, retain_graph=True)
        return gradient.square().sum(1).mean()
