"""The labels of a run: the names of its classes, and the label of each image for a conditional run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from numbers import Integral
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.data import ImageData, Split
from entropic_ae.errors import InputError, unknown_name
from entropic_ae.storage.files import sha256

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, TypeVar

    from entropic_ae.runs.run import Run

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = [
    "Label",
    "Labels",
    "class_names",
    "described",
    "either_spelling",
    "find_label",
    "given_labels",
    "in_file_name",
    "known_labels",
    "taken",
]

_LONGEST = 40  # characters of the name of a class in that of a file
Label = int | str  # the number of a class, or its name
Labels = Label | Sequence[Label] | ArrayLike


def either_spelling(method: Callable[P, R]) -> Callable[P, R]:
    """Let a method with an argument ``label`` or ``labels`` be called with the other of these names, too.

    >>> either_spelling(lambda *, labels: labels)(label=3)
    3
    """
    own = "labels" if "labels" in signature(method).parameters else "label"
    other = "label" if own == "labels" else "labels"

    @wraps(method)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        if other in kwargs:
            if own in kwargs:
                raise InputError(f"{own} and {other} are the same argument; give one of them.")
            kwargs[own] = kwargs.pop(other)
        return method(*args, **kwargs)

    return called


def known_labels(data: ImageData) -> tuple[Tensor, Tensor] | None:
    """Return the labels of the training and of the validation images; None unless both have some."""
    train, validation = data.train.labels, data.validation.labels
    return None if train is None or validation is None else (train, validation)


def described(data: ImageData) -> dict[str, Any] | None:
    """Return what run.json says of the classes of data; None without labels."""
    labels = data.train.labels
    if labels is None or data.classes is None:
        return None
    return {
        "names": list(data.class_names or map(str, range(data.classes))),
        "images": torch.bincount(labels, minlength=data.classes).tolist(),
        "labels_sha256": sha256(labels.long().contiguous().numpy().tobytes()),
    }


def class_names(run: Run) -> tuple[str, ...]:
    """Return the names of the classes: the implementation of ``Run.classes``.

    Older versions recorded none in run.json: then they are those of the data.
    """
    if run.info.classes is not None:
        return tuple(run.info.classes["names"])
    data = run.data
    return data.class_names or tuple(map(str, range(data.classes or 0)))


def find_label(run: Run, label: Label) -> int:
    """Return the number of a class, given as number or name; a name that is a number comes before that number.

    Raises: InputError, with the nearest name, for a name that no class has.
    """
    if isinstance(label, Integral) and not isinstance(label, bool):
        return int(label)
    names = class_names(run)
    if label in names:
        return names.index(str(label))
    text = str(label)
    if text.isdecimal():
        return int(text)
    if not names:
        raise InputError(f"the images of {run.info.data} have no labels, got label {text!r}; leave it out.")
    raise unknown_name("label", text, names)


def in_file_name(run: Run, label: int) -> str:
    """Return the name of a class as file names have it: other characters than letters and digits become -."""
    names = class_names(run)
    name = re.sub(r"[^\w.]+", "-", names[label]).strip("-.") if 0 <= label < len(names) else ""
    return name[:_LONGEST] or str(label)


def given_labels(run: Run, labels: Labels | None, n: int) -> Tensor | None:
    """Return the labels of n images for the model, int64 (n,), of one label for all, or of one for each.

    Raises: InputError for labels given to a run that takes none, or none to one that does, and for labels that are
        no class.
    """
    embedding = run.model.labels
    if embedding is None:
        if labels is not None:
            raise InputError(
                f"{run.name} is not conditional: it encodes and decodes without labels, got some; leave them out."
            )
        return None
    if labels is None:
        raise InputError(
            f"{run.name} is conditional and needs the label of each image; give it (labels, --label): one of "
            f"{_some(class_names(run))}, or one for each image."
        )
    if isinstance(labels, str | int | Integral):
        found = torch.full((n,), find_label(run, cast("Label", labels)))
    elif isinstance(labels, Sequence) and any(isinstance(one, str) for one in labels):
        found = torch.tensor([find_label(run, one) for one in labels])
    else:
        found = as_tensor(labels, "labels")
    return embedding.checked(found, n)


def taken(run: Run, split: Split) -> Tensor | None:
    """Return the labels of images of the run's data if its model takes any, else None."""
    return None if run.model.labels is None else split.labels


def _some(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + ", ..." * (len(names) > most)
