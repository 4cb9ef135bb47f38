"""A residual encoder and decoder: pre-activation blocks, strided halving, nearest upsampling before convolutions.

References:
    He et al., "Identity mappings in deep residual networks", 2016, for the order batch norm, ReLU, convolution,
    https://arxiv.org/abs/1603.05027.
    He et al., "Bag of tricks for image classification with convolutional neural networks", 2019, for shortcuts
    that average before they halve (ResNet-D), https://arxiv.org/abs/1812.01187.
    Miyato et al., "Spectral normalization for generative adversarial networks", 2018, for upsampling in both ways
    of a decoder's block, https://arxiv.org/abs/1802.05957.
    Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts", 2016, for upsampling followed by a
    convolution, https://doi.org/10.23915/distill.00003.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from entropic_ae.networks.sizes import Shape, check_sizes, finish, halved, to_images

__all__ = ["ResidualBlock", "ResidualDecoder", "ResidualEncoder", "UpsamplingConv2d"]

_SMALLEST = 4  # sides up to this are not halved
_STRIDED = 32  # images of at least this side are halved by the encoder's first convolution


class UpsamplingConv2d(nn.Conv2d):
    """A 3x3 convolution of an image whose sides are first doubled by repeating each row and column.

    Both are computed as one transposed convolution of stride 2, at 4/9 of the cost: a repeated pixel meets two
    taps of the kernel in each direction, so their sums are the taps of the kernel of 4. All outputs are weighted
    sums of the same taps, so unlike the free kernel of a transposed convolution it has no checkerboard.

    Arguments:
        channels, features: of input and output.
        factor: 1 or 2, of the height and of the width.

    >>> layer = UpsamplingConv2d(1, 1, (2, 1))
    >>> layer(torch.rand(1, 1, 3, 5)).shape
    torch.Size([1, 1, 6, 5])
    """

    def __init__(self, channels: int, features: int, factor: tuple[int, int]) -> None:
        super().__init__(channels, features, 3, padding=1, bias=False)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, features, H', W')."""
        kernel = self.weight.flip(2, 3).transpose(0, 1)
        for axis, factor in zip((2, 3), self.factor, strict=True):
            if factor == 2:
                zero = torch.zeros_like(kernel.narrow(axis, 0, 1))
                kernel = torch.cat([kernel, zero], axis) + torch.cat([zero, kernel], axis)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        return nn.functional.conv_transpose2d(x, kernel, stride=self.factor, padding=1)


class ResidualBlock(nn.Module):
    """The sum of two layers of batch norm, ReLU and 3x3 convolution, and of a shortcut.

    Arguments:
        channels, features: of input and output.
        down: 1 or 2, by which the first convolution divides height and width, rounded up. The shortcut averages
            instead.
        up: 1 or 2, by which height and width are multiplied before the first convolution and in the shortcut.

    >>> ResidualBlock(4, 8, down=(2, 2))(torch.rand(2, 4, 6, 6)).shape
    torch.Size([2, 8, 3, 3])
    >>> ResidualBlock(8, 4, up=(2, 2))(torch.rand(2, 8, 3, 3)).shape
    torch.Size([2, 4, 6, 6])
    """

    def __init__(
        self,
        channels: int,
        features: int,
        *,
        down: tuple[int, int] = (1, 1),
        up: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        first = (
            nn.Conv2d(channels, features, 3, stride=down, padding=1, bias=False)
            if up == (1, 1)
            else UpsamplingConv2d(channels, features, up)
        )
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            first,
            nn.BatchNorm2d(features),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1, bias=False),
        )
        shortcut: list[nn.Module] = []
        if down != (1, 1):
            shortcut.append(nn.AvgPool2d(down, ceil_mode=True))
        if channels != features:
            shortcut.append(nn.Conv2d(channels, features, 1, bias=False))
        if up != (1, 1):
            shortcut.append(nn.Upsample(scale_factor=up))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, features, H', W')."""
        y: Tensor = self.body(x) + self.shortcut(x)
        return y


class ResidualEncoder(nn.Module):
    """A convolution, residual blocks that halve the sides down to 4 at most, batch norm and ReLU, a linear layer.

    The first convolution has ``width`` channels and halves images of 32 pixels and more, as that of the paper
    does. Channels double with each halving after it, up to ``8 * width``. Small images have few halvings and start
    from more channels, so that ``4 * width`` are reached. Pixels are mapped to [-1, 1] first.

    Arguments:
        shape: (C, H, W), sides multiples of 8 from 8 to 256.
        features: length of the output vector.
        width: channels of the first convolution.
        depth: residual blocks at each size; the first of them halves.
        spectral: normalise the weights, see the package.

    Raises: InputError for another shape or a size below 1.

    References: see the module.

    >>> ResidualEncoder((3, 32, 32), 128, width=8)(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 128])
    """

    def __init__(
        self, shape: Shape, features: int, *, width: int = 128, depth: int = 1, spectral: bool = False
    ) -> None:
        super().__init__()
        check_sizes(shape, features=features, width=width, depth=depth)
        colours, *sides = shape
        is_strided = max(sides) >= _STRIDED
        if is_strided:
            sides = [side // 2 for side in sides]
        halvings = _halvings(sides, _SMALLEST)
        channels = _channels(width, halvings)
        size, stride = (4, 2) if is_strided else (3, 1)
        layers: list[nn.Module] = [nn.Conv2d(colours, channels[0], size, stride=stride, padding=1, bias=False)]
        for before, after in pairwise(channels):
            down = _factors(sides)
            layers.append(ResidualBlock(before, after, down=down))
            layers += [ResidualBlock(after, after) for _ in range(depth - 1)]
            sides = _smaller(sides)
        self.blocks = nn.Sequential(*layers, nn.BatchNorm2d(channels[-1]), nn.ReLU())
        self.linear = nn.Linear(channels[-1] * math.prod(sides), features)
        finish(self, spectral)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, (N, C, H, W) in [0, 1], to (N, features)."""
        x = (2 * x - 1).contiguous(memory_format=torch.channels_last)
        return self.linear(self.blocks(x).flatten(1))


class ResidualDecoder(nn.Module):
    """A linear layer, residual blocks that double the sides, batch norm, ReLU, a 3x3 convolution, a sigmoid.

    There are three doublings: fewer for images below 32 pixels, which start from 4x4, and more above 64 pixels,
    which start from 8x8 at most. Channels are ``width`` at the size of the image and double with each halving, up
    to ``8 * width``.

    Arguments:
        shape: (C, H, W), sides multiples of 8 from 8 to 256.
        latent_dim: length D of a code.
        width: channels at the size of the image.
        depth: residual blocks at each size; the first of them doubles.
        spectral: normalise the weights, see the package.

    Raises: InputError for another shape or a size below 1.

    References: see the module.

    >>> ResidualDecoder((1, 64, 64), 16, width=8)(torch.randn(2, 16)).shape
    torch.Size([2, 1, 64, 64])
    """

    def __init__(
        self, shape: Shape, latent_dim: int, *, width: int = 128, depth: int = 1, spectral: bool = False
    ) -> None:
        super().__init__()
        check_sizes(shape, latent_dim=latent_dim, width=width, depth=depth)
        self.shape = tuple(shape)
        sizes = [list(shape[1:])]
        doublings = max(min(3, _halvings(sizes[0], _SMALLEST)), _halvings(sizes[0], 2 * _SMALLEST))
        for _ in range(doublings):
            sizes.append(_smaller(sizes[-1]))
        channels = _channels(width, doublings)
        self.start = (channels[-1], *sizes[-1])
        self.linear = nn.Linear(latent_dim, math.prod(self.start))
        layers: list[nn.Module] = []
        for level in reversed(range(doublings)):
            before, after = channels[level + 1], channels[level]
            layers.append(ResidualBlock(before, after, up=_factors(sizes[level])))
            layers += [ResidualBlock(after, after) for _ in range(depth - 1)]
        layers += [nn.BatchNorm2d(channels[0]), nn.ReLU(), nn.Conv2d(channels[0], shape[0], 3, padding=1)]
        self.blocks = nn.Sequential(*layers)
        finish(self, spectral)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes, (N, D), to images, (N, C, H, W) in [0, 1]; the sigmoid is computed in float32."""
        start = self.linear(z).unflatten(1, self.start).contiguous(memory_format=torch.channels_last)
        # odd sides were rounded up, which leaves rows or columns too many
        return to_images(self.blocks(start)[..., : self.shape[1], : self.shape[2]])


def _factors(sides: Sequence[int]) -> tuple[int, int]:
    """Return 2 for the sides to halve, 1 for those that are small enough."""
    height, width = (2 if side > _SMALLEST else 1 for side in sides)
    return height, width


def _smaller(sides: Sequence[int]) -> list[int]:
    return [halved(side) if factor == 2 else side for side, factor in zip(sides, _factors(sides), strict=True)]


def _halvings(sides: Sequence[int], least: int) -> int:
    """Return after how many halvings no side is above the least."""
    count = 0
    while max(sides) > least:
        sides, count = _smaller(sides), count + 1
    return count


def _channels(width: int, halvings: int) -> list[int]:
    """Return the channels after 0, 1, ... halvings; at least 4 * width after the last."""
    more = max(2 - halvings, 0)
    return [min(width << (level + more), 8 * width) for level in range(halvings + 1)]
