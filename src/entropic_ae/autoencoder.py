"""The autoencoder: encoder, bottleneck and decoder, and labels for both networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.bottlenecks import Bottleneck, Code
from entropic_ae.errors import InputError
from entropic_ae.randomness import generator

__all__ = ["Autoencoder", "LabelEmbedding", "Trace"]

_SIZE = 16  # largest length of a label's vector: as planes, those of many classes would outgrow the images
_OWN_DRAWS = 0x6C61626C  # labels are not drawn with the numbers that codes are drawn with


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
        labels: of the images, int64 (N,); None for a model that takes none.
        hidden: the encoder's output, of which the bottleneck has made the codes, (N, in_features).
        state: what the term keeps between steps; set by an ``Objective``.

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
    labels: Tensor | None = None
    hidden: Tensor | None = None
    state: nn.Module | None = None


class LabelEmbedding(nn.Module):
    """Labels as vectors, learned with the networks: constant planes beside an image, values beside a code.

    This is the conditioning of conditional variational autoencoders, which append the label to what the encoder
    and the decoder get; for a convolutional encoder it becomes planes beside those of the image. Any network takes
    it: it is built for more channels, or for longer codes. A vector has ``size`` values: as many as there are
    classes, 16 at most.

    Arguments:
        classes: number of classes, at least 2.

    Attributes:
        classes: the number of classes.
        size: length of a vector.
        frequencies: shares of the classes among the training images, (classes,); equal until they are set.

    Raises: InputError for fewer than 2 classes.

    References:
        Sohn, Lee and Yan, "Learning structured output representation using deep conditional generative models",
        2015, https://papers.nips.cc/paper/5775.
        Perarnau et al., "Invertible conditional GANs for image editing", 2016, for planes at the first layer of an
        encoder, https://arxiv.org/abs/1611.06355.

    >>> embedding = LabelEmbedding(10)
    >>> embedding.beside_images(torch.zeros(2, 1, 8, 8), torch.tensor([3, 5])).shape
    torch.Size([2, 11, 8, 8])
    """

    frequencies: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise InputError(f"a conditional model needs images of at least 2 classes, got {classes}.")
        self.classes, self.size = classes, min(classes, _SIZE)
        self.table = nn.Embedding(classes, self.size)
        self.register_buffer("frequencies", torch.full((classes,), 1 / classes))

    def beside_images(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return images, (N, C, H, W), with a constant plane for each value of their labels' vectors."""
        planes = self.table(labels)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return torch.cat([x, planes.to(x.dtype)], 1)

    def beside_codes(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return codes, (N, D), each followed by the vector of its label: (N, D + size)."""
        return torch.cat([z, self.table(labels).to(z.dtype)], 1)

    def count(self, labels: Tensor) -> None:
        """Set the frequencies to those among labels, (N,)."""
        counts = torch.bincount(labels, minlength=self.classes)
        self.frequencies.copy_(counts / len(labels))

    def draw(self, n: int, *, seed: int = 0) -> Tensor:
        """Return n labels drawn with the frequencies, int64 (n,); they do not depend on codes of the same seed."""
        source = generator(seed ^ _OWN_DRAWS)
        return torch.multinomial(self.frequencies.double().cpu(), n, replacement=True, generator=source)

    def checked(self, labels: ArrayLike | None, n: int) -> Tensor:
        """Return labels of n images as int64 (n,).

        Raises: InputError for no labels, another number of them, or values that are no class.
        """
        if labels is None:
            raise InputError(
                f"the model was trained with labels and needs one for each image, from 0 to {self.classes - 1}; "
                "give them (labels)."
            )
        labels = as_tensor(labels, "labels")
        if labels.is_floating_point() or labels.dtype == torch.bool or tuple(labels.shape) != (n,):
            raise InputError(
                f"expected whole-numbered labels ({n},), one for each image, got {labels.dtype} of shape "
                f"{tuple(labels.shape)}."
            )
        if n and not (int(labels.min()) >= 0 and int(labels.max()) < self.classes):
            raise InputError(
                f"expected labels from 0 to {self.classes - 1}, got {int(labels.min())} to {int(labels.max())}."
            )
        return labels.long()


class Autoencoder(nn.Module):
    """An encoder, a bottleneck and a decoder in sequence. All systems of the library use this class.

    A conditional model has an embedding of labels too: then the encoder is one for images with ``labels.size``
    more channels, and the decoder one for codes longer by ``labels.size``. Codes and their prior stay as they are.

    Arguments:
        encoder: maps images, (N, C, H, W) in [0, 1], to features, (N, bottleneck.in_features).
        bottleneck: maps features to codes, (N, D).
        decoder: maps codes, as ``bottleneck.inverse`` gives them, to images in [0, 1].
        labels: embedding of labels for both networks; None for a model without labels, which ignores them.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> model(torch.rand(10, 1, 8, 8)).x_hat.shape
    torch.Size([10, 1, 8, 8])
    """

    def __init__(
        self,
        encoder: nn.Module,
        bottleneck: Bottleneck,
        decoder: nn.Module,
        labels: LabelEmbedding | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.decoder = decoder
        self.labels = labels

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Trace:
        """Encode and decode images, (N, C, H, W) in [0, 1], with their labels, (N,), if the model takes them."""
        hidden = self.hidden(x, labels)
        code: Code = self.bottleneck(hidden)
        x_hat = self.decode(self.bottleneck.for_decoder(code.z), labels)
        return Trace(x, code, x_hat, labels=labels, hidden=hidden)

    def hidden(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the encoder's output, (N, in_features), for images, (N, C, H, W) in [0, 1]."""
        if self.labels is not None:
            x = self.labels.beside_images(x, self._given(labels))
        hidden: Tensor = self.encoder(x)
        return hidden

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the codes, (N, D), of images, (N, C, H, W) in [0, 1]."""
        code: Code = self.bottleneck(self.hidden(x, labels))
        return code.z

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the images, (N, C, H, W) in [0, 1], of codes, (N, D)."""
        z = self.bottleneck.inverse(z)
        if self.labels is not None:
            z = self.labels.beside_codes(z, self._given(labels))
        images: Tensor = self.decoder(z)
        return images

    @staticmethod
    def _given(labels: Tensor | None) -> Tensor:
        if labels is None:
            raise InputError("the model was trained with labels and needs one for each image; give them (labels).")
        return labels

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
