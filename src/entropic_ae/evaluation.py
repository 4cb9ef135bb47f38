"""The protocol: reconstructions, interpolations and samples of each density against held-out images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.data import ImageData
from entropic_ae.densities import Density
from entropic_ae.errors import InputError
from entropic_ae.features import Features
from entropic_ae.generation import decode, encode, mix_codes, sample
from entropic_ae.metrics import entropy_gap, frechet_distance, kernel_distance, reconstruction_error
from entropic_ae.randomness import generator

__all__ = ["evaluate"]


def evaluate(
    model: Autoencoder,
    data: ImageData,
    densities: Mapping[str, Density],
    features: Features,
    *,
    n: int = 10_000,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure a trained model against the test images, in one feature space.

    The Frechet and the kernel distance to the test images are taken of: the validation images, which are real
    (``held-out images``, the floor); the test images' reconstructions; the spherical midpoints between the
    codes of n random pairs of test images, decoded; and n images from each density. Besides: the
    reconstruction error, and the entropy of the test codes with its maximum under the bottleneck's
    constraints and the gap.

    The Frechet distance is biased upwards, the more the fewer images there are (n and the test images):
    compare figures of equal numbers only. It does not depend on batch sizes.

    Arguments:
        model: in any mode; evaluated in evaluation mode.
        data: with all its test and validation images.
        densities: by name, fitted on the training codes.
        features: the space of the distances.
        n: samples of each density and pairs for midpoints, at least 2.
        seed: of samples, pairs and the kernel distance's subsets.
        tell: called with what is measured next, for a progress display.

    Returns: what metrics.json holds for this feature space.

    Reference: sections 5.1 and 5.2 of the paper; Ghosh et al. (2019), section 5.

    >>> from entropic_ae.data import load_images
    >>> from entropic_ae.densities import Prior
    >>> from entropic_ae.features import load_features
    >>> from entropic_ae.recipes import PRESETS, RECIPES, configure
    >>> model, _ = configure(RECIPES["eae"], PRESETS["digits"], {"width": 2}).build((1, 8, 8))
    >>> data = load_images("digits")
    >>> densities = {"prior": Prior(model.bottleneck.prior())}
    >>> result = evaluate(model, data, densities, load_features("pixels", data), n=50)
    >>> list(result["distances"])
    ['held-out images', 'reconstructions', 'interpolations', 'prior']
    """
    if n < 2:
        raise InputError(f"n must be at least 2 images, got {n}.")
    test = data.test.images
    tell("codes of the test images")
    codes = encode(model, test)
    reconstructions = decode(model, codes)
    bottleneck = model.bottleneck
    result: dict[str, Any] = {
        "features": features.name,
        "dimensions": features.dim,
        "n": n,
        "seed": seed,
        "test_images": len(test),
        "reconstruction_error": reconstruction_error(test, reconstructions),
        "codes": entropy_gap(codes, bottleneck.prior() if bottleneck.bounds_entropy else None, seed=seed),
        "distances": {},
    }
    tell(f"{features.name} features of the test images")
    real = features(test)
    groups = {"held-out images": data.validation.images, "reconstructions": reconstructions}
    for name, images in chain(groups.items(), _generated(model, codes, densities, n, seed)):
        tell(f"distance of {name}")
        fake = features(images)
        mean, deviation = kernel_distance(real, fake, seed=seed)
        result["distances"][name] = {
            "images": len(images),
            "frechet": frechet_distance(real, fake),
            "kernel": mean,
            "kernel_std": deviation,
        }
    return result


def _generated(
    model: Autoencoder, codes: Tensor, densities: Mapping[str, Density], n: int, seed: int
) -> Iterator[tuple[str, Tensor]]:
    """Yield each group of images by name, one group in memory at a time."""
    source = generator(seed)
    first = torch.randint(len(codes), (n,), generator=source)
    # a shift of 1 to N - 1 never pairs an image with itself
    second = (first + torch.randint(1, len(codes), (n,), generator=source)) % len(codes)
    yield (
        "interpolations",
        decode(model, mix_codes(codes[first], codes[second], torch.tensor([0.5])).squeeze(1)),
    )
    for name, density in densities.items():
        yield name, sample(model, density, n, seed=seed)
