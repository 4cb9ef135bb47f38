"""Transports: invertible maps between codes and the prior, fitted to codes after training."""

from entropic_ae.registry import Registry
from entropic_ae.transports.copula import CopulaTransport, GaussianTransport, MarginalsTransport
from entropic_ae.transports.flow import FlowTransport
from entropic_ae.transports.mixture import MixtureTransport
from entropic_ae.transports.transport import Transport

__all__ = [
    "TRANSPORTS",
    "CopulaTransport",
    "FlowTransport",
    "GaussianTransport",
    "MarginalsTransport",
    "MixtureTransport",
    "Transport",
]

TRANSPORTS: Registry[type[Transport]] = Registry(
    "transport",
    {t.name: t for t in (MarginalsTransport, GaussianTransport, CopulaTransport, MixtureTransport, FlowTransport)},
)
