"""All that run.json holds, as lines of the page by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entropic_ae.storage.run_info import RunInfo
from entropic_ae.verdict import setting_text

__all__ = ["Group", "groups"]

_APART = ("expanded", "overrides", "machine", "versions")  # keys of run.json with groups of their own


@dataclass(frozen=True)
class Group:
    """Lines of name and value under a title; the names of ``changed`` differ from the preset."""

    title: str
    lines: list[tuple[str, str]]
    changed: frozenset[str] = frozenset()


def groups(info: RunInfo) -> list[Group]:
    """Return all of run.json: the settings, the parts of the model, the run, the machine and the versions.

    Arguments:
        info: run.json.

    >>> info = {"recipe": "eae", "preset": "mlp", "data": "digits", "source": "digits", "shape": [1, 8, 8]}
    >>> info |= {"overrides": {"width": 2}, "expanded": {"bottleneck": "BatchNorm", "settings": {"width": 2}}}
    >>> [(group.title, group.lines[0]) for group in groups(RunInfo.of({**info, "versions": {"python": "3.13"}}))]
    [('Settings', ('width', '2')), ('Model', ('bottleneck', 'BatchNorm')), ('Run', ('recipe', 'eae')), \
('Machine and versions', ('python', '3.13'))]
    """
    settings = {**info.overrides, **info.expanded.settings}
    model = {name: value for name, value in info.expanded.items() if name != "settings"}
    run = {name: value for name, value in info.items() if name not in _APART}
    found = [
        Group("Settings", _lines(settings), frozenset(info.overrides)),
        Group("Model", _lines(model)),
        Group("Run", _lines(run)),
        Group("Machine and versions", _lines({**info.machine, **info.versions})),
    ]
    return [group for group in found if group.lines]


def _lines(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            lines += [(f"{name}, {key}", setting_text(one)) for key, one in value.items()]
        elif isinstance(value, list | tuple):
            lines.append((name, ", ".join(map(setting_text, value)) or "none"))
        else:
            lines.append((name, setting_text(value)))
    return lines
