"""Feature spaces: where generated images are compared with real ones.

A feature space is a row of ``FEATURES``: how it is loaded for a data set, and what it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from entropic_ae.data import ImageData
from entropic_ae.errors import InputError
from entropic_ae.features.classifier import (
    check_labels,
    classifier_accuracy,
    classifier_features,
    classifier_layers,
    foreign_classifier_features,
)
from entropic_ae.features.dino import check_dino, dino_features, dino_layers
from entropic_ae.features.inception import check_inception, inception_features
from entropic_ae.features.lpips import BACKBONES, lpips_layers
from entropic_ae.features.pixels import pixel_features
from entropic_ae.features.random import random_features
from entropic_ae.features.space import Features, FeatureSpace
from entropic_ae.features.torchscript import SUFFIXES, check_script, torchscript_features
from entropic_ae.registry import Registry

__all__ = [
    "FEATURES",
    "FeatureSpace",
    "Features",
    "check_features",
    "classifier_accuracy",
    "feature_network",
    "load_features",
    "takes_weights",
]

_FOREIGN = "classifier:"

FEATURES: Registry[FeatureSpace] = Registry(
    "feature space",
    {
        "inception": FeatureSpace(inception_features, lambda _: check_inception(), takes_weights=True),
        "dino": FeatureSpace(dino_features, lambda _: check_dino(), takes_weights=True),
        "classifier": FeatureSpace(classifier_features, check_labels),
        "random": FeatureSpace(random_features),
        "pixels": FeatureSpace(pixel_features),
    },
)


_LAYERS: dict[str, Callable[[ImageData], nn.Module]] = {
    "classifier": classifier_layers,
    "dino": dino_layers,
    **{name: partial(lpips_layers, name) for name in BACKBONES},
}


def load_features(
    name: str, data: ImageData, *, weights: str | Path | None = None, device: str = "cpu"
) -> Features:
    """Return the feature space of that name for a data set.

    - ``inception``: 2048 pool features of the FID Inception network from torch-fidelity (the ``fid`` extra);
      grey images are repeated to three channels. The weights are downloaded once, or read from ``weights``.
    - ``dino``: 384 features of the self-supervised transformer DINOv2 ViT-S/14 (the ``dino`` extra), of images
      resized to 224 x 224. The weights are downloaded once, or read from the folder ``weights``.
    - ``classifier``: 64 penultimate features of a small network that is trained on the data's own labels
      with a fixed seed, then cached in ``ENTROPIC_AE_CACHE`` (by default ``~/.cache/entropic-ae``).
      ``accuracy`` holds its validation accuracy. Its distances are comparable with each other only, never with a
      published FID. **Pass data without a limit**: the classifier depends on the training images, so a limited set
      trains a different classifier, whose distances are not comparable.
    - ``classifier:DATA``: the classifier of another data set, such as ``classifier:cifar10``, for images without
      labels; the images are resized to those of that data set.
    - ``random``: 256 features of a fixed convolutional network that is not trained, of images of any size.
    - ``pixels``: pixels / 255, larger images averaged down to 1,024 values at most.
    - the name of a custom space, registered in ``FEATURES`` first.
    - the path of a TorchScript file (``.pt``, ``.ts``, ``.torchscript``) that maps uint8 (N, C, H, W) to
      (N, F). Such a file is a program: **only load files you trust**.

    Arguments:
        name: one of ``FEATURES``, or that path.
        data: the data set whose images will be compared.
        weights: of Inception, ``.pth`` or ``.safetensors``; of DINOv2, a folder of ``config.json`` and
            ``model.safetensors``. They are read without executing anything in them.
        device: where the network runs.

    Raises:
        InputError: an unknown name, a missing extra, file, label or download, or a file of another network.

    Reference: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
    2017, for the Inception features, https://arxiv.org/abs/1706.08500.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> images = torch.full((2, 1, 4, 4), 255, dtype=torch.uint8)
    >>> data = SimpleNamespace(name="white", train=SimpleNamespace(images=images, labels=None))
    >>> features = load_features("pixels", data)
    >>> features.dim, features(images).mean().item()
    (16, 1.0)
    """
    space = _space(name)
    if weights is not None and not space.takes_weights:
        takers = " or ".join(one for one, space in FEATURES.items() if space.takes_weights)
        raise InputError(
            f"weights are for the feature space {takers}, got them with '{name}'; "
            f"drop --weights or use --features {takers}."
        )
    given = {"weights": None if weights is None else Path(weights)} if space.takes_weights else {}
    features = space.load(data, device, **given)
    if name in FEATURES and features.name != name:  # results are kept under it
        raise InputError(f"the feature space '{name}' gives Features named '{features.name}'; give both one name.")
    return features


def feature_network(name: str, data: ImageData) -> nn.Module | None:
    """Return the network of a ``FeatureError`` that depends on the images or is downloaded; None for others.

    - ``classifier``: the layers of the feature space of that name, trained on the labels of the data, or cached.
    - ``dino``: four layers of DINOv2, of images resized to 224 x 224.
    - ``lpips-alex``, ``lpips-vgg``: five layers of AlexNet or VGG16, with the learned weights of LPIPS.

    Raises: InputError for want of labels, of the extra ``dino`` or of weights, or for images that are too small.

    >>> from entropic_ae.data import load_images
    >>> feature_network("random", load_images("digits"))
    """
    build = _LAYERS.get(name)
    return None if build is None else build(data)


def check_features(name: str, data: ImageData | None = None) -> None:
    """Raise InputError if a name is neither a feature space, nor that of other data or of a TorchScript file.

    Arguments:
        name: as for ``load_features``.
        data: given, what the space needs is looked for too: labels, an extra, a file.
    """
    space = _space(name)
    if data is not None:
        space.check(data)


def takes_weights(name: str) -> bool:
    """Return whether ``load_features`` takes ``weights`` for a feature space.

    >>> takes_weights("inception"), takes_weights("pixels")
    (True, False)
    """
    return _space(name).takes_weights


def _space(name: str) -> FeatureSpace:
    """Return the feature space of a name, of other data or of a TorchScript file."""
    if name in FEATURES:
        return FEATURES[name]
    if name.startswith(_FOREIGN):
        source = name.removeprefix(_FOREIGN)
        return FeatureSpace(lambda _, device: foreign_classifier_features(source, device))
    if (path := Path(name)).suffix in SUFFIXES:
        return FeatureSpace(partial(torchscript_features, path), lambda _: check_script(path))
    raise FEATURES.unknown(name, f"; a TorchScript file ({', '.join(SUFFIXES)}) may be given instead")
