"""Experiments: sweeps over runs, whose results are written to ``results/`` and rendered from there."""

from entropic_ae.experiments import gallery, published, sweep, table1, tuning

__all__ = ["gallery", "published", "sweep", "table1", "tuning"]
