"""Settings that hold for every test."""

import os
import sys

# Small tensors: a second thread costs more than it gives, above all on a busy machine. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import Phase, settings

PHASES = (Phase.explicit, Phase.generate, Phase.shrink)  # no tracing of lines for an explanation
# The same examples each time, so that a failure is a change's; "search" draws others, and many more.
settings.register_profile("suite", max_examples=25, derandomize=True, deadline=None, database=None, phases=PHASES)
settings.register_profile("search", max_examples=2000, deadline=None, database=None, phases=PHASES)
settings.load_profile("suite")


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
