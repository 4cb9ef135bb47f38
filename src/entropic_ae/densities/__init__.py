"""Densities: how codes are drawn after training. Each is fitted to codes, sampled by seed, saved and loaded."""

from entropic_ae.densities.autoregressive import Autoregressive
from entropic_ae.densities.copula import Copula, Marginals
from entropic_ae.densities.density import Density, Sampler
from entropic_ae.densities.flow import Flow
from entropic_ae.densities.gaussian import Gaussian
from entropic_ae.densities.mixture import Mixture
from entropic_ae.densities.prior import Prior
from entropic_ae.densities.radial import Radial
from entropic_ae.densities.second_stage import SecondStage
from entropic_ae.registry import Registry

__all__ = [
    "DENSITIES",
    "Autoregressive",
    "Copula",
    "Density",
    "Flow",
    "Gaussian",
    "Marginals",
    "Mixture",
    "Prior",
    "Radial",
    "Sampler",
    "SecondStage",
]

DENSITIES: Registry[type[Density]] = Registry(
    "density",
    {d.name: d for d in (Prior, Radial, Marginals, Gaussian, Copula, Mixture, Flow, SecondStage, Autoregressive)},
)
