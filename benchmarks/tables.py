"""Results as Markdown: tables, times, ratios, and the machine they were measured on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def where(found: Mapping[str, Any]) -> str:
    """Return where a benchmark ran."""
    names = ("entropic-ae", "torch", "python", "pythae", "torch of pythae")
    versions = ", ".join(f"{name} {found['versions'][name]}" for name in names if name in found["versions"])
    machine = found["machine"]
    vectors = f" with {machine['instructions']}" if "instructions" in machine else ""
    gpu = f", {machine['gpu']}" if "gpu" in machine else ""
    return (
        f"{machine['processor']}{vectors}, {machine['cores']} cores, {found['threads']} threads{gpu}; {versions}."
    )


def plain(value: Any) -> str:
    """Return what a cell says of a value."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def ratio(found: Mapping[str, Any]) -> str:
    """Return a ratio with its quartiles."""
    low, high = found["quartiles"]
    return f"{found['median']:.2f} ({low:.2f} to {high:.2f})"


def duration(seconds: float) -> str:
    """Return a time to three digits."""
    if seconds >= 600:
        return f"{seconds / 60:.3g} min"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def mebibytes(value: float | None) -> str:
    """Return an amount of memory."""
    return "-" if value is None else f"{value:,.0f} MiB"
