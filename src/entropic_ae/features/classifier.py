"""Features of a small classifier, trained once on the labels of the data and cached."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from entropic_ae.data import ImageData, Split, load_images
from entropic_ae.distributed import in_turn
from entropic_ae.errors import InputError, warn
from entropic_ae.features.space import Features
from entropic_ae.randomness import seeded
from entropic_ae.storage.files import locked
from entropic_ae.storage.tensors import read_tensors, write_tensors

__all__ = [
    "check_labels",
    "classifier_accuracy",
    "classifier_features",
    "classifier_layers",
    "foreign_classifier_features",
]

_log = logging.getLogger(__name__)

_RECIPE = 1  # version of the training below; increase it when the trained weights change, to expire caches
_WIDTHS = (32, 64, 128)
_FEATURES = 64
_LEARNING_RATE = 3e-3
# Images seen in training, for 32x32: a minute or two on two CPU cores.
_GREY_BUDGET, _COLOUR_BUDGET = 200_000, 500_000
# Pixels in a batch from which several threads are faster than one.
_WORTH_THREADS = 128 * 128


class _Classifier(nn.Module):
    """Convolutions that halve the image down to 4 pixels, global average pool, 64 features, classes."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, side = shape[0], min(shape[1:])
        layers: list[nn.Module] = []
        for depth in range(max(len(_WIDTHS), math.ceil(math.log2(side / 4)))):
            width = _WIDTHS[min(depth, len(_WIDTHS) - 1)]
            # Small images keep their size in the first layers, and lose it last.
            stride = 2 if side > 4 and (side >= 16 or depth > 0) else 1
            side = math.ceil(side / stride)
            layers += [
                nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        self.body = nn.Sequential(*layers)
        self.penultimate = nn.Linear(channels, _FEATURES)
        self.head = nn.Linear(_FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features, after their ReLU."""
        hidden = self.body(images.float() / 127.5 - 1)
        return torch.relu(self.penultimate(hidden.mean(dim=(2, 3))))

    def logits(self, images: Tensor) -> Tensor:
        return self.head(self(images))


def classifier_features(data: ImageData, device: str) -> Features:
    """Return the penultimate features of a classifier trained on the data, or read from the cache."""
    classes = check_labels(data)
    with seeded(0):
        network = _Classifier(tuple(data.train.images.shape[1:]), classes)
    path = _cache_path(data, classes)
    with in_turn():
        accuracy = _read_cache(path, network)
        if accuracy is None:
            network, accuracy = _trained_once(path, network, data, classes)
    return Features("classifier", network, _FEATURES, device=device, accuracy=accuracy, content="classifier")


def _trained_once(path: Path, network: _Classifier, data: ImageData, classes: int) -> tuple[_Classifier, float]:
    """Train a classifier and keep it in the cache, or wait for another process that does; return its accuracy."""
    with ExitStack() as stack:
        with suppress(OSError):  # a folder that cannot be written keeps none
            stack.enter_context(locked(path.parent / ".claims" / f"{path.stem}.lock"))
        accuracy = _read_cache(path, network)
        if accuracy is not None:
            return network, accuracy
        _log.info(
            "training the classifier of %s whose features are compared, once; minutes for a large set; it is kept "
            "as %s",
            data.name,
            path,
        )
        with seeded(0):
            network = _train_classifier(data.train, classes)
        accuracy = _accuracy(network, data.validation)
        _write_cache(path, network, accuracy)
        return network, accuracy


class _Layers(nn.Module):
    """The activations of a classifier's convolutions."""

    def __init__(self, network: _Classifier) -> None:
        super().__init__()
        self.body = network.body

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the activations after each ReLU for images in [0, 1], (N, C, H, W) of the classifier's size."""
        x, found = 2 * images - 1, []
        for layer in self.body:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(x)
        return found


def classifier_layers(data: ImageData) -> nn.Module:
    """Return the layers of a classifier of the data, trained or read from the cache, for ``FeatureError``.

    Raises: InputError without labels.
    """
    if data.train.labels is None:
        raise InputError(
            f"feature_error.network=classifier needs a label for each training image, {data.name} has none; "
            "put them into a folder for each class, or use random or dino."
        )
    network = classifier_features(data, "cpu").network
    assert isinstance(network, _Classifier)
    return _Layers(network)


class _Fitted(nn.Module):
    """A classifier that resizes its input to the image size of its training data."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.shape = shape

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of uint8 images of any shape (N, C, H, W)."""
        images = images.float()
        if images.shape[1] != self.shape[0]:
            images = images.mean(1, keepdim=True).expand(-1, self.shape[0], -1, -1)
        if images.shape[2:] != self.shape[1:]:
            images = nn.functional.interpolate(images, self.shape[1:], mode="bilinear", antialias=True)
        features: Tensor = self.network(images)
        return features


def foreign_classifier_features(source: str, device: str) -> Features:
    """Return the features of a classifier of another data set, for images without labels.

    Images are resized to those of that data set.

    Arguments:
        source: name or path of the data set, as for ``load_images``.
        device: where the network runs.
    """
    data = load_images(source)
    own = classifier_features(data, device)
    network = _Fitted(own.network, tuple(data.shape))
    name = f"classifier:{source}"
    return Features(name, network, own.dim, device=device, accuracy=own.accuracy, content=name)


def classifier_accuracy(training: Split, test: Split, *, epochs: int = 5) -> float:
    """Return the accuracy on test images of the classifier when it is trained on other images, from a fixed start.

    Arguments:
        training: uint8 images, (N, C, H, W), with labels from 0.
        test: images of the same shape, with labels.
        epochs: passes over the training images.

    Raises: InputError for images without labels, without images, or with one label only.

    >>> black, white = torch.zeros(40, 1, 8, 8), torch.full((40, 1, 8, 8), 255)
    >>> images = Split(torch.cat([black, white]).byte(), torch.arange(2).repeat_interleave(40))
    >>> classifier_accuracy(images, images)
    1.0
    """
    for split in (training, test):
        if split.labels is None or len(split.images) == 0:
            raise InputError("classifier_accuracy needs images with labels, got none; give each image its class.")
    assert training.labels is not None
    assert test.labels is not None
    if len(training.labels.unique()) < 2:
        raise InputError("classifier_accuracy needs at least 2 different labels, got 1; there is nothing to tell.")
    classes = int(max(training.labels.max(), test.labels.max())) + 1
    with seeded(0):
        network = _train_classifier(training, classes, epochs)
    return _accuracy(network, test)


def check_labels(data: ImageData) -> int:
    """Return the number of classes; InputError if no classifier can be trained."""
    images, labels = data.train.images, data.train.labels
    if labels is None or len(images) == 0:
        raise InputError(
            f"feature space 'classifier' needs a label for each training image, {data.name} has none; "
            "use --features inception or pixels."
        )
    classes = data.classes if data.classes is not None else int(labels.max()) + 1
    if len(labels) != len(images) or int(labels.min()) < 0 or int(labels.max()) >= classes or classes < 2:
        raise InputError(
            f"feature space 'classifier' needs {len(images)} labels in 0..{classes - 1}, 2 classes at least, "
            f"got {len(labels)} in {int(labels.min())}..{int(labels.max())} from {data.name}; "
            "mend the labels or use --features inception or pixels."
        )
    return classes


def _cache_path(data: ImageData, classes: int) -> Path:
    """Return the file that holds the classifier of exactly these images and labels."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("ENTROPIC_AE_CACHE") or Path(home, "entropic-ae"))
    assert data.train.labels is not None
    digest = hashlib.sha256(f"{_RECIPE} {classes} {tuple(data.train.images.shape)}".encode())
    digest.update(data.train.images.contiguous().numpy().data)
    digest.update(data.train.labels.contiguous().numpy().data)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", data.name).strip("-.")[-60:] or "data"
    return folder / f"classifier-{name}-{digest.hexdigest()[:16]}.safetensors"


def _read_cache(path: Path, network: _Classifier) -> float | None:
    """Load cached weights into ``network`` and return their accuracy, or None if there are none to use."""
    if not path.is_file():
        return None
    state, metadata = read_tensors(path)
    try:
        accuracy = float(metadata["accuracy"])
        network.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        _log.warning("the cached classifier %s is damaged (%s); training it again", path, error)
        return None
    return accuracy


def _write_cache(path: Path, network: nn.Module, accuracy: float) -> None:
    try:
        write_tensors(path, network.state_dict(), {"accuracy": repr(accuracy)})
    except OSError as error:
        warn(
            f"the trained classifier could not be kept at {path} ({error}), so the next run trains it again; "
            "set ENTROPIC_AE_CACHE to a folder that can be written."
        )


@torch.inference_mode()
def _accuracy(network: _Classifier, split: Split) -> float:
    """Return the accuracy on images; NaN if there are none, or they have no labels."""
    images, labels = split.images, split.labels
    if labels is None or len(images) == 0:
        return math.nan
    network.eval()
    right = sum(
        int((network.logits(x).argmax(dim=1) == y).sum())
        for x, y in zip(images.split(500), labels.split(500), strict=True)
    )
    return right / len(images)


class _Batches(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Images and labels indexed by a list, so that a batch costs one gather."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices)
        return self.images[chosen], self.labels[chosen]


def _train_classifier(split: Split, classes: int, epochs: int | None = None) -> _Classifier:
    """Train on the CPU, wherever the features are used: one set of weights for every device.

    Arguments:
        split: the images and their labels.
        classes: number of classes.
        epochs: default: by the number and the size of the images.
    """
    import pytorch_lightning as pl
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler

    from entropic_ae.training import quiet_lightning

    images, labels = split.images, split.labels
    assert labels is not None
    n, channels, height, width = images.shape
    grey = channels == 1
    budget = (_GREY_BUDGET if grey else _COLOUR_BUDGET) * 32 * 32 / (height * width)
    passes = epochs or min(16, max(3, round(budget / n)))
    batch_size = min(128, max(32, n // 32))
    dataset = _Batches(images, labels)
    # A last batch of one image would have no variance for the batch normalisation.
    sampler = BatchSampler(RandomSampler(dataset), batch_size, drop_last=n > batch_size)
    loader = DataLoader(dataset, sampler=sampler, batch_size=None)

    class Training(pl.LightningModule):
        def __init__(self, network: _Classifier) -> None:
            super().__init__()
            self.network = network

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            x, y = batch
            if not grey:  # photographs mirror, digits and letters do not
                x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
            return nn.functional.cross_entropy(self.network.logits(x), y)

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=_LEARNING_RATE, weight_decay=0.01)
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, _LEARNING_RATE, total_steps=passes * len(sampler)
            )
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    network = _Classifier(tuple(images.shape[1:]), classes)
    threads = 1 if batch_size * height * width < _WORTH_THREADS else torch.get_num_threads()
    with quiet_lightning(), _threads(threads):
        pl.Trainer(
            max_epochs=passes,
            accelerator="cpu",
            devices=1,
            plugins=[LightningEnvironment()],  # one process, also inside a cluster's job
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(Training(network), loader)
    return network


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Run PyTorch's operators on ``count`` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
