"""A local page to explore a run: samples, latent directions, reconstructions and interpolations.

``serve`` opens the page and needs the extra ``explore``; the computations work without it.
"""

from entropic_ae.data import fit_image
from entropic_ae.explore.codes import PrincipalAxes, norm_percentile, principal_axes, walk, within
from entropic_ae.explore.explorer import Explorer
from entropic_ae.explore.images import figure, figures
from entropic_ae.explore.server import leave, serve
from entropic_ae.runs.images import fit_of

__all__ = [
    "Explorer",
    "PrincipalAxes",
    "figure",
    "figures",
    "fit_image",
    "fit_of",
    "leave",
    "norm_percentile",
    "principal_axes",
    "serve",
    "walk",
    "within",
]
