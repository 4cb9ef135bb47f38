"""The diagnostics of a run's codes as charts, rows and facts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from entropic_ae.report.charts import Chart, band, points, stack
from entropic_ae.report.tables import fixed, p_value

__all__ = ["LEVEL", "Diagnosis", "PartRow", "diagnosis"]

LEVEL = 0.01  # equals metrics.diagnostics.LEVEL, which cannot be imported without PyTorch; tested
_ONE_SIDED = 2.326  # standard deviations that a normal variable exceeds with probability 0.01
_SIGMAS = 2.576  # a normal variable is within that many standard deviations with probability 0.99


@dataclass(frozen=True)
class PartRow:
    """A part of the divergence, or the distance: nats, p-value, and whether its test rejects the prior."""

    name: str
    nats: str
    p_value: str
    rejects: bool


@dataclass(frozen=True)
class Diagnosis:
    """Diagnostics for the page; empty except for ``facts`` if there were too few codes for tests."""

    verdict: str | None = None
    intro: str = ""
    parts: Chart | None = None
    rows: list[PartRow] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    has_shapes: bool = False  # whether charts have skewness and kurtosis


def diagnosis(found: dict[str, Any]) -> Diagnosis:
    """Prepare the diagnostics in a result for the page.

    Arguments:
        found: ``diagnostics`` of metrics.json.

    >>> diagnosis({"error_from_own_codes": 1.0, "error_from_others_codes": 8.0}).facts
    [('reconstruction error from own codes', '1.000'), ("from other images' codes", '8.000')]
    """
    if "divergence" not in found:
        return Diagnosis(found.get("verdict"), facts=_facts(found))
    tests = {**found["parts"], "distance": None}
    rows = [
        PartRow(name, fixed(nats), p_value(p), p <= LEVEL)
        for name, nats in tests.items()
        if (p := found["p_values"].get(name)) is not None
    ]
    dead = f"; {found['dead']} of them dead and left out" if found["dead"] else ""
    intro = (
        f"{found['n']:,} held-out codes of {found['dimensions']} dimensions{dead}, "
        f"{'at least ' * ('usage' in found)}{fixed(found['divergence'])} nats from {found['prior']}."
    )
    return Diagnosis(
        verdict=found.get("verdict"),
        intro=intro,
        parts=_parts(found),
        rows=rows,
        charts=[*(_usage(found) if "usage" in found else _shapes(found)), _distance(found)],
        facts=_facts(found),
        has_shapes="usage" not in found,
    )


def _parts(found: dict[str, Any]) -> Chart:
    parts = list(found["parts"].items())
    text = ", ".join(f"{name} {fixed(nats)} nats" for name, nats in parts)
    return stack("parts of the divergence", parts, text=text, xlabel="nats")


def _shapes(found: dict[str, Any]) -> list[Chart]:
    charts = []
    # standard errors of skewness and kurtosis of n normal values: sqrt(6 / n) and sqrt(24 / n)
    for name, variance in (("skewness", 6), ("excess_kurtosis", 24)):
        values, title = found[name], name.replace("_", " ")
        half = _SIGMAS * math.sqrt(variance / found["n"])
        outside = sum(abs(value) > half for value in values)
        text = f"{title} of each dimension: {outside} of {len(values)} outside of ±{half:.2f}"
        charts.append(points(f"{title} by dimension", values, half, text=text, xlabel="dimension"))
    return charts


def _usage(found: dict[str, Any]) -> list[Chart]:
    """Draw what the entropy of each dimension or token lacks, over what it lacks by chance."""
    usage = found["usage"]
    most, freedom = math.log(usage["states"]), usage["states"] - 1
    lacking = [most - entropy for entropy in usage["entropy"]]
    # 2 N nats of N uniform ones are chi-squared; its 99 % quantile by Wilson and Hilferty
    spread = 2 / (9 * freedom)
    half = freedom * (1 - spread + _ONE_SIDED * math.sqrt(spread)) ** 3 / (2 * found["n"])
    outside = sum(value > half for value in lacking)
    text = f"entropy that a {usage['quantum']} lacks: {outside} of {len(lacking)} above {half:.4f} nats"
    title = f"entropy below its maximum by {usage['quantum']}"
    return [points(title, lacking, half, text=text, xlabel=usage["quantum"])]


def _distance(found: dict[str, Any]) -> Chart:
    value, (low, middle, high) = found["distance"]["value"], found["distance"]["null"]
    text = f"{value:.4f} for the codes; samples of the prior {low:.4f} to {high:.4f}, median {middle:.4f}"
    return band(
        "sliced Wasserstein distance from the prior",
        value,
        (low, middle, high),
        text=text,
        xlabel="units of the codes",
    )


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    facts = []
    if "correlation" in found:
        facts = [
            ("correlation of two dimensions, rms", fixed(found["correlation"]["rms"], 3)),
            ("largest correlation", fixed(found["correlation"]["largest"], 3)),
        ]
    if usage := found.get("usage"):
        what, count = usage["quantum"], usage["tokens"] * usage["states"]
        facts = [
            (f"states that no code uses, of {count:,}", f"{usage['unused']:,}"),
            (f"perplexity of a {what}, of {usage['states']}", fixed(usage["perplexity"], 3)),
            (f"{what}s that copy another", str(found["dependent"])),
        ]
        if pairs := usage["pairs"]:
            shared = f"{fixed(pairs['mean'], 4)} and {fixed(pairs['largest'], 3)} nats"
            facts.append((f"information of two {what}s about each other, mean and largest", shared))
        if usage["group"] > 1:
            facts.append((f"{what}s of a group, whose joint states are counted", str(usage["group"])))
    if found.get("minibatch"):
        batch = found["minibatch"]
        facts += [
            ("change of a code between minibatch and running statistics, rms", fixed(batch["rms_change"], 3)),
            ("mean of the codes under running statistics, rms", fixed(batch["mean"], 3)),
            (
                "their standard deviations, smallest and largest",
                f"{fixed(batch['least_std'], 3)} and {fixed(batch['largest_std'], 3)}",
            ),
        ]
    if told := found.get("labels"):
        own, low, _, high = (fixed(value, 3) for value in (told["information"], *told["null"]))
        name = f"nats of the label's {fixed(told['entropy'], 2)} that codes tell (by chance, and p-value)"
        facts.append((name, f"{own} ({low} to {high}, p = {told['p_value']:.2g})"))
    labels = {
        "error_from_own_codes": "reconstruction error from own codes",
        "error_from_others_codes": "from other images' codes",
    }
    return facts + [(label, fixed(found[name], 3)) for name, label in labels.items() if name in found]
