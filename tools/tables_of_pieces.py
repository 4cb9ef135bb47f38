"""Tables of ``docs/`` of what is registered: terms, bottlenecks, densities, their samplers, data sets."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import torch
from benchmarks.tables import markdown

from entropic_ae.bottlenecks import BOTTLENECKS
from entropic_ae.data import DATASETS
from entropic_ae.data.registered import RegisteredData
from entropic_ae.densities import DENSITIES, Density
from entropic_ae.priors import as_prior
from entropic_ae.terms import TERMS

_DIM = 5
_SMALL: dict[str, dict[str, Any]] = {"second-stage": {"hidden": 2, "depth": 1, "epochs": 1}}  # which trains


def first_sentence(piece: object) -> str:
    """Return the first sentence of a docstring, without its full stop.

    >>> first_sentence(int.bit_length)
    'Number of bits necessary to represent self in binary'
    """
    paragraph = " ".join((inspect.getdoc(piece) or "").partition("\n\n")[0].split())
    return re.split(r"\.(?: |$)", paragraph.replace("``", "`"))[0]


def terms(_: Path) -> str:
    """Return a list of the terms, since formulas have the bars that end cells of a table."""
    lines = []
    for term in TERMS.values():
        needs = "None" not in inspect.signature(term.__call__).parameters["model"].annotation
        lines.append(f"- `{term.__name__}`: {first_sentence(term)}." + " It needs a model." * needs)
    return "\n".join(lines)


def bottlenecks(_: Path) -> str:
    """Return a table of the bottlenecks that bound the entropy of a density; docs/quantised.md has the others."""
    rows = [
        [f"`{name}`", first_sentence(kind), as_prior(kind(_DIM).prior()).title]
        for name, kind in BOTTLENECKS.items()
        if kind.bounds_entropy and not kind.is_discrete
    ]
    return markdown(["`bottleneck`", "constraint", "prior"], rows)


def densities(_: Path) -> str:
    """Return a table of the densities."""
    return markdown(
        ["density", "what it is"], [[f"`{name}`", first_sentence(kind)] for name, kind in DENSITIES.items()]
    )


def samplers(_: Path) -> str:
    """Return what an exported sampler makes of noise, a row each prior and density."""
    priors = [as_prior(kind(_DIM).prior()) for kind in BOTTLENECKS.values()]
    columns = {prior.title: prior.columns for prior in priors}
    rows = [[f"`prior`, {title}", "D", made] for title, made in columns.items()]
    codes = torch.randn(40, _DIM, generator=torch.Generator().manual_seed(0))
    for name, density in DENSITIES.items():
        if density.needs_codes and density.sampler is not Density.sampler:
            fitted = density.fit(codes, BOTTLENECKS["identity"](_DIM).prior(), **_SMALL.get(name, {}))
            sampler = fitted.sampler()
            times, more = divmod(sampler.noise, _DIM)
            noise = f"{times} D" if times > 1 else "D"
            rows.append([f"`{name}`", f"{noise} + {more}" if more else noise, sampler.columns])
    return markdown(["density", "M", "what the graph makes of the noise"], rows)


def data_sets(_: Path) -> str:
    """Return a table of the registered data sets."""
    rows = [
        [f"`{name}`", f"{data.size} x {data.size}", "grey" if data.channels == 1 else "colour", _source(data)]
        for name, data in DATASETS.items()
        if isinstance(data, RegisteredData)
    ]
    return markdown(["data set", "size", "images", "from"], rows)


def _source(data: RegisteredData) -> str:
    return f"[{data.hub}](https://huggingface.co/datasets/{data.hub})" if data.hub else "scikit-learn"
