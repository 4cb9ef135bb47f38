"""The language of ``--set``: System, a recipe on a preset with settings by name, from which models are built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from entropic_ae.autoencoder import Autoencoder, LabelEmbedding
from entropic_ae.bottlenecks import BOTTLENECKS, Code
from entropic_ae.densities import DENSITIES
from entropic_ae.errors import InputError
from entropic_ae.networks import Shape
from entropic_ae.randomness import seeded
from entropic_ae.recipes.families import family, in_family, unknown_setting
from entropic_ae.recipes.presets import Preset
from entropic_ae.recipes.recipe import Recipe, Scalar
from entropic_ae.recipes.values import changed, fit_settings, read_setting, scalars
from entropic_ae.storage.json_schema import shown
from entropic_ae.terms import TERMS, Objective, Term
from entropic_ae.transports import TRANSPORTS

__all__ = [
    "System",
    "changes_of",
    "configure",
    "differences",
]

_ENCODER, _DECODER = "the encoder", "the decoder"
_NONE, _PLUS, _TRANSPORT = "none", "+", "transport."
_FEW, _LONGEST = 5, 200  # maximum number of differences in a message, and of characters each


@dataclass(frozen=True)
class System:
    """A recipe combined with a preset: everything needed to build and train a model for a given image shape.

    >>> from entropic_ae.recipes import PRESETS, RECIPES
    >>> model, objective = System(RECIPES["eae"], PRESETS["digits"]).build((1, 8, 8), seed=0)
    >>> model.bottleneck.latent_dim
    8
    """

    recipe: Recipe
    preset: Preset

    def settings(self) -> dict[str, Scalar]:
        """Return every setting by its name in ``--set``.

        >>> from entropic_ae.recipes import PRESETS, RECIPES
        >>> System(RECIPES["eae"], PRESETS["mnist"]).settings()["latent_dim"]
        16
        """
        return {name: value for _, part in self._parts() for name, value in part.items()}

    def _parts(self) -> list[tuple[str, dict[str, Scalar]]]:
        """Return pairs of a part's name and its settings."""
        preset, recipe = self.preset, self.recipe
        whole: dict[str, Scalar] = {
            "latent_dim": preset.latent_dim,
            "features": preset.features,
            "network": family(self.encoder, self.decoder),
            "bottleneck": _bottleneck_name(recipe.bottleneck),
            "terms": _PLUS.join(term.name for term in recipe.terms),
            "transport": recipe.transport or _NONE,
        }
        parts = [
            ("the system", whole),
            (_ENCODER, scalars(self.encoder)),
            (_DECODER, scalars(self.decoder)),
            ("the bottleneck", scalars(recipe.bottleneck)),
        ]
        for term in recipe.terms:
            own = {_setting(term, f.name): getattr(term, f.name) for f in fields(term)}
            parts.append((type(term).__name__, own))
        for density, given in recipe.densities.items():
            own = {
                f"{density}.{name}": value for name, value in fit_settings(DENSITIES[density].fit, given).items()
            }
            parts.append((f"the density '{density}'", own))
        if recipe.transport is not None:
            own = {f"{_TRANSPORT}{name}": value for name, value in self._transport_settings().items()}
            parts.append((f"the transport '{recipe.transport}'", own))
        schedule = {f.name: getattr(preset.training, f.name) for f in fields(preset.training)}
        return [*parts, ("the training", schedule)]

    def _transport_settings(self) -> dict[str, Scalar]:
        if self.recipe.transport is None:
            return {}
        return fit_settings(TRANSPORTS[self.recipe.transport].fit_scores, self.recipe.transport_settings)

    @property
    def encoder(self) -> partial[Any]:
        """The encoder's constructor, from the recipe or else from the preset."""
        return self.recipe.encoder or self.preset.encoder

    @property
    def decoder(self) -> partial[Any]:
        """The decoder's constructor, from the recipe or else from the preset."""
        return self.recipe.decoder or self.preset.decoder

    @property
    def own_parts(self) -> list[str]:
        """The class names of custom encoders, bottlenecks and decoders."""
        constructors = (self.encoder, self.recipe.bottleneck, self.decoder)
        return [one.func.__name__ for one in constructors if not one.func.__module__.startswith("entropic_ae.")]

    def architecture(self) -> dict[str, Scalar]:
        """Return what decides whether weights fit: the classes of the parts and the settings of the networks.

        >>> from entropic_ae.recipes import PRESETS, RECIPES
        >>> System(RECIPES["eae"], PRESETS["digits"]).architecture()["bottleneck"]
        'BatchNorm'
        """
        return {
            "encoder": self.encoder.func.__name__,
            "bottleneck": self.recipe.bottleneck.func.__name__,
            "decoder": self.decoder.func.__name__,
            "latent_dim": self.preset.latent_dim,
            **scalars(self.encoder),
            **scalars(self.decoder),
        }

    def with_settings(self, changes: Mapping[str, Scalar]) -> System:
        """Return a copy of the system with changed settings; strings are parsed as the type of the setting.

        A different ``network`` keeps the settings that it shares with the former one, such as ``width``. A
        different ``bottleneck`` starts from its default settings. So does a term that is new among ``terms``,
        the names of all terms of the objective, as in ``squared_error+sigreg``; the others keep theirs.

        Raises: InputError for an unknown name (the message suggests the closest one), or a value of the wrong type
            or out of range.
        """
        known = self.settings()
        chosen = {
            "network": self._with_networks,
            "bottleneck": self._with_bottleneck,
            "terms": self._with_terms,
            "transport": self._with_transport,
        }
        for name, choose in chosen.items():  # these first: they bring settings of their own
            if (wanted := changes.get(name, known[name])) != known[name]:
                return choose(str(wanted)).with_settings(_without(changes, name))
        for name in changes:
            if name not in known:
                raise unknown_setting(name, known)
        new: dict[str, Any] = {name: read_setting(name, value, known[name]) for name, value in changes.items()}
        return System(self._changed_recipe(new), self._changed_preset(new))

    def _changed_preset(self, new: Mapping[str, Any]) -> Preset:
        """Return the preset with those of the settings that are its own."""
        return replace(
            self.preset,
            **{name: new[name] for name in ("latent_dim", "features") if name in new},
            encoder=changed(self.preset.encoder, new),
            decoder=changed(self.preset.decoder, new),
            training=replace(
                self.preset.training,
                **{f.name: new[f.name] for f in fields(self.preset.training) if f.name in new},
            ),
        )

    def _changed_recipe(self, new: Mapping[str, Any]) -> Recipe:
        """Return the recipe with those of the settings that are its own."""
        recipe = self.recipe
        terms = tuple(
            replace(term, **{f.name: new[s] for f in fields(term) if (s := _setting(term, f.name)) in new})
            for term in recipe.terms
        )
        densities = {
            density: {
                name: new.get(f"{density}.{name}", old)
                for name, old in fit_settings(DENSITIES[density].fit, own).items()
            }
            for density, own in recipe.densities.items()
        }
        return replace(
            recipe,
            bottleneck=changed(recipe.bottleneck, new),
            encoder=recipe.encoder and changed(recipe.encoder, new),
            decoder=recipe.decoder and changed(recipe.decoder, new),
            terms=terms,
            densities=densities,
            transport_settings={
                name: new.get(f"{_TRANSPORT}{name}", old) for name, old in self._transport_settings().items()
            },
        )

    def _with_bottleneck(self, name: str) -> System:
        """Return a copy with another bottleneck, in its default settings."""
        return System(replace(self.recipe, bottleneck=partial(BOTTLENECKS.find(name))), self.preset)

    def _with_transport(self, name: str) -> System:
        """Return a copy with another transport, in its default settings, or with none."""
        transport = None if name == _NONE else name
        return System(replace(self.recipe, transport=transport, transport_settings={}), self.preset)

    def _with_networks(self, name: str) -> System:
        """Return a copy with other networks, each where the former one stands: in the recipe or the preset."""
        recipe, (encoder, decoder) = self.recipe, in_family(name, self.encoder, self.decoder)
        return System(
            replace(recipe, encoder=recipe.encoder and encoder, decoder=recipe.decoder and decoder),
            replace(self.preset, encoder=encoder, decoder=decoder),
        )

    def _with_terms(self, names: str) -> System:
        """Return a copy with other terms; those that it has keep their settings."""
        own = {term.name: term for term in self.recipe.terms}
        wanted = [name.strip() for name in names.split(_PLUS)]
        if not all(wanted) or len({*wanted}) < len(wanted):
            raise InputError(
                f"terms expects names of different terms joined by {_PLUS}, such as squared_error{_PLUS}sigreg, "
                f"got {shown(names)}."
            )
        try:
            terms = tuple(own[name] if name in own else TERMS.find(name)() for name in wanted)
        except TypeError as error:
            raise InputError(
                f"a term that is chosen by the setting terms needs defaults for all of its fields ({error})."
            ) from None
        return System(replace(self.recipe, terms=terms), self.preset)

    def build(self, shape: Shape, *, seed: int = 0, classes: int | None = None) -> tuple[Autoencoder, Objective]:
        """Build the model, with weights initialised from the seed, and its objective, for images (C, H, W).

        A conditional recipe needs the number of classes: its encoder is built for images with more channels, and
        its decoder for longer codes, see ``LabelEmbedding``. Others ignore it. Models with custom parts are run on
        two images, so that wrong output shapes are found here.

        Raises: InputError for sizes or parts that do not fit together, or a conditional recipe without classes.
        """
        if self.recipe.conditional and classes is None:
            raise InputError(
                f"{self.recipe.name} needs the label of each image, got images without labels; put them into a "
                "folder for each class, give a column of labels, or a pair of images and labels."
            )
        self._check_names()
        with seeded(seed):
            bottleneck = self.recipe.bottleneck(self.preset.latent_dim)
            if self.recipe.transport is not None and bottleneck.is_discrete:
                raise InputError(
                    f"the transport '{self.recipe.transport}' maps continuous codes, and those of the bottleneck "
                    f"{type(bottleneck).__name__} are of a finite alphabet; set transport=none."
                )
            labels = LabelEmbedding(classes) if self.recipe.conditional and classes is not None else None
            more = 0 if labels is None else labels.size
            encoder = self.encoder((shape[0] + more, *shape[1:]), bottleneck.in_features)
            decoder = self.decoder(shape, self.preset.latent_dim + more)
            model = Autoencoder(encoder, bottleneck, decoder, labels)
            if self.own_parts:
                _try(model, shape)
        for density, settings in self.recipe.densities.items():
            DENSITIES[density].check(**settings)
        if self.recipe.transport is not None:
            TRANSPORTS[self.recipe.transport].check(**self.recipe.transport_settings)
        return model, Objective(self.recipe.terms, model)

    def _check_names(self) -> None:
        """Raise InputError if two parts share a setting's name, except encoder and decoder with equal values."""
        homes: dict[str, str] = {}
        values: dict[str, Scalar] = {}
        for part, settings in self._parts():
            for name, value in settings.items():
                shared = (homes.get(name), part) == (_ENCODER, _DECODER) and values[name] == value
                if name in homes and not shared:
                    raise InputError(
                        f"{name} is a setting of {homes[name]} ({values[name]}) and of {part} ({value}), expected "
                        "of one part, or of encoder and decoder with one value; rename one or set it."
                    )
                homes[name], values[name] = part, value

    def describe(self) -> dict[str, Any]:
        """Return the expanded recipe for run.json: the parts and every setting."""
        return {
            "encoder": self.encoder.func.__name__,
            "bottleneck": self.recipe.bottleneck.func.__name__,
            "decoder": self.decoder.func.__name__,
            "terms": [type(term).__name__ for term in self.recipe.terms],
            "densities": list(self.recipe.densities),
            "settings": self.settings(),
        }


def configure(recipe: Recipe, preset: Preset, changes: Mapping[str, Scalar] | None = None) -> System:
    """Combine a recipe with a preset.

    Later sources override earlier ones: the preset, the recipe's ``network``, its ``settings`` for the preset, the
    changes.

    Raises: InputError if the recipe sets something that no part of it accepts, or as ``System.with_settings``.

    >>> from entropic_ae.recipes import PRESETS, RECIPES
    >>> configure(RECIPES["eae"], PRESETS["digits"], {"width": 4}).settings()["width"]
    4
    """
    system = System(recipe, preset)
    own = {**recipe.network, **recipe.settings.get(preset.name, {})}
    known = system.with_settings(
        {name: own[name] for name in ("network", "bottleneck", "terms", "transport") if name in own}
    ).settings()
    if missing := [name for name in own if name not in known]:
        raise InputError(
            f"the recipe '{recipe.name}' sets {' and '.join(missing)} on '{preset.name}', but no part of it "
            f"takes that, {system.encoder.func.__name__} for one; give it a network and settings that fit."
        )
    return system.with_settings(own).with_settings(changes or {})


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the settings in which two systems differ, as ``name was VALUE and is VALUE``.

    Arguments:
        then: recorded settings. Settings added to the library since are missing here and ignored: their defaults
            keep the former behaviour.
        now: settings of the current system.

    >>> differences({"width": 16}, {"width": 32, "gained": 0})
    ['width was 16 and is 32']
    """
    return [
        f"{name} was {shown(value)} and is {shown(now.get(name))}"
        for name, value in sorted(then.items())
        if value != now.get(name)
    ]


def changes_of(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the parts and settings in which two systems differ, as ``differences`` does; a long list is truncated.

    Arguments:
        then, now: results of ``System.describe``, the first read from a file.

    >>> from entropic_ae.recipes import PRESETS, RECIPES
    >>> then, now = (configure(RECIPES["eae"], PRESETS["digits"], {"width": w}).describe() for w in (2, 4))
    >>> changes_of({**then, "encoder": "MLPEncoder"}, now)
    ["encoder was 'MLPEncoder' and is 'ConvEncoder'", 'width was 2 and is 4']
    """
    parts = {name: part for name, part in then.items() if name != "settings"}
    # custom ones may have been registered since; their classes are among the parts
    settings = {name: value for name, value in then["settings"].items() if name not in ("bottleneck", "network")}
    found = differences(parts, now) + differences(settings, now["settings"])
    return [text[:_LONGEST] for text in found[:_FEW]] + [f"and {len(found) - _FEW} more"] * (len(found) > _FEW)


def _try(model: Autoencoder, shape: Shape) -> None:
    """Raise InputError if the output shape of a part is not the one that the next part expects."""
    n, bottleneck = 2, model.bottleneck
    model.eval()
    with torch.no_grad():
        x, labels = torch.zeros(n, *shape), torch.zeros(n, dtype=torch.long)
        h = model.hidden(x, labels)
        _check_shape(model.encoder, h, (n, bottleneck.in_features))
        code = bottleneck(h)
        if not isinstance(code, Code):
            raise InputError(f"{type(bottleneck).__name__} gives {type(code).__name__}, expected Code(z).")
        _check_shape(bottleneck, code.z, (n, bottleneck.latent_dim))
        _check_shape(model.decoder, model.decode(code.z, labels), tuple(x.shape))
    model.train()


def _check_shape(part: nn.Module, output: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(output.shape) != expected:
        raise InputError(
            f"{type(part).__name__} gives shape {tuple(output.shape)} for {expected[0]} images, expected "
            f"{expected}; check the sizes that it is built with."
        )


def _bottleneck_name(constructor: partial[Any]) -> str:
    """Return the bottleneck's name in the registry, or the class name of an unregistered one."""
    names = (name for name, bottleneck in BOTTLENECKS.items() if bottleneck is constructor.func)
    return next(names, constructor.func.__name__)


def _setting(term: Term, name: str) -> str:
    return term.setting if name == "weight" else f"{term.setting}.{name}"


def _without(changes: Mapping[str, Scalar], name: str) -> dict[str, Scalar]:
    return {key: value for key, value in changes.items() if key != name}
