"""A file of options: ``--config run.yaml`` gives the defaults of a command, which the command line replaces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from entropic_ae.errors import InputError, given_once, unknown_name

__all__ = ["Config", "read_config", "settings_of"]

_NONE = frozenset({"config", "help"})  # options that a file cannot give
_SETTINGS = "entropic_ae.settings"  # key of the settings of a file in the context of a command
_LARGEST = 1 << 20  # bytes
_SHORT = ("image-size", "width", "epochs")  # options that are short for a setting


def read_config(path: Path, known: set[str]) -> dict[str, Any]:
    """Return the options of a YAML or JSON file by their names, with - for _.

    Arguments:
        path: of the file.
        known: the names of all options and arguments of the command.

    Raises: InputError if it cannot be read, or an option is unknown; the message suggests the closest one, or the
        place of a setting.
    """
    import yaml

    try:
        text = path.read_bytes()
        if len(text) > _LARGEST:
            raise InputError(f"--config expects a file of options, got {path} of {len(text):,} bytes.")
        content = yaml.safe_load(text)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give --config a YAML or JSON file of options.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # PyYAML raises ValueError for an odd date
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{path} is no YAML or JSON ({reason}); write one option a line, as in epochs: 20."
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no options; write one a line, as in epochs: 20.")
    found = {}
    for key, value in content.items():
        name = str(key).replace("_", "-")
        if name not in known - _NONE:
            if (setting := name.replace("-", "_")) in _settings():
                raise InputError(
                    f"{key} in {path} is a setting, expected options; write it below set:, as in "
                    f"set: {{{setting}: {value}}}."
                )
            raise unknown_name(f"option in {path}", name, known - _NONE)
        if value is not None:
            found[name] = value
    return found


def _settings() -> set[str]:
    """Return the names of the settings of all systems."""
    from entropic_ae.recipes import PRESETS, RECIPES, System  # imports PyTorch, which takes seconds

    systems = (System(recipe, preset) for recipe in RECIPES.values() for preset in PRESETS.values())
    return {"image_size", *(name for system in systems for name in system.settings())}


def _defaults(context: typer.Context, path: Path | None) -> Path | None:
    """Make the options of a file the defaults of the command, and keep its settings, which are merged by name."""
    if path is None or context.resilient_parsing:
        return path
    names = {_name(parameter): parameter.name for parameter in context.command.params}
    content = read_config(path, {*names})
    own = content.pop("set", {})
    if not isinstance(own, dict) or any(isinstance(value, dict | list) for value in own.values()):
        raise InputError(f"set in {path} expects settings by name, as in set: {{width: 16}}, got {own!r}.")
    short = [(name.replace("-", "_"), content.pop(name)) for name in _SHORT if name in content]
    context.meta[_SETTINGS] = given_once([*((str(name), value) for name, value in own.items()), *short])
    context.default_map = {names[name]: _text(value) for name, value in content.items()}
    return path


def _name(parameter: Any) -> str:
    """Return the name of an option without dashes in front, or of an argument."""
    longest = max(parameter.opts, key=len)
    return str(longest).lstrip("-").replace("_", "-")


def _text(value: Any) -> Any:
    """Return a value as the command line has it: a list is text with commas."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def settings_of(context: typer.Context) -> dict[str, Any]:
    """Return the settings of the file of a command; empty without one."""
    found: dict[str, Any] = context.meta.get(_SETTINGS, {})
    return found


Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        callback=_defaults,
        is_eager=True,
        help="A YAML or JSON file of these options by name, set: {...} included; the command line beats it.",
    ),
]
