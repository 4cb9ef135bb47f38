"""Distances of equal numbers of images in each feature space, and all that is measured beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.data import ImageData
from entropic_ae.densities import Density
from entropic_ae.distributed import alone
from entropic_ae.errors import InputError
from entropic_ae.evaluation.codes import accuracies, collapse, diagnostics
from entropic_ae.evaluation.nearest import at_ranks
from entropic_ae.evaluation.scale import blurred, mean_image, number_needed, tells_apart
from entropic_ae.features import Features
from entropic_ae.generation import decode, encode_posterior, mix_codes, sample
from entropic_ae.metrics import (
    CopyReference,
    FidelityReference,
    FrechetEstimate,
    FrechetReference,
    entropy_gap,
    kernel_distance,
    nearest_neighbours,
    psnr,
    reconstruction_error,
    spread,
    ssim,
    total_variance,
)
from entropic_ae.randomness import generator
from entropic_ae.storage.run_folder import BLURRED, FLOOR, MEAN_IMAGE, TRAINING_IMAGES

__all__ = ["SPLITS", "check_number", "check_split", "evaluate", "evaluate_in"]

SPLITS = ("test", "validation")
_SOME = 500  # images of which the structural similarity is measured, for two seconds of processor time
_PAIRED = 2000  # images of either set whose pairs the kernel distance takes, which is unbiased for any number
_NEIGHBOURS = 5  # of the balls of fidelity and coverage
_REBUILT = ("reconstructions", "interpolations")  # which are near training images for other reasons
_QUANTILE = 0.01  # of held-out images that are nearest to training images; samples as near are near-copies


class _Group(NamedTuple):
    """Images that are compared with the real ones; made only when their turn comes.

    Attributes:
        name: of the row.
        images: (N, C, H, W) uint8.
        given: whether they are images of the data, or made of these, and not by the model.
    """

    name: str
    images: Tensor
    given: bool = False


def check_split(split: str) -> str:
    """Return the split, or raise InputError if it is not one for evaluation.

    >>> check_split("validation")
    'validation'
    """
    if split not in SPLITS:
        raise InputError(f"split must be {' or '.join(SPLITS)}, got '{split}'.")
    return split


def check_number(n: int) -> int:
    """Return the number of images from each density, or raise InputError if it is too small for a distance.

    >>> check_number(100)
    100
    """
    if n < 2:
        raise InputError(f"n must be at least 2 images, got {n}.")
    return n


def evaluate(
    model: Autoencoder, data: ImageData, densities: Mapping[str, Density], features: Features, **options: Any
) -> dict[str, Any]:
    """Evaluate a trained model in one feature space: the only result of ``evaluate_in``, with its options.

    >>> from entropic_ae.data import load_images
    >>> from entropic_ae.densities import Prior
    >>> from entropic_ae.features import load_features
    >>> from entropic_ae.recipes import PRESETS, RECIPES, configure
    >>> model, _ = configure(RECIPES["eae"], PRESETS["digits"], {"width": 2}).build((1, 8, 8))
    >>> data = load_images("digits")
    >>> densities = {"prior": Prior(model.bottleneck.prior())}
    >>> result = evaluate(model, data, densities, load_features("pixels", data), n=50)
    >>> list(result["distances"])[:4]
    ['held-out images', 'training images', 'reconstructions', 'interpolations']
    """
    (result,) = evaluate_in(model, data, densities, [features], **options).values()
    return result


@alone()
def evaluate_in(
    model: Autoencoder,
    data: ImageData,
    densities: Mapping[str, Density],
    spaces: Sequence[Features],
    *,
    n: int = 10_000,
    seed: int = 0,
    split: str = "test",
    batch_size: int = 100,
    samples_only: bool = False,
    trained_on: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
    show: Callable[[str, Tensor, Tensor], None] = lambda *_: None,
) -> dict[str, dict[str, Any]]:
    """Evaluate a trained model on the test or the validation images, in several feature spaces.

    Frechet and kernel distances to these images are computed for:

    - ``held-out images``, the floor: other real images. For ``test`` they are the validation images; for
      ``validation`` they are training images;
    - ``training images``, where the floor is not of them;
    - ``reconstructions`` of the images;
    - ``interpolations``: decoded spherical midpoints between the codes of random pairs of images;
    - samples of each density;
    - ``blurred images``: the held-out images with about 8 pixels across;
    - ``mean image``: the mean of the training images, again and again.

    Kernel distances are of 2,000 images of either set at most; their standard errors tell.

    The Frechet distance is biased upwards, by more the fewer images there are. Therefore all rows have equally
    many images, the number of the smallest group, drawn at random from the larger ones. The last two rows give
    the scale: if the distance of held-out images is not below theirs by two standard errors of both, these are too
    few images to tell real ones from such, and ``withheld`` says so, with about the number that it takes. So does
    ``kernel_withheld`` of the kernel distance.

    In the first space reconstructions, samples and held-out images also have the values of ``fidelity_coverage``,
    and samples ``near_copies``: the share of them that are nearer to a training image, relative to others, than
    99 of 100 held-out images are. That of the held-out images is what is expected of new images. ``neighbours``
    has some samples with their nearest training images, see ``evaluation.nearest.at_ranks``.

    Further results:

    - the reconstruction error, the variance of the images, which is the error of their mean, and PSNR of
      reconstructions; of 500 images at most their SSIM, and the error of blurred images;
    - with labels, the accuracies of neighbours and of a linear probe on the codes;
    - the entropy of the codes, its maximum under the bottleneck's constraints, and the gap;
    - collapse: ``active_codes``, the ``spread`` of each kind of image, and a list of the kinds with a spread below
      0.1. The list contains ``codes`` if fewer than a tenth of their dimensions are active;
    - ``diagnostics``: the result of ``diagnose`` for the codes (samples of the posterior, if there is one), the
      change of the codes between minibatch and running statistics, and the reconstruction error from the codes of
      other images. If codes carry no information, that error is as low as the error from an image's own code.

    Choose settings on ``validation``, which reads no test image; report results on ``test``. Compare results of
    equal numbers only. They do not depend on batch sizes.

    Arguments:
        model: in any mode; it is evaluated in evaluation mode.
        data: with all images of its splits.
        densities: by name, fitted on the training codes.
        spaces: feature spaces of the distances.
        n: samples of each density and pairs for midpoints, at least 2; fewer where held-out images are fewer.
        seed: of samples, pairs and the choice of images.
        split: test or validation, the reference images.
        batch_size: minibatch size for the comparison of minibatch and running statistics.
        samples_only: compute only the distances of the densities and of the floor, in half the time.
        trained_on: number of training images that the model has seen, the first ones; default: all.
        tell: called with the name of each step, for a progress display.
        show: called with the name of each density, some samples, (K, C, H, W) uint8, and the nearest training
            image of each, of the same shape.

    Returns: the entries of metrics.json for this split, by feature space.

    Raises: InputError for n below 2, an unknown split, or codes that are not finite.

    References:
        Ghose, Rashwan and Poupart, "Batch norm with entropic regularization turns deterministic autoencoders into
        generative models", 2020, sections 5.1 and 5.2, https://arxiv.org/abs/2002.10631.
        Ghosh et al., "From variational to deterministic autoencoders", 2019, section 5,
        https://arxiv.org/abs/1903.12436.
        Chong and Forsyth, "Effectively unbiased FID and Inception score and where to find them", 2020, for the
        bias, https://arxiv.org/abs/1911.07023.
    """
    check_number(n)
    if check_split(split) == "test":
        (images, labels), held_out, training = data.test, data.validation.images, data.train.images
    else:
        (images, labels), held_out, training = data.validation, data.train.images, None
        held_out = held_out[: len(images)]
    number = min(n, len(held_out), len(images))
    shared: dict[str, Any] = {"n": n, "number": number, "seed": seed, "split": split, "real_images": len(images)}
    real_groups = [_Group(FLOOR, _choose(held_out, number, seed), given=True)]
    made: Iterator[_Group] = _samples(model, densities, number, seed)
    if not samples_only:
        tell(f"codes of the {split} images")
        codes, std = encode_posterior(model, images, labels)
        reconstructions = decode(model, codes, labels)
        bottleneck = model.bottleneck
        shared["reconstruction_error"] = reconstruction_error(images, reconstructions)
        shared["variance"] = total_variance(images)
        decibels = psnr(images, reconstructions)
        shared["psnr"] = decibels if math.isfinite(decibels) else None  # of an image without any error
        some = torch.randperm(len(images), generator=generator(seed))[:_SOME]
        shared["ssim"] = ssim(images[some], reconstructions[some])
        shared["blurred_error"] = reconstruction_error(images[some], blurred(images[some]))
        shared["codes"] = entropy_gap(
            codes,
            bottleneck.prior() if bottleneck.bounds_entropy else None,
            estimator=bottleneck.entropy,
            seed=seed,
        )
        tell("diagnostics of the codes")
        shared["diagnostics"] = diagnostics(model, images, codes, std, densities, batch_size, seed, labels)
        shared |= accuracies(model, data, split, codes, seed)
        if training is not None:
            real_groups.append(_Group(TRAINING_IMAGES, _choose(training, number, seed), given=True))
        floor = real_groups[0].images
        mean = mean_image(data.train.images, number)
        made = _chain(
            [_Group("reconstructions", _choose(reconstructions, number, seed))],
            _midpoints(model, codes, labels, number, seed),
            made,
            [_Group(BLURRED, blurred(floor), given=True), _Group(MEAN_IMAGE, mean, given=True)],
        )
    tables = []
    for space in spaces:
        tell(f"{space.name} features of the {split} images")
        tables.append(_Table(space, images, seed))
    if not samples_only:
        tell("distances to training images")
        seen = data.train.images[:trained_on]
        unseen = real_groups[0].images if split == "test" else _choose(images, number, seed)
        tables[0].look_closer(seen, unseen)
    spreads = {} if samples_only else {"reconstructions": spread(reconstructions, images)}
    for group in _chain(real_groups, made):
        tell(f"distance of {group.name}")
        for table in tables:
            table.add(group)
        if (near := tables[0].rows[group.name].get("neighbours")) is not None:
            show(group.name, group.images[near["samples"]], seen[near["training_images"]])
        if not group.given and group.name not in spreads:
            spreads[group.name] = spread(group.images, images)
    results = {table.space.name: {**table.result(), **shared} for table in tables}
    if not samples_only:
        for result in results.values():
            result["collapse"] = collapse(codes, std, spreads)
    return results


class _Table:
    """The distances of all groups in one feature space."""

    def __init__(self, space: Features, images: Tensor, seed: int) -> None:
        self.space = space
        self._real = space.of_real(images)
        self._seed = seed
        self._reference = FrechetReference(self._real)
        self._order = torch.randperm(len(self._real), generator=generator(seed))
        self.rows: dict[str, dict[str, Any]] = {}
        self._estimates: dict[str, FrechetEstimate] = {}
        self._scale: dict[str, Tensor] = {}
        self._fidelity: FidelityReference | None = None
        self._copies: CopyReference | None = None
        self._seen: tuple[Tensor, Tensor] | None = None

    def look_closer(self, training: Tensor, held_out: Tensor) -> None:
        """Measure fidelity, coverage and near-copies of training images, too."""
        seen, unseen = self._seen = self.space(training), self.space.of_real(held_out)
        if _QUANTILE * (len(unseen) + 1) >= 1:
            self._copies = CopyReference(unseen, seen, quantile=_QUANTILE)

    def add(self, group: _Group) -> None:
        """Measure a group of images."""
        of_data = group.name == FLOOR  # whose features are kept for other models
        features = self.space.of_real(group.images) if of_data else self.space(group.images)
        estimate = self._reference.estimate(features)
        some = torch.randperm(len(features), generator=generator(self._seed))[:_PAIRED]
        kernel, deviation = kernel_distance(self._real[self._order[:_PAIRED]], features[some])
        self._estimates[group.name] = estimate
        self.rows[group.name] = {
            "images": len(features),
            "frechet": estimate.distance,
            "frechet_error": estimate.standard_error,
            "kernel": kernel,
            "kernel_std": deviation,
        }
        if self._seen is not None and (group.name == FLOOR or not group.given):
            self.rows[group.name] |= self._closer(group.name, features)
        if group.name in (FLOOR, BLURRED, MEAN_IMAGE):
            self._scale[group.name] = features

    def _closer(self, name: str, features: Tensor) -> dict[str, Any]:
        """Return fidelity and coverage of a group, against as many real images, and what samples have copied."""
        found: dict[str, Any] = {}
        if len(features) > _NEIGHBOURS:
            if self._fidelity is None:  # all groups have equally many images
                self._fidelity = FidelityReference(self._real[self._order[: len(features)]], _NEIGHBOURS)
            found = self._fidelity.measure(features)
        if self._seen is None or name in (FLOOR, *_REBUILT):
            return found
        training, held_out = self._seen
        if self._copies is not None:
            copies = self._copies.find(features)
            found["near_copies"], self.rows[FLOOR]["near_copies"] = copies.share, copies.expected
            near, unseen = copies.samples, copies.held_out
        else:
            near, unseen = (nearest_neighbours(one, training) for one in (features, held_out))
        return {**found, "neighbours": at_ranks(near, unseen)}

    def result(self) -> dict[str, Any]:
        """Return what metrics.json has of the space."""
        found: dict[str, Any] = {
            "features": self.space.name,
            "features_sha256": self.space.weights_sha256(),
            "dimensions": self.space.dim,
            "distances": self.rows,
        }
        kernels = {name: (row["kernel"], row["kernel_std"]) for name, row in self.rows.items()}
        if like_real := _not_told(kernels):
            found["kernel_withheld"] = {"like_real": like_real}
        if spoilt := _not_told(self._estimates):
            real = self._real[self._order]
            needed = [number_needed(real, self._scale[FLOOR], self._scale[name]) for name in spoilt]
            known = [number for number in needed if number is not None]
            found["withheld"] = {
                "like_real": spoilt,
                "needed": max(known) if len(known) == len(needed) else None,
            }
        return found


def _not_told(distances: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the kinds of spoilt images that distances, with their standard errors, do not tell from real ones."""
    spoilt = [name for name in (BLURRED, MEAN_IMAGE) if name in distances]
    return [name for name in spoilt if not tells_apart(distances[FLOOR], distances[name])]


def _chain(*parts: Sequence[_Group] | Iterator[_Group]) -> Iterator[_Group]:
    for part in parts:
        yield from part


def _choose(images: Tensor, number: int, seed: int) -> Tensor:
    """Return so many images: all in their order, or some drawn at random."""
    if number == len(images):
        return images
    return images[torch.randperm(len(images), generator=generator(seed))[:number]]


def _midpoints(model: Autoencoder, codes: Tensor, labels: Tensor | None, n: int, seed: int) -> Iterator[_Group]:
    """Yield the decoded midpoints between the codes of n random pairs, with the label of the first, lazily."""
    source = generator(seed)
    first = torch.randint(len(codes), (n,), generator=source)
    # a shift of 1 to N - 1 never pairs an image with itself
    second = (first + torch.randint(1, len(codes), (n,), generator=source)) % len(codes)
    halfway = mix_codes(codes[first], codes[second], torch.tensor([0.5]), prior=model.bottleneck.prior())
    yield _Group("interpolations", decode(model, halfway.squeeze(1), None if labels is None else labels[first]))


def _samples(model: Autoencoder, densities: Mapping[str, Density], n: int, seed: int) -> Iterator[_Group]:
    """Yield n images of each density by name, one density in memory at a time."""
    for name, density in densities.items():
        yield _Group(name, sample(model, density, n, seed=seed))
