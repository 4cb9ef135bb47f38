"""The output of commands: results on stdout; notes, progress, warnings and errors on stderr."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from functools import wraps
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from entropic_ae.cli.options import OUTPUT_OPTIONS

if TYPE_CHECKING:
    from entropic_ae.verdict import Verdict

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
_COLOURS = {"good": "green", "fair": "yellow", "poor": "bold red", "unknown": "dim"}  # of grades
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


def _say(sentence: str) -> None:
    """Print a sentence as a result: broken between words on a terminal, and one line elsewhere."""
    console.print(sentence, soft_wrap=not console.is_terminal)


def print_metrics(results: Mapping[str, Mapping[str, Any]], verdict: Verdict | None) -> None:
    """Print the results of ``Run.evaluate`` by feature space: verdict, distances, and measures of codes."""
    from entropic_ae.report import accuracy_text
    from entropic_ae.verdict import entropy_of

    result = next(iter(results.values()))
    codes = result["codes"]
    if verdict is not None:
        _print_verdict(verdict)
    _print_tables(results)
    _say(
        f"reconstruction error {result['reconstruction_error']:.3f} (squared, summed over an image), "
        f"{100 * result['reconstruction_error'] / result['variance']:.0f} % of the images' variance; PSNR "
        f"{'infinite' if result['psnr'] is None else format(result['psnr'], '.1f')} dB, SSIM {result['ssim']:.2f}"
    )
    if "probe_accuracy" in result:
        by_neighbours, by_probe = (
            accuracy_text(result[name], result["real_images"]) for name in ("knn_accuracy", "probe_accuracy")
        )
        _say(
            f"labels from codes of {result['real_images']:,} {result['split']} images (95 % interval): "
            f"{by_neighbours} by 5 neighbours, {by_probe} by a linear probe"
        )
    if (score := result.get("classification_accuracy")) is not None:
        _say(
            f"classifiers trained on {score['images']:,} samples, drawn label by label from the density "
            f"{score['density']}: {100 * score['samples']:.1f} % on {result['split']} images; on as many real "
            f"images, {100 * score['real']:.1f} %"
        )
    entropy = f"{entropy_of(codes)} {codes['entropy']:.2f} nats"
    if codes["maximum"] is not None:
        entropy += f", {codes['corrected_gap']:.2f} below the same estimate of as many prior samples"
    _say(entropy)
    _print_copies(codes)
    if "verdict" in result["diagnostics"]:
        _say(result["diagnostics"]["verdict"])
    else:
        _say(f"too few codes to measure their divergence from the prior: {codes['n']}")
    collapse = result["collapse"]
    _say(f"active codes {collapse['active_codes']} of {collapse['latent_dim']}")
    if collapse["collapsed"]:
        collapsed = ", ".join(collapse["collapsed"])
        _say(f"[bold yellow]collapsed[/] (less than a tenth of the real variance; dead codes): {collapsed}")


def _print_tables(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the tables of distances and of fidelity, then what is withheld and why."""
    from entropic_ae.report import few_text, withheld_text

    result = next(iter(results.values()))
    of = f"of {result['number']:,} images each to {result['real_images']:,} {result['split']} images"
    if all("withheld" in space for space in results.values()):
        said = f"Kernel distances {of}, ± half of a 95 % interval:"
    else:
        said = f"Frechet distances {of}, ± half of a 95 % interval, and as multiples of that of held-out images:"
    _print_known(said, _distances(results))
    _print_known(
        f"Fidelity and coverage in {result['features']} features, of 5 neighbours; near-copies (1 % of new images "
        "are):",
        _closer(result),
    )
    for space in results.values():
        shown = space is result or "withheld" in space  # the kernel distance is, in the first space only
        if shown and (why := withheld_text(space)) is not None:
            _say(f"[bold yellow]withheld:[/] {escape(why)}")
        if (why := few_text(space)) is not None:
            _say(f"[bold yellow]few images:[/] {escape(why)}")


_NOTHING = "-"  # a cell without a number
_CLOSER = ("precision", "recall", "density", "coverage", "near_copies")


def _print_known(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print a table without the columns and rows that are withheld, and nothing if all are.

    Arguments:
        title: above it.
        rows: the heads of the columns, then the rows, each with its name first.
    """
    heads, *body = rows
    columns = [i for i in range(1, len(heads)) if any(row[i] != _NOTHING for row in body)]
    body = [row for row in body if any(row[i] != _NOTHING for i in columns)]
    if not body:
        return
    table = Table(heads[0], box=None, padding=(0, 2, 0, 0))
    for i in columns:
        table.add_column(heads[i], justify="right")
    for row in body:
        table.add_row(row[0], *(row[i] for i in columns))
    _say(title)
    print_table(table)


def _closer(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the heads and rows of a table of fidelity, coverage and near-copies."""
    from entropic_ae.report import closer_text

    rows = [["images", *(name.replace("_", "-") for name in _CLOSER)]]
    for group, row in result["distances"].items():
        if "precision" in row:
            cells = [closer_text(result, group, name) for name in _CLOSER[:-1]]
            copies = f"{100 * row['near_copies']:.1f} %" if "near_copies" in row else _NOTHING
            rows.append([group, *cells, copies])
    return rows


def _print_copies(codes: Mapping[str, Any]) -> None:
    """Print how many codes equal another: in a finite alphabet a fact, elsewhere a warning."""
    copies = codes["n"] - codes["distinct"]
    if "states" in codes:
        _say(f"codes that differ: {codes['distinct']:,} of {codes['n']:,}")
    elif copies:
        _say(f"[bold yellow]equal codes:[/] {copies:,} of {codes['n']:,} equal another, and count once")


def _print_verdict(verdict: Verdict) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for one in verdict.findings:
        table.add_row(one.subject, f"[{_COLOURS[one.grade]}]{one.grade}[/]", escape(one.sentence))
    print_table(table)
    _say(f"[bold]next:[/] {escape(verdict.advice)}" + ":" * (verdict.command is not None))
    if verdict.command is not None:
        console.out(f"  {verdict.command}", highlight=False)


def _distances(results: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return the heads and rows of a table: each kind of image, its distances and multiples."""
    from entropic_ae.report import frechet_text, kernel_text, multiple, multiple_text

    several = len(results) > 1
    first = next(iter(results.values()))
    spaces = [head for name in results for head in (name, "x floor")]
    rows = [["images", *spaces, *["mean x"] * several, f"kernel, {next(iter(results))}"]]
    for row in first["distances"]:
        cells = []
        multiples = [multiple(space, row) for space in results.values()]
        for space, times in zip(results.values(), multiples, strict=True):
            cells += [frechet_text(space, row), multiple_text(times)]
        if several:
            known = [times for times in multiples if times is not None]
            cells.append(multiple_text(sum(known) / len(known) if len(known) == len(multiples) else None))
        rows.append([row, *cells, kernel_text(first, row)])
    return rows


def print_caution(caution: str | None) -> None:
    """Print ``Run.caution``, if there is one."""
    if caution is not None:
        _say(f"[bold yellow]short training:[/] {caution}")
