"""A map of codes: two dimensions of them, with contours of the prior in the same plane."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from entropic_ae.errors import InputError
from entropic_ae.priors import Normal, as_prior
from entropic_ae.randomness import seeded

__all__ = ["SIGMAS", "map_codes", "map_methods"]

SIGMAS = (1, 2, 3)  # of the contours; in two dimensions they hold 39, 86 and 99 % of a normal distribution
_CORNERS = 72  # of an exact contour
_DRAWS, _DRAWS_PLACED = 100_000, 4_000  # from a prior; fewer where each must be placed by a fitted map
_BINS, _SMOOTH = 64, 2.5  # cells of the plane across, and the deviation of their smoothing in cells
_DIGITS = 4  # decimals of a place


def map_methods() -> list[str]:
    """Return the methods that are available: pca, and umap where the package umap-learn is installed.

    >>> map_methods()[0]
    'pca'
    """
    return ["pca", *(["umap"] if find_spec("umap") else [])]


def map_codes(codes: Tensor, prior: Distribution, *, method: str = "pca", seed: int = 0) -> dict[str, Any]:
    """Return the places of codes in two dimensions, and contours of the prior in the same plane.

    With ``pca`` the plane is that of the two principal axes of the codes, in the units of the codes, and the
    contours of a normal prior are exact: the ellipses of 1, 2 and 3 standard deviations of its projection, which
    for N(0, I) are circles. Otherwise they are the levels of a smoothed histogram of draws that hold as much of
    the prior as those of a normal distribution. With ``umap`` neighbours stay neighbours, and distances mean
    little.

    Arguments:
        codes: (N, D), N of at least 3.
        prior: over (D,).
        method: one of ``map_methods()``.
        seed: of the draws, and of UMAP.

    Returns: ``method``; ``x`` and ``y``, N numbers each; ``variance``, the share of the variance of the codes in
        the plane, None with UMAP; ``contours``, by sigma a list of lines, which are pairs of lists of x and y.

    Raises: InputError for fewer than 3 codes of 2 dimensions, or an unknown or missing method.

    Reference: McInnes, Healy and Melville, "UMAP: uniform manifold approximation and projection for dimension
    reduction", 2018, https://arxiv.org/abs/1802.03426. Principal axes by scikit-learn.

    >>> from entropic_ae.priors import Normal
    >>> found = map_codes(torch.randn(50, 3), Normal.standard(3))
    >>> [(x, y)], _ = found["contours"]["2"], found["variance"]
    >>> round(math.hypot(x[7], y[7]), 3)
    2.0
    """
    if method not in map_methods():
        known = " or ".join(map_methods())
        raise InputError(f"a map of codes is by {known}, got '{method}'; umap needs the package umap-learn.")
    if codes.dim() != 2 or len(codes) < 3 or codes.shape[1] < 2:
        raise InputError(
            f"map_codes expects at least 3 codes (N, D) of at least 2 dimensions, got shape {tuple(codes.shape)}."
        )
    codes, prior, variance = codes.detach().double().cpu(), as_prior(prior), None
    if method == "pca":
        places, variance, contours = _principal(codes, prior, seed)
    else:
        place = _umap(codes, seed)
        places, contours = place(None), _of_draws(place(_draws(prior, _DRAWS_PLACED, seed)))
    return {
        "method": method,
        "x": _rounded(places[:, 0]),
        "y": _rounded(places[:, 1]),
        "variance": variance,
        "contours": {
            str(sigma): [[_rounded(line[:, 0]), _rounded(line[:, 1])] for line in lines]
            for sigma, lines in contours.items()
        },
    }


def _principal(codes: Tensor, prior: Distribution, seed: int) -> tuple[Tensor, float, dict[int, list[Tensor]]]:
    """Return codes on their first two principal axes, the share of variance, and contours of the prior."""
    from sklearn.decomposition import PCA

    found = PCA(2, svd_solver="full").fit(codes.numpy())
    axes = torch.from_numpy(found.components_)
    share = found.explained_variance_ratio_.sum()
    if isinstance(prior, Normal):
        scale = prior.base_dist.scale.double().cpu()
        contours = _ellipses(axes @ prior.mean.double().cpu(), (axes * scale.square()) @ axes.T)
    else:
        contours = _of_draws(_draws(prior, _DRAWS, seed) @ axes.T)
    return codes @ axes.T, float(share) if math.isfinite(share) else 0.0, contours


def _ellipses(mean: Tensor, covariance: Tensor) -> dict[int, list[Tensor]]:
    """Return the contours of a normal distribution over the plane."""
    angles = torch.linspace(0, 2 * math.pi, _CORNERS + 1, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    return {sigma: [mean + sigma * circle @ root] for sigma in SIGMAS}


def _draws(prior: Distribution, n: int, seed: int) -> Tensor:
    with seeded(seed):
        drawn: Tensor = prior.sample((n,))
    return drawn.double().cpu()


def _umap(codes: Tensor, seed: int) -> Callable[[Tensor | None], Tensor]:
    """Return a function that places codes, (N, D), or those that were fitted for None."""
    from umap import UMAP

    fitted = UMAP(random_state=seed, n_jobs=1).fit(codes.numpy())

    def place(others: Tensor | None) -> Tensor:
        return torch.from_numpy(fitted.embedding_ if others is None else fitted.transform(others.numpy())).double()

    return place


def _of_draws(places: Tensor) -> dict[int, list[Tensor]]:
    """Return contours of a smoothed histogram that hold as much as those of a normal distribution."""
    from matplotlib.figure import Figure
    from scipy.ndimage import gaussian_filter, map_coordinates

    low, high = places.amin(0), places.amax(0)
    margin = 0.1 * (high - low).clamp_min(1e-6)
    edges = [
        torch.linspace(float(a), float(b), _BINS + 1, dtype=torch.float64)
        for a, b in zip(low - margin, high + margin, strict=True)
    ]
    counts = torch.histogramdd(places, bins=edges).hist.numpy()
    heights = gaussian_filter(counts, _SMOOTH)
    cells = [(place - edge[0]) / (edge[1] - edge[0]) - 0.5 for place, edge in zip(places.T, edges, strict=True)]
    reached = torch.from_numpy(map_coordinates(heights, torch.stack(cells).numpy(), order=1))
    x, y = ((edge[1:] + edge[:-1]) / 2 for edge in edges)
    axes = Figure().add_subplot()
    found = {}
    for sigma in SIGMAS:
        level = reached.quantile(math.exp(-(sigma**2) / 2)).item()  # the others are inside
        lines = axes.contour(x.numpy(), y.numpy(), heights.T, levels=[level]).allsegs[0]
        found[sigma] = [torch.from_numpy(line.copy()).double() for line in lines]
    return found


def _rounded(values: Tensor) -> list[float]:
    return [round(value, _DIGITS) for value in values.tolist()]
