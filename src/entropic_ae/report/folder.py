"""The data of a report from a run folder: settings, log, results and pictures."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError
from entropic_ae.storage.files import sha256
from entropic_ae.storage.run_folder import (
    GIVEN,
    INTERPOLATIONS,
    REAL,
    RECONSTRUCTIONS,
    RunFolder,
    density_of,
    neighbours_file,
    samples_file,
)
from entropic_ae.storage.run_info import RunInfo

__all__ = ["Contents", "Picture", "read_folder"]

_NO_DENSITIES = ("reconstructions", "interpolations")  # images in results that are not samples of a density


@dataclass(frozen=True)
class Picture:
    """A PNG file as a ``data:`` URI, with its size in pixels and the digest of its pixels."""

    uri: str
    width: int
    height: int
    sha256: str


@dataclass(frozen=True)
class Contents:
    """The content of a run folder.

    Attributes:
        path: the folder as given.
        info: run.json.
        log: the columns of log.csv by name, one value per epoch; empty if there is none.
        metrics: the results of metrics.json by feature space; empty if there are none.
        outdated: whether metrics.json also holds results of other weights, which are left out here.
        transported: whether codes are mapped to the prior by a transport.
        code_map: map.json of the current weights; None if there is none.
        pictures: by file name.
    """

    path: Path
    info: RunInfo
    log: dict[str, list[float]]
    metrics: dict[str, dict[str, Any]]
    outdated: bool
    transported: bool
    code_map: dict[str, Any] | None
    pictures: dict[str, Picture]

    @property
    def settings(self) -> dict[str, Any]:
        """All scalar settings of the training."""
        return dict(self.info.expanded.settings)

    @property
    def densities(self) -> list[str]:
        """The densities of the recipe, then others that were measured or drawn."""
        measured = [name for result in self.metrics.values() for name in result["distances"]]
        drawn = [density for name in self.pictures if (density := density_of(name))]
        names = dict.fromkeys([*self.info.expanded.densities, *measured, *drawn])
        return [name for name in names if name not in (*GIVEN, *_NO_DENSITIES)]

    @property
    def result(self) -> dict[str, Any] | None:
        """The result whose reconstruction error and diagnostics represent the run.

        The first result on the test images with diagnostics, or the closest match to it.
        """
        results = list(self.metrics.values())
        return max(
            results,
            key=lambda one: (one.get("split", "test") == "test", "diagnostics" in one),
            default=None,
        )

    def samples(self, density: str) -> Picture | None:
        """The picture of samples of a density, or None if there is none."""
        return self.pictures.get(samples_file(density))


def read_folder(path: Path | str) -> Contents:
    """Read a run folder; only run.json is required.

    Raises: InputError if it is not a run folder, or a file in it is damaged.
    """
    folder = RunFolder(Path(path))
    info = folder.read_info()
    metrics = current = folder.read_metrics()
    if metrics and folder.weights.is_file():  # results without a digest of their weights are kept
        weights = folder.weights_sha256()
        current = {name: one for name, one in metrics.items() if one.get("weights_sha256", weights) == weights}
    names = [REAL, samples_file("*"), RECONSTRUCTIONS, INTERPOLATIONS, neighbours_file("*")]
    files = [file for name in names for file in sorted(folder.path.glob(name)) if file.is_file()]
    return Contents(
        path=folder.path,
        info=info,
        log=folder.read_log(),
        metrics=current,
        outdated=len(current) < len(metrics),
        transported=folder.weights.is_file() and folder.has_transport(),
        code_map=folder.read_map(),
        pictures={file.name: _read_picture(file) for file in files},
    )


def _read_picture(path: Path) -> Picture:
    from PIL import Image

    content = path.read_bytes()
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            image.load()
            (width, height), pixels = image.size, image.tobytes()
    # Pillow's errors for damage, and for a small file that unpacks to a huge picture
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise InputError(
            f"{path} is damaged: it is not a complete PNG file; delete it or draw it again."
        ) from None
    return Picture(f"data:image/png;base64,{base64.b64encode(content).decode()}", width, height, sha256(pixels))
