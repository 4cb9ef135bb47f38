"""run.json: the settings and origin of a run, checked and parsed once when it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["INFO", "IN_MEMORY", "Expanded", "RunInfo"]

IN_MEMORY = "an array in memory"  # the source of images without a name or path

# A type stands for itself, and ``float`` for any number; a tuple holds alternatives. A list of one item specifies
# every element, a longer list each element in turn. A dictionary specifies its keys: "*" is any key, and one that
# ends in "?" is optional.
INFO: dict[str, Any] = {
    "recipe": str,
    "summary?": str,
    "preset": str,
    "data": str,
    "source": str,
    "image_size": (int, None),
    "limit": (int, None),
    "value_range?": ([float, float], None),
    "seed": int,
    "start_from?": {"run": str, "weights_sha256": str},
    "precision?": str,
    "compiled?": bool,
    "size?": str,
    "overrides": {"*": (str, float, bool)},
    "fitted?": [str],
    "expanded": {
        "encoder?": str,
        "bottleneck": str,
        "decoder?": str,
        "terms": [str],
        "densities": [str],
        "settings": {"*": (str, float, bool)},
    },
    "shape": [int, int, int],
    "white?": int,
    "classes?": {"names": [str], "images": [int], "labels_sha256": str},
    "training_images?": int,
    "training_images_sha256?": str,
    "stopped?": {"epoch": int, "steps": int, "reason": str, "rule?": str},
    "device?": str,
    "machine?": {"*": (str, int)},
    "versions": {"*": str},
    "git_commit?": (str, None),
    "imports?": [str],
    "reference?": str,
    "density?": str,
}


@dataclass(frozen=True, eq=False, repr=False)
class _Json(dict[str, Any]):
    """A JSON object as stored in a file, with its known values also as attributes; ``replace`` refuses it."""

    content: InitVar[Mapping[str, Any]]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """Return the object with its attributes; a value that the file lacks has the default of its field."""
        return cls(content, **{one.name: content[one.name] for one in fields(cls) if one.name in content})

    def __post_init__(self, content: Mapping[str, Any]) -> None:
        self.update(content)


@dataclass(frozen=True, eq=False, repr=False)
class Expanded(_Json):
    """The expanded recipe: the names of its classes, and every setting."""

    bottleneck: str = ""
    terms: Sequence[str] = ()
    densities: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class RunInfo(_Json):
    """run.json by attribute; as a dictionary it equals the JSON exactly, so ``info["recipe"]`` works too.

    A field that an older version did not write has its default as an attribute, and is missing in the dictionary.

    Attributes:
        recipe, preset, image_size, limit, seed, precision, compiled: the arguments of ``train``.
        value_range: the argument of ``train``; None, and missing in the file, for uint8.
        start_from: the argument of ``train`` as ``run``, and the digest of that run's weights as
            ``weights_sha256``; None, and missing in the file, for a run from initial weights.
        data, source: name of the data, and the argument with which ``load_images`` finds them again.
        shape: (C, H, W) of the images.
        white: the value of the files that became 255; None for images of 8 bits.
        classes: of data with labels, the ``names`` of the classes, the number of training ``images`` of each, and
            the digest of the labels as ``labels_sha256``; None, and missing in the file, without labels.
        size: the argument of ``train``; None, and missing in the file, without one.
        overrides: the changed settings.
        fitted: names of those that the device and the images decided.
        expanded: the recipe with all settings.
        summary, reference, density: of the recipe; empty if unknown.
        training_images: number of training images; 0 if unknown.
        training_images_sha256: their digest; empty if unknown.
        stopped: the last ``epoch``, the optimiser ``steps``, the ``reason`` and the ``rule`` (the setting that was
            met) of a training that ended early; None, and missing in the file, for any other.
        device, machine, versions, git_commit: of the training.
        imports: modules that register custom pieces.

    >>> content = {"recipe": "eae", "preset": "digits", "data": "digits", "source": "digits", "shape": [1, 8, 8]}
    >>> info = RunInfo.of(content)
    >>> info.recipe, info["recipe"], info.precision, info == content
    ('eae', 'eae', '32', True)
    """

    recipe: str
    preset: str
    data: str
    source: str
    shape: tuple[int, int, int]
    white: int | None = None
    image_size: int | None = None
    limit: int | None = None
    value_range: tuple[float, float] | None = None
    seed: int = 0
    start_from: Mapping[str, str] | None = None
    classes: Mapping[str, Any] | None = None
    precision: str = "32"
    compiled: bool = False
    size: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    fitted: Sequence[str] = ()
    summary: str = ""
    reference: str = ""
    density: str = ""
    expanded: Expanded = field(default_factory=lambda: Expanded.of({}))
    training_images: int = 0
    training_images_sha256: str = ""
    stopped: Mapping[str, Any] | None = None
    device: str = ""
    machine: Mapping[str, str | int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    imports: Sequence[str] = ()

    def __post_init__(self, content: Mapping[str, Any]) -> None:
        super().__post_init__(content)
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.value_range is not None:
            object.__setattr__(self, "value_range", tuple(self.value_range))
        object.__setattr__(self, "expanded", Expanded.of(self.expanded))

    @property
    def title(self) -> str:
        """The recipe and the data, for a title."""
        return f"{self.recipe} on {self.data}"

    @property
    def waits_for_averages(self) -> bool:
        """Whether running averages followed the training from 0 or 1: not another run's, nor estimated anew."""
        settings = self.expanded.settings
        return self.start_from is None and not settings.get("ema") and not settings.get("statistics_batches")
