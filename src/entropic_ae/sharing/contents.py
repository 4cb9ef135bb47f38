"""The pushed files of a run folder, some of them rewritten without the paths of this machine."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError, unknown_name
from entropic_ae.sharing.card import model_card
from entropic_ae.sharing.names import CARD, EXTRAS, density_files, sample_files, shareable, without_path
from entropic_ae.storage.run_folder import (
    INFO_FILE,
    LOG,
    METRICS_FILE,
    PREFIX,
    REPORT,
    TRANSPORT,
    WEIGHTS,
    RunFolder,
)
from entropic_ae.storage.run_info import RunInfo
from entropic_ae.storage.tensors import read_tensors

__all__ = ["contents"]

_ABSOLUTE = re.compile(r"entropic-ae [^<\n]*?[\s'\"](?:[/~]|[A-Za-z]:[/\\])")  # a command on an absolute path


def contents(folder: Path, repo: str, license: str | None, include: Sequence[str]) -> dict[str, str | bytes]:
    """Return the files to push by their names in the repository: a path, or rewritten content."""
    for extra in include:
        if extra not in EXTRAS:
            raise unknown_name("file to include", extra, EXTRAS)
    for needed in (INFO_FILE, WEIGHTS, *include):
        if not (folder / needed).is_file():
            raise InputError(f"{folder} cannot be pushed: it has no {needed}; create it first.")
    run = RunFolder(folder)
    info, weights = run.read_info(), run.weights_sha256()
    names = [WEIGHTS, LOG, *sample_files(), *(extra for extra in include if extra != REPORT)]
    if run.has_transport():
        names.append(TRANSPORT)
    names += [  # without those of other weights, from before a resume
        file for file in density_files() if read_tensors(folder / file)[1].get("weights") == weights
    ]
    files: dict[str, str | bytes] = {
        name: str(_inside(folder, name)) for name in names if (folder / name).is_file()
    }
    metrics = _metrics(run, weights)
    shared = shareable(info)
    pictures = [name for name in files if name.endswith(".png")]
    files[INFO_FILE] = _json(shared)
    if metrics:
        files[METRICS_FILE] = _json(metrics)
    if REPORT in include:
        files[REPORT] = _page(folder, info, shared, repo)
    card = model_card(
        shared,
        metrics,
        repo,
        log=run.read_log(),
        transported=TRANSPORT in files,
        pictures=pictures,
        license=license,
    )
    files[CARD] = card.encode()
    return files


def _metrics(run: RunFolder, weights: str) -> dict[str, dict[str, Any]]:
    """Return the results of these weights, under names without paths."""
    _inside(run.path, METRICS_FILE)
    found = {}
    for name, result in run.read_metrics(weights).items():
        features = without_path(result["features"])
        found[features + name.removeprefix(result["features"])] = {**result, "features": features}
    return found


def _page(folder: Path, info: RunInfo, shared: RunInfo, repo: str) -> bytes:
    """Return the report, whose commands name the run and its data as they are on the Hub."""
    run = {folder.resolve().name: f"{PREFIX}{repo}"}
    data = {Path(info.source).name: shared.source}

    def renamed(command: re.Match[str]) -> str:
        words = shlex.split(html.unescape(command[1]))
        verb = 1 + 2 * words.count("--import")
        trains = words[verb] == "train"
        places = {verb + 2: data} if trains else {verb + 1: run}
        places |= {place: run for place, word in enumerate(words, 1) if word == "--out"}
        for place, names in places.items():
            words[place] = names.get(Path(words[place]).name, words[place])
        return f"<code>{html.escape(shlex.join(words))}</code>"

    page = re.sub(
        r"<code>(entropic-ae [^<]+)</code>", renamed, _inside(folder, REPORT).read_text(encoding="utf-8")
    )
    if _ABSOLUTE.search(html.unescape(page)):  # the report was written before the folder was moved
        raise InputError(
            f"{folder / REPORT} names folders of this machine; write it again with entropic-ae report, or leave "
            "it out."
        )
    return page.encode()


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file; InputError for a link out of the folder, whose target would be published."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path} is a link to a place outside of the run folder; put the file itself there.")
    return path


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
