"""How unusual images are to a run: the error of their reconstruction, and the likelihood of their code."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from entropic_ae import generation
from entropic_ae.arrays import as_double
from entropic_ae.densities import DENSITIES, Density, Prior
from entropic_ae.errors import InputError
from entropic_ae.metrics import LEAST_REFERENCE, p_values, tail_surprise
from entropic_ae.priors import as_prior
from entropic_ae.runs.labels import taken

if TYPE_CHECKING:
    from entropic_ae.runs.run import Run

__all__ = ["Anomalies", "Scores", "compared", "score", "validation_scores"]


class Scores(NamedTuple):
    """Scores of images, a row each. Unusual images have a high error, a low likelihood, or both.

    Attributes:
        error: squared error of the reconstruction, of values in [0, 1], summed over channels and pixels: (N,)
            float64.
        log_prob: log density of the code under the density, in nats, (N,) float64. With a transport it is that of
            the code before the map, exactly.

    >>> import torch
    >>> Scores(torch.tensor([2.0, 9.0]), torch.tensor([-20.0, -35.0])).error.argmax().item()
    1
    """

    error: Tensor
    log_prob: Tensor


class Anomalies(NamedTuple):
    """Scores of images compared with those of ordinary images, a row each.

    Attributes:
        error: squared error of the reconstruction, as in ``Scores``: (N,) float64.
        log_prob: log density of the code, as in ``Scores``: (N,) float64.
        surprise: how far out both are in the tails of ordinary images, in nats, (N,) float64: the sum of
            ``tail_surprise`` of the error and of minus the log density. Sort by it.
        p_value: the share of ordinary images that are at least as surprising, (N,) float64. Calling an image
            unusual at 0.01 is wrong for about one ordinary image in a hundred.

    >>> import torch
    >>> ordinary, odd = torch.tensor([2.0, -20.0, 1.4, 0.6]), torch.tensor([9.0, -35.0, 12.1, 0.001])
    >>> Anomalies(*torch.stack([ordinary, odd]).T).surprise.argmax().item()
    1
    """

    error: Tensor
    log_prob: Tensor
    surprise: Tensor
    p_value: Tensor


def score(run: Run, images: Tensor, density: str | Density | None, labels: Tensor | None = None) -> Scores:
    """Score uint8 images, (N, C, H, W), with the labels of a conditional run, as ``Run.score`` does."""
    from entropic_ae.runs.fitting import default_density

    if not isinstance(density, Density):
        density = run.density(density or default_density(run, None))
    if run.model.bottleneck.is_discrete and not (density.is_discrete or isinstance(density, Prior)):
        known = ", ".join(name for name, kind in DENSITIES.items() if kind.is_discrete)
        raise InputError(
            f"codes of a finite alphabet have probabilities, and the density '{density.name}' is continuous; "
            f"score by {known}."
        )
    log_prob = _log_prob(run, density, images, labels)
    if log_prob is None:
        raise InputError(f"the density '{density.name}' offers no likelihood; score by prior, mixture or flow.")
    return Scores(generation.reconstruction_errors(run.model, images, labels), log_prob.detach().cpu().double())


def _log_prob(run: Run, density: Density, images: Tensor, labels: Tensor | None) -> Tensor | None:
    """Return the log densities of codes, (N,): with a transport, of those before the map."""
    prior, transport = run.model.bottleneck.prior(), run.transport
    if transport is None:
        codes = generation.encode(run.model, images, labels)
        return prior.log_prob(codes.double().cpu()) if isinstance(density, Prior) else density.log_prob(codes)
    # in float64, since the map may move a code nearer to the edge of the prior's support than float32 can tell
    device = next(run.model.parameters()).device
    with generation.without_transport(run.model):
        z = as_double(generation.encode(run.model, images, labels).to(device))
    exact = transport.log_prob(z).cpu()
    if isinstance(density, Prior):
        return exact
    u = as_prior(prior).interior(transport(z).cpu())
    found = density.log_prob(u)
    return None if found is None else found.cpu() + (exact - prior.log_prob(u))  # the map's log determinant


def validation_scores(
    run: Run, density: str | Density | None, kept: MutableMapping[tuple[str, str], Scores]
) -> Scores:
    """Return the scores of a run's validation images; those under a density by name are kept for its weights."""
    from entropic_ae.runs.fitting import default_density

    images, labels = run.data.validation.images, taken(run, run.data.validation)
    if isinstance(density, Density):
        return score(run, images, density, labels)
    key = density or default_density(run, None), run.weights_sha256()
    if key not in kept:
        kept[key] = score(run, images, key[0], labels)
    return kept[key]


def compared(scores: Scores, ordinary: Scores) -> Anomalies:
    """Compare scores with those of ordinary images, as ``Run.anomalies`` does.

    The two parts are not independent, so the sum of their surprises has no known distribution: its p-value is that
    among the ordinary images, whose parts depend on each other in the same way.
    """
    if len(ordinary.error) < LEAST_REFERENCE:
        raise InputError(
            f"{len(ordinary.error)} ordinary images are too few to say what is unusual, expected at least "
            f"{LEAST_REFERENCE}; give others (Run.anomalies(reference=))."
        )

    def surprise(of: Scores) -> Tensor:
        error = tail_surprise(of.error, ordinary.error)
        return error + tail_surprise(-of.log_prob, -ordinary.log_prob)

    found = surprise(scores)
    return Anomalies(*scores, found, p_values(found, surprise(ordinary)))
