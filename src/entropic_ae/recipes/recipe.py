"""Recipe: a system as data. System: a recipe on a preset with its settings, from which the model is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.bottlenecks import BOTTLENECKS
from entropic_ae.densities import DENSITIES
from entropic_ae.errors import InputError, unknown_name
from entropic_ae.networks import Shape
from entropic_ae.randomness import seeded
from entropic_ae.recipes.presets import Preset, check_partial
from entropic_ae.schema import shown
from entropic_ae.terms import Objective, Term

__all__ = ["Recipe", "Scalar", "System", "configure", "differences"]

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Recipe:
    """Which bottleneck and terms make a system; a variant is ``dataclasses.replace(AE, terms=...)``.

    Attributes:
        name: as in ``entropic-ae train NAME``.
        summary: one line for a person.
        reference: where the system was published.
        bottleneck: partial constructor that lacks only ``latent_dim``.
        terms: what the objective sums.
        network: options of the encoder and the decoder, such as ``{"spectral": True}``.
        densities: by name, the densities that this system is measured with, and their settings.
        density: the one that its images are drawn from where one must be chosen.
        settings: by the name of a preset, the settings that this system has on that data set.

    Raises: InputError if the bottleneck's constructor does not take what the partial gives it, or a density is
        unknown.

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
    network: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))
    densities: Mapping[str, Mapping[str, Scalar]] = field(
        default_factory=lambda: MappingProxyType({"prior": {}, "gaussian": {}, "mixture": {}})
    )
    density: str = "mixture"
    settings: Mapping[str, Mapping[str, Scalar]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        check_partial(self.bottleneck)
        for name in self.densities:
            if name not in DENSITIES:
                raise unknown_name("density", name, DENSITIES)
        if self.density not in self.densities:
            raise unknown_name("density", self.density, self.densities)


@dataclass(frozen=True)
class System:
    """A recipe on a preset: everything that is needed to build and train the model for images of a shape.

    >>> from entropic_ae.recipes import PRESETS, RECIPES
    >>> model, objective = System(RECIPES["eae"], PRESETS["digits"]).build((1, 8, 8), seed=0)
    >>> model.bottleneck.latent_dim
    8
    """

    recipe: Recipe
    preset: Preset

    def settings(self) -> dict[str, Scalar]:
        """Return every scalar by the name that ``--set`` takes.

        >>> from entropic_ae.recipes import PRESETS, RECIPES
        >>> System(RECIPES["eae"], PRESETS["mnist"]).settings()["latent_dim"]
        16
        """
        values: dict[str, Scalar] = {
            "latent_dim": self.preset.latent_dim,
            "features": self.preset.features,
            "bottleneck": _bottleneck_name(self.recipe.bottleneck),
        }
        for constructor in (self.preset.encoder, self.preset.decoder, self.recipe.bottleneck):
            values |= _scalars(constructor)
        for term in self.recipe.terms:
            for name in (f.name for f in fields(term)):
                values[_setting(term, name)] = getattr(term, name)
        for density, own in self.recipe.densities.items():
            values |= {f"{density}.{name}": value for name, value in _fit_settings(density, own).items()}
        return values | {f.name: getattr(self.preset.training, f.name) for f in fields(self.preset.training)}

    def with_settings(self, changes: Mapping[str, Scalar]) -> System:
        """Return the system with some settings changed; a string is read as the setting's type.

        Another ``bottleneck`` comes with its own defaults.

        Raises: InputError for an unknown name, with the nearest one, or a value of another type or range.
        """
        known = self.settings()
        wanted = changes.get("bottleneck", known["bottleneck"])
        if wanted != known["bottleneck"]:
            if wanted not in BOTTLENECKS:
                raise unknown_name("bottleneck", str(wanted), BOTTLENECKS)
            recipe = replace(self.recipe, bottleneck=partial(BOTTLENECKS[str(wanted)]))
            return System(recipe, self.preset).with_settings(changes)
        for name in changes:
            if name not in known:
                raise unknown_name("setting", name, known)
        new: dict[str, Any] = {name: _read(name, value, known[name]) for name, value in changes.items()}

        def constructor(old: partial[Any]) -> partial[Any]:
            return partial(old.func, **old.keywords | {k: new[k] for k in _scalars(old) if k in new})

        preset = replace(
            self.preset,
            **{name: new[name] for name in ("latent_dim", "features") if name in new},
            encoder=constructor(self.preset.encoder),
            decoder=constructor(self.preset.decoder),
            training=replace(
                self.preset.training,
                **{f.name: new[f.name] for f in fields(self.preset.training) if f.name in new},
            ),
        )
        terms = tuple(
            replace(term, **{f.name: new[s] for f in fields(term) if (s := _setting(term, f.name)) in new})
            for term in self.recipe.terms
        )
        densities = {
            density: {name: new.get(f"{density}.{name}", old) for name, old in _fit_settings(density, own).items()}
            for density, own in self.recipe.densities.items()
        }
        bottleneck = constructor(self.recipe.bottleneck)
        return System(replace(self.recipe, bottleneck=bottleneck, terms=terms, densities=densities), preset)

    def build(self, shape: Shape, *, seed: int = 0) -> tuple[Autoencoder, Objective]:
        """Build the model, its weights drawn from the seed, and its objective, for images (C, H, W).

        Raises: InputError if a size or a combination cannot work.
        """
        with seeded(seed):
            bottleneck = self.recipe.bottleneck(self.preset.latent_dim)
            encoder = self.preset.encoder(shape, bottleneck.in_features)
            decoder = self.preset.decoder(shape, self.preset.latent_dim)
        model = Autoencoder(encoder, bottleneck, decoder)
        for density, settings in self.recipe.densities.items():
            DENSITIES[density].check(**settings)
        return model, Objective(self.recipe.terms, model)

    def describe(self) -> dict[str, Any]:
        """Return the expanded recipe for run.json: what is built, and every setting."""
        return {
            "encoder": self.preset.encoder.func.__name__,
            "bottleneck": self.recipe.bottleneck.func.__name__,
            "decoder": self.preset.decoder.func.__name__,
            "terms": [type(term).__name__ for term in self.recipe.terms],
            "densities": list(self.recipe.densities),
            "settings": self.settings(),
        }


def configure(recipe: Recipe, preset: Preset, changes: Mapping[str, Scalar] | None = None) -> System:
    """Put a recipe on a preset: the preset's values, the recipe's network, its settings there, then the changes.

    >>> from entropic_ae.recipes import PRESETS, RECIPES
    >>> configure(RECIPES["eae"], PRESETS["digits"], {"width": 4}).settings()["width"]
    4
    """
    own = {**recipe.network, **recipe.settings.get(preset.name, {})}
    return System(recipe, preset).with_settings(own).with_settings(changes or {})


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in which settings two systems differ, as ``name was VALUE and is VALUE``.

    Arguments:
        then: settings that were written down. One that they lack is one that the library has gained since: what it
            has now, by default, is what was done then.
        now: settings of the system at hand.

    >>> differences({"width": 16}, {"width": 32, "gained": 0})
    ['width was 16 and is 32']
    """
    return [
        f"{name} was {shown(value)} and is {shown(now.get(name))}"
        for name, value in sorted(then.items())
        if value != now.get(name)
    ]


def _bottleneck_name(constructor: partial[Any]) -> str:
    """Return the name in the registry, or that of a class of one's own."""
    names = (name for name, bottleneck in BOTTLENECKS.items() if bottleneck is constructor.func)
    return next(names, constructor.func.__name__)


def _setting(term: Term, name: str) -> str:
    return term.setting if name == "weight" else f"{term.setting}.{name}"


def _scalars(constructor: partial[Any]) -> dict[str, Scalar]:
    defaults = _defaults(constructor.func)
    return defaults | {k: v for k, v in constructor.keywords.items() if k in defaults}


def _fit_settings(density: str, own: Mapping[str, Scalar]) -> dict[str, Scalar]:
    defaults = _defaults(DENSITIES[density].fit)
    del defaults["seed"]
    return {**defaults, **own}


def _defaults(function: Callable[..., Any]) -> dict[str, Scalar]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, bool | int | float | str)}


def _read(name: str, value: Scalar, old: Scalar) -> Scalar:
    """Read a value as the type of the old one."""
    wanted = type(old)
    if wanted is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if wanted is not bool and (isinstance(value, str) or not isinstance(value, bool)):
        try:
            read = wanted(value)
        except (ValueError, OverflowError):
            read = None
        if read is not None and (isinstance(value, str) or read == value):
            return read
    expected = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}[wanted]
    raise InputError(f"{name} expects {expected}, got {shown(value)}.")
