"""What a report reads of a run folder: settings, log, results and pictures."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError
from entropic_ae.report.tables import FLOOR
from entropic_ae.storage.files import read_json
from entropic_ae.storage.json_schema import check
from entropic_ae.storage.log import LOG, read_log
from entropic_ae.storage.run_folder import COMPARED, INFO, INFO_FILE, METRICS_FILE, RESULT, check_run_folder

__all__ = ["Picture", "RunFolder", "read_folder"]

_WEIGHTS = "weights.safetensors"
_SAMPLES = "samples-"
_NO_DENSITIES = ("reconstructions", "interpolations")  # images in results that no density gave


@dataclass(frozen=True)
class Picture:
    """A PNG file as a ``data:`` URI, with its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class RunFolder:
    """The content of a run folder.

    Attributes:
        path: the folder, as it was given.
        info: run.json.
        log: the columns of log.csv by name, a value an epoch; empty if there is none.
        metrics: the results of metrics.json by feature space; empty if there are none.
        outdated: whether metrics.json holds results of other weights, which are left out.
        pictures: by file name without suffix.
    """

    path: Path
    info: dict[str, Any]
    log: dict[str, list[float]]
    metrics: dict[str, dict[str, Any]]
    outdated: bool
    pictures: dict[str, Picture]

    @property
    def settings(self) -> dict[str, Any]:
        """Every scalar that the run was trained with."""
        settings: dict[str, Any] = self.info["expanded"]["settings"]
        return settings

    @property
    def densities(self) -> list[str]:
        """Those that the recipe is measured with, then others that were measured or drawn."""
        measured = [name for result in self.metrics.values() for name in result["distances"]]
        drawn = [name.removeprefix(_SAMPLES) for name in self.pictures if name.startswith(_SAMPLES)]
        names = dict.fromkeys([*self.info["expanded"]["densities"], *measured, *drawn])
        return [name for name in names if name not in (FLOOR, *_NO_DENSITIES)]

    @property
    def result(self) -> dict[str, Any] | None:
        """The result whose reconstruction error and diagnostics stand for the run.

        The first of the test images that has diagnostics, else the first that comes nearest to it.
        """
        results = list(self.metrics.values())
        return max(
            results,
            key=lambda one: (one.get("split", "test") == "test", "diagnostics" in one),
            default=None,
        )

    def samples(self, density: str) -> Picture | None:
        """The samples of a density, or None if none were drawn."""
        return self.pictures.get(_SAMPLES + density)


def read_folder(path: Path | str) -> RunFolder:
    """Read a run folder; only run.json must be there.

    Raises: InputError if it is no run folder, or a file in it is damaged.
    """
    path = Path(path)
    check_run_folder(path)
    info = read_json(path / INFO_FILE)
    check(info, INFO, str(path / INFO_FILE))
    metrics = _read_metrics(path / METRICS_FILE)
    current = _of_these_weights(metrics, path / _WEIGHTS)
    names = [f"{_SAMPLES}*.png", "reconstructions.png", "interpolations.png"]
    files = [file for name in names for file in sorted(path.glob(name)) if file.is_file()]
    return RunFolder(
        path=path,
        info=info,
        log=read_log(path / LOG),
        metrics=current,
        outdated=len(current) < len(metrics),
        pictures={file.stem: _read_picture(file) for file in files},
    )


def _read_metrics(path: Path) -> dict[str, dict[str, Any]]:
    metrics: dict[str, dict[str, Any]] = read_json(path) if path.is_file() else {}
    check(metrics, {"*": RESULT}, str(path))
    for name, result in metrics.items():
        diagnostics = result.get("diagnostics", {})
        if "divergence" in diagnostics:
            check({name: {"diagnostics": diagnostics}}, {name: {"diagnostics": COMPARED}}, str(path))
    return metrics


def _of_these_weights(metrics: dict[str, dict[str, Any]], weights: Path) -> dict[str, dict[str, Any]]:
    """Leave out results of other weights, from before more training; those that do not say are kept."""
    if not metrics or not weights.is_file():
        return metrics
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    return {name: one for name, one in metrics.items() if one.get("weights_sha256", sha256) == sha256}


def _read_picture(path: Path) -> Picture:
    from PIL import Image

    content = path.read_bytes()
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            image.load()
            width, height = image.size
    # what Pillow raises for damage, and for a small file that unpacks to a huge picture
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise InputError(f"{path} is damaged: it is no whole PNG picture; delete it or draw it again.") from None
    return Picture(f"data:image/png;base64,{base64.b64encode(content).decode()}", width, height)
