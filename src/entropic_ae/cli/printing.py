"""The output of commands: results on stdout; notes, progress, warnings and errors on stderr."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stdout
from functools import wraps
from inspect import Parameter
from typing import Any

from rich.console import Console
from rich.table import Table

from entropic_ae.cli.options import OUTPUT_OPTIONS

__all__ = [
    "Document",
    "console",
    "errors",
    "hint",
    "notes",
    "print_caution",
    "print_metrics",
    "print_table",
    "short",
    "speak",
    "speak_for",
    "with_output_options",
]

Document = Mapping[str, Any]
"""The results of a command: dictionaries, lists, numbers, text and paths."""

console = Console(highlight=False, soft_wrap=True)  # results
notes = Console(stderr=True, highlight=False, soft_wrap=True)  # notes and progress
errors = Console(stderr=True, highlight=False, soft_wrap=True)  # errors and warnings
_FEW = 100  # number of images in either set below which distances mean little
_UNBOUNDED = 1000  # characters, wider than any table
_NO_BARS = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")  # of Hugging Face's libraries


def speak() -> None:
    """Print everything again, as at the start of a command."""
    for one in (console, notes, errors):
        one.quiet = False


def speak_for(count: int) -> bool:
    """Silence all but the first of ``count`` processes; return whether this is the first."""
    if count == 1:  # PyTorch is not needed to know
        return not errors.quiet
    from entropic_ae.distributed import is_first

    if not is_first(count):
        for one in (console, notes, errors):
            one.quiet = True
    return not errors.quiet


def with_output_options(command: Callable[..., Document]) -> Callable[..., None]:
    """Return a command that also takes --json and --quiet.

    Arguments:
        command: prints its results on ``console``, everything else on ``notes``, and returns its results.
    """

    @wraps(command)
    def run(*, as_json: bool, quiet: bool, **given: Any) -> None:
        console.quiet, notes.quiet = as_json, quiet
        if quiet:
            os.environ.update(dict.fromkeys(_NO_BARS, "1"))
        with redirect_stdout(sys.stderr) if as_json else nullcontext():  # libraries may print too
            document = command(**given)
        if as_json and not errors.quiet:
            print(_json(document))

    signature = inspect.signature(command, eval_str=True)
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in OUTPUT_OPTIONS.items()
    ]
    parameters = [*signature.parameters.values(), *options]
    run.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
    return run


def _json(document: Document) -> str:
    """Return a document as JSON, with null for NaN and infinity, which JSON lacks."""
    finite = json.loads(json.dumps(document, default=str), parse_constant=lambda _: None)
    return json.dumps(finite, indent=2, allow_nan=False)


def hint(text: str) -> None:
    """Print a note below the results; --quiet and --json omit it."""
    if not notes.quiet:
        console.print(text)


def print_table(table: Table) -> None:
    """Print a table, folded to the width of a terminal; not folded in a file or a pipe."""
    wide = console if console.is_terminal else Console(highlight=False, width=_UNBOUNDED)
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        console.out(line.rstrip(), highlight=False)


def short(value: Any) -> str:
    """Return the value of a setting as text for a table."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def print_metrics(result: dict[str, Any]) -> None:
    """Print the result of ``Run.evaluate``: distances, reconstruction error, entropy, verdict, collapse."""
    from entropic_ae.report import distance_rows

    codes = result["codes"]
    table = Table("images", "number", "Frechet distance", "kernel distance", box=None, padding=(0, 2, 0, 0))
    for row in distance_rows(result):
        table.add_row(*row)
    console.print(f"Distances to {result['real_images']:,} test images in {result['features']} features:")
    print_table(table)
    console.print(f"reconstruction error {result['reconstruction_error']:.3f} (squared, summed over an image)")
    entropy = f"entropy of {codes['n']:,} held-out codes {codes['entropy']:.2f} nats"
    if codes["maximum"] is not None:
        entropy += (
            f", maximum {codes['maximum']:.2f}, gap {codes['gap']:.2f} "
            f"({codes['corrected_gap']:.2f} to the same estimate for as many prior samples)"
        )
    console.print(entropy)
    if copies := codes["n"] - codes["distinct"]:
        console.print(f"[bold yellow]equal codes:[/] {copies:,} of {codes['n']:,} equal another, and count once")
    if "verdict" in result["diagnostics"]:
        console.print(result["diagnostics"]["verdict"])
    else:
        console.print(f"too few codes to measure their divergence from the prior: {codes['n']}")
    fewest = min(result["real_images"], *(row["images"] for row in result["distances"].values()))
    if fewest < _FEW or fewest < result.get("dimensions", 0):
        width = f" in {result['dimensions']:,} dimensions" if fewest < result.get("dimensions", 0) else ""
        console.print(
            f"[bold yellow]few images:[/] Frechet distances of only {fewest:,}{width} are biased upwards and mean "
            "little; look at the kernel distance"
        )
    collapse = result["collapse"]
    console.print(f"active codes {collapse['active_codes']} of {collapse['latent_dim']}")
    if collapse["collapsed"]:
        collapsed = ", ".join(collapse["collapsed"])
        console.print(
            f"[bold yellow]collapsed[/] (less than a tenth of the real variance; dead codes): {collapsed}"
        )


def print_caution(caution: str | None) -> None:
    """Print ``Run.caution``, if there is one."""
    if caution is not None:
        console.print(f"[bold yellow]short training:[/] {caution}")
