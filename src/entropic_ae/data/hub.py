"""Data sets on the Hugging Face Hub, opened as one table per split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from entropic_ae.data.decoding import Table, quiet
from entropic_ae.data.folders import opened, split_named
from entropic_ae.errors import InputError

__all__ = ["HUB_NAME", "HUB_SETS", "check_remote", "hub_errors", "hub_revision", "hub_tables", "known_splits"]

HUB_SETS = ("hf:", "hf-stream:")  # prefixes of Hub data sets
HUB_NAME = r"\w[\w.-]*/\w[\w.-]*"  # owner/name, and no path such as ../name


def hub_tables(name: str, advice: str, image: str | None = None, label: str | None = None) -> dict[str, Table]:
    """Return the splits of the Hub's data set ``name`` (owner/name); ``advice`` ends the error if offline."""
    import datasets

    check_remote(name)
    offline = datasets.config.HF_HUB_OFFLINE or hub_revision(name) is None
    before, datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE, offline
    try:
        with hub_errors(name, advice), quiet(count=None, hub=True):
            splits = known_splits(name, datasets.load_dataset(name))
    finally:
        datasets.config.HF_HUB_OFFLINE = before
    return {split: opened(rows, split, name, image, label, trusted=True) for split, rows in splits.items()}


def check_remote(name: str) -> None:
    """Raise InputError if the current folder has a folder of that name, which datasets would read instead."""
    if Path(name).exists():
        raise InputError(
            f"the current folder holds a folder {name}, which would be read instead of the Hub's data set; give "
            f"./{name} to read the folder, or run from another folder."
        )


def hub_revision(name: str) -> str | None:
    """Return the commit of the Hub's data set, or None if the Hub cannot be reached.

    Raises: InputError if the Hub has no such set.
    """
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    try:  # one short request: load_dataset would retry for half a minute
        return huggingface_hub.HfApi().dataset_info(name, timeout=10).sha
    except RepositoryNotFoundError:
        raise InputError(
            f"the Hugging Face Hub has no public data set '{name}'; check the name, or log in if it is private."
        ) from None
    except Exception:  # its class depends on the version of huggingface_hub
        return None


@contextmanager
def hub_errors(name: str, advice: str) -> Iterator[None]:
    """Raise errors while reading a Hub data set as InputError; ``advice`` ends the message."""
    import datasets

    try:
        yield
    except InputError:
        raise
    except ConnectionError:
        raise InputError(
            f"the data set {name} is not on this machine and the Hugging Face Hub cannot be reached; {advice}"
        ) from None
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the data set {name} cannot be loaded from the Hugging Face Hub ({reason}); {advice}"
        ) from None


def known_splits(name: str, splits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the splits named like train, validation and test by these names; a single split is train.

    Raises: InputError if there is no training split.
    """
    named = {known: rows for split, rows in splits.items() if (known := split_named(split))}
    if "train" in named:
        return named
    if len(splits) != 1:
        raise InputError(
            f"the data set {name} has no training split, only {', '.join(splits)}; "
            "save the one you want as parquet and give that file."
        )
    return {"train": next(iter(splits.values()))}
