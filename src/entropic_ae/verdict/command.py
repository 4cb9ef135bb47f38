"""The commands shown in a report."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from entropic_ae.storage.run_info import RunInfo

__all__ = ["run_command", "setting_text", "train_command"]

_OF_IMAGES = ("latent_dim", "ema")  # settings that are fitted to images without a preset of their own alone


def train_command(info: RunInfo, *options: str) -> str:
    """Return the command that trains a run again, quoted for a shell.

    It names no preset if the settings were chosen to fit the images, as they will be again.

    Arguments:
        info: run.json.
        options: further options, such as ``--resume``, which takes settings that fit the images from run.json.

    >>> info = {"recipe": "eae", "preset": "mlp", "data": "photos", "source": "my photos", "shape": [1, 32, 32]}
    >>> changed = {"seed": 1, "image_size": 32, "overrides": {"width": 16, "spectral": True, "epochs": 2}}
    >>> train_command(RunInfo.of({**info, **changed}))
    "entropic-ae train eae 'my photos' --preset mlp --set image_size=32 width=16 spectral=true --epochs 2 --seed 1"
    """
    known = info.fitted if "--resume" in options else ()
    settings = {name: value for name, value in info.overrides.items() if name == "epochs" or name not in known}
    epochs = settings.pop("epochs", None)
    if info.image_size is not None:
        settings = {"image_size": info.image_size, **settings}
    words = [*_start(info), "train", info.recipe, info.source]
    if not _fits(info):
        words += ["--preset", info.preset]
    if settings:
        words += ["--set", *(f"{name}={setting_text(value)}" for name, value in settings.items())]
    numbers = {"epochs": epochs, "seed": info.seed, "limit": info.limit}
    for name, value in numbers.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    if info.value_range is not None:
        words += ["--value-range", ",".join(map(setting_text, info.value_range))]
    if info.start_from is not None:
        words += ["--from", info.start_from["run"]]
    if info.precision != "32":
        words += ["--precision", info.precision]
    if info.compiled:
        words.append("--compile")
    return shlex.join([*words, *options])


def _fits(info: RunInfo) -> bool:
    """Return whether the settings of a run were chosen to fit its images, not taken from a preset by name."""
    return any(name in info.fitted for name in _OF_IMAGES) and all(name in info.overrides for name in _OF_IMAGES)


def run_command(name: str, folder: Path, info: RunInfo, *options: str) -> str:
    """Return a command on a run folder.

    Arguments:
        name: of the command.
        folder: the run folder.
        info: run.json.
        options: further options.

    >>> info = {"recipe": "eae", "preset": "mlp", "data": "photos", "source": "my photos", "shape": [1, 32, 32]}
    >>> info = RunInfo.of({**info, "imports": ["mine"]})
    >>> run_command("sample", Path("runs/a b"), info, "--density", "mixture")
    "entropic-ae --import mine sample 'runs/a b' --density mixture"
    """
    return shlex.join([*_start(info), name, str(folder), *options])


def _start(info: RunInfo) -> list[str]:
    """Return the first words of a command, with the modules that the run needs."""
    return ["entropic-ae", *(word for name in info.imports for word in ("--import", name))]


def setting_text(value: Any) -> str:
    """Return the value of a setting in the syntax of ``--set``.

    >>> setting_text(True), setting_text(0.5), setting_text(None)
    ('true', '0.5', 'none')
    """
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
