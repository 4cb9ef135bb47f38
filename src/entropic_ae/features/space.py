"""Feature spaces: a network and its batched application to images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.data import ImageData
from entropic_ae.distributed import share_out, sharers
from entropic_ae.errors import InputError

__all__ = ["FeatureSpace", "Features"]

_KEPT = 4  # sets of features held at once: the real images of two data sets, 80 MB each in Inception's space
_kept: dict[tuple[str, ...], Tensor] = {}


class Features:
    """A map from images to feature vectors, computed in batches.

    The network is moved to ``device`` and put in evaluation mode. ``batch_size`` bounds the memory, and batching
    changes the features by rounding at most.

    Arguments:
        name: name of the space in reports.
        network: uint8 images (N, C, H, W) to (N, F).
        dim: F.
        batch_size: images per forward pass.
        device: device of the network; features are returned on the CPU.
        accuracy: validation accuracy in [0, 1], if the network is a classifier.
        content: cache key for ``of_real``, besides the weights: everything else that the features depend on, such
            as options of the network or the digest of its file. None disables the cache.

    Raises:
        InputError: when called with anything but uint8 (N, C, H, W), or if the network's output is not shaped
            (N, F).

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
        content: str | None = None,
    ) -> None:
        self.name = name
        self.dim = dim
        self.accuracy = accuracy
        self._content = content
        self._batch_size = batch_size
        self._device = torch.device(device)
        self.network = network.to(self._device).eval().requires_grad_(False)

    def __call__(self, images: ArrayLike) -> Tensor:
        """Return float32 features (N, F) of uint8 images (N, C, H, W), on the CPU."""
        images = as_tensor(images, "features")
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise InputError(
                f"features need uint8 images (N, C, H, W), got {images.dtype} {tuple(images.shape)}; "
                "scale to 0..255 and round first."
            )
        features = torch.empty(len(images), self.dim)
        size = sharers() * self._batch_size
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            features[start : start + len(batch)] = share_out(self._apply, batch)
        return features

    def _apply(self, batch: Tensor) -> Tensor:
        with torch.inference_mode():
            out = self.network(batch.to(self._device))
        if not isinstance(out, Tensor) or out.shape != (len(batch), self.dim):
            came = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise InputError(
                f"feature space '{self.name}' must map {len(batch)} images to a tensor "
                f"({len(batch)}, {self.dim}), got {came}; give a network with one row an image."
            )
        return out

    def of_real(self, images: Tensor) -> Tensor:
        """Return the features of real images, cached in memory.

        Real images are shared by all runs that are evaluated on one data set. The cache key is their content, so
        images changed in place are recomputed.
        """
        if self._content is None:
            return self(images)
        key = (self.name, self._content, str(self._device), self.weights_sha256(), _digest(images))
        if key not in _kept:
            while len(_kept) >= _KEPT:
                del _kept[next(iter(_kept))]  # the oldest
            _kept[key] = self(images)
        return _kept[key].clone()

    def weights_sha256(self) -> str:
        """Return the SHA-256 of the network's weights; distances are comparable only if it is equal."""
        state = sorted(self.network.state_dict().items())
        return hashlib.sha256("".join(name + _digest(tensor) for name, tensor in state).encode()).hexdigest()


@dataclass(frozen=True)
class FeatureSpace:
    """How the features of a data set are made: a row of ``FEATURES``.

    Attributes:
        load: called with the data set and the device, returns its ``Features``, named as the row is.
        check: called with the data set, raises InputError where ``load`` would for want of labels, an extra or a
            file; it computes nothing.
        takes_weights: whether ``load`` is called with ``weights`` too, the path of a file or folder, or None.

    >>> import torch
    >>> flat = FeatureSpace(lambda data, device: Features("flat", torch.nn.Flatten(), 4, device=device))
    >>> flat.load(None, "cpu").dim
    4
    """

    load: Callable[..., Features]
    check: Callable[[ImageData], object] = lambda _: None
    takes_weights: bool = False


def _digest(tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's type, shape and values."""
    tensor = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
