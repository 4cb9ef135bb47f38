"""Feature spaces: where generated images are compared with real ones.

A feature space is a row of ``FEATURES``: a function of the data set that returns ``Features``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from entropic_ae.data import ImageData
from entropic_ae.errors import InputError, unknown_name
from entropic_ae.features.classifier import check_labels, classifier_features, foreign_classifier_features
from entropic_ae.features.inception import check_inception, inception_features
from entropic_ae.features.pixels import pixel_features
from entropic_ae.features.space import Features
from entropic_ae.features.torchscript import SUFFIXES, check_script, torchscript_features

__all__ = ["FEATURES", "Features", "check_features", "load_features"]

_FOREIGN = "classifier:"

FEATURES: dict[str, Callable[[ImageData, Path | None, str], Features]] = {
    "inception": inception_features,
    "classifier": classifier_features,
    "pixels": pixel_features,
}


def load_features(
    name: str, data: ImageData, *, weights: str | Path | None = None, device: str = "cpu"
) -> Features:
    """Return the feature space of that name for a data set.

    - ``inception``: 2048 pool features of the FID Inception network from torch-fidelity (the ``fid`` extra);
      grey images are repeated to three channels. The weights are downloaded once, or read from ``weights``.
    - ``classifier``: 64 penultimate features of a small network that is trained on the data's own labels
      with a fixed seed, then cached in ``ENTROPIC_AE_CACHE`` (by default ``~/.cache/entropic-ae``).
      ``accuracy`` holds its validation accuracy. Its distances are comparable with each other only, never with a
      published FID. **Pass data without a limit**: the classifier depends on the training images, so a limited set
      trains a different classifier, whose distances are not comparable.
    - ``classifier:DATA``: the classifier of another data set, such as ``classifier:cifar10``, for images without
      labels; the images are resized to those of that data set.
    - ``pixels``: pixels / 255, larger images averaged down to 1,024 values at most.
    - the path of a TorchScript file (``.pt``, ``.ts``, ``.torchscript``) that maps uint8 (N, C, H, W) to
      (N, F). Such a file is a program: **only load files you trust**.

    Arguments:
        name: one of ``FEATURES``, or that path.
        data: the data set whose images will be compared.
        weights: Inception weights, ``.pth`` or ``.safetensors``; read without executing anything in them.
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
    check_features(name)
    if weights is not None and name != "inception":
        raise InputError(
            f"weights are for the feature space 'inception', got them with '{name}'; "
            "drop --weights or use --features inception."
        )
    if name.startswith(_FOREIGN):
        return foreign_classifier_features(name.removeprefix(_FOREIGN), device)
    if name in FEATURES:
        return FEATURES[name](data, Path(weights) if weights is not None else None, device)
    return torchscript_features(Path(name), data, device)


def check_features(name: str, data: ImageData | None = None) -> None:
    """Raise InputError if a name is neither a feature space, nor that of other data or of a TorchScript file.

    Arguments:
        name: as for ``load_features``.
        data: given, what the space needs is looked for too: labels, an extra, a file.
    """
    if name not in FEATURES and not name.startswith(_FOREIGN) and Path(name).suffix not in SUFFIXES:
        known = unknown_name("feature space", name, FEATURES)
        raise InputError(f"{known} A TorchScript file ({', '.join(SUFFIXES)}) may be given instead.")
    if data is None:
        return
    if name == "classifier":
        check_labels(data)
    elif name == "inception":
        check_inception()
    elif Path(name).suffix in SUFFIXES:
        check_script(Path(name))
