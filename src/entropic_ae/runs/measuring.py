"""Measure a run and keep the results in its folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropic_ae import evaluation
from entropic_ae.data import count_copies
from entropic_ae.densities import DENSITIES
from entropic_ae.distributed import is_first, sharers
from entropic_ae.features import load_features

if TYPE_CHECKING:
    from entropic_ae.runs.run import Run

__all__ = ["measure"]


def measure(
    run: Run,
    *,
    features: str | None,
    n: int,
    seed: int,
    split: str,
    densities: Sequence[str] | None,
    weights: str | Path | None,
    samples_only: bool,
    compile: bool,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Measure a run: the implementation of ``Run.evaluate``, with the same arguments, results and errors."""
    evaluation.check_split(split)
    evaluation.check_number(n)
    densities = tuple(run.system.recipe.densities) if densities is None else densities
    for density in densities:
        DENSITIES.find(density)
    if run.origin is None:
        run.files.read_metrics(run.weights_sha256())  # raises for a damaged file before anything is computed
    name = features or str(run.system.preset.features)
    data = run.load_data(None)  # a limit would change the classifier and the floor
    copies = count_copies(data)
    # data of the same name may exist here; and copies used to be spread over the splits
    if run.origin is not None or copies.repeated:
        run.check_trained_on(data)
    if copies.repeated and is_first(sharers()):
        warnings.warn(f"{copies}.", stacklevel=3)
    device = str(next(run.model.parameters()).device)
    tell(f"the feature space {name}" + " (trained the first time)" * (name == "classifier"))
    space = load_features(name, data, weights=weights, device=device)
    with run.model.compiled() if compile else nullcontext():
        fitted = {}
        for density in densities:
            tell(f"the density {density}")
            fitted[density] = run.density(density)
        result = evaluation.evaluate(
            run.model,
            data,
            fitted,
            space,
            n=n,
            seed=seed,
            split=split,
            batch_size=run.system.preset.training.batch_size,
            samples_only=samples_only,
            tell=tell,
        )
    if copies.repeated:
        result["copies"] = copies._asdict()
    if space.accuracy is not None:
        result["classifier_accuracy"] = space.accuracy
    result["weights_sha256"] = run.weights_sha256()
    if samples_only or run.origin is not None or not is_first(sharers()):
        return result
    if not run.is_current("the metrics are not saved"):
        return result
    key = result["features"] + ("" if split == "test" else f" ({split})")
    run.files.add_result(key, result)
    return result
