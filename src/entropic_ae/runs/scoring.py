"""How unusual images are to a run: the error of their reconstruction, and the likelihood of their code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from entropic_ae import generation
from entropic_ae.densities import Density, Prior
from entropic_ae.errors import InputError

if TYPE_CHECKING:
    from entropic_ae.runs.run import Run

__all__ = ["Scores", "score"]


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


def score(run: Run, images: Tensor, density: str | Density | None, labels: Tensor | None = None) -> Scores:
    """Score uint8 images, (N, C, H, W), with the labels of a conditional run, as ``Run.score`` does."""
    from entropic_ae.runs.fitting import default_density

    if not isinstance(density, Density):
        density = run.density(density or default_density(run, None))
    codes = generation.encode(run.model, images, labels)
    prior = run.model.bottleneck.prior()
    log_prob = prior.log_prob(codes.double().cpu()) if isinstance(density, Prior) else density.log_prob(codes)
    if log_prob is None:
        raise InputError(f"the density '{density.name}' offers no likelihood; score by prior, mixture or flow.")
    if run.transport is not None:
        # the log determinant of the map: its exact likelihood of z, less the prior's of u
        device = next(run.model.parameters()).device
        z = run.transport.inverse(codes.to(device))
        log_prob = log_prob + (run.transport.log_prob(z).cpu() - prior.log_prob(codes.double().cpu()))
    return Scores(generation.reconstruction_errors(run.model, images, labels), log_prob.detach().cpu().double())
