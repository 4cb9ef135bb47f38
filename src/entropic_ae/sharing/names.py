"""Names on the Hub: repositories, files, and data without the paths of one machine."""

from __future__ import annotations

import re
from pathlib import Path

from entropic_ae.data import DATASETS, HUB_NAME, HUB_SETS, IN_MEMORY, PAGES, array_named
from entropic_ae.densities import DENSITIES
from entropic_ae.errors import InputError
from entropic_ae.features import FEATURES
from entropic_ae.recipes import PRESETS
from entropic_ae.storage import run_folder
from entropic_ae.storage.json_schema import shown
from entropic_ae.storage.run_folder import PREFIX, density_file, is_shared, samples_file
from entropic_ae.storage.run_info import RunInfo

__all__ = [
    "CARD",
    "EXTRAS",
    "LIBRARY",
    "check_shared",
    "density_files",
    "is_shared",
    "repository",
    "sample_files",
    "shareable",
    "without_path",
]

LIBRARY = "entropic-ae"
CARD = "README.md"
# pushed only if requested
EXTRAS = (run_folder.REAL, run_folder.RECONSTRUCTIONS, run_folder.INTERPOLATIONS, run_folder.REPORT)
_CLASSIFIER = "classifier:"  # prefix of the feature space of a classifier of other data
# a data set on the Hub, a name, or a name in the current folder, which may name an array of a file
_ARRAY = r"(?::\w[\w.-]*(?:/\w[\w.-]*)*)?"
_SOURCE = re.compile(rf"hf(?:-stream)?:{HUB_NAME}|(?!\.+$)[\w.-]+|(?:{PAGES})?\./(?!\.+$)[^/\\]+{_ARRAY}")
_NAME = re.compile(HUB_NAME, re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*", re.ASCII)


def repository(source: str) -> tuple[str, str | None]:
    """Split ``hf:owner/name@revision`` into the repository and the revision, None if there is none.

    Raises: InputError for anything else; ``hf:`` may be left out.

    >>> repository("hf:owner/name@v1"), repository("owner/name")
    (('owner/name', 'v1'), ('owner/name', None))
    """
    name, at, revision = source.removeprefix(PREFIX).partition("@")
    if not _NAME.fullmatch(name) or ".." in source or (at and not _REVISION.fullmatch(revision)):
        raise InputError(f"expected hf:owner/name or hf:owner/name@revision, got {shown(source, 100)}.")
    return name, revision or None


def density_files() -> list[str]:
    """Return the possible files of fitted densities in a run, for the registered densities.

    >>> density_files()[:2]
    ['densities/radial.safetensors', 'densities/marginals.safetensors']
    """
    return [density_file(name) for name, kind in DENSITIES.items() if kind.needs_codes]


def sample_files() -> list[str]:
    """Return the possible pictures of samples in a run, one per registered density.

    >>> sample_files()[:2]
    ['samples-prior.png', 'samples-radial.png']
    """
    return [samples_file(name) for name in DENSITIES]


def shareable(info: RunInfo) -> RunInfo:
    """Return run.json without the paths of this machine.

    The path of custom data becomes ``./NAME``: a folder or file of that name in the current folder when the run is
    used, if its images are the same. A TorchScript file as the feature space becomes the preset's default.

    >>> info = {"recipe": "eae", "preset": "mlp", "data": "photos", "source": "/me/photos", "shape": [1, 8, 8]}
    >>> shared = shareable(RunInfo.of({**info, "expanded": {"settings": {"features": "/me/net.pt"}}}))
    >>> shared.source, shared.expanded.settings
    ('./photos', {'features': 'pixels'})
    """
    overrides, settings = dict(info.overrides), dict(info.expanded.settings)
    for values in (overrides, settings):
        features = str(values.get("features", ""))
        if features.startswith(_CLASSIFIER):
            values["features"] = without_path(features)
        elif features and features not in FEATURES:
            del values["features"]
    settings.setdefault("features", PRESETS[info.preset].features)
    expanded = {**info.expanded, "settings": settings}
    public = {**info, "source": _nameless(info.source), "overrides": overrides, "expanded": expanded}
    if info.start_from is not None:
        public["start_from"] = {**info.start_from, "run": _name(info.start_from["run"])}
    return RunInfo.of(public)


def check_shared(info: RunInfo, source: str) -> None:
    """Raise InputError for what ``shareable`` removes: paths of data, and programs as feature spaces."""
    if info.source != IN_MEMORY and not _SOURCE.fullmatch(info.source):
        raise InputError(
            f"{source} names its data by a path, {shown(info.source)}, which a shared run must not; push it again."
        )
    for values in (info.overrides, info.expanded.settings):
        features = str(values.get("features", "pixels"))
        other = features.removeprefix(_CLASSIFIER)
        known = other in DATASETS or _SOURCE.fullmatch(other) if other != features else features in FEATURES
        if not known:
            raise InputError(
                f"{source} names a file as its feature space, {shown(features)}, which may be a program; push it "
                "again, or register a feature space of that name first."
            )


def without_path(features: str) -> str:
    """Return the name of a feature space without the path of a file or of data."""
    if features.startswith(_CLASSIFIER):
        return _CLASSIFIER + _nameless(features.removeprefix(_CLASSIFIER))
    return features if features in FEATURES else Path(features).name


def _name(run: str) -> str:
    """Return the name of a run without the path of its folder; one on the Hub stays."""
    return run if is_shared(run) else Path(run).name


def _nameless(source: str) -> str:
    """Return a data set's source without its path; a registered name and a data set on the Hub stay."""
    stays = source in DATASETS or source.startswith(HUB_SETS) or source == IN_MEMORY
    if stays:
        return source
    if source.startswith(PAGES):
        return f"{PAGES}./{Path(source.removeprefix(PAGES)).name}"
    file, array = array_named(source)
    return f"./{Path(file).name}" + (f":{array}" if array else "")
