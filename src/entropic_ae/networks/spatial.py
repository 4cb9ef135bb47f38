"""An encoder and a decoder of a grid of codes: each cell of an image's code is made of, and makes, its own region.

Reference:
    van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning", 2017, for codes on a grid,
    https://arxiv.org/abs/1711.00937.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from entropic_ae.errors import InputError
from entropic_ae.networks.sizes import Shape, check_sizes, finish, to_images

__all__ = ["FromCells", "GridDecoder", "GridEncoder", "ToCells"]

_WIDEST = 8  # times the width: channels of the layers next to the code


class ToCells(nn.Module):
    """A grid of codes as one code: cells row by row, the values of a cell together.

    >>> ToCells()(torch.tensor([[[[1, 2]], [[3, 4]]]])).tolist()
    [[1, 3, 2, 4]]
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, H * W * C)."""
        return x.permute(0, 2, 3, 1).flatten(1)


class FromCells(nn.Module):
    """One code as a grid of codes: the inverse of ``ToCells``.

    Arguments:
        shape: (C, H, W) of the grid.

    >>> FromCells((2, 1, 2))(torch.tensor([[1, 3, 2, 4]])).tolist()
    [[[[1, 2]], [[3, 4]]]]
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, z: Tensor) -> Tensor:
        """Map (N, H * W * C) to (N, C, H, W)."""
        channels, height, width = self.shape
        return z.unflatten(1, (height, width, channels)).permute(0, 3, 1, 2)


class GridEncoder(nn.Module):
    """Convolutions of stride 2 down to a grid, with batch norm and ReLU, and a 1x1 convolution to its cells.

    After the last halving each cell sees its neighbours by a 3x3 convolution, ``depth`` times. Channels double
    from ``width`` up to ``8 * width``. The features are those of the cells, row by row: a code of D values has
    D / grid^2 for each.

    Arguments:
        shape: (C, H, W), both sides the grid's times a power of two, at least 2.
        features: length of the output vector, a multiple of grid^2.
        width: channels of the first convolution.
        grid: cells along a side.
        depth: 3x3 convolutions on the grid.
        spectral: normalise the weights, see the package.

    Raises: InputError for sides, features or sizes that do not fit.

    Reference: see the module.

    >>> GridEncoder((3, 32, 32), 128, width=4)(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 128])
    """

    def __init__(
        self,
        shape: Shape,
        features: int,
        *,
        width: int = 128,
        grid: int = 4,
        depth: int = 1,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(shape, features=features, width=width, grid=grid, depth=depth)
        halvings, cell = _halvings(shape, grid), _values(features, grid)
        channels = shape[0]
        layers: list[nn.Module] = []
        for level in range(halvings):
            outputs = min(width << level, _WIDEST * width)
            layers += _normed(nn.Conv2d(channels, outputs, 4, stride=2, padding=1, bias=False))
            channels = outputs
        for _ in range(depth):
            layers += _normed(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, cell, 1), ToCells())
        finish(self, spectral)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, (N, C, H, W) in [0, 1], to (N, features)."""
        x = (2 * x - 1).contiguous(memory_format=torch.channels_last)
        y: Tensor = self.layers(x)
        return y


class GridDecoder(nn.Module):
    """A 3x3 convolution of a grid of codes, transposed convolutions of stride 2, one 3x3 to the image, a sigmoid.

    Channels are those of ``GridEncoder`` in reverse; batch norm and ReLU follow each layer but the last.

    Arguments:
        shape: (C, H, W), both sides the grid's times a power of two, at least 2.
        latent_dim: length D of a code, a multiple of grid^2.
        width, grid, depth, spectral: as of ``GridEncoder``.

    Raises: InputError for sides, codes or sizes that do not fit.

    Reference: see the module.

    >>> GridDecoder((1, 64, 64), 64, width=4, grid=8)(torch.randn(2, 64)).shape
    torch.Size([2, 1, 64, 64])
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        width: int = 128,
        grid: int = 4,
        depth: int = 1,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(shape, latent_dim=latent_dim, width=width, grid=grid, depth=depth)
        halvings, cell = _halvings(shape, grid), _values(latent_dim, grid)
        self.start = (cell, *(side >> halvings for side in shape[1:]))
        widths = [min(width << level, _WIDEST * width) for level in range(halvings)]
        channels = cell
        layers: list[nn.Module] = [FromCells(self.start)]
        for _ in range(depth):
            layers += _normed(nn.Conv2d(channels, widths[-1], 3, padding=1, bias=False))
            channels = widths[-1]
        for outputs in reversed([width, *widths[:-1]]):
            layers += _normed(nn.ConvTranspose2d(channels, outputs, 4, stride=2, padding=1, bias=False))
            channels = outputs
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, shape[0], 3, padding=1))
        finish(self, spectral)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes, (N, D), to images, (N, C, H, W) in [0, 1]; the sigmoid is computed in float32."""
        return to_images(self.layers(z))


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]


def _halvings(shape: Shape, grid: int) -> int:
    """Return how many halvings make the grid of both sides of an image."""
    _, height, width = shape
    halvings = (height // grid).bit_length() - 1
    if halvings < 1 or not height == width == grid << halvings:
        raise InputError(
            f"a grid of {grid} expects square images of {2 * grid}, {4 * grid}, {8 * grid}, ... pixels, got "
            f"{height}x{width}; set image_size or grid."
        )
    return halvings


def _values(length: int, grid: int) -> int:
    """Return the values of a cell of a code of that length."""
    if length % grid**2:
        raise InputError(
            f"a grid of {grid} x {grid} cells expects codes of a multiple of {grid**2} values, got {length}; set "
            "latent_dim or grid, and no labels, which belong to no cell."
        )
    return length // grid**2
