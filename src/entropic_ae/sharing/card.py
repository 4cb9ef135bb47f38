"""The model card of a run: metadata that the Hub understands, then Markdown for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from entropic_ae.bottlenecks import BOTTLENECKS
from entropic_ae.data import DATASETS
from entropic_ae.densities import DENSITIES
from entropic_ae.recipes import NETWORKS, PRESETS, RECIPES
from entropic_ae.sharing.names import LIBRARY
from entropic_ae.storage.run_folder import FLOOR, PREFIX
from entropic_ae.storage.run_info import RunInfo
from entropic_ae.verdict import entropy_of, verdict

__all__ = ["model_card"]


def model_card(
    info: RunInfo,
    metrics: Mapping[str, Mapping[str, Any]],
    repo: str,
    *,
    log: Mapping[str, Sequence[float]] | None = None,
    transported: bool = False,
    pictures: Sequence[str] = (),
    license: str | None = None,
) -> str:
    """Write the model card of a run: metadata that the Hub understands, then Markdown for people.

    Arguments:
        info: run.json, as ``shareable`` leaves it.
        metrics: metrics.json.
        repo: owner/name.
        log: the columns of log.csv.
        transported: whether codes are mapped to the prior by a transport.
        pictures: files beside the card that it shows.
        license: identifier of the Hub, such as ``mit``; by default none.
    """
    title = info.title
    # missing in the run.json of an older version
    about = RECIPES.get(info.recipe)
    summary, reference, density = (
        getattr(info, name) or getattr(about, name, "not known here")
        for name in ("summary", "reference", "density")
    )
    conditional = about is not None and about.conditional
    draw = "labels = run.draw_labels(64, seed=0)  # of the classes run.classes\n" * conditional
    labels = ", labels=labels" * conditional
    shape = ", ".join(map(str, info.shape))
    body = f"""# {title}

An autoencoder that generates images, trained by the library `entropic-ae`: {summary}.
Reference: {reference}. The library follows
[arXiv:2002.10631](https://arxiv.org/abs/2002.10631).

## Use

With `entropic-ae` {info.versions.get("entropic-ae", "")} or later installed:

```python
import entropic_ae as eae

run = eae.load("hf:{repo}")
{draw}images = run.sample(64, seed=0)  # uint8 (64, {shape}), codes from the density {density}
eae.save_images(images, "samples.png")
codes = run.encode(images{labels})  # float32 (64, {info.expanded.settings["latent_dim"]})
```

or `entropic-ae sample hf:{repo} --out samples.png`.
Loading executes no code of this repository and reads no pickle.{_own_parts(info)}

## Samples

{_pictures(pictures)}

## Measured

{_verdict(info, metrics, log, repo, transported=transported)}{_measured(metrics)}

## Training

{_training(info)}

## Versions

{", ".join(f"{package} {version}" for package, version in info.versions.items())}.
"""
    return f"---\n{_metadata(info, metrics, title, license)}\n---\n\n{body}"


def _own_parts(info: RunInfo) -> str:
    """Return the sentence on the custom parts of a run; empty if there are none."""
    named = (
        (info.recipe, "recipe", RECIPES.builtin),
        (info.preset, "preset", PRESETS.builtin),
        (info.overrides.get("network", "paper"), "network", NETWORKS.builtin | {"mlp"}),
        (info.overrides.get("bottleneck", "identity"), "bottleneck", BOTTLENECKS.builtin),
        *((name, "density", DENSITIES.builtin) for name in info.expanded.densities),
    )
    own = [f"{kind} `{name}`" for name, kind, ours in named if name not in ours]
    if not own:
        return ""
    return (
        f"\nCustom parts, not in this repository: {', '.join(own)}. Import the module that registers them first."
    )


def _metadata(info: RunInfo, metrics: Mapping[str, Mapping[str, Any]], title: str, license: str | None) -> str:
    """Return the card's YAML: library, tags, licence, data set, and Frechet distances as a model index."""
    from huggingface_hub import EvalResult, ModelCardData

    hub = _hub_data(info.source)
    results = [
        EvalResult(
            task_type="unconditional-image-generation",
            dataset_type=hub or info.data,
            dataset_name=info.data,
            dataset_split=result.get("split", "test"),
            metric_type="fid" if result["features"] == "inception" else "frechet-distance",
            metric_name=f"Frechet distance of {name} ({result['features']} features, n = {row['images']})",
            metric_value=round(row["frechet"], 4),
        )
        for result in metrics.values()
        if "withheld" not in result
        for name, row in result["distances"].items()
        if name in DENSITIES and math.isfinite(row["frechet"])
    ]
    kinds = sorted({result.metric_type for result in results})
    data = ModelCardData(
        library_name=LIBRARY,
        tags=[LIBRARY, "autoencoder", "image-generation", info.recipe],
        pipeline_tag="unconditional-image-generation",
        license=license,
        datasets=[hub] if hub else None,
        metrics=kinds or None,
        model_name=title if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml()).strip()


def _pictures(pictures: Sequence[str]) -> str:
    shown_ = [f"![{Path(name).stem}]({name})" for name in pictures]
    return "\n\n".join(shown_) or "No picture was pushed."


def _verdict(
    info: RunInfo,
    metrics: Mapping[str, Mapping[str, Any]],
    log: Mapping[str, Sequence[float]] | None,
    repo: str,
    *,
    transported: bool,
) -> str:
    """Return the findings as a list; empty if the metrics are too old for a verdict."""
    found = verdict(info, log or {}, metrics, Path(f"{PREFIX}{repo}"), transported=transported)
    if found is None:
        return ""
    lines = [f"- **{one.subject}**, {one.grade}: {one.sentence}" for one in found.findings]
    return "\n".join(lines) + "\n\n"


def _measured(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table for each feature space, with the numbers of images, and the floor."""
    parts = []
    for name, result in metrics.items():
        rows = "\n".join(
            f"| {kind}{' (the floor)' * (kind == FLOOR)} | {row['images']:,} "
            f"| {'withheld' if 'withheld' in result else format(row['frechet'], '.2f')} "
            f"| {'withheld' if 'kernel_withheld' in result else format(row['kernel'], '.4f')} |"
            for kind, row in result["distances"].items()
        )
        codes = result["codes"]
        entropy = f"{entropy_of(codes)} {codes['entropy']:.2f} nats"
        if codes["maximum"] is not None:
            entropy += f" of at most {codes['maximum']:.2f}"
        against = f"{result['real_images']:,} {result.get('split', 'test')} images"
        parts.append(
            f"In the feature space `{name}`, against {against}; n = {result['n']:,} images from each density, "
            f"seed {result['seed']}. Distances compare with others of the same feature space and numbers of images"
            " only; the floor is that of real images.\n\n"
            "| images | number | Frechet distance | kernel distance |\n| --- | ---: | ---: | ---: |\n"
            f"{rows}\n\nReconstruction error {result['reconstruction_error']:.3f} (squared, summed over an "
            f"image); {entropy}."
        )
    return "\n\n".join(parts) or "Not measured yet."


def _training(info: RunInfo) -> str:
    images = f"{info.training_images:,} training images" if info.training_images else "images"
    device = ", ".join(str(one) for one in (info.device, info.machine.get("gpu")) if one)
    settings = info.expanded.settings
    rows = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
    return (
        f"On {images} ({', '.join(map(str, info.shape))}) of {info.data}, seed {info.seed}, on {device}; "
        f"the weights of the lowest validation loss.\n\n| setting | value |\n| --- | --- |\n{rows}"
    )


def _hub_data(source: str) -> str | None:
    return source.removeprefix(PREFIX) if source.startswith(PREFIX) else getattr(DATASETS.get(source), "hub", None)
