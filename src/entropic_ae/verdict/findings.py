"""The verdict on a run: a sentence each on data, training, reconstructions, samples and copying."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropic_ae.storage.log import best_epoch
from entropic_ae.storage.run_folder import BLURRED, FLOOR, GIVEN, is_shared
from entropic_ae.storage.run_info import IN_MEMORY, RunInfo
from entropic_ae.verdict.command import run_command, train_command

__all__ = ["Finding", "Verdict", "entropy_of", "verdict"]

_FEW_IMAGES, _MANY_IMAGES = 1000, 5000  # training images, below which they are few, above which enough
_SPANS = 10  # of a running average, until its initial value is negligible
_FEW_MINIBATCHES = 100  # of a training from the start: below, little is learnt
_IMPROVING = 0.01  # share by which the validation loss fell over the last fifth of the epochs
_DEAD = 0.01  # share of the first learning rate, below which nothing is learnt
# Share of the images' variance that reconstructions leave; docs/evaluation.md has the study.
_GOOD_SHARE, _FAIR_SHARE = 0.2, 0.3
_GOOD_BLURS, _FAIR_BLURS = 1.0, 2.0  # error of reconstructions by that of images at 8 pixels across
_GOOD_RATIO, _FAIR_RATIO = 1.5, 3.0  # distance of samples by that of reconstructions
_SIGMAS = 1.96  # standard errors, half of a 95 % interval
_LEVEL = 0.01  # of the tests of the diagnosis
_COPIED = 0.03  # share of near-copies among samples; 0.01 is expected of new images
_UNFINISHED = "not finished"
_NOT_DRAWN = (*GIVEN, "reconstructions", "interpolations")

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Finding:
    """What there is to say of one subject.

    Attributes:
        subject: data, training, reconstructions, samples or copying.
        grade: good, fair, poor or unknown.
        sentence: the reason, with the figures.
    """

    subject: str
    grade: str
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The findings on a run, and what to do about the worst.

    Attributes:
        findings: in the order in which an image passes: data, training, reconstructions, samples, copying.
        advice: what to do next, and why.
        command: that does it; None if no command can.
    """

    findings: Sequence[Finding]
    advice: str
    command: str | None

    def lines(self) -> list[str]:
        """Return the verdict as lines of text, the advice last."""
        width = max(len(one.subject) for one in self.findings)
        found = [f"{one.subject:<{width}}  {one.grade:<7}  {one.sentence}" for one in self.findings]
        return [*found, f"next: {self.advice}" + (f": {self.command}" if self.command else "")]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def verdict(
    info: RunInfo,
    log: Mapping[str, Sequence[float]],
    results: Results,
    folder: Path,
    *,
    transported: bool = False,
) -> Verdict | None:
    """Return the verdict on a run.

    Arguments:
        info: run.json.
        log: the columns of log.csv; empty if there is none.
        results: of metrics.json for the current weights, by feature space.
        folder: of the run, for the command.
        transported: whether the codes are mapped to the prior by a transport.

    Returns: None without a result that has a reconstruction error and a variance of the images.
    """
    whole = [one for one in results.values() if "variance" in one and "diagnostics" in one]
    result = max(whole, key=lambda one: one.get("split", "test") == "test", default=None)
    if result is None:
        return None
    findings = [
        _data(info, result),
        _training(info, log),
        _reconstructions(result),
        _samples(info, result),
        *_copying(info, result),
    ]
    return Verdict(findings, *_next(findings, info, log, result, folder, transported))


def entropy_of(codes: Mapping[str, Any]) -> str:
    """Return what the measured entropy of held-out codes is of: that of finite codes sums over the dimensions.

    >>> entropy_of({"n": 2000}), entropy_of({"n": 2000, "states": 256})
    ('entropy of 2,000 held-out codes', 'entropy of the dimensions of 2,000 held-out codes')
    """
    return f"entropy of {'the dimensions of ' * ('states' in codes)}{codes['n']:,} held-out codes"


def _data(info: RunInfo, result: Mapping[str, Any]) -> Finding:
    count = info.training_images
    grade = "poor" if count < _FEW_IMAGES else "fair" if count < _MANY_IMAGES else "good"
    said = (
        f"{count:,} training images"
        + {
            "poor": ": few; a network learns them by heart before it learns what they share",
            "fair": ": enough for images that are alike and aligned",
            "good": "",
        }[grade]
    )
    if repeated := result.get("copies", {}).get("repeated"):
        said += f"; {repeated:,} images of the set are copies of another"
        grade = "fair" if grade == "good" else grade
    return Finding("data", grade, f"{said}.")


def _per_epoch(info: RunInfo) -> int:
    batch = int(info.expanded.settings.get("batch_size", 0) or 1)
    return max(1, info.training_images // max(1, min(info.training_images, batch)))


def _needed(info: RunInfo) -> int:
    """Return the minibatches that running averages need; 0 without any, or if they do not follow the training."""
    momentum = info.expanded.settings.get("momentum")
    if not info.waits_for_averages or not isinstance(momentum, float) or not 0 < momentum < 1:
        return 0
    return math.ceil(_SPANS / momentum)


def _training(info: RunInfo, log: Mapping[str, Sequence[float]]) -> Finding:
    best, epochs = best_epoch(dict(log)), len(log.get("epoch", ()))  # type: ignore[arg-type]
    if best is None or not epochs:
        return Finding("training", "unknown", "there is no log.")
    seen = best * _per_epoch(info)
    if (short := _too_short(info, seen)) is not None:
        return Finding("training", "poor", f"too short: {short}.")
    if info.stopped is not None:
        said = f"stopped early, as {info.stopped['reason']}: epoch {best} of {epochs} was the best"
        return Finding("training", "good", f"{said} ({seen:,} minibatches).")
    if epochs == 1:
        said = f"one epoch ({seen:,} minibatches) does not tell whether it has converged"
        return Finding("training", "fair", f"{said}.")
    if (doubt := _doubt(log, best, epochs)) is not None:
        return Finding("training", "fair", f"{doubt}.")
    return Finding("training", "good", f"converged: epoch {best} of {epochs} was the best ({seen:,} minibatches).")


def _too_short(info: RunInfo, seen: int) -> str | None:
    """Return how a training was too short, or None if it was not."""
    if seen < (needed := _needed(info)):
        return f"{seen:,} minibatches, and the running averages of the norms need {needed:,}"
    if info.start_from is None and seen < _FEW_MINIBATCHES:
        return f"{seen:,} minibatches"
    return None


def _doubt(log: Mapping[str, Sequence[float]], best: int, epochs: int) -> str | None:
    """Return what speaks against convergence in a log of several epochs, or None."""
    rates, losses = log.get("learning_rate", ()), log["validation_loss"]
    after = epochs - best
    if rates and rates[-1] < _DEAD * rates[0] and after > epochs / 4:
        return f"the learning rate has died: epoch {best} was the best, and the {after} after it changed nothing"
    earlier = min(losses[: max(1, epochs - max(1, epochs // 5))])
    # a loss with an entropy may be near 0 or below, so its fall is measured by the error, if there is one
    errors = log.get("validation_squared_error")
    scale = errors[best - 1] if errors else abs(earlier)
    gain = (earlier - min(losses)) / scale if scale else 0.0
    if gain > _IMPROVING:
        share = f"{100 * gain:.0f} %" + " of the squared error" * bool(errors)
        return f"{_UNFINISHED}: the validation loss still fell by {share} over the last epochs"
    return None


def _reconstructions(result: Mapping[str, Any]) -> Finding:
    error = result["reconstruction_error"]
    share = error / result["variance"] if result["variance"] else math.nan
    blurs = error / result["blurred_error"] if result.get("blurred_error") else 0.0
    if share <= _GOOD_SHARE and blurs <= _GOOD_BLURS:
        grade, meaning = "good", "fine detail is missing"
    elif share <= _FAIR_SHARE and blurs <= _FAIR_BLURS:
        grade, meaning = "fair", "visibly blurred"
    else:
        grade, meaning = "poor", "hardly more than outlines and colours"
    if share <= 1:
        said = f"they leave {100 * share:.0f} % of the images' variance unexplained: {meaning}"
    else:
        said = f"they are worse than the mean image: their error is {share:.1f} times the variance of the images"
    if blurs > _GOOD_BLURS:
        said += f"; their error is {blurs:.1f} times that of the images at 8 pixels across"
    return Finding("reconstructions", grade, f"{said}.")


def _samples(info: RunInfo, result: Mapping[str, Any]) -> Finding:
    rows = result["distances"]
    drawn = _drawn(result)
    own = info.density if info.density in drawn else next(iter(drawn), None)
    if own is None or FLOOR not in rows or "reconstructions" not in rows:
        return Finding("samples", "unknown", "no samples were measured.")
    flat = [name for name in result.get("collapse", {}).get("collapsed", ()) if name in drawn]
    if flat:
        return Finding("samples", "poor", f"those of {', '.join(flat)} are all alike (collapsed).")
    if "withheld" in result:
        return Finding(
            "samples",
            "unknown",
            f"{result.get('number', result['n']):,} images of each kind are too few to measure them; look at the "
            "pictures.",
        )
    distance, rebuilt = rows[own]["frechet"], rows["reconstructions"]["frechet"]
    # the grade is as bad as is certain: samples are compared with what reconstructions or real images may be at
    upper, limit, name = max(
        (row["frechet"] + _SIGMAS * row.get("frechet_error", 0.0), row["frechet"], name)
        for name, row in (("reconstructions", rows["reconstructions"]), ("real images", rows[FLOOR]))
    )
    grade = _graded(distance, upper)
    unsure = grade != _graded(distance, limit)
    spoilt = BLURRED in rows and distance > rows[BLURRED]["frechet"]
    if spoilt or _reconstructions(result).grade == "poor":
        grade = "poor"
    said = f"drawn from the {own} they are at {distance:.2f}, reconstructions at {rebuilt:.2f}"
    said += f" and real images at {rows[FLOOR]['frechet']:.2f}"
    if unsure and grade != "poor":
        said += f"; of {result.get('number', result['n']):,} images each, {name} may be at up to {upper:.2f}"
        said += f", so what is certain, and graded, is {distance / upper:.1f} times as far"
        said += f", not {distance / limit:.1f} times" if limit > 0 else ""
    if grade != "good" and (cause := _cause(result)):
        said += f"; what the codes lack is mainly {cause}"
    if spoilt:
        said += f"; real images at 8 pixels across are nearer, {rows[BLURRED]['frechet']:.2f}"
    nearest = min(drawn, key=lambda name: drawn[name]["frechet"])
    apart = distance - drawn[nearest]["frechet"]
    if apart > _SIGMAS * math.hypot(*(row.get("frechet_error", 0.0) for row in (rows[own], rows[nearest]))):
        said += f"; drawn from the {nearest} (sample --density {nearest}), {drawn[nearest]['frechet']:.2f}"
    return Finding("samples", grade, f"{said}.")


def _graded(distance: float, limit: float) -> str:
    """Return the grade of samples at a distance, where the best that they can be is at another."""
    ratio = distance / limit if limit > 0 else math.inf
    return "good" if ratio <= _GOOD_RATIO else "fair" if ratio <= _FAIR_RATIO else "poor"


def _drawn(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the rows of samples, by density."""
    return {name: row for name, row in result["distances"].items() if name not in _NOT_DRAWN}


def _cause(result: Mapping[str, Any]) -> str | None:
    """Return the largest part of the divergence of the codes whose test rejects the prior, if any does."""
    found = result["diagnostics"]
    p_values = found.get("p_values", {})
    parts = {name: nats for name, nats in found.get("parts", {}).items() if p_values.get(name, 1.0) <= _LEVEL}
    largest = max(parts, key=lambda name: parts[name], default=None)
    return "dependence between dimensions" if largest == "groups" else largest


def _copying(info: RunInfo, result: Mapping[str, Any]) -> list[Finding]:
    shares = {name: row["near_copies"] for name, row in _drawn(result).items() if "near_copies" in row}
    own = info.density if info.density in shares else next(iter(shares), None)
    if own is None:
        return []
    share = shares[own]
    grade = "good" if share <= _COPIED else "poor"
    return [
        Finding(
            "copying",
            grade,
            f"{100 * share:.1f} % of samples are nearer to a training image, relative to others, than 99 % of "
            "held-out images are (1 % is expected).",
        )
    ]


def _next(
    findings: Sequence[Finding],
    info: RunInfo,
    log: Mapping[str, Sequence[float]],
    result: Mapping[str, Any],
    folder: Path,
    transported: bool,
) -> tuple[str, str | None]:
    """Return the advice on the worst finding, in the order in which one must be mended before the next."""
    found = {one.subject: one for one in findings}
    training, samples = found["training"], found["samples"].grade
    if training.grade == "poor" or _UNFINISHED in training.sentence:
        by_itself = info.expanded.settings.get("transport", "none") != "none"
        again = ", then transport again" if transported and not by_itself else ""
        done = len(log.get("epoch", ()))
        onward = f"train on{again}: it has {done} of {info.expanded.settings.get('epochs')} epochs"
        if info.source == IN_MEMORY:
            if _incomplete(info, done):
                return f"{onward}; the same call of train with resume=True", None
            return f"train longer{again}: the same call of train with more epochs and resume=True", None
        if is_shared(folder):  # read-only, and without a checkpoint
            return f"train longer, from its weights (train --from {folder}){again}", None
        if _incomplete(info, done):
            return onward, train_command(info, "--out", str(folder), "--resume")
        return f"train longer{again}", _resumed(info, done, folder)
    advice: tuple[str, str | None] = "look at the images", run_command("report", folder, info)
    if found["reconstructions"].grade == "poor" and found["data"].grade == "poor":
        advice = "give more training images; nothing else helps new images as much", None
    elif found["reconstructions"].grade == "poor":
        size = info.expanded.settings.get("latent_dim", 0)
        advice = f"train wider networks, or more code dimensions than {size}: reconstructions are the limit", None
    elif samples in ("poor", "fair") and not transported and _cause(result) and _gains(info, result):
        if "usage" in result["diagnostics"]:
            command = run_command("sample", folder, info, "--density", "autoregressive")
            advice = "draw from the density of the codes, or train with a higher weight of their entropy", command
        elif is_shared(folder):
            advice = "map the codes of a copy to the prior (transport)", run_command("pull", folder, info)
        else:
            command = run_command("transport", folder, info)
            advice = "map the codes to the prior, which leaves reconstructions as they are", command
    elif "copying" in found and found["copying"].grade == "poor":
        advice = "train on more images, or for fewer epochs: samples repeat training images", None
    return advice


def _gains(info: RunInfo, result: Mapping[str, Any]) -> bool:
    """Return whether a density may draw nearer than the recipe's: not if the mixture is farther than the prior."""
    drawn = _drawn(result)
    if info.density != "prior" or not {"prior", "mixture"} <= drawn.keys():
        return True
    return bool(drawn["mixture"]["frechet"] < drawn["prior"]["frechet"])


def _incomplete(info: RunInfo, done: int) -> bool:
    """Return whether epochs are left, though no rule stopped the training, with which it would be long enough."""
    epochs = int(info.expanded.settings.get("epochs") or 0)
    return info.stopped is None and done < epochs and epochs * _per_epoch(info) >= _needed(info)


def _resumed(info: RunInfo, epochs: int, folder: Path) -> str:
    """Return the command that trains a run for twice as many epochs, and until the running averages settle."""
    settled = math.floor(_needed(info) / _per_epoch(info)) + 1
    rules = {"stop_after": 0, "stop_rate": 0.0} if info.stopped is not None else {}
    longer = {**info, "overrides": {**info.overrides, **rules, "epochs": max(2 * epochs, settled)}}
    return train_command(RunInfo.of(longer), "--out", str(folder), "--resume")
