"""Experiments: sweeps built of runs, whose figures land in ``results/`` and are rendered from there."""
