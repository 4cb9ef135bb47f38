"""The run folder: every file name in it, and access to run.json, metrics.json, the log and the weights."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from entropic_ae.errors import InputError
from entropic_ae.storage.examples import EXAMPLE, example_folder
from entropic_ae.storage.files import claimed, locked, read_json, remove_unfinished, set_aside, sha256, write_json
from entropic_ae.storage.json_schema import check
from entropic_ae.storage.log import read_log
from entropic_ae.storage.results import COMPARED, MAP_SCHEMA, RESULT, USAGE
from entropic_ae.storage.run_info import INFO, RunInfo
from entropic_ae.storage.tensors import unpack_tensors

__all__ = [
    "BLURRED",
    "CHECKPOINT",
    "FLOOR",
    "GIVEN",
    "INFO_FILE",
    "INTERPOLATIONS",
    "LOG",
    "LOGS",
    "MAP",
    "MEAN_IMAGE",
    "METRICS_FILE",
    "PREFIX",
    "PREVIEW",
    "REAL",
    "RECONSTRUCTIONS",
    "REPORT",
    "TRAINING_IMAGES",
    "TRANSPORT",
    "WEIGHTS",
    "RunFolder",
    "SavedTransport",
    "check_run",
    "check_run_folder",
    "density_file",
    "density_of",
    "edits_file",
    "is_shared",
    "labelled_file",
    "neighbours_file",
    "outside_file",
    "samples_file",
    "scores_file",
]

INFO_FILE, METRICS_FILE, LOG, MAP = "run.json", "metrics.json", "log.csv", "map.json"
LOGS = "logs"  # a folder: what loggers write
WEIGHTS, CHECKPOINT = "weights.safetensors", "checkpoints/last.ckpt"
TRANSPORT = "transport.safetensors"
RECONSTRUCTIONS, INTERPOLATIONS, REPORT = "reconstructions.png", "interpolations.png", "report.html"
PREVIEW = "preview.png"  # drawn while it is trained
REAL = "real.png"  # held-out images, as many as samples
_SAMPLES = "samples-", ".png"
_NEIGHBOURS = "neighbours-", ".png"
_LOCK, _METRICS_LOCK = ".lock", ".metrics.lock"
_DRAWN = "checkpoints/drawn"  # digest of the weights that the pictures show
# files that are written only under the claim; draw, evaluate, export and sample write others without it
_CLAIMED = (INFO_FILE, WEIGHTS, LOG, Path(CHECKPOINT).name, Path(_DRAWN).name)
PREFIX = "hf:"  # of the name of a run on the Hub
FLOOR = "held-out images"  # in metrics.json, the real images whose distance is the floor of the others
TRAINING_IMAGES, BLURRED, MEAN_IMAGE = "training images", "blurred images", "mean image"
GIVEN = (FLOOR, TRAINING_IMAGES, BLURRED, MEAN_IMAGE)  # rows of images that no model has made


def density_file(name: str, label: int | None = None) -> str:
    """Return the file of a density that was fitted to all codes, or to those of a label.

    >>> density_file("gaussian"), density_file("gaussian", 3)
    ('densities/gaussian.safetensors', 'densities/gaussian-label-3.safetensors')
    """
    return f"densities/{name}{'' if label is None else f'-label-{label}'}.safetensors"


def scores_file(density: str) -> str:
    """Return the name of the file of scores with the likelihood under a density."""
    return f"scores-{density}.csv"


def samples_file(density: str) -> str:
    """Return the picture of samples of a density; ``*`` matches all.

    >>> samples_file("prior")
    'samples-prior.png'
    """
    return f"{_SAMPLES[0]}{density}{_SAMPLES[1]}"


def labelled_file(density: str, classes: Sequence[str]) -> str:
    """Return the picture of samples of some classes, by their names."""
    return f"labels-{'-'.join([density, *classes])}.png"


def edits_file(toward: str) -> str:
    """Return the picture of images that are moved toward a class; ``*`` matches all."""
    return f"edits-{toward}.png"


def density_of(file: str) -> str:
    """Return the density whose samples a picture shows; empty for another file.

    >>> density_of("samples-prior.png"), density_of("reconstructions.png")
    ('prior', '')
    """
    start, end = _SAMPLES
    return file[len(start) : -len(end)] if file.startswith(start) and file.endswith(end) else ""


def neighbours_file(density: str) -> str:
    """Return the picture of samples of a density above their nearest training images; ``*`` matches all.

    >>> neighbours_file("prior")
    'neighbours-prior.png'
    """
    return f"{_NEIGHBOURS[0]}{density}{_NEIGHBOURS[1]}"


class SavedTransport(NamedTuple):
    """A transport as saved in a run folder.

    Attributes:
        kind: its name among the transports.
        tensors: its parameters.
        metadata: ``weights``, ``transport``, ``seed`` and ``settings``, a JSON object.
        joint_sha256: digest of the weights and the transport.
    """

    kind: str
    tensors: dict[str, Any]
    metadata: dict[str, str]
    joint_sha256: str


@dataclass(frozen=True)
class RunFolder:
    """A run folder, which may not exist yet.

    >>> RunFolder(Path("run")).read_log()
    {}
    """

    path: Path

    @property
    def weights(self) -> Path:
        """The weights of the lowest validation loss."""
        return self.path / WEIGHTS

    @property
    def checkpoint(self) -> Path:
        """The checkpoint from which training resumes."""
        return self.path / CHECKPOINT

    @property
    def log(self) -> Path:
        """log.csv, one row per epoch."""
        return self.path / LOG

    @property
    def preview(self) -> Path:
        """Images of the model while it is trained."""
        return self.path / PREVIEW

    @property
    def drawn(self) -> Path:
        """The digest of the weights that the pictures show."""
        return self.path / _DRAWN

    @property
    def transport(self) -> Path:
        """The transport of the codes to the prior, if one was fitted."""
        return self.path / TRANSPORT

    def weights_sha256(self, content: bytes | None = None) -> str:
        """Return the digest of the current weights, with their transport if any; OSError without weights.

        Whatever was measured, drawn or fitted belongs to one such digest.

        Arguments:
            content: of the file of weights, if it was read already.
        """
        weights = sha256(self.weights.read_bytes() if content is None else content)
        transport = self.read_transport(weights)
        return weights if transport is None else transport.joint_sha256

    def has_transport(self) -> bool:
        """Return whether the current weights have a transport."""
        return self.read_transport(sha256(self.weights.read_bytes())) is not None

    def read_transport(self, weights: str) -> SavedTransport | None:
        """Return the transport that was fitted to the codes of these weights; None if there is none.

        Arguments:
            weights: digest of the weights. A transport of other weights, from before a resume, is ignored.

        Raises: InputError for a damaged file.
        """
        if not self.transport.is_file():
            return None
        content = self.transport.read_bytes()
        try:
            tensors, metadata = unpack_tensors(content)
        except InputError as error:
            raise InputError(
                f"{self.transport} is damaged ({error}); fit it again with entropic-ae transport, or delete it."
            ) from None
        if metadata.get("weights") != weights:
            return None
        joint = sha256(f"{weights} {sha256(content)}".encode())
        return SavedTransport(metadata.get("transport", ""), tensors, metadata, joint)

    def read_info(self) -> RunInfo:
        """Return run.json; InputError if it is missing or damaged, or the folder is not a run folder."""
        check_run_folder(self.path)
        content = read_json(self.path / INFO_FILE)
        check(content, INFO, str(self.path / INFO_FILE))
        return RunInfo.of(content)

    def write_info(self, info: RunInfo) -> None:
        """Write run.json, only under the claim."""
        write_json(self.path / INFO_FILE, info)

    def read_log(self) -> dict[str, list[float]]:
        """Return the columns of the log; see ``log.read_log``."""
        return read_log(self.log)

    def read_metrics(self, weights: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the results of metrics.json by feature space; empty if there are none.

        Arguments:
            weights: digest of the weights; results of other weights, from before a resume, are left out. None
                returns all results.

        Raises: InputError if one of the returned results is damaged.
        """
        path = self.path / METRICS_FILE
        metrics: dict[str, dict[str, Any]] = read_json(path) if path.is_file() else {}
        check(metrics, {"*": {}}, str(path))
        if weights is not None:
            metrics = {name: one for name, one in metrics.items() if one.get("weights_sha256") == weights}
        check(metrics, {"*": RESULT}, str(path))
        for name, result in metrics.items():
            diagnostics = result.get("diagnostics", {})
            if "divergence" in diagnostics:
                compared = USAGE if "usage" in diagnostics else COMPARED
                check({name: {"diagnostics": diagnostics}}, {name: {"diagnostics": compared}}, str(path))
        return metrics

    def add_result(self, name: str, result: dict[str, Any]) -> None:
        """Add a result to metrics.json, replacing one of the same name, and drop those of other weights."""
        taken = f"{self.path} has been locked by another process for a minute; try again when it has ended."
        with claimed(self.path / _METRICS_LOCK, taken, wait=60):  # another process may have added one meanwhile
            kept = self.read_metrics(result["weights_sha256"])
            write_json(self.path / METRICS_FILE, kept | {name: result})

    def read_map(self) -> dict[str, Any] | None:
        """Return the map of the codes of the current weights; None without one. InputError if it is damaged."""
        path = self.path / MAP
        if not path.is_file() or not self.weights.is_file():
            return None
        found: dict[str, Any] = read_json(path)
        check(found, MAP_SCHEMA, str(path))
        lists = [found[name] for name in ("images", "x", "y", "labels") if found[name] is not None]
        if len({len(one) for one in lists}) > 1:
            raise InputError(f"{path} is damaged: its lists have different lengths; create it again.")
        return found if found["weights_sha256"] == self.weights_sha256() else None

    @property
    def is_begun(self) -> bool:
        """Whether the folder holds more than the leftovers of a failed start: run.json and hidden files."""
        return self.path.is_dir() and any(
            path.name != INFO_FILE and path.name[0] != "." for path in self.path.iterdir()
        )

    def of_weights(self) -> list[Path]:
        """Return what holds for the run's weights only: metrics, report, pictures and scores, without exports."""
        names = [METRICS_FILE, MAP, REPORT]
        names += [
            samples_file("*"),
            neighbours_file("*"),
            labelled_file("*", ()),
            edits_file("*"),
            scores_file("*"),
        ]
        names += [f"{Path(name).stem}-*.png" for name in (RECONSTRUCTIONS, INTERPOLATIONS)]  # of other images
        return self._found(names)

    def _own(self) -> list[Path]:
        """Return what a run has in its folder, without what a user has put there."""
        names = [INFO_FILE, LOG, WEIGHTS, TRANSPORT, REAL, RECONSTRUCTIONS, INTERPOLATIONS]
        names += [f"{Path(PREVIEW).stem}*.png", Path(CHECKPOINT).parts[0], Path(density_file("*")).parts[0], LOGS]
        return sorted({*self._found(names), *self.of_weights()})

    def _found(self, names: Sequence[str]) -> list[Path]:
        return [path for name in names for path in self.path.glob(name)]

    def is_claimed(self) -> bool:
        """Return whether a process trains in the folder; nothing is written."""
        if not (self.path / _LOCK).is_file():
            return False
        with locked(self.path / _LOCK, wait=0) as mine:
            return not mine

    def check_trainable(self, resume: bool, overwrite: bool = False) -> None:
        """Raise InputError if training can neither start in the folder, nor resume or overwrite what is there."""
        if resume and overwrite:
            raise InputError("train can resume a run or overwrite it, not both; give resume or overwrite.")
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file; give another --out.")
        if self.is_begun and not (self.path / INFO_FILE).is_file():
            raise InputError(
                f"{self.path} is not empty, and no run folder: it has no {INFO_FILE}; give another folder (out, "
                "--out)."
            )
        if self.is_begun and not (resume or overwrite):
            raise InputError(
                f"{self.path} holds a run already; give another folder (out, --out), or resume this one "
                "(resume=True, --resume), or replace it (overwrite=True, --overwrite)."
            )
        if self.is_begun and overwrite:
            self.read_info()

    @contextmanager
    def claimed(
        self, info: RunInfo, resume: bool, check_same: Callable[[], None], *, overwrite: bool = False
    ) -> Iterator[None]:
        """Claim the folder within the block, write its run.json and remove leftovers.

        Arguments:
            info: run.json to write.
            resume: whether a run that has begun is accepted.
            check_same: raises if that run cannot be resumed; called under the claim.
            overwrite: replace a run that has begun: its own files go once run.json is written, others stay.

        Raises: InputError if another process has claimed the folder, or it is in use by another run.
        """
        self.check_trainable(resume, overwrite)
        taken = f"{self.path} is being trained by another process; wait for it, or give another folder."
        with claimed(self.path / _LOCK, taken):
            self.check_trainable(resume, overwrite)  # another process may have written to it meanwhile
            if self.is_begun and not overwrite:
                check_same()
            for place in (self.path, self.checkpoint.parent, (self.path / density_file("*")).parent):
                remove_unfinished(place, _CLAIMED)
            with set_aside(self.path, self._own()) if overwrite and self.is_begun else nullcontext():
                self.write_info(info)
            yield


def is_shared(source: object) -> bool:
    """Return whether a name is that of a run on the Hub or of an example; ``./hf:x`` is a folder of that name.

    >>> is_shared("hf:owner/name"), is_shared("example:mnist"), is_shared("runs/eae-mnist-0")
    (True, True, False)
    """
    return str(source).startswith((PREFIX, EXAMPLE))


def outside_file(run: str, name: str) -> str:
    """Return the name outside of the folder of a file of a read-only run, which says whose it is.

    >>> outside_file("example:mnist", "report.html"), outside_file("hf:owner/faces@v1", "samples-prior.png")
    ('example-mnist-report.html', 'faces-v1-samples-prior.png')
    """
    return re.sub(r"[^\w.-]+", "-", run.partition("/")[2] or run) + f"-{name}"


def check_run(run: str) -> None:
    """Raise InputError for a folder that is no run and for an unknown example; the Hub is not asked."""
    if run.startswith(EXAMPLE):
        example_folder(run)
    elif not is_shared(run):
        check_run_folder(Path(run))


def check_run_folder(path: Path) -> None:
    """Raise InputError unless a folder has a run.json.

    >>> check_run_folder(Path("run"))
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: run does not exist; give the folder that train made.
    """
    if not (path / INFO_FILE).is_file():
        there = path.exists()
        runs = {
            file.parent.name: str(file.parent) for file in (path if there else path.parent).glob(f"*/{INFO_FILE}")
        }
        near = sorted(runs) if there else difflib.get_close_matches(path.name, sorted(runs))
        such = f", such as {', '.join(runs[name] for name in near[:3])}" if near else ""
        what = f"is not a run folder: it has no {INFO_FILE}" if there else "does not exist"
        raise InputError(f"{path} {what}; give the folder that train made{such}.")
