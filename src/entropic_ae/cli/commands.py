"""The command line: parse, call one function, print."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

from entropic_ae.cli.experiments import figure, objectives, table1, tune
from entropic_ae.cli.hub import pull, push
from entropic_ae.cli.images import edit, interpolate, reconstruct, sample, score
from entropic_ae.cli.listing import runs
from entropic_ae.cli.options import Command, Group
from entropic_ae.cli.printing import errors, notes, speak, with_output_options
from entropic_ae.cli.recipes import recipes
from entropic_ae.cli.runs import evaluate, explore, export, report, train, transport
from entropic_ae.errors import InputError
from entropic_ae.registry import import_modules
from entropic_ae.version import __version__

__all__ = ["app", "main"]

app = typer.Typer(
    name="entropic-ae",
    help="Train deterministic autoencoders that generate, draw new images from them, and measure them.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _expand(arguments: list[str]) -> list[str]:
    """Let one --set take several NAME=VALUE: ``--set a=1 b=2`` becomes ``--set a=1 --set b=2``."""
    expanded: list[str] = []
    in_set = False
    for argument in arguments:
        is_pair = "=" in argument and not argument.startswith("-")
        if in_set and is_pair and expanded[-1] != "--set":
            expanded.append("--set")
        in_set = argument == "--set" or (in_set and is_pair)
        expanded.append(argument)
    return expanded


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    modules: Annotated[
        list[str] | None, typer.Option("--import", metavar="MODULE", help="A module that registers custom parts.")
    ] = None,
) -> None:
    if show_version:
        print(__version__)
        raise typer.Exit
    import_modules(modules or ())


# in the order of --help
_COMMANDS = (
    *(recipes, runs, train, transport, sample, reconstruct, interpolate, edit, score),
    *(evaluate, report, export, explore),
    *(push, pull),
    *(table1, tune, objectives, figure),
)
for _command in _COMMANDS:
    app.command(cls=Command)(with_output_options(_command))

_INTERRUPTED = 130  # the shell's exit code for SIGINT
_NAMES = {command.__name__ for command in _COMMANDS}
_GOES_ON = ("table1", "tune", "objectives", "figure")  # where the same command resumes


def main() -> None:
    """Run the command line; bad input ends with one sentence and exit code 2, Ctrl-C with 130."""
    warnings.showwarning = lambda message, category, *_: _show_warning(message, category)
    speak()
    logger = logging.getLogger("entropic_ae")
    logger.setLevel(logging.INFO)
    logger.handlers = [_Notes()]
    try:
        app(_expand(sys.argv[1:]))
    except (InputError, OSError) as error:
        _stop(str(error), 2)
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        reason = str(error).strip().partition("\n")[0].rstrip(".") or "of this machine"
        _stop(
            f"there is not enough memory ({reason}); lower batch_size, width or latent_dim, or take fewer images.",
            2,
        )
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:  # typer's silent exit after Ctrl-C
            command = next((word for word in sys.argv[1:] if word in _NAMES), "")
            again = " To resume, repeat the command." if command in _GOES_ON else ""
            errors.print(f"[bold yellow]interrupted[/]; no file is incomplete.{again}")
            sys.exit(_INTERRUPTED)
        raise


def _is_of_memory(error: BaseException) -> bool:
    """Return whether memory has run out: Python's, PyTorch's on a GPU, or on a CPU, which has no error class."""
    named = type(error).__name__ == "OutOfMemoryError"  # torch's; torch may not have been imported
    return isinstance(error, MemoryError) or named or "DefaultCPUAllocator" in str(error)


class _Notes(logging.Handler):
    """Prints the log of the library: slow steps, and files that are made again."""

    def emit(self, record: logging.LogRecord) -> None:
        notes.print(escape(record.getMessage()), soft_wrap=not notes.is_terminal)


def _show_warning(message: Warning | str, category: type[Warning]) -> None:
    """Print a warning, except for deprecations, which are addressed to developers."""
    if not issubclass(category, FutureWarning | DeprecationWarning):
        errors.print(f"[bold yellow]warning:[/] {escape(_one_line(str(message)))}")


def _stop(sentence: str, code: int) -> NoReturn:
    errors.print(f"[bold red]error:[/] {escape(_one_line(sentence))}")
    sys.exit(code)


def _one_line(sentence: str) -> str:
    """Return a sentence without control characters; parts of it may come from an untrusted file."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", sentence)
