"""The codes of a model: their diagnosis, what they carry, and whether they or the images have collapsed."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.data import ImageData
from entropic_ae.densities import Density
from entropic_ae.generation import decode, encode, encode_hidden
from entropic_ae.metrics import (
    LEVEL,
    active_codes,
    diagnose,
    knn_accuracy,
    label_information,
    least_codes,
    linear_probe_accuracy,
    reconstruction_error,
)
from entropic_ae.randomness import generator

__all__ = ["accuracies", "collapse", "diagnostics"]

# Spread below which images count as collapsed. On MNIST, undertrained models, whose images are all the same blur,
# are below it; the prior samples of a trained ae, which are similar but not the same, are near it.
_COLLAPSED_SPREAD = 0.1
_COLLAPSED_CODES = 0.1  # share of active dimensions of the code
_FEW = 2000  # number of images decoded from the codes of other images
_LABELLED = 10_000  # training images whose codes and labels are learnt from
_IGNORED = 1.05  # codes are ignored if those of other images raise the error by less than this factor


def diagnostics(
    model: Autoencoder,
    images: Tensor,
    codes: Tensor,
    std: Tensor | None,
    densities: Mapping[str, Density],
    batch_size: int,
    seed: int,
    labels: Tensor | None = None,
) -> dict[str, Any]:
    """Compare codes with the prior, with those under minibatch statistics, and with those of other images."""
    source = generator(seed)
    order = torch.randperm(len(images), generator=source)
    few = order[:_FEW]
    others = codes[few.roll(1)]  # each image gets the code of another
    of_few = None if labels is None else labels[few]
    found: dict[str, Any] = {
        "error_from_own_codes": reconstruction_error(images[few], decode(model, codes[few], of_few)),
        "error_from_others_codes": reconstruction_error(images[few], decode(model, others, of_few)),
        "minibatch": _minibatch(model, images, codes, labels, order, batch_size),
    }
    if len(codes) < least_codes(codes.shape[1]):
        return found
    drawn = codes if std is None else codes + std * torch.randn(codes.shape, generator=source)
    bottleneck, prior = model.bottleneck, model.bottleneck.prior()
    bounds = {}
    for name, density in densities.items():
        measured = density.is_discrete if bottleneck.is_discrete else isinstance(prior, Independent)
        likelihood = density.log_prob(drawn) if measured and std is None else None
        if likelihood is not None:
            # fitted to other images' codes: in expectation no more than the divergence
            bounds[f"the likelihood under the {name}"] = (likelihood - prior.log_prob(drawn)).mean().item()
    found |= diagnose(drawn, prior, estimator=bottleneck.entropy, lower_bounds=bounds, seed=seed)
    if "divergence" in found and found["error_from_others_codes"] < _IGNORED * found["error_from_own_codes"]:
        found["verdict"] += (
            "; but the decoder ignores codes: an image is rebuilt hardly better from its own than from another's"
        )
    if model.labels is not None and labels is not None and len(labels.unique()) > 1:
        told = label_information(drawn, labels, seed=seed)
        found["labels"] = told
        how = "tell" if told["p_value"] <= LEVEL else "are not told to depend on"
        found["verdict"] += (
            f"; codes {how} the label ({told['information']:.2f} of its {told['entropy']:.2f} nats)"
        )
    return found


def _minibatch(
    model: Autoencoder, images: Tensor, codes: Tensor, labels: Tensor | None, order: Tensor, batch_size: int
) -> dict[str, float] | None:
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
    images, codes, labels = images[order], codes[order], None if labels is None else labels[order]
    hidden = encode_hidden(model, images, labels)
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


def collapse(codes: Tensor, std: Tensor | None, spreads: dict[str, float]) -> dict[str, Any]:
    """List the kinds of images that lack variety, by their spread, and whether the codes are dead."""
    active, dim = active_codes(codes, std), codes.shape[1]
    collapsed = [name for name, value in spreads.items() if value < _COLLAPSED_SPREAD]
    if active == 0 or active < _COLLAPSED_CODES * dim:
        collapsed.append("codes")
    return {"active_codes": active, "latent_dim": dim, "spread": spreads, "collapsed": collapsed}


def accuracies(model: Autoencoder, data: ImageData, split: str, codes: Tensor, seed: int) -> dict[str, float]:
    """Return how well simple classifiers tell labels from codes; empty without labels, or with one class only.

    Arguments:
        model: a trained model.
        data: whose training images the classifiers learn from, 10,000 at most.
        split: of the codes.
        codes: of all images of the split, (N, D).
        seed: of the training images.
    """
    labels, known = (getattr(data, name).labels for name in (split, "train"))
    if labels is None or known is None or len(known.unique()) < 2:
        return {}
    some = torch.randperm(len(known), generator=generator(seed))[:_LABELLED]
    learnt = encode(model, data.train.images[some], known[some]), known[some], codes, labels
    return {"knn_accuracy": knn_accuracy(*learnt), "probe_accuracy": linear_probe_accuracy(*learnt)}
