"""Runs: train a recipe into a run folder, load the run, use and measure it."""

from entropic_ae.runs.loading import load
from entropic_ae.runs.run import Run
from entropic_ae.runs.training import train

__all__ = ["Run", "load", "train"]
