"""Evaluations that take a tenth of the time."""

from contextlib import contextmanager

import pytest


@contextmanager
def briefly():
    """Let evaluations draw a few samples of the prior only, for tests that assert nothing of these."""
    from entropic_ae.metrics import diagnostics

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagnostics, "_POOL", 5)
        patch.setattr(diagnostics, "_BLOCKS", 3)
        yield
