"""Feature spaces: where generated images are compared with real ones.

A feature space is a row of ``FEATURES``: a function of the data set that returns ``Features``.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import os
import pickle
import re
import urllib.error
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from entropic_ae.errors import InputError, unknown_name
from entropic_ae.files import atomic
from entropic_ae.randomness import seeded

if TYPE_CHECKING:
    from entropic_ae.data import ImageData

__all__ = ["FEATURES", "Features", "load_features"]

_log = logging.getLogger(__name__)


class Features:
    """A map from images to feature vectors, computed in batches of its own.

    The network is moved to ``device`` and put in evaluation mode. How a caller batches the images
    changes the features by rounding at most, and memory is bounded by ``batch_size``.

    Arguments:
        name: what a report calls this space.
        network: uint8 images (N, C, H, W) to (N, F).
        dim: F.
        batch_size: images that go through the network at a time.
        device: where the network runs; features always come back on the CPU.
        accuracy: validation accuracy in [0, 1], where the network is a classifier.

    Raises:
        InputError: when called with anything but uint8 (N, C, H, W), or when the network returns another
            shape than (N, F).

    >>> import torch
    >>> features = Features("pixels", torch.nn.Flatten(), dim=4)
    >>> features(torch.zeros(3, 1, 2, 2, dtype=torch.uint8)).shape
    torch.Size([3, 4])
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        dim: int,
        *,
        batch_size: int = 256,
        device: str = "cpu",
        accuracy: float | None = None,
    ) -> None:
        self.name = name
        self.dim = dim
        self.accuracy = accuracy
        self._batch_size = batch_size
        self._device = torch.device(device)
        self._network = network.to(self._device).eval().requires_grad_(False)

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 features (N, F) of uint8 images (N, C, H, W), on the CPU."""
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise InputError(
                f"features need uint8 images (N, C, H, W), got {images.dtype} {tuple(images.shape)}; "
                "scale to 0..255 and round first."
            )
        features = torch.empty(len(images), self.dim)
        for start in range(0, len(images), self._batch_size):
            batch = images[start : start + self._batch_size]
            with torch.inference_mode():
                out = self._network(batch.to(self._device))
            if not isinstance(out, Tensor) or out.shape != (len(batch), self.dim):
                came = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
                raise InputError(
                    f"feature space '{self.name}' must map {len(batch)} images to a tensor "
                    f"({len(batch)}, {self.dim}), got {came}; give a network with one row an image."
                )
            features[start : start + len(batch)] = out
        return features


# Pixels ----------------------------------------------------------------------------------------

_MOST_PIXELS = 4096  # the eigenvalues of a larger covariance take minutes, and few sets have the rank


class _Pixels(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).float() / 255


def _pixels(data: ImageData, weights: Path | None, device: str) -> Features:  # noqa: ARG001
    dim = math.prod(data.train.images.shape[1:])
    if dim > _MOST_PIXELS:
        raise InputError(
            f"feature space 'pixels' takes at most {_MOST_PIXELS} values an image, got {dim} in {data.name}; "
            "use --features inception, or classifier if the images have labels."
        )
    return Features("pixels", _Pixels(), dim, batch_size=4096, device=device)


# A classifier trained on the data's own labels --------------------------------------------------

_RECIPE = 1  # raise it with any change below that changes the trained weights, so that caches expire
_WIDTHS = (32, 64, 128)
_FEATURES = 64
_LEARNING_RATE = 3e-3
# Images seen in training, for 32x32: a minute or two on two CPU cores.
_GREY_BUDGET, _COLOUR_BUDGET = 200_000, 500_000
# Pixels in a batch; with fewer, threads wait for each other longer than they compute.
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


def _classifier(data: ImageData, weights: Path | None, device: str) -> Features:  # noqa: ARG001
    classes = _check_labels(data)
    with seeded(0):
        network = _Classifier(tuple(data.train.images.shape[1:]), classes)
    path = _cache_path(data, classes)
    accuracy = _read_cache(path, network)
    if accuracy is None:
        _log.info("training the feature classifier of %s, once; it is kept as %s", data.name, path)
        with seeded(0):
            network = _train_classifier(data, classes)
        accuracy = _accuracy(network, data)
        _write_cache(path, network, accuracy)
    return Features("classifier", network, _FEATURES, device=device, accuracy=accuracy)


def _check_labels(data: ImageData) -> int:
    """Return the number of classes, or say why no classifier can be trained."""
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
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            accuracy = float((file.metadata() or {})["accuracy"])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
        network.load_state_dict(state)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        _log.warning("the cached classifier %s is damaged (%s); training it again", path, error)
        return None
    return accuracy


def _write_cache(path: Path, network: nn.Module, accuracy: float) -> None:
    from safetensors.torch import save_file

    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    try:
        with atomic(path) as temporary:
            save_file(state, temporary, metadata={"accuracy": repr(accuracy)})
    except OSError as error:
        warnings.warn(
            f"the trained classifier could not be kept at {path} ({error}), so the next run trains it again; "
            "set ENTROPIC_AE_CACHE to a folder that can be written.",
            stacklevel=2,
        )


@torch.inference_mode()
def _accuracy(network: _Classifier, data: ImageData) -> float:
    """Share of validation images named rightly; NaN if the validation set is empty or unlabelled."""
    images, labels = data.validation.images, data.validation.labels
    if labels is None or len(images) == 0:
        return math.nan
    network.eval()
    right = sum(
        int((network.logits(x).argmax(dim=1) == y).sum())
        for x, y in zip(images.split(500), labels.split(500), strict=True)
    )
    return right / len(images)


class _Batches(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Images and labels indexed by a whole list, so that a batch costs one gather."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices)
        return self.images[chosen], self.labels[chosen]


def _train_classifier(data: ImageData, classes: int) -> _Classifier:
    """Train on the CPU, wherever the features are used: one set of weights for every device."""
    import pytorch_lightning as pl
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler

    images, labels = data.train.images, data.train.labels
    assert labels is not None
    n, channels, height, width = images.shape
    grey = channels == 1
    budget = (_GREY_BUDGET if grey else _COLOUR_BUDGET) * 32 * 32 / (height * width)
    epochs = min(16, max(3, round(budget / n)))
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
                optimizer, _LEARNING_RATE, total_steps=epochs * len(sampler)
            )
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    network = _Classifier(tuple(images.shape[1:]), classes)
    threads = 1 if batch_size * height * width < _WORTH_THREADS else torch.get_num_threads()
    with _quiet_lightning(), _threads(threads):
        pl.Trainer(
            max_epochs=epochs,
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
    """Run PyTorch's operators on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notices about hardware and workers out of a small training inside a metric."""
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        logger.setLevel(level)


# Inception ---------------------------------------------------------------------------------------


class _Inception(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1] not in (1, 3):
            raise InputError(
                f"feature space 'inception' needs 1 or 3 channels, got {images.shape[1]}; "
                "use --features pixels or classifier, or convert the images to RGB."
            )
        return self.network(images.expand(-1, 3, -1, -1))[0]


def _inception(data: ImageData, weights: Path | None, device: str) -> Features:  # noqa: ARG001
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import (
            URL_INCEPTION_V3,
            FeatureExtractorInceptionV3,
        )
    except ImportError as error:
        raise InputError(
            f"feature space 'inception' needs torch-fidelity, which cannot be imported ({error}); "
            "run pip install 'entropic-ae[fid]', or use --features classifier or pixels."
        ) from None
    except RuntimeError as error:  # a torchvision of another build: "operator torchvision::nms does not exist"
        raise InputError(
            f"feature space 'inception' needs a torchvision made for this torch, importing it failed with "
            f"'{error}'; reinstall both from one index, or use --features classifier or pixels."
        ) from None

    state = _download(URL_INCEPTION_V3) if weights is None else _read_weights(weights)
    # torch-fidelity's constructor unpickles whatever file it is given. It gets a copy, made here, of
    # tensors that were read without executing anything.
    verified = io.BytesIO()
    torch.save(state, verified)
    verified.seek(0)
    try:
        with seeded(0):  # the constructor draws random weights before it loads these
            network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=verified
            )
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{weights or URL_INCEPTION_V3} does not hold the FID Inception network's weights ({reason}); "
            f"give --weights the file from {URL_INCEPTION_V3}."
        ) from None
    return Features("inception", _Inception(network), 2048, batch_size=32, device=device)


# What reading a damaged file raises: torch's restricted unpickler checks no operand of the bytes it reads.
_UNREADABLE = (pickle.UnpicklingError, RuntimeError, ValueError, LookupError, EOFError, AttributeError, TypeError)


def _download(url: str) -> dict[str, Tensor]:
    try:
        # The file's name ends in its hash, which is checked.
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (urllib.error.URLError, OSError) as error:
        raise InputError(
            f"the Inception weights could not be downloaded ({error}); go online, or fetch {url} on another "
            "machine and give it as --weights FILE."
        ) from None
    except _UNREADABLE as error:  # the hash differs, or torch.hub's cached copy is damaged
        raise InputError(
            f"the Inception weights in {torch.hub.get_dir()} are damaged ({error}); delete them and try again, "
            f"or give the file from {url} as --weights FILE."
        ) from None


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from safetensors or a PyTorch file, never executing what the file holds."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; --weights must name a .pth or .safetensors file.") from None
    except (SafetensorError, OSError, *_UNREADABLE) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} is not a file of plain tensors ({reason}); give --weights a state dict saved by PyTorch "
            "(.pth) or safetensors (.safetensors)."
        ) from None
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise InputError(
            f"{path} must hold a state dict (names to tensors), got {type(state).__name__}; "
            "save network.state_dict()."
        )
    return dict(state)


# A TorchScript file ------------------------------------------------------------------------------

_SCRIPT_SUFFIXES = (".pt", ".ts", ".torchscript")


class _Script(nn.Module):
    """A loaded TorchScript network whose failures name its file."""

    def __init__(self, script: nn.Module, path: Path) -> None:
        super().__init__()
        self.script = script
        self.path = path

    def forward(self, images: Tensor) -> Any:
        try:
            return self.script(images)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(
                f"the TorchScript network {self.path} failed on images {tuple(images.shape)} ({reason}); "
                "it must map uint8 (N, C, H, W) to (N, F)."
            ) from None


def _torchscript(path: Path, data: ImageData, device: str) -> Features:
    if not path.is_file():
        raise InputError(
            f"{path} does not exist; --features must name a TorchScript file or one of {', '.join(FEATURES)}."
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")
            script = _Script(torch.jit.load(str(path), map_location="cpu"), path)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path} is not a TorchScript file ({reason}); "
            "save the network with torch.jit.script(network).save(path)."
        ) from None
    probe = data.train.images[:2]
    with torch.inference_mode():
        out = script.eval()(probe)
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(probe) or out.shape[1] == 0:
        came = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise InputError(
            f"the TorchScript network {path} must map {tuple(probe.shape)} images to ({len(probe)}, F), "
            f"got {came}; flatten what belongs to one image to one row."
        )
    return Features(path.name, script, out.shape[1], device=device)


FEATURES: dict[str, Callable[[ImageData, Path | None, str], Features]] = {
    "inception": _inception,
    "classifier": _classifier,
    "pixels": _pixels,
}


def load_features(
    name: str, data: ImageData, *, weights: str | Path | None = None, device: str = "cpu"
) -> Features:
    """Return the feature space of that name for a data set.

    - ``inception``: 2048 pool features of the FID Inception network, by torch-fidelity (the ``fid`` extra);
      grey images are repeated to three channels. The weights are downloaded once, or read from ``weights``.
    - ``classifier``: 64 penultimate features of a small network that is trained on the data's own labels
      with a fixed seed, then cached in ``ENTROPIC_AE_CACHE`` (by default ``~/.cache/entropic-ae``).
      ``accuracy`` holds its validation accuracy. Distances in it compare with each other only, never with
      a published FID. **Pass data without a limit**: the cache follows the training images, so a limited
      set trains another classifier, whose distances do not compare.
    - ``pixels``: pixels / 255, for small images.
    - the path of a TorchScript file (``.pt``, ``.ts``, ``.torchscript``) that maps uint8 (N, C, H, W) to
      (N, F). Such a file is a program: **only load files you trust**.

    Arguments:
        name: one of ``FEATURES``, or that path.
        data: the data set whose images will be compared.
        weights: Inception weights, ``.pth`` or ``.safetensors``; read without executing anything in them.
        device: where the network runs.

    Raises:
        InputError: an unknown name, a missing extra, file, label or download, or a file of another network.

    Reference: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
    Equilibrium", 2017, for the Inception features.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> images = torch.full((2, 1, 4, 4), 255, dtype=torch.uint8)
    >>> data = SimpleNamespace(name="white", train=SimpleNamespace(images=images, labels=None))
    >>> features = load_features("pixels", data)
    >>> features.dim, features(images).mean().item()
    (16, 1.0)
    """
    if weights is not None and name != "inception":
        raise InputError(
            f"weights are for the feature space 'inception', got them with '{name}'; "
            "drop --weights or use --features inception."
        )
    if name in FEATURES:
        return FEATURES[name](data, Path(weights) if weights is not None else None, device)
    if Path(name).suffix in _SCRIPT_SUFFIXES:
        return _torchscript(Path(name), data, device)
    known = unknown_name("feature space", name, FEATURES)
    raise InputError(f"{known} A TorchScript file ({', '.join(_SCRIPT_SUFFIXES)}) may be given instead.")
