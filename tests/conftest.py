"""Settings that hold for every test."""

import importlib.metadata
import os
import subprocess
import sys
from functools import cache
from importlib.metadata import requires, version
from pathlib import Path

# Small tensors: a second thread costs more than it gives, above all on a busy machine. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import Phase, settings

from brief import briefly

# Lightning looks for plugins among all installed packages at each training: a tenth of the time of a small one.
importlib.metadata.entry_points = cache(importlib.metadata.entry_points)

PHASES = (Phase.explicit, Phase.generate, Phase.shrink)  # no tracing of lines for an explanation
# The same examples each time, so that a failure is a change's; "search" draws others, and many more.
settings.register_profile("suite", max_examples=25, derandomize=True, deadline=None, database=None, phases=PHASES)
settings.register_profile("search", max_examples=2000, deadline=None, database=None, phases=PHASES)
settings.load_profile("suite")


# Begun first, the longest before the others, so that at the end no worker waits for another's whole file.
LONGEST = (
    *("distributed", "docs", "export", "resume", "constraints", "hub", "explore_page", "report_page", "extend"),
    *("scikit", "estimators", "layout", "training", "tuning", "report"),
)


def pytest_collection_modifyitems(items):
    places = {f"test_{name}": i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_addoption(parser):
    parser.addoption("--record", metavar="FILE", help="write counts, versions and commit to a JSON file")


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("record") is None:
        return
    from packaging.requirements import Requirement

    from entropic_ae.provenance import machine, versions
    from entropic_ae.storage.files import write_json

    names = [one.name for one in map(Requirement, requires("entropic-ae")) if one.marker is None]
    git = ["git", "-C", str(config.rootpath), "describe", "--always", "--abbrev=40", "--dirty=+changes"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or None
    counts = {kind: len(terminalreporter.stats.get(kind, [])) for kind in ("passed", "failed", "error", "skipped")}
    known = {**versions(), **{name: version(name) for name in names}}
    found = {"outcomes": counts, "versions": known, "machine": machine(), "git_commit": commit}
    write_json(Path(config.getoption("record")), found)


@pytest.fixture(scope="module")
def brief():
    """Be in ``briefly`` for a module."""
    with briefly():
        yield


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command line in this process; return exit code, output and errors, each on one line a paragraph."""
    from entropic_ae import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["entropic-ae", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        return exit_.value.code or 0, captured.out, captured.err

    return run
