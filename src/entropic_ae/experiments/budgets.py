"""Budgets: how long the systems of a table train and by how many images they are measured, by name.

``small`` and ``paper`` have a fixed number of epochs. ``converged`` ends by rules, which count optimiser steps, so
that they mean the same for a set of any size:

- ``patience_steps``: the learning rate is halved after 1,000 steps without a lower validation loss, as in the
  size ``medium``. The paper's 5 epochs are 2,500 steps of MNIST, and most of the time would go by on plateaus.
- ``stop_after``: three times that. Before training ends, a half and a quarter of the rate of the best epoch have
  had 1,000 steps each, and would have shown what the noise of a high rate hides.
- ``stop_rate``: below a hundredth of its first rate, a training that still creeps down no longer gets anywhere.
- ``epochs``: only an upper bound, at least twice the paper's.
- ``validation_images``: 2,000 of them rank the epochs of one run in a fifth of the time that 10,000 take.
- ``ema``: 0, since the table compares objectives, and the paper averages no weights.

The initial learning rate is not a budget's: it is the system's own, or that of its tuning.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from entropic_ae.errors import unknown_name
from entropic_ae.recipes.recipe import Scalar

__all__ = [
    "BUDGETS",
    "CONVERGED",
    "NO_BUDGET",
    "SMALL",
    "Budget",
    "ends_by_rule",
    "find_budget",
    "length_text",
    "lengths_text",
]


@dataclass(frozen=True)
class Budget:
    """What all cells of a table share. Explicit options of a command override it.

    Attributes:
        settings: by name; a system without a setting of that name ignores it.
        limit, n, features: as for ``Cell``.
        by_data: what differs for individual data sets: attributes by name; settings are added.

    >>> BUDGETS["small"].of("cifar10").settings["latent_dim"]
    64
    """

    settings: Mapping[str, Scalar]
    limit: int | None = None
    n: int = 10_000
    features: str | None = None
    by_data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, data: str) -> Budget:
        """Return the budget for a data set."""
        own = dict(self.by_data.get(data, {}))
        return replace(self, settings={**self.settings, **own.pop("settings", {})}, by_data={}, **own)


_SECOND_STAGE = {"second-stage.hidden": 256, "second-stage.epochs": 20}
_CPU: Mapping[str, Mapping[str, Any]] = {
    "mnist": {"features": "classifier"},
    "cifar10": {"features": "classifier", "settings": {"latent_dim": 64}},
    "celeba": {"features": "classifier:cifar10", "n": 2_000},
}
# The tables' copy of CelebA has 8,991 training images, of four times as many pixels as CIFAR-10's.
_SMALLER_FACES = {**_CPU["celeba"], "limit": None, "settings": {"width": 8}}
_RULES = {"patience": 1, "patience_steps": 1_000, "stop_after": 3_000, "stop_rate": 0.01}

SMALL, CONVERGED = "small", "converged"
BUDGETS: dict[str, Budget] = {
    SMALL: Budget(
        {**_SECOND_STAGE, "width": 16, "epochs": 6},
        limit=10_000,
        n=5_000,
        by_data={**_CPU, "celeba": _SMALLER_FACES},
    ),
    CONVERGED: Budget(
        {**_SECOND_STAGE, "width": 16, "epochs": 200, "validation_images": 2_000, "ema": 0.0, **_RULES},
        n=5_000,
        by_data=_CPU,
    ),
    "paper": Budget({"width": 128}),
}
NO_BUDGET = Budget({})  # the numbers of the preset


def find_budget(name: str) -> Budget:
    """Return a budget by its name; InputError for an unknown one.

    >>> find_budget("paper").settings
    {'width': 128}
    """
    if name not in BUDGETS:
        raise unknown_name("budget", name, BUDGETS)
    return BUDGETS[name]


# What a cell's entry ``training`` says of its end, by the setting that decided it.
_ENDS = {"stop_after": "early stop", "stop_rate": "learning rate", "epochs": "all epochs"}


def ends_by_rule(cell: Mapping[str, Any]) -> bool:
    """Return whether the length of a measured cell's training was open: a rule may end it before its last epoch.

    >>> ends_by_rule({"expanded": {"settings": {"epochs": 200, "stop_after": 3000}}})
    True
    """
    settings = cell["expanded"]["settings"]
    return bool(settings.get("stop_after") or settings.get("stop_rate"))


def length_text(cell: Mapping[str, Any]) -> str:
    """Return how long a measured cell was trained at most, for the line below a table.

    >>> length_text({"expanded": {"settings": {"epochs": 200, "stop_after": 3000}}})
    'until 3,000 steps brought no lower validation loss, at most 200 epochs'
    """
    settings = cell["expanded"]["settings"]
    epochs = f"{settings['epochs']} epoch{'s' * (settings['epochs'] != 1)}"
    if not ends_by_rule(cell):
        return epochs
    rules = []
    if steps := settings.get("stop_after"):
        rules.append(f"{steps:,} steps brought no lower validation loss")
    if rate := settings.get("stop_rate"):
        rules.append(f"the learning rate fell below {rate:g} of the initial one")
    return f"until {' or '.join(rules)}, at most {epochs}"


def lengths_text(trainings: Sequence[Mapping[str, Any]], *, go_on: bool = False) -> str:
    """Return the optimiser steps of some trainings, those up to the best weights, and why they ended.

    Arguments:
        trainings: the entries ``training`` of cells.
        go_on: leave out why they ended, since they go on.

    >>> one = {"epochs": 9, "steps": 4500, "best_epoch": 3, "best_step": 1500, "ended_by": "stop_after"}
    >>> lengths_text([one]), lengths_text([])
    ('4,500 (best 1,500), early stop', '-')
    """
    if not trainings:
        return "-"
    steps, best = (_mean([one[name] for one in trainings]) for name in ("steps", "best_step"))
    if go_on:
        return f"{steps} (best {best})"
    ends = Counter(_ENDS[one["ended_by"]] for one in trainings)
    said = next(iter(ends)) if len(ends) == 1 else ", ".join(f"{end} ({count})" for end, count in ends.items())
    return f"{steps} (best {best}), {said}"


def _mean(values: Sequence[int]) -> str:
    mean = f"{statistics.mean(values):,.0f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):,.0f}"
