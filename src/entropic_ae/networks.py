"""Encoders and decoders: the paper's convolutional pair, and multilayer perceptrons.

An encoder maps images in [0, 1], (N, C, H, W), to (N, features); a decoder maps codes, (N, D), to images in
[0, 1]. Each is sized by the image shape (C, H, W) and the number of features or dimensions.

With ``spectral``, the weight of every linear layer and convolution (also transposed) is divided by its largest
singular value. The weight is reshaped to a matrix with one row per output channel. One power iteration per
training step tracks the singular value. Batch norms are not changed. The code of Ghosh et al. also normalises both
networks and keeps the batch norms, but reshapes transposed convolutions to one column per input channel.

References:
    Ghose, Rashwan and Poupart, "Batch norm with entropic regularization turns deterministic autoencoders into
    generative models" (the paper), 2020, https://arxiv.org/abs/2002.10631.
    Ghosh et al., "From variational to deterministic autoencoders", 2019, https://arxiv.org/abs/1903.12436.
    Miyato et al., "Spectral normalization for generative adversarial networks", 2018,
    https://arxiv.org/abs/1802.05957.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from entropic_ae.errors import InputError

__all__ = ["ConvDecoder", "ConvEncoder", "MLPDecoder", "MLPEncoder", "Perceptron", "Shape"]

Shape = Sequence[int]


def _check(shape: Shape, **sizes: int) -> None:
    channels, height, width = shape
    if channels < 1 or any(side % 8 or not 8 <= side <= 128 for side in (height, width)):
        raise InputError(
            f"expected images whose sides are multiples of 8 from 8 to 128, got {channels}x{height}x{width}; "
            "set image_size, for example image_size=32."
        )
    if sizes.pop("kernel_size", 3) < 3:
        raise InputError("kernel_size must be at least 3, whose padding keeps the sides.")
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name} must be at least 1, got {size}.")


def _finish(network: nn.Module, spectral: bool) -> None:
    """Apply spectral normalisation if requested; use the channels-last layout, faster on CPUs and tensor cores."""
    if spectral:
        for layer in list(network.modules()):
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                # for a transposed convolution PyTorch takes its second dimension, the output channels, as rows
                spectral_norm(layer)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class HalvingConv2d(nn.Conv2d):
    """A convolution of stride 2 without bias that skips kernel taps which only see padding.

    Such taps exist if an output side is 1. They contribute nothing. If the input side is 1 too, the bf16 CPU
    kernels of PyTorch 2.13 leave the gradients of these taps uninitialised.
    """

    def __init__(self, channels: int, features: int, kernel_size: int, padding: tuple[int, int]) -> None:
        super().__init__(channels, features, kernel_size, stride=2, padding=padding, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, features, H', W') as ``torch.nn.Conv2d`` does."""
        taps, paddings = [], []
        for side, kernel, padding in zip(x.shape[2:], self.kernel_size, map(int, self.padding), strict=True):
            one = side + 2 * padding - kernel < 2
            taps.append(slice(padding, padding + side) if one else slice(None))
            paddings.append(0 if one else padding)
        return nn.functional.conv2d(x, self.weight[:, :, taps[0], taps[1]], stride=2, padding=paddings)


class ConvEncoder(nn.Module):
    """The paper's encoder: four convolutions of stride 2, batch norm and ReLU after each, then a linear layer.

    Channels double from ``width`` to ``8 * width`` (128 to 1024 in the paper); each convolution halves the
    side, rounded up. Pixels are mapped to [-1, 1] first, as the code of Ghosh et al. does for MNIST and
    CIFAR-10; here also for CelebA, where that code leaves them in [0, 1].

    Arguments:
        shape: (C, H, W), sides multiples of 8 from 8 to 128.
        features: length of the output vector.
        width: channels of the first convolution; the paper's is 128.
        kernel_size: 4 for MNIST and CIFAR-10, 5 for CelebA.
        depth: convolutions at each size; the paper's is 1. Those beyond it are 3x3 of stride 1.
        spectral: normalise the weights, see the module.

    Raises: InputError for another shape or a size below 1.

    Reference: section 5.1 of the paper.

    >>> ConvEncoder((3, 32, 32), 128, width=8)(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 128])
    """

    def __init__(
        self,
        shape: Shape,
        features: int,
        *,
        width: int = 128,
        kernel_size: int = 4,
        depth: int = 1,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        _check(shape, features=features, width=width, kernel_size=kernel_size, depth=depth)
        channels, *sides = shape
        layers: list[nn.Module] = []
        for i in range(4):
            # pad so that every layer gives ceil(side / 2), odd sides included
            top, left = ((kernel_size - 1 + side % 2) // 2 for side in sides)
            layers += [
                HalvingConv2d(channels, width << i, kernel_size, (top, left)),
                nn.BatchNorm2d(width << i),
                nn.ReLU(),
                *_more(width << i, depth),
            ]
            channels, sides = width << i, [math.ceil(side / 2) for side in sides]
        self.convolutions = nn.Sequential(*layers)
        self.linear = nn.Linear(channels * math.prod(sides), features)
        _finish(self, spectral)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, (N, C, H, W) in [0, 1], to (N, features)."""
        x = (2 * x - 1).contiguous(memory_format=torch.channels_last)
        return self.linear(self.convolutions(x).flatten(1))


class ConvDecoder(nn.Module):
    """The paper's decoder: a linear layer, transposed convolutions of stride 2, one of stride 1, a sigmoid.

    From ``8 * width`` channels, images up to 32 pixels take two upsampling layers (``4 * width`` and ``2 * width``
    channels: 512 and 256 in the paper), larger images three (512, 256, 128). A 32 or 64 pixel image therefore
    starts from 8x8, as in the paper. Batch norm and ReLU follow each of these layers and the linear layer; for the
    linear layer the paper does not specify this, and the code of Ghosh et al. omits it.

    Arguments:
        shape: (C, H, W), sides multiples of 8 from 8 to 128.
        latent_dim: length D of a code.
        width: the paper's is 128.
        kernel_size: 4 for MNIST and CIFAR-10, 5 for CelebA.
        depth: convolutions at each size, as in the encoder.
        spectral: normalise the weights, see the module.

    Raises: InputError for another shape or a size below 1.

    Reference: section 5.1 of the paper.

    >>> ConvDecoder((1, 64, 64), 16, width=8)(torch.randn(2, 16)).shape
    torch.Size([2, 1, 64, 64])
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        width: int = 128,
        kernel_size: int = 4,
        depth: int = 1,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        _check(shape, latent_dim=latent_dim, width=width, kernel_size=kernel_size, depth=depth)
        self.shape = tuple(shape)
        upsamplings = 2 if max(shape[1:]) <= 32 else 3
        start = [side >> upsamplings for side in shape[1:]]
        channels = 8 * width
        self.linear = nn.Linear(latent_dim, channels * math.prod(start), bias=False)
        self.start = (channels, *start)
        layers: list[nn.Module] = [nn.BatchNorm2d(channels), nn.ReLU()]
        for _ in range(upsamplings):
            layers += [
                nn.ConvTranspose2d(
                    channels,
                    channels // 2,
                    kernel_size,
                    stride=2,
                    padding=(kernel_size - 1) // 2,
                    output_padding=kernel_size % 2,
                    bias=False,
                ),
                nn.BatchNorm2d(channels // 2),
                nn.ReLU(),
                *_more(channels // 2, depth),
            ]
            channels //= 2
        layers.append(nn.ConvTranspose2d(channels, shape[0], kernel_size, padding=(kernel_size - 1) // 2))
        self.convolutions = nn.Sequential(*layers)
        _finish(self, spectral)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes, (N, D), to images, (N, C, H, W) in [0, 1]; the sigmoid is computed in float32."""
        start = self.linear(z).unflatten(1, self.start).contiguous(memory_format=torch.channels_last)
        logits = self.convolutions(start)
        # an even kernel of stride 1 leaves one row and one column too many
        logits = logits[..., : self.shape[1], : self.shape[2]]
        return torch.sigmoid(logits.float() if logits.dtype != torch.float64 else logits)


class MLPEncoder(nn.Module):
    """A multilayer perceptron from flattened images to features, batch norm and ReLU after each hidden layer.

    Arguments:
        shape: (C, H, W) of any size.
        features: length of the output vector.
        hidden: units of a hidden layer.
        depth: number of hidden layers.
        spectral: normalise the weights, see the module.

    >>> MLPEncoder((1, 8, 8), 4)(torch.rand(2, 1, 8, 8)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self, shape: Shape, features: int, *, hidden: int = 512, depth: int = 2, spectral: bool = False
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), *_perceptron(math.prod(shape), hidden, depth, features))
        _finish(self, spectral)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, (N, C, H, W) in [0, 1], to (N, features)."""
        return self.layers(2 * x - 1)


class MLPDecoder(nn.Module):
    """A multilayer perceptron from codes to images, batch norm and ReLU after each hidden layer, a sigmoid last.

    Arguments:
        shape: (C, H, W) of any size.
        latent_dim: length D of a code.
        hidden: units of a hidden layer.
        depth: number of hidden layers.
        spectral: normalise the weights, see the module.

    >>> MLPDecoder((1, 8, 8), 4)(torch.randn(2, 4)).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self, shape: Shape, latent_dim: int, *, hidden: int = 512, depth: int = 2, spectral: bool = False
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.layers = nn.Sequential(*_perceptron(latent_dim, hidden, depth, math.prod(shape)))
        _finish(self, spectral)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes, (N, D), to images, (N, C, H, W) in [0, 1]; the sigmoid is computed in float32."""
        logits = self.layers(z).unflatten(1, self.shape)
        return torch.sigmoid(logits.float() if logits.dtype != torch.float64 else logits)


class Perceptron(nn.Module):
    """ReLU layers of equal width; the input joins the last of them before the linear output layer.

    For rows of numbers in any range: unlike the networks for images, it has no map to [-1, 1], no sigmoid and no
    batch norm. Because of the skip connection it can represent every linear map.

    Arguments:
        inputs: values of a row.
        outputs: length of the output vector.
        hidden: units of a hidden layer.
        depth: number of hidden layers.

    Raises: InputError for a size below 1.

    >>> Perceptron(3, 2, 16, 2)(torch.randn(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, depth: int) -> None:
        super().__init__()
        for name, size in {"inputs": inputs, "outputs": outputs, "hidden": hidden, "depth": depth}.items():
            if size < 1:
                raise InputError(f"{name} must be at least 1, got {size}.")
        sizes = [inputs] + [hidden] * depth
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.output = nn.Linear(sizes[-1] + inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs)."""
        h = x
        for layer in self.layers:
            h = torch.relu(layer(h))
        y: Tensor = self.output(torch.cat([x, h], 1))
        return y


def _more(channels: int, depth: int) -> list[nn.Module]:
    """Return the convolutions at one size beyond the first."""
    layers: list[nn.Module] = []
    for _ in range(depth - 1):
        layers += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    return layers


def _perceptron(inputs: int, hidden: int, depth: int, outputs: int) -> list[nn.Module]:
    for name, size in (
        ("hidden", hidden),
        ("depth", depth),
        ("features or latent_dim", min(inputs, outputs)),
    ):
        if size < 1:
            raise InputError(f"{name} must be at least 1, got {size}.")
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
        inputs = hidden
    return [*layers, nn.Linear(inputs, outputs)]
