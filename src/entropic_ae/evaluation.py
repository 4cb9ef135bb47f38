"""The evaluation protocol: reconstructions, interpolations and samples of each density against held-out images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.data import ImageData
from entropic_ae.densities import Density
from entropic_ae.distributed import alone
from entropic_ae.errors import InputError
from entropic_ae.features import Features
from entropic_ae.generation import decode, encode_hidden, encode_posterior, mix_codes, sample
from entropic_ae.metrics import (
    active_codes,
    diagnose,
    entropy_gap,
    frechet_distance,
    kernel_distance,
    least_codes,
    reconstruction_error,
    spread,
)
from entropic_ae.randomness import generator
from entropic_ae.storage.run_folder import FLOOR

__all__ = ["SPLITS", "check_number", "check_split", "evaluate"]

SPLITS = ("test", "validation")
# Spread below which images count as collapsed. On MNIST, undertrained models, whose images are all the same blur,
# are below it; the prior samples of a trained ae, which are similar but not the same, are near it.
_COLLAPSED_SPREAD = 0.1
_COLLAPSED_CODES = 0.1  # share of active dimensions of the code
_FEW = 2000  # number of images decoded from the codes of other images
_IGNORED = 1.05  # codes are ignored if those of other images raise the error by less than this factor


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


@alone()
def evaluate(
    model: Autoencoder,
    data: ImageData,
    densities: Mapping[str, Density],
    features: Features,
    *,
    n: int = 10_000,
    seed: int = 0,
    split: str = "test",
    batch_size: int = 100,
    samples_only: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Evaluate a trained model on the test or the validation images, in one feature space.

    Frechet and kernel distances to these images are computed for:

    - ``held-out images``, the floor: other real images. For ``test`` they are the validation images; for
      ``validation`` they are an equal number of training images;
    - ``reconstructions`` of the images;
    - ``interpolations``: decoded spherical midpoints between the codes of n random pairs of images;
    - n samples of each density.

    Further results:

    - the reconstruction error;
    - the entropy of the codes, its maximum under the bottleneck's constraints, and the gap;
    - collapse: ``active_codes``, the ``spread`` of each kind of image, and a list of the kinds with a spread below
      0.1. The list contains ``codes`` if fewer than a tenth of their dimensions are active;
    - ``diagnostics``: the result of ``diagnose`` for the codes (samples of the posterior, if there is one), the
      change of the codes between minibatch and running statistics, and the reconstruction error from the codes of
      other images. If codes carry no information, that error is as low as the error from an image's own code.

    Choose settings on ``validation``, which reads no test image; report results on ``test``.

    The Frechet distance is biased upwards. The bias grows as the number of images falls (n and the real images),
    so compare only results with equal numbers. It does not depend on batch sizes.

    Arguments:
        model: in any mode; it is evaluated in evaluation mode.
        data: with all images of its splits.
        densities: by name, fitted on the training codes.
        features: feature space of the distances.
        n: samples of each density and pairs for midpoints, at least 2.
        seed: of samples, pairs and the subsets of the kernel distance.
        split: test or validation, the reference images.
        batch_size: minibatch size for the comparison of minibatch and running statistics.
        samples_only: compute only the distances of the densities and of the floor, in half the time.
        tell: called with the name of each step, for a progress display.

    Returns: the entry of metrics.json for this feature space and split.

    Raises: InputError for n below 2, an unknown split, or codes that are not finite.

    References:
        Ghose, Rashwan and Poupart, "Batch norm with entropic regularization turns deterministic autoencoders into
        generative models", 2020, sections 5.1 and 5.2, https://arxiv.org/abs/2002.10631.
        Ghosh et al., "From variational to deterministic autoencoders", 2019, section 5,
        https://arxiv.org/abs/1903.12436.

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
    check_number(n)
    if check_split(split) == "test":
        images, held_out = data.test.images, data.validation.images
    else:
        images = data.validation.images
        held_out = data.train.images[: len(images)]
    result: dict[str, Any] = {
        "features": features.name,
        "features_sha256": features.weights_sha256(),
        "dimensions": features.dim,
        "n": n,
        "seed": seed,
        "split": split,
        "real_images": len(images),
        "distances": {},
    }
    groups: Iterator[tuple[str, Tensor]] = _samples(model, densities, n, seed)
    if not samples_only:
        tell(f"codes of the {split} images")
        codes, std = encode_posterior(model, images)
        reconstructions = decode(model, codes)
        bottleneck = model.bottleneck
        result["reconstruction_error"] = reconstruction_error(images, reconstructions)
        result["codes"] = entropy_gap(
            codes,
            bottleneck.prior() if bottleneck.bounds_entropy else None,
            estimator=bottleneck.entropy,
            seed=seed,
        )
        tell("diagnostics of the codes")
        result["diagnostics"] = _diagnostics(model, images, codes, std, densities, batch_size, seed)
        rebuilt = iter([("reconstructions", reconstructions)])
        groups = chain(rebuilt, _midpoints(model, codes, n, seed), groups)
    tell(f"{features.name} features of the {split} images")
    real = features.of_real(images)
    spreads = {}
    for name, group in chain([(FLOOR, held_out)], groups):
        tell(f"distance of {name}")
        if name == FLOOR:
            fake = features.of_real(group)
        else:
            fake = features(group)
            spreads[name] = spread(group, images)
        mean, deviation = kernel_distance(real, fake, seed=seed)
        result["distances"][name] = {
            "images": len(group),
            "frechet": frechet_distance(real, fake),
            "kernel": mean,
            "kernel_std": deviation,
        }
    if not samples_only:
        result["collapse"] = _collapse(codes, std, spreads)
    return result


def _diagnostics(
    model: Autoencoder,
    images: Tensor,
    codes: Tensor,
    std: Tensor | None,
    densities: Mapping[str, Density],
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """Compare codes with the prior, with those under minibatch statistics, and with those of other images."""
    source = generator(seed)
    order = torch.randperm(len(images), generator=source)
    few = order[:_FEW]
    others = codes[few.roll(1)]  # each image gets the code of another
    found: dict[str, Any] = {
        "error_from_own_codes": reconstruction_error(images[few], decode(model, codes[few])),
        "error_from_others_codes": reconstruction_error(images[few], decode(model, others)),
        "minibatch": _minibatch(model, images[order], codes[order], batch_size),
    }
    if len(codes) < least_codes(codes.shape[1]):
        return found
    drawn = codes if std is None else codes + std * torch.randn(codes.shape, generator=source)
    bottleneck, prior = model.bottleneck, model.bottleneck.prior()
    bounds = {}
    for name, density in densities.items():
        likelihood = density.log_prob(drawn) if isinstance(prior, Independent) and std is None else None
        if likelihood is not None:
            # fitted to other images' codes: in expectation no more than the divergence
            bounds[f"the likelihood under the {name}"] = (likelihood - prior.log_prob(drawn)).mean().item()
    found |= diagnose(drawn, prior, estimator=bottleneck.entropy, lower_bounds=bounds, seed=seed)
    if "divergence" in found and found["error_from_others_codes"] < _IGNORED * found["error_from_own_codes"]:
        found["verdict"] += (
            "; but the decoder ignores codes: an image is rebuilt hardly better from its own than from another's"
        )
    return found


def _minibatch(model: Autoencoder, images: Tensor, codes: Tensor, batch_size: int) -> dict[str, float] | None:
    """Compare codes under running statistics with codes under the statistics of minibatches of the training size.

    Returns ``rms_change``, the root mean square difference of the two codes of an image, in units of the codes.
    For the codes under running statistics, it also returns ``mean``, the root mean square over dimensions, and
    ``least_std`` and ``largest_std``. None if the bottleneck has no minibatch statistics, or there are too few
    images for one minibatch.
    """
    bottleneck = deepcopy(model.bottleneck).train()  # a copy: training mode updates the running averages
    if (
        bottleneck.has_posterior
        or bottleneck.least_batch < 2
        or len(images) < max(batch_size, bottleneck.least_batch)
    ):
        return None
    hidden = encode_hidden(model, images)
    whole = len(images) // batch_size * batch_size
    with torch.no_grad():
        codes = model.bottleneck.inverse(codes)  # in training there is no transport
        under = torch.cat([bottleneck(h.to(codes)).z for h in hidden[:whole].split(batch_size)])
    std = codes.std(0)
    return {
        "rms_change": (under - codes[:whole]).square().mean().sqrt().item(),
        "mean": codes.mean(0).square().mean().sqrt().item(),
        "least_std": std.min().item(),
        "largest_std": std.max().item(),
    }


def _collapse(codes: Tensor, std: Tensor | None, spreads: dict[str, float]) -> dict[str, Any]:
    """List the kinds of images that lack variety, by their spread, and whether the codes are dead."""
    active, dim = active_codes(codes, std), codes.shape[1]
    collapsed = [name for name, value in spreads.items() if value < _COLLAPSED_SPREAD]
    if active == 0 or active < _COLLAPSED_CODES * dim:
        collapsed.append("codes")
    return {"active_codes": active, "latent_dim": dim, "spread": spreads, "collapsed": collapsed}


def _midpoints(model: Autoencoder, codes: Tensor, n: int, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the decoded midpoints between the codes of n random pairs, computed lazily."""
    source = generator(seed)
    first = torch.randint(len(codes), (n,), generator=source)
    # a shift of 1 to N - 1 never pairs an image with itself
    second = (first + torch.randint(1, len(codes), (n,), generator=source)) % len(codes)
    halfway = mix_codes(codes[first], codes[second], torch.tensor([0.5])).squeeze(1)
    yield "interpolations", decode(model, halfway)


def _samples(
    model: Autoencoder, densities: Mapping[str, Density], n: int, seed: int
) -> Iterator[tuple[str, Tensor]]:
    """Yield n images of each density by name, one density in memory at a time."""
    for name, density in densities.items():
        yield name, sample(model, density, n, seed=seed)
