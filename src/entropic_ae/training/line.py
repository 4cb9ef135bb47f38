"""The line that tells the progress of a training, as text."""

from __future__ import annotations

import sys
from dataclasses import dataclass

__all__ = ["State", "duration", "in_notebook", "progress_line"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def duration(seconds: float) -> str:
    """Return a time in words, to about two digits.

    >>> [duration(seconds) for seconds in (8, 95, 372, 5000, 33000, 200000)]
    ['8 s', '95 s', '6 min', '83 min', '9.2 h', '2.3 days']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * _MINUTE:
        return f"{seconds / _MINUTE:.0f} min"
    value, unit = (seconds / _HOUR, "h") if seconds < 2 * _DAY else (seconds / _DAY, "days")
    return f"{value:.1f} {unit}".replace(".0 ", " ")


@dataclass(frozen=True)
class State:
    """What the line tells.

    Attributes:
        epoch, epochs: the current one, from 1, and all.
        share: of all steps that are done.
        left: seconds to the last epoch; None if not known yet.
        early: whether training may stop before.
        term, error: name and value of the first term in training; None before there is one.
        validation: the latest validation loss; None before there is one.
        best: whether it is the lowest so far.
        entropy: of the validation codes, an estimate.
        of_draws: the same estimate of as many draws from the prior; None if the bottleneck does not bound it.
    """

    epoch: int
    epochs: int
    share: float = 0.0
    left: float | None = None
    early: bool = False
    term: str = ""
    error: float | None = None
    validation: float | None = None
    best: bool = False
    entropy: float | None = None
    of_draws: float | None = None


def progress_line(state: State, width: int) -> str:
    """Return the line, without its least parts if it would be longer than the width.

    >>> state = State(8, 120, 0.066, 372.0, False, "squared_error", 95.9, 126.31, True, -11.04, 22.7)
    >>> print(progress_line(state, 100))
    epoch 8/120, 7 %, 6 min left, error 95.9, val loss 126.3 best, entropy -11.0/22.7
    >>> print(progress_line(state, 80))
    epoch 8/120, 6 min left, error 95.9, val loss 126.3 best, entropy -11.0/22.7
    """
    share, left, validation, entropy, most = (f", {100 * state.share:.0f} %", "", "", "", "")
    if state.left is not None and state.share < 1:
        left = f", {'<' * state.early}{duration(state.left)} left"
    error = "" if state.error is None else f", {_words(state.term)} {_number(state.error)}"
    if state.validation is not None:
        validation = f", val loss {_number(state.validation)}{' best' * state.best}"
    if state.entropy is not None:
        entropy = f", entropy {_number(state.entropy)}"
        if state.of_draws is not None:
            most = f"/{_number(state.of_draws)}"
    epoch = f"epoch {state.epoch}/{state.epochs}"
    for parts in (
        (share, left, error, validation, entropy, most),
        (left, error, validation, entropy, most),
        (left, error, validation, entropy),
        (left, error, validation),
        (left, validation),
    ):
        if len(line := epoch + "".join(parts)) <= width:
            return line
    return line[:width]


def _words(term: str) -> str:
    return "error" if term == "squared_error" else term.replace("_", " ")


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def in_notebook() -> bool:
    """Return whether the code runs in the kernel of a notebook.

    >>> in_notebook()
    False
    """
    module = sys.modules.get("IPython")
    return hasattr(module.get_ipython(), "kernel") if module is not None else False
