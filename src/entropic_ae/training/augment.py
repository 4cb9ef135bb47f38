"""Augmentation: random changes of training images, drawn for each image and epoch."""

from __future__ import annotations

from entropic_ae.errors import InputError, unknown_name

__all__ = ["AUGMENTATIONS", "NONE", "augmentations"]

NONE, _PLUS = "none", "+"
AUGMENTATIONS = ("mirror", "shift", "crop")


def augmentations(text: str) -> tuple[str, ...]:
    """Return the names in a setting ``augment``, in the order in which they are applied; none for ``none``.

    Raises: InputError for an unknown name, or one that is given twice.

    >>> augmentations("crop+mirror"), augmentations("none")
    (('mirror', 'crop'), ())
    """
    if text == NONE:
        return ()
    names = [name.strip() for name in text.split(_PLUS)]
    for name in names:
        if name and name not in AUGMENTATIONS:
            raise unknown_name("augmentation", name, AUGMENTATIONS)
    if not all(names) or len({*names}) < len(names):
        raise InputError(
            f"augment expects different names joined by {_PLUS}, such as mirror{_PLUS}shift, or {NONE}, "
            f"got {text!r}."
        )
    return tuple(name for name in AUGMENTATIONS if name in names)
