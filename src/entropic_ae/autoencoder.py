"""The autoencoder: encoder, bottleneck and decoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from entropic_ae.bottlenecks import Bottleneck, Code

__all__ = ["Autoencoder", "Trace"]


class Trace(NamedTuple):
    """The results of one pass through an autoencoder, the input of every term of the objective.

    Attributes:
        x: images in [0, 1], (N, C, H, W).
        code: codes, (N, D), with their posterior if the bottleneck has one.
        x_hat: reconstructions in [0, 1], (N, C, H, W).
        recent: codes of earlier minibatches, (M, D), for terms that use them; set by an ``Objective``.
        rows: indices of the images among the training images, (N,); None in validation.
        step, epoch: how many optimiser steps and whole epochs of training came before.
        progress: share of the training that is done, from 0 to 1, for weights that follow a schedule.

    >>> from entropic_ae.bottlenecks import Code
    >>> Trace(torch.zeros(2, 1, 8, 8), Code(torch.zeros(2, 4)), torch.zeros(2, 1, 8, 8)).code.z.shape
    torch.Size([2, 4])
    """

    x: Tensor
    code: Code
    x_hat: Tensor
    recent: Tensor | None = None
    rows: Tensor | None = None
    step: int = 0
    epoch: int = 0
    progress: float = 0.0


class Autoencoder(nn.Module):
    """An encoder, a bottleneck and a decoder in sequence. All systems of the library use this class.

    Arguments:
        encoder: maps images, (N, C, H, W) in [0, 1], to features, (N, bottleneck.in_features).
        bottleneck: maps features to codes, (N, D).
        decoder: maps codes, as ``bottleneck.inverse`` gives them, to images in [0, 1].

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> model(torch.rand(10, 1, 8, 8)).x_hat.shape
    torch.Size([10, 1, 8, 8])
    """

    def __init__(self, encoder: nn.Module, bottleneck: Bottleneck, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.decoder = decoder

    def forward(self, x: Tensor) -> Trace:
        """Encode and decode images, (N, C, H, W) in [0, 1]."""
        code: Code = self.bottleneck(self.encoder(x))
        return Trace(x, code, self.decode(code.z))

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes, (N, D), of images, (N, C, H, W) in [0, 1]."""
        code: Code = self.bottleneck(self.encoder(x))
        return code.z

    def decode(self, z: Tensor) -> Tensor:
        """Return the images, (N, C, H, W) in [0, 1], of codes, (N, D)."""
        images: Tensor = self.decoder(self.bottleneck.inverse(z))
        return images

    @contextmanager
    def second_pass(self) -> Iterator[None]:
        """Pass through the networks again inside the block without moving a running average.

        In training mode each pass moves the averages of batch norms and bottlenecks, and steps the power iteration
        of spectral norms. A term that encodes or decodes once more, as for the code of a reconstruction, does it
        inside this block, which works on copies of all buffers.

        >>> from entropic_ae.bottlenecks import BatchNorm
        >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
        >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
        >>> with model.second_pass():
        ...     codes = model.encode(torch.rand(10, 1, 8, 8))
        >>> model.bottleneck.norm.running_var.tolist()
        [1.0, 1.0, 1.0, 1.0]
        """
        kept = [(module, dict(module._buffers)) for module in self.modules()]
        for module, buffers in kept:
            # not restored in place: the gradient of the pass needs what it has read
            module._buffers.update({name: None if b is None else b.clone() for name, b in buffers.items()})
        try:
            yield
        finally:
            for module, buffers in kept:
                module._buffers.update(buffers)

    @contextmanager
    def compiled(self) -> Iterator[None]:
        """Compile encoder and decoder with torch.compile inside the block; this happens on their first batches.

        The compiled code is discarded at the end. PyTorch limits the number of compiled variants of a class, and a
        sweep over sizes would reach that limit and continue uncompiled.

        >>> from entropic_ae.bottlenecks import BatchNorm
        >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
        >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
        >>> with model.compiled():
        ...     pass  # train, or decode very many codes
        """
        networks = (self.encoder, self.decoder)
        before = [network._compiled_call_impl for network in networks]
        for network in networks:
            network.compile()
        try:
            yield
        finally:
            for network, own in zip(networks, before, strict=True):
                network._compiled_call_impl = own
            torch.compiler.reset()
