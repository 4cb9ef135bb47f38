"""Multilayer perceptrons: for images of any size, and for rows of numbers."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from entropic_ae.errors import InputError
from entropic_ae.networks.sizes import Shape, finish, to_images

__all__ = ["MLPDecoder", "MLPEncoder", "Perceptron"]


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
        finish(self, spectral)

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
        finish(self, spectral)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes, (N, D), to images, (N, C, H, W) in [0, 1]; the sigmoid is computed in float32."""
        logits = self.layers(z).unflatten(1, self.shape)
        return to_images(logits)


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
