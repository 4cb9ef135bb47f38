"""The content of the page for one run: texts, tables, charts and pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from entropic_ae.report.charts import Chart
from entropic_ae.report.curves import curves, terms, words
from entropic_ae.report.diagnosis import Diagnosis, diagnosis
from entropic_ae.report.folder import Contents, Picture
from entropic_ae.report.measures import Nearest, Table, labels, learnt, nearest, rebuilt, similarity
from entropic_ae.report.plane import code_map
from entropic_ae.report.settings import Group, groups
from entropic_ae.report.tables import (
    distance_rows,
    few_text,
    fixed,
    frechet_text,
    multiple_rows,
    withheld_text,
)
from entropic_ae.storage.log import best_epoch
from entropic_ae.storage.run_folder import (
    FLOOR,
    INTERPOLATIONS,
    LOG,
    METRICS_FILE,
    REAL,
    RECONSTRUCTIONS,
    is_shared,
)
from entropic_ae.verdict import Verdict, entropy_of, run_command, train_command, verdict

__all__ = [
    "Drawn",
    "Missing",
    "Multiples",
    "RunView",
    "Space",
    "Tile",
    "drawn_real",
    "drawn_samples",
    "judged",
    "view",
]


@dataclass(frozen=True)
class Missing:
    """A sentence on something missing, and the command that creates it, if there is one."""

    sentence: str
    command: str | None = None


@dataclass(frozen=True)
class Drawn:
    """A picture of the folder, or the command that draws it if it is missing."""

    title: str
    text: str
    picture: Picture | None
    command: str


@dataclass(frozen=True)
class Tile:
    """A key figure, in large type."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Space:
    """Distances in one feature space.

    A row has name, Frechet distance, its multiple of the floor, kernel distance, images and spread.
    """

    name: str
    intro: str
    caution: str | None
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class Multiples:
    """Multiples of the floor in several feature spaces: rows of a name, their mean, and each."""

    spaces: list[str]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class RunView:
    """One run, ready for the page."""

    anchor: str
    name: str
    title: str
    about: str
    facts: list[tuple[str, str]]
    settings: list[Group]
    command: str
    verdict: Verdict | None
    tiles: list[Tile]
    unmeasured: Missing | None
    untested: Missing | None
    curves: list[Chart]
    unlogged: Missing | None
    best: str
    real: Drawn | None
    samples: list[Drawn]
    pictures: list[Drawn]
    cautions: list[str]
    multiples: Multiples | None
    spaces: list[Space]
    measures: list[Table]
    similarity: Table | None
    nearest: list[Nearest]
    unseen: Missing | None
    codes: list[tuple[str, str]]
    code_map: tuple[Chart, str] | None
    collapse: str
    collapsed: bool
    diagnosis: Diagnosis


def view(run: Contents, anchor: str, name: str) -> RunView:
    """Prepare a run for the page.

    Arguments:
        run: the content of its folder.
        anchor: its anchor on the page.
        name: its name on the page.
    """
    result = run.result
    found = diagnosis((result or {}).get("diagnostics", {}))
    said, near = judged(run), nearest(run)
    return RunView(
        anchor=anchor,
        name=name,
        title=run.info.title,
        about=_about(run),
        facts=_facts(run),
        settings=groups(run.info),
        command=train_command(run.info),
        verdict=said,
        tiles=_tiles(run, result) if result else [],
        unmeasured=_unmeasured(run),
        untested=_untested(run, result) if result else None,
        curves=curves(run.log) if run.log else [],
        unlogged=_unlogged(run),
        best=_best(run),
        real=drawn_real(run),
        samples=[drawn_samples(run, density) for density in run.densities],
        pictures=_pictures(run),
        cautions=_cautions(said),
        multiples=_multiples(run),
        spaces=[_space(name, one) for name, one in run.metrics.items()],
        measures=[one for one in (rebuilt(result), labels(result), learnt(result)) if one] if result else [],
        similarity=similarity(result) if result else None,
        nearest=near,
        unseen=_unseen(run) if result and not near else None,
        codes=_codes(result) if result else [],
        code_map=None if run.code_map is None else code_map(run.code_map),
        collapse=_collapse(result) if result else "",
        collapsed=bool((result or {}).get("collapse", {}).get("collapsed")),
        diagnosis=found,
    )


def drawn_samples(run: Contents, density: str) -> Drawn:
    """Return the samples of a density, or how to draw them."""
    text = f"images that {run.info.recipe} decodes from codes drawn from the density {density}"
    command = run_command("sample", run.path, run.info, "--density", density)
    return Drawn(density, text, run.samples(density), command)


def drawn_real(run: Contents) -> Drawn | None:
    """Return the held-out images, or how to draw them; None for a run on the Hub without them."""
    picture = run.pictures.get(REAL)
    if picture is None and is_shared(run.path):
        return None
    command = run_command("evaluate", run.path, run.info)
    return Drawn("held-out images", "real images, which were not trained on", picture, command)


def judged(run: Contents) -> Verdict | None:
    """Return the verdict, without a command that only opens this page."""
    found = verdict(run.info, run.log, run.metrics, run.path, transported=run.transported)
    if found is not None and found.command == run_command("report", run.path, run.info):
        return replace(found, command=None)
    return found


def _cautions(said: Verdict | None) -> list[str]:
    """Return what keeps all numbers of a run from being taken at their word."""
    findings = said.findings if said is not None else ()
    return [
        f"training was {one.sentence.removesuffix('.')}. Entropies, distances and images say little yet."
        for one in findings
        if one.subject == "training" and one.grade == "poor"
    ]


def _about(run: Contents) -> str:
    if run.info.summary:
        return run.info.summary
    expanded = run.info.expanded
    minimised = [words(name) for name in terms(run.log)] or [_spaced(name) for name in expanded.terms]
    return f"autoencoder with a {_spaced(expanded.bottleneck)} bottleneck; minimises {' + '.join(minimised)}"


def _spaced(name: str) -> str:
    """Return the name of a class as words."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).split()
    return " ".join(word.lower() if word.isalpha() else word for word in spaced)


def _epochs(run: Contents) -> str:
    """Return the number of epochs, with the reason if there are fewer than were asked for."""
    done, asked = len(run.log.get("epoch", ())), run.settings.get("epochs")
    if not done or done == asked:
        return str(asked)
    stopped = run.info.stopped
    return f"{done} of {asked}" + ("" if stopped is None else f": stopped, as {stopped['reason']}")


def _facts(run: Contents) -> list[tuple[str, str]]:
    """Return what there is to know first; the settings have the rest."""
    info, settings = run.info, run.settings
    shape = " x ".join(map(str, info.shape))
    images = f"{info.training_images:,} of " if info.training_images else ""
    size = [f"{key.replace('_', ' ')} {settings[key]}" for key in ("width", "latent_dim") if key in settings]
    facts = {
        "recipe": info.recipe,
        "data": info.data,
        "training images": f"{images}{shape} (channels, height, width)",
        "epochs": _epochs(run),
        "size": ", ".join(size),
        "seed": str(info.seed),
    }
    return [(label, value) for label, value in facts.items() if value]


def _tiles(run: Contents, result: dict[str, Any]) -> list[Tile]:
    tiles = [
        Tile("Reconstruction error", fixed(result["reconstruction_error"], 3), "squared, summed over an image")
    ]
    if "divergence" in (found := result.get("diagnostics", {})):
        tiles.append(Tile("Codes from their prior", f"{fixed(found['divergence'])} nats", found["prior"]))
    rows = result["distances"]
    if density := next((name for name in run.densities if name in rows), None):
        floor = "" if FLOOR not in rows or "withheld" in result else f"; real {frechet_text(result, FLOOR)}"
        value = frechet_text(result, density)
        tiles.append(Tile(f"Frechet distance, {density}", value, f"{result['features']} features{floor}"))
    if collapse := result.get("collapse"):
        tiles.append(Tile("Active codes", f"{collapse['active_codes']} of {collapse['latent_dim']}"))
    return tiles


def _unmeasured(run: Contents) -> Missing | None:
    command = run_command("evaluate", run.path, run.info)
    if run.outdated:
        return Missing(
            f"{METRICS_FILE} holds results of earlier weights, from before a resume. To measure the current ones:",
            command,
        )
    return None if run.metrics else Missing("The run has not been measured yet. To measure it:", command)


def _untested(run: Contents, result: dict[str, Any]) -> Missing | None:
    if "diagnostics" not in result:
        sentence = "The results come from a version without diagnostics. To add them:"
        return Missing(sentence, run_command("evaluate", run.path, run.info))
    if "verdict" not in result["diagnostics"]:
        return Missing("There were too few test images to compare the codes with their prior.")
    return None


def _unseen(run: Contents) -> Missing | None:
    """Return how to find the nearest training images; None for a run on the Hub, where they are not published."""
    if is_shared(run.path):
        return None
    command = run_command("evaluate", run.path, run.info)
    return Missing("The nearest training images of samples are not in the run folder. To find them:", command)


def _unlogged(run: Contents) -> Missing | None:
    if run.log:
        return None
    command = train_command(run.info, "--out", str(run.path), "--resume")
    return Missing(f"There is no {LOG}: training has not finished its first epoch. Resume it:", command)


def _best(run: Contents) -> str:
    best = best_epoch(run.log)
    if best is None:
        return ""
    return f"The weights are those of epoch {best}, of the lowest validation loss; a thin line marks it."


def _pictures(run: Contents) -> list[Drawn]:
    shown = {
        RECONSTRUCTIONS: ("reconstruct", "rows of held-out images, each above the row of their reconstructions"),
        INTERPOLATIONS: (
            "interpolate",
            "rows of images interpolated from one held-out image to another",
        ),
    }
    return [
        Drawn(Path(file).stem, text, run.pictures.get(file), run_command(command, run.path, run.info))
        for file, (command, text) in shown.items()
    ]


def _space(name: str, result: dict[str, Any]) -> Space:
    spread = result.get("collapse", {}).get("spread", {})
    rows: list[tuple[str, ...]] = [(*row, fixed(spread.get(row[0]))) for row in distance_rows(result)]
    intro = (
        f"To {result['real_images']:,} {result.get('split', 'test')} images, in {result['features']} features; "
        f"{result.get('number', result['n']):,} images of each kind, seed {result['seed']}."
    )
    if "classifier_accuracy" in result:
        intro += (
            f" The classifier's accuracy is {100 * result['classifier_accuracy']:.1f} % on the validation images."
        )
    cautions = filter(None, (few_text(result), withheld_text(result)))
    return Space(name, intro, "; ".join(cautions) or None, rows)


def _multiples(run: Contents) -> Multiples | None:
    """Return the multiples of the floor; None unless several spaces were measured with the same images."""
    split = (run.result or {}).get("split", "test")
    spaces = {name: one for name, one in run.metrics.items() if one.get("split", "test") == split}
    if len(spaces) < 2 or any(FLOOR not in one["distances"] for one in spaces.values()):
        return None
    return Multiples([*spaces], multiple_rows([*spaces.values()]))


def _codes(result: dict[str, Any]) -> list[tuple[str, str]]:
    codes = result["codes"]
    facts = [
        ("reconstruction error (squared, summed over an image)", fixed(result["reconstruction_error"], 3)),
        (entropy_of(codes), f"{fixed(codes['entropy'])} nats"),
    ]
    if "states" in codes:
        facts.append(("codes that differ", f"{codes['distinct']:,}"))
    elif codes["n"] > codes.get("distinct", codes["n"]):
        facts.append(("codes that equal another, and count once", f"{codes['n'] - codes['distinct']:,}"))
    if codes["maximum"] is not None:
        facts += [
            ("its maximum under the bottleneck's constraints", f"{fixed(codes['maximum'])} nats"),
            ("gap", f"{fixed(codes['gap'])} nats"),
        ]
    if codes.get("corrected_gap") is not None:
        facts.append(("gap to the estimate for as many prior samples", f"{fixed(codes['corrected_gap'])} nats"))
    return facts


def _collapse(result: dict[str, Any]) -> str:
    if "collapse" not in result:
        return ""
    collapse = result["collapse"]
    active = f"{collapse['active_codes']} of {collapse['latent_dim']} dimensions of the code are active."
    if not collapse["collapsed"]:
        return f"Nothing has collapsed: {active}"
    names = ", ".join(
        f"{name} (spread {fixed(collapse['spread'][name])})" if name in collapse["spread"] else name
        for name in collapse["collapsed"]
    )
    return f"Collapsed: {names}. {active}"
