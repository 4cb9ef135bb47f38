"""Put what ``results/`` holds into the README and the pages of ``docs/``, between the marks that name it.

``python tools/update_docs.py`` rewrites them; with ``--check`` it only says whether it would. The marks are
``<!-- table: FOLDER -->`` (the whole table of a folder), ``<!-- brief table: FOLDER -->``,
``<!-- tries: FOLDER -->`` (what was tried in tuning), ``<!-- choice: FOLDER -->`` (a few systems of two tables),
``<!-- factors: FOLDER -->`` (tries of the entropy's weight), ``<!-- parts: FOLDER -->`` (what parts of the
divergence cost in images), ``<!-- study: FOLDER -->``, ``<!-- caption: FILE -->`` (of a figure); of the benchmarks
``<!-- speed: FILE -->``, ``<!-- pace: FILE -->`` (in a sentence), ``<!-- memory: FILE -->``,
``<!-- likelihood: FILE -->`` (of the densities), ``<!-- precisions: FOLDER -->`` (of cells in bf16) and
``<!-- gpu: FILE -->``; of pythae ``<!-- versions: FILE -->``, ``<!-- agreement: FILE -->`` and
``<!-- deviations: FILE -->``; of ``tools/conformance.py`` ``<!-- checks: FILE -->`` and ``<!-- parity: FILE -->``;
of ``tools/fuzz.py`` ``<!-- damages: FILE -->``; and ``<!-- supported: FOLDER -->``, the versions that were tested.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError
from entropic_ae.experiments.studies import render_study
from entropic_ae.experiments.sweep import read_cells
from entropic_ae.experiments.table1 import mean_text, render
from entropic_ae.experiments.tuning import render_tries, score
from entropic_ae.recipes import PRESETS, RECIPES, configure
from entropic_ae.storage.files import read_json

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def peer_versions(path: Path) -> str:
    """Return the versions that were compared."""
    found = read_json(path)["versions"]
    return ", ".join(f"{name} {found[name]}" for name in ("pythae", "entropic-ae", "torch", "python")) + "."


def peer_rows(path: Path, *, name: str) -> str:
    """Return what was found as a Markdown table."""
    head, *rows = read_json(path)[name]
    return markdown(head, rows)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def speed(path: Path) -> str:
    """Return a benchmark's times: ours, and how many times as long the others took."""
    found = read_json(path)
    rows = found["rows"]
    described = list(dict.fromkeys(name for row in rows for name in row if name not in PAIRED))
    others = list(dict.fromkeys(name for row in rows for name in row["ratios"]))
    head = [*described, "entropic-ae", *(f"{name}, times as long" for name in others)]
    lines = [
        [
            *(plain(row.get(name)) for name in described),
            duration(row["seconds"]["entropic-ae"]),
            *(ratio(row["ratios"][name]) if name in row["ratios"] else "-" for name in others),
        ]
        for row in rows
    ]
    most, fewest = (choose(row["rounds"] for row in rows) for choose in (max, min))
    rounds = f"{most}" if fewest == most else f"{fewest} to {most}"
    return (
        f"{markdown(head, lines)}\n\nMedians of {rounds} rounds, in each of which all had a turn, and "
        f"the ratios' quartiles. {where(found)}"
    )


def pace(path: Path) -> str:
    """Return in a sentence how many times as long as ours each other contender of a benchmark took."""
    found = read_json(path)
    parts = []
    for other in dict.fromkeys(name for row in found["rows"] for name in row["ratios"]):
        medians = {
            row["system"]: row["ratios"][other]["median"] for row in found["rows"] if other in row["ratios"]
        }
        least, most = (choose(medians, key=medians.__getitem__) for choose in (min, max))
        ends = " to ".join(f"{medians[system]:.2f} (`{system}`)" for system in (least, most))
        parts.append(f"{other} {ends}, {len(medians)} systems")
    return f"How many times as long an epoch took as with this library: {'; '.join(parts)}. {where(found)}"


def memory(path: Path) -> str:
    """Return the benchmark of memory: a row a task."""
    found = read_json(path)
    lines = [
        [
            row["task"],
            plain(row.get("images") or row.get("codes")),
            plain(row.get("dimensions")),
            mebibytes(row.get("pixels_mib")),
            mebibytes(row.get("limit_mib")),
            mebibytes(row["peak_mib"]),
            mebibytes(row["resident_mib"]),
            mebibytes(row["at_start_mib"]),
            duration(row["seconds"]),
        ]
        for row in found["rows"]
    ]
    head = [
        "task",
        "images or codes",
        "dimensions",
        "pixels",
        "limit",
        "peak",
        "with mapped files",
        "at start",
        "time",
    ]
    return f"{markdown(head, lines)}\n\n{where(found)}"


def likelihood(path: Path) -> str:
    """Return the mean log likelihood of held-out codes under the mixtures of a benchmark, in nats."""
    rows = read_json(path)["rows"]
    names = list(rows[0]["log_likelihood"])
    lines = [
        [plain(row["codes"]), plain(row["dimensions"]), *(f"{row['log_likelihood'][name]:.3f}" for name in names)]
        for row in rows
    ]
    return markdown(["codes", "dimensions", *names], lines)


def gpu(path: Path) -> str:
    """Return the benchmark of a GPU: speeds and shares of its rate, waits, where time goes, a row of the table."""
    found = read_json(path)
    card, *rows = found["rows"]
    timed = [row for row in rows if "system" in row]
    lines = [
        [
            f"`{row['system']}`",
            row["precision"],
            name,
            f"{speed:,.0f}",
            f"{100 * row['share_of_matrix_rate'][name]:.1f} %"
            if row["precision"] == "bf16" and not name.startswith("pythae")  # of which it is the rate
            else "-",
            ratio(row["ratios"][name]) if name in row["ratios"] else "-",
        ]
        for row in timed
        for name, speed in row["images_per_second"].items()
    ]
    head = ["system", "precision", "what", "images/s", "share of the matrix rate", "times as long as entropic-ae"]
    parts = [
        f"{card['device']}: {card['bf16_tflops']:.0f} TFLOP/s in bf16 products of {card['matrix']:,} x "
        f"{card['matrix']:,}. Width {timed[0]['width']}; medians of {timed[0]['rounds']} rounds, in each of which "
        "all had a turn, and the ratios' quartiles.",
        markdown(head, lines),
    ]
    for row in rows:
        if "waits" in row:
            shown = ((name, waits) for name, waits in row["waits"].items() if waits is not None)
            waiting = [[f"`{name}`", f"{waits['per_step']:.2f}"] for name, waits in shown]
            parts += [markdown(["system", "waits for the GPU in a step"], waiting)] if waiting else []
        elif "profile" in row:
            shares = {**row["shares"], "no kernel": max(0.0, 1 - sum(row["shares"].values()))}
            title = f"`{row['profile']}`, {'compiled' if row['compiled'] else 'not compiled'}: where its time goes"
            parts.append(markdown([title, "share"], [[kind, f"{100 * s:.0f} %"] for kind, s in shares.items()]))
        elif "mixture" in row:
            title = f"mixture of {row['mixture']}, {row['codes']:,} codes of {row['dimensions']}"
            fits = [
                [name, duration(seconds), f"{row['log_likelihood'][name]:.4f}"]
                for name, seconds in row["seconds"].items()
            ]
            parts.append(markdown([title, "time", "log likelihood of held-out codes"], fits))
        elif "row" in row:
            validated = f"{row['validation_images']:,} images validated each epoch"
            steps = duration(row["seconds_of_steps"])
            parts.append(f"{row['row']}; {validated}: {duration(row['seconds'])}, of which its steps {steps}.")
    return "\n\n".join([*parts, where(found)])


def where(found: Mapping[str, Any]) -> str:
    """Return where a benchmark ran."""
    names = ("entropic-ae", "torch", "python", "pythae", "torch of pythae")
    versions = ", ".join(f"{name} {found['versions'][name]}" for name in names if name in found["versions"])
    machine = found["machine"]
    gpu = f", {machine['gpu']}" if "gpu" in machine else ""
    return f"{machine['processor']}, {machine['cores']} cores, {found['threads']} threads{gpu}; {versions}."


def plain(value: Any) -> str:
    """Return what a cell says of a value."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def ratio(found: Mapping[str, Any]) -> str:
    """Return a ratio with its quartiles."""
    low, high = found["quartiles"]
    return f"{found['median']:.2f} ({low:.2f} to {high:.2f})"


def duration(seconds: float) -> str:
    """Return a time to three digits."""
    if seconds >= 600:
        return f"{seconds / 60:.3g} min"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def mebibytes(value: float | None) -> str:
    """Return an amount of memory."""
    return "-" if value is None else f"{value:,.0f} MiB"


def choice(path: Path) -> str:
    """Return two columns of some systems of CIFAR-10's and MNIST's tables: means over seeds."""
    head, columns = [""], []
    for data, title in SETS.items():
        measured = [cell for cell in read_cells(path / data) if "metrics" in cell]
        for density in ("prior", "mixture"):
            head.append(f"{title}, {density}")
            found: dict[str, list[float]] = {}
            for cell in measured:
                found.setdefault(cell["cell"]["recipe"], []).append(
                    cell["metrics"]["distances"][density]["frechet"]
                )
            columns.append({recipe: mean_text(values) for recipe, values in found.items()})
    return markdown(head, [[f"`{recipe}`", *(column[recipe] for column in columns)] for recipe in CHOSEN])


def factors(path: Path) -> str:
    """Return what eae's tries of the entropy's weight gave, by the factor on the data set's own."""
    rows: dict[float, dict[str, float]] = {}
    for data in SETS:
        usual = float(configure(RECIPES["eae"], PRESETS[data]).settings()["entropy"])
        for cell in read_cells(path / data):
            own = cell["cell"]["own"]
            if cell["cell"]["recipe"] == "eae" and float(own["learning_rate"]) == 1e-3:
                factor = float(own.get("entropy", usual)) / usual  # of a weight that was rounded
                rows.setdefault(min(FACTORS, key=lambda one: abs(one - factor)), {})[data] = score(cell)
    lines = [[f"{factor:g}", *(f"{rows[factor][data]:.2f}" for data in SETS)] for factor in sorted(rows)]
    return markdown(["factor on the default weight", *SETS.values()], lines)


def parts(path: Path) -> str:
    """Return what marginals, correlation and joint structure cost in images, in that order: means over seeds."""
    order = ("prior", "marginals", "copula", "mixture")
    rows: dict[str, list[list[float]]] = {}
    for cell in read_cells(path):
        distances = [cell["metrics"]["distances"][density]["frechet"] for density in order]
        steps = [one - other for one, other in pairwise(distances)]
        rows.setdefault(cell["cell"]["recipe"], []).append([distances[0], *steps, distances[-1]])
    lines = [[f"`{recipe}`", *map(mean_text, zip(*found, strict=True))] for recipe, found in rows.items()]
    return markdown(["", "prior", "marginals", "correlation", "joint structure", "mixture"], lines)


def precisions(path: Path, whole: Path | None = None) -> str:
    """Return what systems come to in bf16 beside the same cells of the data set's table: means over seeds."""
    measures: dict[str, Callable[[Mapping[str, Any]], float]] = {
        "reconstruction error": lambda metrics: metrics["reconstruction_error"],
        "entropy of the codes": lambda metrics: metrics["codes"]["entropy"],
        "prior": lambda metrics: metrics["distances"]["prior"]["frechet"],
        "mixture": lambda metrics: metrics["distances"]["mixture"]["frechet"],
    }
    half = read_cells(path)
    one = half[0]
    table = read_cells(whole or ROOT / "results" / "table1" / one["cell"]["data"])
    full = [cell for cell in table if any(_but_for_precision(cell, other) for other in half)]
    cells = {"32": full, "bf16": half}
    if len(full) != len(half):
        raise InputError(f"{path} has {len(half)} cells, of which the table has {len(full)}; measure them.")
    lines = []
    for recipe in dict.fromkeys(cell["cell"]["recipe"] for cell in half):
        for precision, measured in cells.items():
            mine = [cell["metrics"] for cell in measured if cell["cell"]["recipe"] == recipe]
            values = (mean_text([of(metrics) for metrics in mine]) for of in measures.values())
            lines.append([f"`{recipe}`", precision, *values])
    return (
        f"{markdown(['', 'precision', *measures], lines)}\n\n{one['data']}, {one['training_images']:,} training "
        f"images, {one['expanded']['settings']['epochs']} epochs. Frechet distances in "
        f"{one['metrics']['features']} features. Mean ± standard deviation over "
        f"{len({cell['cell']['seed'] for cell in half})} seeds. {one['machine']['processor']}, "
        f"{one['machine']['cores']} cores."
    )


def _but_for_precision(cell: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two cells are the same; a setting that came after one of them is not compared."""
    one, two = (found["expanded"]["settings"] for found in (cell, other))
    measured = ("recipe", "data", "seed", "limit", "n", "features", "split")
    return all(cell["cell"].get(name) == other["cell"].get(name) for name in measured) and all(
        one[name] == two[name] for name in one.keys() & two.keys()
    )


def checks(path: Path) -> str:
    """Return in a sentence what scikit-learn's checks of the estimator came to."""
    found = read_json(path)
    others = [
        f"{row['check']} {row['status']} ({row['reason']})" for row in found["checks"] if row["status"] != "passed"
    ]
    passed = f"{found['outcomes']['passed']} passed"
    library = f"scikit-learn {found['versions']['scikit-learn']}"
    return f"Of the {len(found['checks'])} checks of {library}, {'; '.join([passed, *others])}."


def parity(path: Path) -> str:
    """Return the largest differences of exported graphs from PyTorch: a row a system."""
    found = read_json(path)
    names = list(dict.fromkeys(name for row in found["rows"] for name in row["differences"]))
    lines = [
        [
            " ".join([f"`{row['recipe']}`", *(f"{name}={value}" for name, value in row["settings"].items())]),
            *(f"{row['differences'][name]:.1e}" if name in row["differences"] else "-" for name in names),
        ]
        for row in found["rows"]
    ]
    largest = max(difference for row in found["rows"] for difference in row["differences"].values())
    *others, last = found["batches"]
    libraries = ", ".join(f"{name} {found['versions'][name]}" for name in ("torch", "onnxruntime"))
    return (
        f"{markdown(['', *names], lines)}\n\nThe largest difference from PyTorch in images and codes, over "
        f"batches of {', '.join(map(str, others))} and {last}: {largest:.1e}. {libraries}."
    )


def damages(path: Path) -> str:
    """Return what became of damaged files: a row a kind of file."""
    found = read_json(path)
    rows = {
        subject: sum((Counter(outcomes) for outcomes in damage.values()), Counter())
        for subject, damage in found["by_subject"].items()
    }
    total = sum(rows.values(), Counter())
    head = ("refused", "told", "same", "as written", "traceback", "hang", "silent")
    lines = [[name, *(f"{row[outcome]:,}" for outcome in head)] for name, row in (*rows.items(), ("all", total))]
    return f"{markdown(['', *head], lines)}\n\n{sum(total.values()):,} damaged inputs."


def supported(folder: Path) -> str:
    """Return with which versions the tests ran: a row each of those that were recorded."""
    records = [(path.stem, read_json(path)) for path in sorted(folder.glob("*.json"), reverse=True)]
    names = list(
        dict.fromkeys(name for _, found in records for name in found["versions"] if name != "entropic-ae")
    )
    outcomes = list(dict.fromkeys(name for _, found in records for name in found["outcomes"]))
    lines = [[name, *(found["versions"].get(name, "-") for _, found in records)] for name in names] + [
        [f"tests {name}", *(f"{found['outcomes'][name]:,}" for _, found in records)] for name in outcomes
    ]
    return markdown(["", *(name for name, _ in records)], lines)


def caption(path: Path) -> str:
    """Return what was written beside a figure."""
    return path.read_text(encoding="utf-8").strip()


PAIRED = ("rounds", "seconds", "ratios", "log_likelihood")  # what a row holds beside what was timed
SETS = {"cifar10": "CIFAR-10", "mnist": "MNIST"}
FACTORS = (0.2, 1, 5, 25, 125)
CHOSEN = ("eae", "bn-ae", "wae", "vae", "rae")
KINDS = {
    "table": render,
    "brief table": partial(render, brief=True),
    "tries": render_tries,
    "choice": choice,
    "factors": factors,
    "parts": parts,
    "study": render_study,
    "caption": caption,
    "speed": speed,
    "pace": pace,
    "memory": memory,
    "likelihood": likelihood,
    "precisions": precisions,
    "checks": checks,
    "parity": parity,
    "damages": damages,
    "supported": supported,
    "gpu": gpu,
    "versions": peer_versions,
    "agreement": partial(peer_rows, name="agreement"),
    "deviations": partial(peer_rows, name="deviations"),
}
MARK = re.compile(rf"(<!-- ({'|'.join(KINDS)}): (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """Return the text with each marked table rendered from its folder."""
    return MARK.sub(lambda match: f"{match[1]}{KINDS[match[2]](ROOT / match[3])}\n{match[4]}", text)


if __name__ == "__main__":
    stale = []
    for page in PAGES:
        old = page.read_text(encoding="utf-8")
        new = with_tables(old)
        if new != old:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(new, encoding="utf-8")
    if "--check" in sys.argv and stale:
        sys.exit(f"{', '.join(stale)}: not what results/ says; run tools/update_docs.py.")
