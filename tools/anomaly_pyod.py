"""PyOD's autoencoder on pixels, in an environment of its own: ``python tools/anomaly_pyod.py IN.npz OUT.json``.

``IN.npz`` holds rows ``train`` and ``test`` and the CPU ``seconds`` to train for; ``OUT.json`` gets the scores of
the test rows, of the default network at its default settings but for the number of epochs.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from pyod.models.auto_encoder import AutoEncoder

__all__ = ["main"]

_TRIED = 5  # epochs, of which one is timed
_OPTIONS = {"device": torch.device("cpu"), "verbose": 0, "random_state": 0}


def main() -> None:
    """Train for the given time, and score."""
    torch.set_num_threads(1)
    given = np.load(sys.argv[1])
    AutoEncoder(epoch_num=1, **_OPTIONS).fit(given["train"])  # the first steps of a process are slow
    started = time.process_time()
    AutoEncoder(epoch_num=_TRIED, **_OPTIONS).fit(given["train"])
    per_epoch = (time.process_time() - started) / _TRIED
    epochs = max(1, round(float(given["seconds"]) / per_epoch))
    started = time.process_time()
    model = AutoEncoder(epoch_num=epochs, **_OPTIONS).fit(given["train"])
    spent = time.process_time() - started
    scores = model.decision_function(given["test"])
    found = {"scores": scores.tolist(), "epochs": epochs, "cpu_seconds": spent, "version": version("pyod")}
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
