"""Experiments: sweeps built of runs, whose figures land in ``results/`` and are rendered from there."""

from entropic_ae.experiments import gallery, published, sweep, table1, tuning

__all__ = ["gallery", "published", "sweep", "table1", "tuning"]
