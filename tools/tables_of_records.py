"""Tables of ``docs/`` of records whose writers cannot be imported: comparisons with peers, tested versions."""

from __future__ import annotations

from pathlib import Path

from benchmarks.tables import markdown

from entropic_ae.storage.files import read_json


def versions(path: Path) -> str:
    """Return the versions that were compared."""
    found = read_json(path)["versions"]
    return ", ".join(f"{name} {found[name]}" for name in ("pythae", "entropic-ae", "torch", "python")) + "."


def peers(path: Path) -> str:
    """Return the libraries that measures were compared with."""
    found = read_json(path)
    return f"{found['peers']}; torch {found['versions']['torch']}."


def rows(path: Path, *, name: str) -> str:
    """Return what was found as a Markdown table."""
    head, *rows = read_json(path)[name]
    return markdown(head, rows)


def supported(folder: Path) -> str:
    """Return with which versions the tests ran: a row each of those that were recorded."""
    records = [(path.stem, read_json(path)) for path in sorted(folder.glob("*.json"), reverse=True)]
    names = list(
        dict.fromkeys(name for _, found in records for name in found["versions"] if name != "entropic-ae")
    )
    outcomes = list(dict.fromkeys(name for _, found in records for name in found["outcomes"]))
    lines = [[name, *(found["versions"].get(name, "-") for _, found in records)] for name in names] + [
        [f"tests {name}", *(f"{found['outcomes'][name]:,}" for _, found in records)] for name in outcomes
    ]
    return markdown(["", *(name for name, _ in records)], lines)


def caption(path: Path) -> str:
    """Return what was written beside a figure."""
    return path.read_text(encoding="utf-8").strip()
