"""Train on a folder of images by the defaults of whichever build of the library is imported, for some CPU minutes.

``tools/own_folders.py`` runs it with the path of an old build and of this one, so it uses only what both have. The
run folder is copied when the process has used each number of minutes, then the process ends. Of a training that
ends before, the copies are of its end. A second call draws from the copies:

    python tools/timed_training.py train FOLDER PLACE MINUTES ...
    python tools/timed_training.py draw PLACE IMAGES.npy NUMBER
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

import entropic_ae as eae

__all__ = ["draw", "train"]

RECIPE, DRAWN, TIMES, WEIGHTS = "eae", "drawn.npz", "times.json", "weights.safetensors"
KEPT = ("run.json", "log.csv", WEIGHTS, "transport.safetensors")


def train(folder: str, place: Path, minutes: list[str]) -> None:
    """Train on the images of a folder, and copy the run after each number of minutes, in rising order."""
    started, ended, lock = time.process_time(), threading.Event(), threading.Lock()
    times: dict[str, dict[str, float | bool]] = {}

    def copy(minute: str) -> None:
        with lock:
            if minute in times:  # the training ended while it was copied
                return
            (place / minute).mkdir()
            for name in KEPT:  # each is written atomically
                with suppress(FileNotFoundError):
                    shutil.copyfile(place / "run" / name, place / minute / name)
            seconds = round(time.process_time() - started, 1)
            times[minute] = {"cpu_seconds": seconds, "ended": ended.is_set()}
            (place / TIMES).write_text(json.dumps(times))

    def watch() -> None:
        for minute in minutes:
            while time.process_time() - started < 60 * float(minute):
                if ended.wait(0.05):
                    return
            copy(minute)
        os._exit(0)  # in the midst of training, whose copies are complete

    threading.Thread(target=watch, daemon=True).start()
    eae.train(RECIPE, folder, out=place / "run", device="cpu", progress=False)
    ended.set()
    for minute in minutes:
        copy(minute)


def draw(place: Path, images: Path, number: int) -> None:
    """Write reconstructions of images, and samples of the prior, beside each copy that has weights."""
    held_out = torch.from_numpy(np.load(images))
    for minute in json.loads((place / TIMES).read_text()):
        if not (place / minute / WEIGHTS).is_file():
            continue  # no epoch had ended
        run = eae.load(place / minute, device="cpu")
        samples = run.sample(number, density="prior", seed=0)
        np.savez(place / minute / DRAWN, samples=samples.numpy(), rebuilt=run.reconstruct(held_out).numpy())


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    kind, *rest = sys.argv[1:]
    if kind == "train":
        train(rest[0], Path(rest[1]), rest[2:])
    else:
        draw(Path(rest[0]), Path(rest[1]), int(rest[2]))
