"""Options shared by several commands, and the parsing of their text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from entropic_ae.errors import InputError, given_once
from entropic_ae.storage.run_folder import check_run

if TYPE_CHECKING:
    from entropic_ae.runs import Run

__all__ = [
    "IMAGES_OUT",
    "OUTPUT_OPTIONS",
    "Command",
    "Compile",
    "Device",
    "Devices",
    "Epochs",
    "Group",
    "Limit",
    "Moved",
    "Nodes",
    "OfLabel",
    "OptionalData",
    "Precision",
    "Recipes",
    "RunName",
    "RunsFolder",
    "Seed",
    "Settings",
    "Width",
    "check_data",
    "load_run",
    "read_list",
    "read_numbers",
    "read_range",
    "read_settings",
    "read_systems",
]

RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run folder of [b]train[/b], hf:owner/name on the Hub, or example:mnist."
    ),
]


class Command(TyperCommand):
    """A command whose --help shows no type for flags, which take no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options and arguments, --help included."""
        return _without_type(super().get_params(ctx))


class Group(TyperGroup):
    """The program, whose --help shows no type for flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, --help included."""
        return _without_type(super().get_params(ctx))


def _without_type(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Devices = Annotated[int, typer.Option(help="Processes on each machine, which share the images.")]
Precision = Annotated[str, typer.Option(help="Of training: 32, bf16 or 64.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the networks: for long runs.")]
Nodes = Annotated[int, typer.Option(help="Machines; start the command on each, by torchrun or SLURM.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]
Moved = Annotated[str | None, typer.Option(help="The new location of the run's images, if they were moved.")]
OptionalData = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[DATA ...]",
        help="Images to use: image files, or what [b]train[/b] takes; default: the run's own test images.",
    ),
]
OfLabel = Annotated[
    str | None,
    typer.Option(
        "--label", metavar="LABEL", help="For a conditional run and other DATA: the class of all of its images."
    ),
]
Settings = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE ...", help="Settings of all systems.")]
Width = Annotated[int | None, typer.Option(help="Short for --set width=WIDTH.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training images; default: by the preset.")]
ImageSize = Annotated[
    int | None, typer.Option(help="Side to resize images to, a multiple of 8; short for --set image_size=SIDE.")
]
Limit = Annotated[
    int | None,
    typer.Option(help="Use at most LIMIT images for training, and at most LIMIT for validation."),
]
Recipes = Annotated[
    str | None,
    typer.Option(
        help="Systems, separated by commas; eae:entropy=0.3 changes a setting of one; default: all without "
        "labels or finite codes."
    ),
]
RunsFolder = Annotated[Path, typer.Option(help="The folder of the run folders.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print results as one JSON document, and nothing else.")]
_Quiet = Annotated[bool, typer.Option("--quiet", help="Print results only: no progress and no notes.")]
OUTPUT_OPTIONS = {"as_json": _AsJson, "quiet": _Quiet}  # of every command
IMAGES_OUT = "FILE.png (a grid), FILE.npz or a folder of PNG files; must not exist, folders above it are created"


def read_list(names: str) -> list[str]:
    """Split names at commas."""
    return [name.strip() for name in names.split(",")]


def read_systems(recipes: str | None) -> list[str]:
    """Return the systems of --recipes, with their settings as given; InputError if one is unknown."""
    from entropic_ae.recipes import RECIPES, compared

    if recipes is None:
        return compared()
    names = read_list(recipes)
    for name in names:
        RECIPES.find(name.partition(":")[0])
    return names


def read_numbers(option: str, text: str, kind: type[Any]) -> list[Any]:
    """Split numbers at commas; InputError names the option if one is not a number."""
    try:
        return [kind(number) for number in text.split(",")]
    except ValueError:
        kinds = "whole numbers" if kind is int else "numbers"
        raise InputError(f"--{option} expects {kinds} separated by commas, got '{text}'.") from None


def read_range(text: str) -> tuple[float, float]:
    """Return the values of black and white; InputError unless they are two numbers."""
    values = read_numbers("value-range", text, float)
    if len(values) != 2:
        raise InputError(f"--value-range expects BLACK,WHITE, got '{text}'; for example --value-range 0,1.")
    return values[0], values[1]


def read_settings(
    set: list[str] | None, width: int | None, epochs: int | None, image_size: int | None = None
) -> dict[str, Any]:
    """Return the settings, including those of short options; InputError if one has two values."""
    for pair in set or []:
        if "=" not in pair:
            raise InputError(f"--set expects NAME=VALUE, got '{pair}'; for example --set width=16.")
    pairs = [(name, value) for name, _, value in (pair.partition("=") for pair in set or [])]
    short = {"width": width, "epochs": epochs, "image_size": image_size}
    return given_once([*pairs, *((name, str(value)) for name, value in short.items() if value is not None)])


def check_data(*sources: str, what: str = "a folder, a file") -> None:
    """Raise InputError for a path that does not exist, before PyTorch is imported; ``what`` may be given instead.

    A name without a slash may be that of a registered data set, which is known once PyTorch is imported.
    """
    for source in sources:
        path = Path(source.removeprefix("pages:")).expanduser()
        named = Path(str(path).rpartition(":")[0])  # of FILE:NAME
        is_path = re.search(r"[/\\]", source) and not re.match(r"hf(-stream)?:", source)
        if is_path and not path.exists() and not named.is_file():
            raise InputError(
                f"{path} does not exist; give {what}, hf:owner/name or a name that entropic-ae recipes lists."
            )


def load_run(run: str, device: str, data: str | None = None) -> Run:
    """Load a run after checking its folder, before PyTorch is imported, which takes seconds."""
    check_run(run)
    from entropic_ae import runs

    return runs.load(run, device=device, data=data)
