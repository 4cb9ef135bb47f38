"""A run as the page names it: without the paths of this machine, since a report is sent to others."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from entropic_ae.report.folder import Contents
from entropic_ae.storage.run_folder import is_shared
from entropic_ae.storage.run_info import RunInfo

__all__ = ["names", "public", "shown_path", "shown_source"]

# a kind such as pages: or classifier:, an absolute path, and the name of an array in a file
_SOURCE = re.compile(
    r"(?P<kind>(?:[a-z-]{2,}:)?)(?P<path>(?:[/~\\]|[A-Za-z]:[/\\]).*?)(?P<array>(?::\w[\w.-]*(?:/\w[\w.-]*)*)?)"
)


def public(run: Contents) -> Contents:
    """Return a run whose folder, data, features and start are named without the paths of this machine."""
    info = run.info
    overrides, settings = dict(info.overrides), dict(info.expanded.settings)
    for values in (overrides, settings):
        if "features" in values:
            values["features"] = shown_source(str(values["features"]))
    named = {
        **info,
        "source": shown_source(info.source),
        "overrides": overrides,
        "expanded": {**info.expanded, "settings": settings},
    }
    if info.start_from is not None:
        start = info.start_from["run"]
        named["start_from"] = {**info.start_from, "run": start if is_shared(start) else shown_path(start)}
    metrics = {}
    for name, result in run.metrics.items():
        features = shown_source(result["features"])
        metrics[features + name.removeprefix(result["features"])] = {**result, "features": features}
    path = run.path if is_shared(run.path) else Path(shown_path(run.path))
    return replace(run, path=path, info=RunInfo.of(named), metrics=metrics)


def shown_path(path: str | Path) -> str:
    """Return a path relative to the current folder if it is below it, else its last part.

    >>> shown_path("runs/../runs/a"), shown_path("/elsewhere/b")
    ('runs/a', 'b')
    """
    whole, here = _absolute(path), Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else whole.name


def shown_source(source: str) -> str:
    """Return the name of data or of a feature space, with a path of this machine as ``./NAME``.

    >>> shown_source("mnist"), shown_source("hf:owner/name"), shown_source("/me/photos")
    ('mnist', 'hf:owner/name', './photos')
    >>> shown_source("classifier:/me/photos"), shown_source("/me/all.npz:train")
    ('classifier:./photos', './all.npz:train')
    """
    found = _SOURCE.fullmatch(source)
    return source if found is None else f"{found['kind']}./{shown_path(found['path'])}{found['array']}"


def names(paths: Sequence[Path]) -> list[str]:
    """Return the names of run folders, with as many of the folders above them as it takes to tell them apart.

    >>> names([Path("/x/runs/a"), Path("/x/runs/b")]), names([Path("/x/new/a"), Path("/x/old/a"), Path("/x/b")])
    (['a', 'b'], ['new/a', 'old/a', 'b'])
    """
    parts = [path.parts if is_shared(path) else _absolute(path).parts for path in paths]
    found = [Path(*one[-1:]) for one in parts]
    for depth in range(2, 1 + max(map(len, parts))):
        alike = Counter(found)
        found = [
            Path(*own[-depth:]) if alike[name] > 1 and parts.count(own) == 1 else name
            for own, name in zip(parts, found, strict=True)
        ]
    return [name.as_posix() for name in found]


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - resolve() would follow links
