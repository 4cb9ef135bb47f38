"""Augmentation: random changes of the training images, drawn anew for each image in each epoch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from entropic_ae.errors import InputError, unknown_name

__all__ = ["AUGMENTATIONS", "NONE", "Augmentation", "augmentations"]

NONE, _PLUS = "none", "+"
_SHIFT = 1 / 16  # of the side, at most
_LEAST = 7 / 8  # of the side, of a crop
_DRAWS = 6  # for an image: one for the mirror, two for the shift, three for the crop
_STREAM = 0x5EED  # keeps the draws apart from those of the order, which has the same seed and epoch


class Augmentation:
    """Changes of minibatches, in this order; the names are those of the setting ``augment``.

    - ``mirror``: left and right change places, with probability 1/2.
    - ``shift``: by whole pixels along each side, each way up to 1/16 of the side, and up to 1 pixel of a smaller
      side than 16; what is then missing is reflected.
    - ``crop``: a share of 7/8 to 1 of each side, at any place, resized back by bicubic interpolation. It only
      enlarges, so nothing is aliased.

    The draws belong to the seed, the epoch and the image alone: minibatches, processes and steps per call do not
    change them, and an augmentation does not change those of another.

    Arguments:
        names: of ``AUGMENTATIONS``.
        n: number of training images.
        seed: of the draws.

    >>> images = torch.arange(4.0).view(1, 1, 1, 4) / 3
    >>> changes = Augmentation(("mirror",), n=10, seed=0)
    >>> changes.start(epoch=0)
    >>> sum(torch.equal(changes(images, torch.tensor([row])), images.flip(3)) for row in range(10))
    6
    """

    def __init__(self, names: tuple[str, ...], n: int, seed: int) -> None:
        self.names, self.n, self.seed = names, n, seed

    def start(self, epoch: int) -> None:
        """Draw for all images of an epoch, from 0."""
        seed = ((self.seed * 1_000_003 + epoch) * 1_000_003 + _STREAM) % 2**63
        generator = torch.Generator().manual_seed(seed)
        self.draws = torch.rand(self.n, _DRAWS, generator=generator) if self.names else None

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Return changed images.

        Arguments:
            images: in [0, 1], (N, C, H, W).
            rows: their indices among the training images, (N,).
        """
        if self.draws is None:
            return images
        self.draws = self.draws.to(images.device)  # once an epoch
        draws = self.draws[rows.to(images.device)]
        for name in self.names:
            images = _FUNCTIONS[name](images, draws)
        return images


def _mirror(images: Tensor, draws: Tensor) -> Tensor:
    return torch.where((draws[:, 0] < 0.5)[:, None, None, None], images.flip(3), images)


def _shift(images: Tensor, draws: Tensor) -> Tensor:
    for axis, draw in ((2, draws[:, 1]), (3, draws[:, 2])):
        side = images.shape[axis]
        most = min(side - 1, max(1, int(_SHIFT * side)))
        moved = (draw * (2 * most + 1)).long().clamp_max(2 * most) - most  # from -most to most, equally likely
        index = (torch.arange(side, device=images.device) + moved[:, None]).abs()  # reflected at the first pixel
        index = side - 1 - (side - 1 - index).abs()  # and at the last
        index = index[:, None, :, None] if axis == 2 else index[:, None, None, :]
        images = images.gather(axis, index.expand_as(images))
    return images


def _crop(images: Tensor, draws: Tensor) -> Tensor:
    share = (_LEAST + (1 - _LEAST) * draws[:, 3]).to(images)
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = share
    theta[:, :, 2] = (2 * draws[:, 4:6].to(images) - 1) * (1 - share)[:, None]  # in units of half a side
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    if images.device.type == "mps":  # which has no bicubic sampling
        images, grid = images.cpu(), grid.cpu()
    resized = functional.grid_sample(images, grid, "bicubic", "reflection", align_corners=False)
    return resized.clamp(0, 1).to(theta.device)


_FUNCTIONS = {"mirror": _mirror, "shift": _shift, "crop": _crop}
AUGMENTATIONS = tuple(_FUNCTIONS)


def augmentations(text: str) -> tuple[str, ...]:
    """Return the names in a setting ``augment``, in the order in which they are applied; none for ``none``.

    Raises: InputError for an unknown name, or one that is given twice.

    >>> augmentations("crop+mirror"), augmentations("none")
    (('mirror', 'crop'), ())
    """
    if text == NONE:
        return ()
    names = [name.strip() for name in text.split(_PLUS)]
    for name in names:
        if name and name not in AUGMENTATIONS:
            raise unknown_name("augmentation", name, AUGMENTATIONS)
    if not all(names) or len({*names}) < len(names):
        raise InputError(
            f"augment expects different names joined by {_PLUS}, such as mirror{_PLUS}shift, or {NONE}, "
            f"got {text!r}."
        )
    return tuple(name for name in AUGMENTATIONS if name in names)
