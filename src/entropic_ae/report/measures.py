"""The measures beside the distances as small tables: reconstructions, labels, fidelity, copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entropic_ae.report.folder import Contents, Picture
from entropic_ae.report.tables import accuracy_text, closer_text, fixed
from entropic_ae.storage.run_folder import neighbours_file

__all__ = ["Nearest", "Table", "labels", "learnt", "nearest", "rebuilt", "similarity"]

_CLOSER = ("precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class Table:
    """A small table.

    Attributes:
        title: above it.
        caption: below the title.
        columns: the headings; the first is that of the names of the rows.
        rows: a name and its cells.
        minor: the number of last columns that a phone leaves out.
    """

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    minor: int = 0


@dataclass(frozen=True)
class Nearest:
    """Samples of a density above their nearest training images, and the table of distances."""

    density: str
    picture: Picture
    text: str
    table: Table


def rebuilt(result: Mapping[str, Any]) -> Table:
    """Return the measures of reconstructions.

    >>> found = rebuilt({"real_images": 1000, "reconstruction_error": 5.0, "variance": 50.0, "psnr": None})
    >>> found.rows
    [('squared error', '5.000'), ("share of the images' variance", '10 %'), ('PSNR', 'infinite')]
    """
    rows = [("squared error", fixed(result["reconstruction_error"], 3))]
    if result.get("variance"):
        share = 100 * result["reconstruction_error"] / result["variance"]
        rows.append(("share of the images' variance", f"{share:.0f} %"))
    if result.get("blurred_error"):
        times = result["reconstruction_error"] / result["blurred_error"]
        rows.append(("as a multiple of that of images at 8 pixels across", f"{times:.1f}"))
    if "psnr" in result:
        rows.append(("PSNR", "infinite" if result["psnr"] is None else f"{result['psnr']:.1f} dB"))
    if "ssim" in result:
        rows.append(("SSIM", fixed(result["ssim"])))
    split = result.get("split", "test")
    caption = (
        f"Means over {result['real_images']:,} {split} images. Better are a smaller error, and a larger PSNR and "
        "SSIM; an SSIM of 1 is the image itself."
    )
    return Table("Reconstructions", caption, ("measure", "value"), rows)


def labels(result: Mapping[str, Any]) -> Table | None:
    """Return how well the codes tell the labels; None for data without labels.

    >>> labels({"real_images": 60, "knn_accuracy": 0.9, "probe_accuracy": 0.85}).rows
    [('5 nearest neighbours', '90.0 % (79.9 to 95.3)'), ('linear probe', '85.0 % (73.9 to 91.9)')]
    """
    if "knn_accuracy" not in result:
        return None
    rows = [
        ("5 nearest neighbours", accuracy_text(result["knn_accuracy"], result["real_images"])),
        ("linear probe", accuracy_text(result["probe_accuracy"], result["real_images"])),
    ]
    caption = (
        "Simple classifiers learn the labels from codes of training images. Their accuracy is that on the codes "
        f"of {result['real_images']:,} {result.get('split', 'test')} images, with its 95 % interval."
    )
    return Table("Labels from codes", caption, ("classifier", "accuracy"), rows)


def learnt(result: Mapping[str, Any]) -> Table | None:
    """Return what a classifier learns from samples; None where that was not measured.

    >>> score = {"density": "gaussian", "images": 1000, "samples": 0.9, "real": 0.95}
    >>> learnt({"classification_accuracy": score}).rows
    [('samples', '90.0 %'), ('as many real images', '95.0 %')]
    """
    score = result.get("classification_accuracy")
    if score is None:
        return None
    caption = (
        f"A classifier is trained on {score['images']:,} samples, drawn label by label from the density "
        f"{score['density']}. Its accuracy on {result.get('split', 'test')} images is the classification accuracy "
        "score."
    )
    rows = [
        ("samples", f"{100 * score['samples']:.1f} %"),
        ("as many real images", f"{100 * score['real']:.1f} %"),
    ]
    return Table("Classifiers trained on samples", caption, ("trained on", "accuracy"), rows)


def similarity(result: Mapping[str, Any]) -> Table | None:
    """Return fidelity, coverage and near-copies; None without them.

    >>> row = {"precision": 0.9, "recall": 0.8, "density": 1.02, "coverage": 0.95}
    >>> found = similarity({"features": "pixels", "distances": {"prior": row | {"near_copies": 0.012}}})
    >>> found.rows, found.minor
    ([('prior', '1.2 %', '0.90', '0.80', '1.02', '0.95')], 2)
    """
    rows = [
        (
            name,
            f"{100 * row['near_copies']:.1f} %" if "near_copies" in row else "-",
            *(closer_text(result, name, one) for one in _CLOSER),
        )
        for name, row in result["distances"].items()
        if all(one in row for one in _CLOSER)
    ]
    if not rows:
        return None
    caption = (
        f"In {result['features']} features. Precision and density tell how many of the images are like real ones, "
        "recall and coverage how many of the real ones have their like among them; none of the four tells enough "
        "alone. Near-copies are nearer to a training image than 99 of 100 held-out images are."
    )
    return Table("Fidelity and coverage", caption, ("images", "near-copies", *_CLOSER), rows, minor=2)


def nearest(run: Contents) -> list[Nearest]:
    """Return the nearest training images of samples by density, from the result that each picture belongs to."""
    found = {}
    for result in run.metrics.values():
        for name, row in result["distances"].items():
            picture, near = run.pictures.get(neighbours_file(name)), row.get("neighbours", {})
            if picture is not None and near.get("picture_sha256") == picture.sha256:
                found[name] = _nearest(name, result, near, picture)
    return list(found.values())


def _nearest(name: str, result: Mapping[str, Any], near: Mapping[str, Any], picture: Picture) -> Nearest:
    last = len(near["distances"])
    pairs = enumerate(zip(near["distances"], near["held_out"], strict=True), 1)
    places = {1: "1, nearest", last: f"{last}, farthest"}
    rows = [(places.get(i, str(i)), fixed(of_sample), fixed(of_real)) for i, (of_sample, of_real) in pairs]
    caption = (
        f"Each row of samples is above the row of their nearest training images in {result['features']} features. "
        f"Of {result['distances'][name]['images']:,} samples the first is the nearest to a training image and the "
        "last the farthest, with equal steps of rank between them. Copies would be nearer than held-out images of "
        "the same rank."
    )
    columns = ("sample", "distance", "of a held-out image")
    text = f"rows of samples of the density {name}, each above the row of their nearest training images"
    return Nearest(name, picture, text, Table("Nearest training images", caption, columns, rows))
