"""The page: one or several run folders as a self-contained HTML file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from entropic_ae.errors import InputError
from entropic_ae.report.comparison import compare
from entropic_ae.report.diagnosis import LEVEL
from entropic_ae.report.folder import Contents, read_folder
from entropic_ae.report.paths import names, public
from entropic_ae.report.view import view
from entropic_ae.storage.files import atomic
from entropic_ae.storage.run_folder import FLOOR, REPORT, is_shared, outside_file

__all__ = ["write_report"]


def write_report(folders: str | Path | Iterable[str | Path], out: str | Path | None = None) -> Path:
    """Write a report on one run, or on several side by side, as a single self-contained HTML file.

    The report shows real images beside samples, reconstructions and interpolations, the verdict, the metrics of
    ``evaluate`` with their cautions, the curves of the log, and all settings with the command to re-run them. For
    missing results it gives the command that produces them. A folder below the current one is named relative to
    it, any other by its name alone: the page has no path of this machine. Only files are read, no model and no
    data. The same folders give the same bytes.

    Arguments:
        folders: one or several run folders; or ``hf:owner/name`` on the Hub, or ``example:mnist``.
        out: path of the page, FILE.html; an existing file is replaced. The default is ``report.html`` in the run
            folder; in the current folder for several runs; there as ``NAME-report.html`` for a read-only run.

    Returns: the path written.

    Raises: InputError for a folder without a run, a damaged file, or an ``out`` that is not an HTML file.

    >>> import tempfile
    >>> from entropic_ae import train
    >>> small = {"width": 2}
    >>> run = train("eae", "digits", epochs=1, set=small, out=tempfile.mkdtemp(), device="cpu", progress=False)
    >>> write_report(run.folder).name
    'report.html'
    """
    paths = [Path(folders)] if isinstance(folders, str | os.PathLike) else [Path(folder) for folder in folders]
    if not paths:
        raise InputError("a report needs at least one run folder, got none.")
    path = _default(paths) if out is None else Path(out)
    if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
        raise InputError(f"a report is written to FILE.html, got {path}; give another --out.")
    page = _render([public(_read(folder)) for folder in paths], names(paths))
    with atomic(path) as temporary:
        temporary.write_bytes(page.encode())  # as bytes: text would have other line ends on Windows
    return path


def _default(paths: Sequence[Path]) -> Path:
    """Return the place of the page: the run folder, or the current one if there are several or it is read-only."""
    if len(paths) > 1:
        return Path(REPORT)
    return Path(outside_file(paths[0].as_posix(), REPORT)) if is_shared(paths[0]) else paths[0] / REPORT


def _read(path: Path) -> Contents:
    if not is_shared(path):
        return read_folder(path)
    from entropic_ae.sharing import fetch  # lazily: it imports PyTorch, which other reports do not need

    # the commands on the page use the run's name on the Hub
    return replace(read_folder(fetch(path.as_posix())), path=path)


def _render(runs: Sequence[Contents], named: Sequence[str]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("entropic_ae.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    anchors = [f"run-{i}" for i in range(1, len(runs) + 1)]
    views = [view(*one) for one in zip(runs, anchors, named, strict=True)]
    comparison = compare(runs, anchors, named) if len(runs) > 1 else None
    template = environment.get_template("page.html")
    return template.render(views=views, comparison=comparison, floor=FLOOR, level=LEVEL)
