"""The scale of distances: real images spoilt in a known way, and how many it takes to tell them from real ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from entropic_ae.metrics import FrechetEstimate, FrechetReference

__all__ = ["blurred", "mean_image", "number_needed", "tells_apart"]

_ACROSS = 8  # pixels that are left of the shorter side
_LEAST = 2  # pixels at least that are averaged, across and down
_CHUNK = 1024
_SIGMAS = 2  # standard errors on either side of an estimate
_MOST = 2**24  # images that are never at hand


def blurred(images: Tensor) -> Tensor:
    """Return images, (N, C, H, W) uint8, with about 8 pixels across, or half of them, enlarged to their size.

    >>> image = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8) * 4
    >>> blurred(image)[0, 0, ::7, ::7].tolist()  # means of the corners, of 4 pixels each
    [[18, 42], [210, 234]]
    """
    size = images.shape[2:]
    factor = max(_LEAST, min(size) // _ACROSS)

    def blur(part: Tensor) -> Tensor:
        small = avg_pool2d(part.float(), factor)
        return interpolate(small, size, mode="bilinear", align_corners=False).round().to(torch.uint8)

    return torch.cat([blur(part) for part in images.split(_CHUNK)])


def mean_image(images: Tensor, n: int) -> Tensor:
    """Return the mean of images, (N, C, H, W) uint8, n times.

    >>> mean_image(torch.tensor([0, 0, 30], dtype=torch.uint8).reshape(3, 1, 1, 1), 2).flatten().tolist()
    [10, 10]
    """
    total = sum(part.sum(0, dtype=torch.int64) for part in images.split(_CHUNK))
    mean = (total / len(images)).round().to(torch.uint8)
    return mean.expand(n, *images.shape[1:])


def tells_apart(floor: tuple[float, float], spoilt: tuple[float, float]) -> bool:
    """Return whether spoilt images are farther than real ones by more than two standard errors of both.

    Arguments:
        floor: the distance of real images and its standard error.
        spoilt: those of spoilt images.

    >>> tells_apart((1.0, 0.1), (2.0, 0.1)), tells_apart((1.0, 0.1), (1.3, 0.1))
    (True, False)
    """
    return floor[0] + _SIGMAS * floor[1] < spoilt[0] - _SIGMAS * spoilt[1]


def number_needed(real: Tensor, held_out: Tensor, spoilt: Tensor) -> int | None:
    """Return about how many images of each kind it takes to tell real images from spoilt ones.

    The bias of the distance falls as the inverse of the number of images. What is left of the spoilt images'
    distance without it is taken from all images and half of them; of real images it is 0.

    Arguments:
        real: features of the images that are compared with, (N, F), in random order.
        held_out: features of other real images, (M, F), in random order.
        spoilt: features of spoilt images, (M, F), in random order.

    Returns: the number, to one digit; None if no number would do, or the features are too few to say.
    """
    n, m = len(real) // 2, len(held_out) // 2
    if min(n, m) < 2:
        return None
    whole, half = FrechetReference(real), FrechetReference(real[:n])
    floor, far = whole.estimate(held_out), whole.estimate(spoilt)
    limit = 2 * far.distance - half.estimate(spoilt[:m], error=False).distance
    if limit <= 0:
        return None
    share = 1.0
    while len(held_out) / share < _MOST:
        root = share**0.5
        real_images = FrechetEstimate(floor.distance * share, floor.standard_error * root)
        spoilt_images = FrechetEstimate(limit + (far.distance - limit) * share, far.standard_error * root)
        if tells_apart(real_images, spoilt_images):
            return int(float(f"{len(held_out) / share:.0e}"))
        share /= 1.25
    return None
