"""LPIPS: the layers of AlexNet or VGG16 with learned weights of their channels, for ``FeatureError``.

Reference: Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", 2018,
https://arxiv.org/abs/1801.03924; code: https://github.com/richzhang/PerceptualSimilarity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from entropic_ae.data import ImageData
from entropic_ae.errors import InputError
from entropic_ae.features.states import UNREADABLE, downloaded

__all__ = ["BACKBONES", "Backbone", "Lpips", "lpips_layers"]

# of images from -1 to 1, as the authors' code has them: ImageNet's mean and deviation
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_TINY = 1e-10  # beside the norm at a position, as the authors' code has it
_INSTEAD = "use feature_error.network=random"


def _alexnet() -> nn.Sequential:
    """Return the convolutions of torchvision's AlexNet, with the names of its state dict."""
    pool = nn.MaxPool2d(3, 2)
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), pool),
        *(nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), pool),
        *(nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU()),
    )


def _vgg16() -> nn.Sequential:
    """Return the convolutions of torchvision's VGG16, with the names of its state dict."""
    layers: list[nn.Module] = []
    blocks = [[3, 64, 64], [64, 128, 128], [128, *[256] * 3], [256, *[512] * 3], [512, *[512] * 3]]
    for number, channels in enumerate(blocks):
        layers += [nn.MaxPool2d(2)] if number else []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


class Backbone(NamedTuple):
    """A network whose layers LPIPS compares.

    Attributes:
        title: its name.
        build: returns its convolutions, with random weights.
        layers: the ReLUs whose activations are compared, by their number.
        channels: of these activations.
        least: the smallest side of an image in pixels.
        url: of torchvision's state dict.
        linear: the name of the file of the learned weights.
    """

    title: str
    build: Callable[[], nn.Sequential]
    layers: tuple[int, ...]
    channels: tuple[int, ...]
    least: int
    url: str
    linear: str


_MODELS = "https://download.pytorch.org/models"
BACKBONES = {
    "lpips-alex": Backbone(
        "AlexNet",
        _alexnet,
        (1, 4, 7, 9, 11),
        (64, 192, 384, 256, 256),
        31,
        f"{_MODELS}/alexnet-owt-7be5be79.pth",
        "alex.pth",
    ),
    "lpips-vgg": Backbone(
        "VGG16",
        _vgg16,
        (3, 8, 15, 22, 29),
        (64, 128, 256, 512, 512),
        16,
        f"{_MODELS}/vgg16-397923af.pth",
        "vgg.pth",
    ),
}


class Lpips(nn.Module):
    """The activations of five layers such that the squared distance of two images is their LPIPS.

    Activations are scaled to norm 1 at each position, and their channels by the roots of the learned weights and
    of the number of layers: ``FeatureError`` averages over layers, where LPIPS adds them up.

    Arguments:
        kind: the network.
        convolutions: torchvision's state dict; what is not a convolution is ignored.
        linear: the learned weights, ``lin0.model.1.weight`` and so on, each (1, F, 1, 1).

    Raises: InputError for weights of another network, or learned weights below 0.
    """

    is_scaled = True  # for FeatureError
    shift: Tensor
    scale: Tensor

    def __init__(self, kind: Backbone, convolutions: Mapping[str, Tensor], linear: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.features = kind.build()
        self._layers = kind.layers
        own = {name: value for name, value in convolutions.items() if name.startswith("features.")}
        try:
            self.load_state_dict(own)
            learnt = [linear[f"lin{i}.model.1.weight"] for i in range(len(kind.channels))]
        except (RuntimeError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"expected the weights of {kind.title} for LPIPS, got others ({reason}); take torchvision's."
            ) from None
        shapes = [tuple(one.shape) for one in learnt]
        if shapes != [(1, size, 1, 1) for size in kind.channels] or not all(
            bool((one >= 0).all()) for one in learnt
        ):
            raise InputError(
                f"expected learned weights (1, F, 1, 1) of at least 0 for F in {kind.channels}, got {shapes}; "
                f"take those of {kind.title}."
            )
        for i, one in enumerate(learnt):
            self.register_buffer(f"weight{i}", (len(learnt) * one).sqrt(), persistent=False)
        for name, values in (("shift", _SHIFT), ("scale", _SCALE)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the activations, each (N, F, H', W'), for images in [0, 1], (N, C, H, W) with C = 1 or 3."""
        x = (2 * images.expand(-1, 3, -1, -1) - 1 - self.shift) / self.scale
        found: list[Tensor] = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self._layers:
                weight = getattr(self, f"weight{len(found)}")
                found.append(weight * x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + _TINY))
        return found


def lpips_layers(name: str, data: ImageData) -> nn.Module:
    """Return LPIPS as a network of ``FeatureError``.

    The convolutions are torchvision's, downloaded once into the cache of ``torch.hub`` (``TORCH_HOME``). The
    learned weights are the authors' version 0.1, which come with torchmetrics.

    Arguments:
        name: in ``BACKBONES``.
        data: whose images are compared.

    Raises: InputError without the weights, for other than grey and colour images, or for too small images.
    """
    kind = BACKBONES[name]
    channels, *sides = data.shape
    if channels not in (1, 3) or min(sides) < kind.least:
        raise InputError(
            f"feature_error.network={name} takes images of 1 or 3 channels and at least {kind.least} pixels a "
            f"side, got {'x'.join(map(str, data.shape))}; use random."
        )
    place = Path(torch.hub.get_dir(), "checkpoints")
    state = downloaded(kind.url, kind.title, f"put it into {place}, or {_INSTEAD}", _INSTEAD)
    return Lpips(kind, state, _learned(kind))


def _learned(kind: Backbone) -> dict[str, Tensor]:
    """Return the learned weights, in the form of the authors' code."""
    found = find_spec("torchmetrics")
    assert found is not None  # the library requires it
    assert found.origin is not None
    path = Path(found.origin).parent / "functional" / "image" / "lpips_models" / kind.linear
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, *UNREADABLE) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the learned weights of LPIPS cannot be read from {path} ({reason}); reinstall torchmetrics, or "
            f"{_INSTEAD}."
        ) from None
    return state
