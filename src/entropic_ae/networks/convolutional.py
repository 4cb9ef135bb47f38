"""The paper's convolutional encoder and decoder.

Reference:
    Ghose, Rashwan and Poupart, "Batch norm with entropic regularization turns deterministic autoencoders into
    generative models" (the paper), 2020, https://arxiv.org/abs/2002.10631.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from entropic_ae.networks.sizes import Shape, check_sizes, finish, halved, to_images

__all__ = ["ConvDecoder", "ConvEncoder"]

_LARGE = 128  # images above this side are halved once more


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
    side, rounded up. Images above 128 pixels have a fifth convolution, of ``8 * width`` channels too, without
    which their linear layer would be four times as large. Pixels are mapped to [-1, 1] first, as the code of
    Ghosh et al. does for MNIST and CIFAR-10; here also for CelebA, where that code leaves them in [0, 1].

    Arguments:
        shape: (C, H, W), sides multiples of 8 from 8 to 256.
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
        check_sizes(shape, features=features, width=width, kernel_size=kernel_size, depth=depth)
        channels, *sides = shape
        layers: list[nn.Module] = []
        for outputs in [width << i for i in range(4)] + [8 * width] * (max(sides) > _LARGE):
            # pad so that every layer gives ceil(side / 2), odd sides included
            top, left = ((kernel_size - 1 + side % 2) // 2 for side in sides)
            layers += [
                HalvingConv2d(channels, outputs, kernel_size, (top, left)),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                *_more(outputs, depth),
            ]
            channels, sides = outputs, [halved(side) for side in sides]
        self.convolutions = nn.Sequential(*layers)
        self.linear = nn.Linear(channels * math.prod(sides), features)
        finish(self, spectral)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, (N, C, H, W) in [0, 1], to (N, features)."""
        x = (2 * x - 1).contiguous(memory_format=torch.channels_last)
        return self.linear(self.convolutions(x).flatten(1))


class ConvDecoder(nn.Module):
    """The paper's decoder: a linear layer, transposed convolutions of stride 2, one of stride 1, a sigmoid.

    From ``8 * width`` channels, images up to 32 pixels take two upsampling layers (``4 * width`` and ``2 * width``
    channels: 512 and 256 in the paper), larger images three (512, 256, 128), and images above 128 pixels a fourth,
    of ``width`` channels, which keeps the linear layer at 16x16. A 32 or 64 pixel image therefore starts from 8x8,
    as in the paper. Batch norm and ReLU follow each of these layers and the linear layer; for the linear layer the
    paper does not specify this, and the code of Ghosh et al. omits it.

    Arguments:
        shape: (C, H, W), sides multiples of 8 from 8 to 256.
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
        check_sizes(shape, latent_dim=latent_dim, width=width, kernel_size=kernel_size, depth=depth)
        self.shape = tuple(shape)
        largest, channels = max(shape[1:]), 8 * width
        outputs = [4 * width, 2 * width] + [width] * ((largest > 32) + (largest > _LARGE))
        start = [math.ceil(side / (1 << len(outputs))) for side in shape[1:]]
        self.linear = nn.Linear(latent_dim, channels * math.prod(start), bias=False)
        self.start = (channels, *start)
        layers: list[nn.Module] = [nn.BatchNorm2d(channels), nn.ReLU()]
        for features in outputs:
            layers += [
                nn.ConvTranspose2d(
                    channels,
                    features,
                    kernel_size,
                    stride=2,
                    padding=(kernel_size - 1) // 2,
                    output_padding=kernel_size % 2,
                    bias=False,
                ),
                nn.BatchNorm2d(features),
                nn.ReLU(),
                *_more(features, depth),
            ]
            channels = features
        layers.append(nn.ConvTranspose2d(channels, shape[0], kernel_size, padding=(kernel_size - 1) // 2))
        self.convolutions = nn.Sequential(*layers)
        finish(self, spectral)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes, (N, D), to images, (N, C, H, W) in [0, 1]; the sigmoid is computed in float32."""
        start = self.linear(z).unflatten(1, self.start).contiguous(memory_format=torch.channels_last)
        logits = self.convolutions(start)
        # an even kernel of stride 1 leaves one row and one column too many, a start that is rounded up several
        logits = logits[..., : self.shape[1], : self.shape[2]]
        return to_images(logits)


def _more(channels: int, depth: int) -> list[nn.Module]:
    """Return the convolutions at one size beyond the first."""
    layers: list[nn.Module] = []
    for _ in range(depth - 1):
        layers += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    return layers
