"""Experiments: sweeps built of runs, whose figures land in ``results/`` and are rendered from there."""

from entropic_ae.experiments import table1

__all__ = ["table1"]
