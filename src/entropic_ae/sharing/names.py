"""What is called what on the Hub: repositories, files, and data without the paths of one machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entropic_ae.data import DATASETS, HUB_NAME, HUB_SETS, IN_MEMORY
from entropic_ae.densities import DENSITIES
from entropic_ae.errors import InputError
from entropic_ae.features import FEATURES
from entropic_ae.recipes import PRESETS
from entropic_ae.storage.json_schema import shown
from entropic_ae.storage.log import LOG
from entropic_ae.storage.run_folder import PREFIX, is_shared
from entropic_ae.training import WEIGHTS

__all__ = [
    "CARD",
    "EXTRAS",
    "LIBRARY",
    "LOG",
    "PREFIX",
    "WEIGHTS",
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
EXTRAS = ("reconstructions.png", "interpolations.png", "report.html")  # pushed only if asked for
_CLASSIFIER = "classifier:"  # the feature space of other data than the run's
# a set of the Hub, a name, or a name in the current folder
_SOURCE = re.compile(rf"hf(?:-stream)?:{HUB_NAME}|(?!\.+$)[\w.-]+|\./(?!\.+$)[^/\\]+")
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
    """Return the files of fitted densities that a run may have, of those that are registered.

    >>> density_files()[:2]
    ['densities/marginals.safetensors', 'densities/gaussian.safetensors']
    """
    return [f"densities/{name}.safetensors" for name, kind in DENSITIES.items() if kind.needs_codes]


def sample_files() -> list[str]:
    """Return the pictures of samples that a run may have, a density each.

    >>> sample_files()[:2]
    ['samples-prior.png', 'samples-marginals.png']
    """
    return [f"samples-{name}.png" for name in DENSITIES]


def shareable(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return run.json without what belongs to one machine.

    The path of own data becomes ``./NAME``: a folder or file of that name where the run is used later, which is
    taken if its images are the same. A TorchScript file as the feature space becomes the preset's own choice.

    >>> from types import MappingProxyType
    >>> expanded = {"settings": {"features": "/home/me/net.pt"}}
    >>> info = {"source": "/home/me/photos", "preset": "mlp", "overrides": {"width": 4}, "expanded": expanded}
    >>> shareable(info)["source"], shareable(info)["expanded"]["settings"]
    ('./photos', {'features': 'pixels'})
    """
    overrides, settings = dict(info["overrides"]), dict(info["expanded"]["settings"])
    for values in (overrides, settings):
        features = str(values.get("features", ""))
        if features.startswith(_CLASSIFIER):
            values["features"] = without_path(features)
        elif features and features not in FEATURES:
            del values["features"]
    settings.setdefault("features", PRESETS[info["preset"]].features)
    return {
        **info,
        "source": _nameless(str(info["source"])),
        "overrides": overrides,
        "expanded": {**info["expanded"], "settings": settings},
    }


def check_shared(info: Mapping[str, Any], source: str) -> None:
    """Reject what ``shareable`` removes from every run: paths of data, and programs as feature spaces."""
    if info["source"] != IN_MEMORY and not _SOURCE.fullmatch(info["source"]):
        raise InputError(
            f"{source} names its data by a path, {shown(info['source'])}, which is not allowed; push it again."
        )
    for values in (info["overrides"], info["expanded"]["settings"]):
        features = str(values.get("features", "pixels"))
        other = features.removeprefix(_CLASSIFIER)
        known = other in DATASETS or _SOURCE.fullmatch(other) if other != features else features in FEATURES
        if not known:
            raise InputError(
                f"{source} names a file as its feature space, {shown(features)}, which may be a program; push it "
                "again."
            )


def without_path(features: str) -> str:
    """Return the name of a feature space without the path of a file or of data."""
    if features.startswith(_CLASSIFIER):
        return _CLASSIFIER + _nameless(features.removeprefix(_CLASSIFIER))
    return features if features in FEATURES else Path(features).name


def _nameless(source: str) -> str:
    """Return a data set's source without the path: a registered name and a Hub set stay."""
    stays = source in DATASETS or source.startswith(HUB_SETS) or source == IN_MEMORY
    return source if stays else f"./{Path(source).name}"
