"""The command ``runs``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from entropic_ae.cli.printing import Document, console, errors, hint, print_table, short
from entropic_ae.storage.runs_table import COLUMNS, RunRow, nearest, read_runs, sort_runs

__all__ = ["runs"]


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="It is searched three folders deep.")] = Path(
        "runs"
    ),
    sort: Annotated[
        str, typer.Option(metavar="COLUMN", help="A column, or a feature space; the smallest value first.")
    ] = "run",
) -> Document:
    """List run folders: recipe, data, epochs, state, lowest validation loss, distances of samples, date."""
    found, damaged = read_runs(folder)
    rows = sort_runs(found, sort)
    spaces = list(dict.fromkeys(space for row in rows for space in row.distances))
    lines = [_cells(row, spaces) for row in rows]
    table = _fitting(
        [*COLUMNS[:-1], *spaces, COLUMNS[-1]], lines, console.width if console.is_terminal else sys.maxsize
    )
    if rows:
        print_table(table)
        if spaces:
            hint("Distances are the Frechet distance of the samples of the nearest density.")
    else:
        console.print(f"{escape(str(folder))} holds no run folders.")
    for sentence in damaged:
        errors.print(f"[bold yellow]warning:[/] {escape(sentence)}")
    return {"runs": [asdict(row) for row in rows], "damaged": damaged}


def _fitting(head: list[str], lines: list[list[str]], width: int) -> Table:
    """Return a table whose names are whole: on a narrow terminal without the columns that can be spared."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    kept = list(range(len(head)))
    spared = [
        len(head) - 1,
        2,
        1,
        *range(len(head) - 2, 5, -1),
        3,
        4,
    ]  # date, data, recipe, distances, epochs, state
    for index in dict.fromkeys(spared):
        if sum(widths[i] + 2 for i in kept) <= width:
            break
        kept = [i for i in kept if i != index]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for i in kept:
        table.add_column(head[i], no_wrap=True, overflow="fold" if i == 0 else "ellipsis")
    for line in lines:
        table.add_row(*(line[i] for i in kept))
    return table


def _cells(row: RunRow, spaces: list[str]) -> list[str]:
    distances = [nearest(row, space) for space in spaces]
    return [
        *(escape(text) for text in (row.run, row.recipe, row.data)),
        f"{row.epochs}/{row.of}",
        row.state,
        *("-" if value is None else short(value) for value in (row.loss, *distances)),
        row.date.partition("T")[0],
    ]
