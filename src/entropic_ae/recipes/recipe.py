"""Recipe: a system as data; a variant is ``dataclasses.replace(AE, terms=...)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from entropic_ae.densities import DENSITIES
from entropic_ae.errors import InputError, unknown_name
from entropic_ae.recipes.presets import check_partial
from entropic_ae.registry import check_name
from entropic_ae.terms import Term
from entropic_ae.transports import TRANSPORTS

__all__ = ["Recipe", "Scalar"]

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Recipe:
    """A system as data: its bottleneck, terms and densities. Derive variants by ``dataclasses.replace``.

    Attributes:
        name: as in ``entropic-ae train NAME``.
        summary: description in one line.
        reference: publication of the system.
        bottleneck: partial constructor whose one open argument is ``latent_dim``.
        terms: terms of the objective.
        encoder, decoder: custom networks, as in a ``Preset``; None takes those of the preset.
        network: options of encoder and decoder, such as ``{"spectral": True}``, or ``{"network": "residual"}``.
        densities: settings of the densities used in evaluation, by name.
        density: default density for sampling.
        settings: settings for each data set, by the name of the preset.
        transport: the map from codes to the prior that is fitted after training, a name in ``TRANSPORTS``; None
            for none.
        transport_settings: settings of its fit.
        after_training: a function of the trained ``Run``, called when its weights and transport are in the folder,
            before pictures are drawn; also when a resumed run ends. None for none.
        conditional: whether encoder and decoder get the label of each image, see ``LabelEmbedding``. Such a recipe
            needs data with labels, and is left out where systems are compared by default.

    Raises: InputError if a constructor does not accept the arguments of its partial, the recipe or a term has no
        valid name, or a density or transport is unknown.

    >>> from dataclasses import replace
    >>> from entropic_ae.recipes import EAE
    >>> from entropic_ae.terms import NegativeEntropy, SquaredError
    >>> replace(EAE, name="eae-k3", terms=(SquaredError(), NegativeEntropy(0.3, k=3))).name
    'eae-k3'
    """

    name: str
    summary: str
    reference: str
    bottleneck: partial[Any]
    terms: tuple[Term, ...]
    encoder: partial[Any] | None = None
    decoder: partial[Any] | None = None
    network: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))
    densities: Mapping[str, Mapping[str, Scalar]] = field(
        default_factory=lambda: MappingProxyType({"prior": {}, "gaussian": {}, "mixture": {}})
    )
    density: str = "mixture"
    settings: Mapping[str, Mapping[str, Scalar]] = field(default_factory=lambda: MappingProxyType({}))
    transport: str | None = None
    transport_settings: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))
    after_training: Callable[[Any], object] | None = None
    conditional: bool = False

    @property
    def is_discrete(self) -> bool:
        """Whether codes are of a finite alphabet."""
        return bool(getattr(self.bottleneck.func, "is_discrete", False))

    def __post_init__(self) -> None:
        check_name("recipe", self.name)
        check_partial(self.bottleneck, 1)
        for network in (self.encoder, self.decoder):
            if network is not None:
                check_partial(network, 2)
        for term in self.terms:
            if not (term.name and term.setting):
                raise InputError(f"{type(term).__name__} has no name or no setting; give its class both.")
        for name in self.densities:
            DENSITIES.find(name)
        if self.transport is not None:
            TRANSPORTS.find(self.transport)
        if self.after_training is not None and not callable(self.after_training):
            raise InputError(f"after_training must be a function of the run, got {self.after_training!r}.")
        if self.density not in self.densities:
            raise unknown_name("density", self.density, self.densities)
