"""Queries of the page to a run. Expensive results are cached in memory; access is thread-safe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from threading import RLock
from typing import Any, NamedTuple

import torch
from torch import Tensor

from entropic_ae.data import fit_image
from entropic_ae.densities import DENSITIES, Density
from entropic_ae.errors import InputError
from entropic_ae.evaluation import map_codes
from entropic_ae.explore.codes import PrincipalAxes, norm_percentile, principal_axes, walk, within
from entropic_ae.features import Features, load_features
from entropic_ae.metrics import nearest_neighbours, reconstruction_error
from entropic_ae.priors import Alphabet, as_prior
from entropic_ae.randomness import generator
from entropic_ae.runs import Run
from entropic_ae.runs.images import fit_of
from entropic_ae.runs.labels import taken
from entropic_ae.storage.run_folder import density_file

__all__ = ["CodeMap", "Explorer", "Nearest", "Reconstruction"]

_CODES = 10_000  # training codes for the axes, and draws from the prior for percentiles
_AXES = 8
_MAPPED = 2000  # codes of the map
_SOME = 200  # held-out images whose distances from training images are shown
_CHUNK = 10_000  # training images that are searched at once


class Reconstruction(NamedTuple):
    """An image, its reconstruction, and how typical its code is.

    Attributes:
        image, x_hat, difference: uint8 (C, H, W), the last one absolute.
        error: squared, summed over the image, pixels in [0, 1].
        norm: of the code.
        prior: percentage of draws from the prior with a smaller norm.
        training: the same for the codes of the axes; None before the axes are computed.

    >>> Reconstruction._fields[3:]
    ('error', 'norm', 'prior', 'training')
    """

    image: Tensor
    x_hat: Tensor
    difference: Tensor
    error: float
    norm: float
    prior: float
    training: float | None


class Nearest(NamedTuple):
    """The nearest training images of samples, by Euclidean distances of pixels in [0, 1].

    Large images are averaged down to at most 1,024 values first, as in the feature space ``pixels``.

    Attributes:
        images: the nearest training image of each sample, uint8 (N, C, H, W).
        distances: between the two, (N,).
        held_out: the least, the median and the largest distance of 200 test images at most.

    >>> Nearest._fields
    ('images', 'distances', 'held_out')
    """

    images: Tensor
    distances: list[float]
    held_out: tuple[float, float, float]


class CodeMap(NamedTuple):
    """Codes of test images in two dimensions.

    Attributes:
        numbers: of the test images.
        labels: of these images, or None.
        found: the result of ``evaluation.map_codes``.

    >>> CodeMap._fields
    ('numbers', 'labels', 'found')
    """

    numbers: list[int]
    labels: list[int] | None
    found: dict[str, Any]


class Explorer:
    """The queries of the page to a run.

    Attributes:
        run: the run, permanently in evaluation mode.
        missing: why the run's images are missing, or None if they are available.

    >>> import tempfile
    >>> from entropic_ae.runs import train
    >>> small, out = {"width": 2}, tempfile.mkdtemp()
    >>> run = train("eae", "digits", epochs=1, set=small, out=out, device="cpu", progress=False)
    >>> explorer = Explorer(run)
    >>> explorer.title, explorer.subtitle
    ('eae on digits', '8 x 8 pixels, grey · codes of 8 numbers · 1,077 training images')
    >>> explorer.sample("gaussian", 3, seed=0).shape
    torch.Size([3, 1, 8, 8])
    >>> explorer.walk([0.0, 1.5]).shape
    torch.Size([1, 8, 8])
    """

    def __init__(self, run: Run) -> None:
        # generation switches the mode back and forth: one thread would decode in the training mode of another
        run.model.eval()
        self.run = run
        self.missing: str | None = None
        self._densities: dict[str, Density] = {}
        self._axes: tuple[PrincipalAxes, Tensor, str] | None = None
        self._directions: dict[int, Tensor] = {}
        self._maps: dict[str, CodeMap] = {}
        self._lock = RLock()  # for cached results, and for PyTorch's generator, which all threads share
        try:
            _ = run.data
        except (InputError, OSError) as error:
            self.missing = str(error)

    @property
    def title(self) -> str:
        """Return the recipe and the data."""
        return self.run.info.title

    @property
    def subtitle(self) -> str:
        """Return the sizes of images and codes, and the number of training images."""
        channels, height, width = self.run.shape
        colour = "grey" if channels == 1 else "colour"
        count = self.run.info.training_images
        trained = f" · {count:,} training images" if count else ""
        return f"{width} x {height} pixels, {colour} · codes of {self.latent_dim} {self._values}{trained}"

    @property
    def _values(self) -> str:
        """Return what the values of a code are."""
        prior = as_prior(self.run.model.bottleneck.prior())
        if not isinstance(prior, Alphabet):
            return "numbers"
        return f"numbers ({prior.entropy().item() / math.log(2):.0f} bits)"

    @property
    def latent_dim(self) -> int:
        """Return the length D of a code."""
        return self.run.system.preset.latent_dim

    @property
    def test_images(self) -> int:
        """Return the number of test images; 0 if the run's images are missing."""
        return 0 if self.missing else len(self.run.data.test.images)

    def test_image(self, number: int) -> Tensor:
        """Return a test image by number, uint8 (C, H, W); InputError if there is none of that number."""
        if not 0 <= number < self.test_images:
            raise InputError(f"test images are numbered from 0 to {self.test_images - 1}, got {number}.")
        return self.run.data.test.images[number]

    def label_of(self, number: int) -> int | None:
        """Return the class of a test image, None without labels."""
        labels = self.run.data.test.labels
        return None if labels is None else int(labels[number])

    def named(self, number: int) -> str:
        """Return the name of a test image, with its label if it has one."""
        label = self.label_of(number)
        return f"test image {number}" + ("" if label is None else f", label {self.run.classes[label]}")

    @property
    def conditional(self) -> bool:
        """Return whether the model takes the label of each image."""
        return self.run.model.labels is not None

    def classes(self) -> dict[int, str]:
        """Return the names of the classes by number; empty without labels, or if the images are missing."""
        if self.missing and not self.conditional:
            return {}
        return dict(enumerate(self.run.classes))

    def fit(self, content: bytes) -> Tensor:
        """Decode an image file and fit it to the run, uint8 (C, H, W); see ``fit_image``."""
        return fit_image(content, fit_of(self.run.info))

    def densities(self) -> dict[str, str]:
        """Return the available densities, the recipe's own first, each with the work that it needs before a draw.

        A density saved in the run folder needs none, ""; others can be fitted if the run's images are available.
        """
        own = self.run.system.recipe.density
        discrete = self.run.model.bottleneck.is_discrete  # whose own densities are of no other codes
        fit = (name for name, kind in DENSITIES.items() if discrete or not kind.is_discrete)
        names = sorted(fit, key=lambda name: name != own)
        return {name: work for name in names if (work := self._work(name)) is not None}

    def _work(self, name: str) -> str | None:
        if self.missing:
            try:
                self.density(name)
            except (InputError, OSError):
                return None
            return ""
        kept = (self.run.folder / density_file(name)).is_file()
        if kept or name in self._densities or not DENSITIES[name].needs_codes:
            return ""
        return "trained first, in minutes" if name == "second-stage" else "fitted first"

    def density(self, name: str) -> Density:
        """Return a density by name, fitted if need be; InputError if it is unknown or cannot be fitted."""
        with self._lock:
            if name not in self._densities:
                self._densities[name] = self.run.density(name)
            return self._densities[name]

    def sample(self, name: str, n: int, *, seed: int, label: int | None = None) -> Tensor:
        """Draw n images from a density, uint8 (n, C, H, W), the same as ``Run.sample``.

        A label is for conditional runs, which draw labels without one.
        """
        if self.conditional:
            labels = self.run.draw_labels(n, seed=seed) if label is None else label
            return self.run.decode(self._draw(name, n, seed), labels=labels)
        return self.run.decode(self._draw(name, n, seed))

    def _taken(self, label: int | None) -> int | None:
        """Return a label if the model takes any."""
        return label if self.conditional else None

    def _draw(self, name: str, n: int = _CODES, seed: int = 0) -> Tensor:
        with self._lock:
            return self.density(name).sample(n, seed=seed)

    @cached_property
    def _prior_codes(self) -> Tensor:
        return self._draw("prior")

    @property
    def ready(self) -> bool:
        """Return whether the axes are in memory."""
        return self._axes is not None

    def axes(self) -> tuple[PrincipalAxes, str]:
        """Return the first principal axes of the codes, and a description of these codes.

        The codes are those of the first 10,000 training images; if the images are missing, 10,000 draws from a
        saved density of their codes.

        Raises: InputError if there is neither.
        """
        with self._lock:
            if self._axes is None:
                codes, source = self._codes()
                self._axes = principal_axes(codes, _AXES), codes, source
            return self._axes[0], self._axes[2]

    def _codes(self) -> tuple[Tensor, str]:
        if not self.missing:
            some = self.run.data.train.at(slice(_CODES))
            codes = self.run.encode(some.images, labels=taken(self.run, some))
            return codes, f"{len(codes):,} training codes"
        fitted = [name for name in self.densities() if DENSITIES[name].needs_codes]
        if not fitted:
            raise InputError(
                "the training images are missing, and the run folder holds no density fitted to their codes."
            )
        name = "gaussian" if "gaussian" in fitted else fitted[0]  # it has the exact covariance
        return self._draw(name), f"{_CODES:,} draws from the density {name}"

    def walk(
        self,
        steps: Sequence[float],
        start: Tensor | None = None,
        *,
        start_label: int | None = None,
        label: int | None = None,
        toward: tuple[int, float] | None = None,
    ) -> Tensor:
        """Decode the code at given steps along the principal axes from a start, to uint8 (C, H, W).

        Arguments:
            steps: distances along the first axes, in standard deviations.
            start: image, uint8 (C, H, W), whose code is the start; the default is the mean code.
            start_label, label: for a conditional run, the class of the start, and that of the result.
            toward: for other runs, a class and how far to move toward it; see ``Run.edit``.
        """
        axes, _ = self.axes()
        begin = None
        if start is not None:
            begin = self.run.encode(start[None], labels=self._taken(start_label))[0]
        code = walk(axes, torch.tensor([list(steps)]), begin)
        if toward is not None and toward[1] != 0:
            code = self._moved(code, *toward)
        return self.run.decode(within(code, self.run.model.bottleneck.prior()), labels=self._taken(label))[0]

    def _moved(self, code: Tensor, toward: int, strength: float) -> Tensor:
        """Move codes, (N, D), toward a class, before the transport if there is one, as ``Run.edit`` does."""
        with self._lock:
            if toward not in self._directions:
                self._directions[toward] = self.run.direction(toward, transported=False)
            step = strength * self._directions[toward]
        if (transport := self.run.transport) is None:
            return code + step
        device = next(self.run.model.parameters()).device
        with torch.no_grad():
            start = transport.inverse(within(code, self.run.model.bottleneck.prior()).to(device))
            moved: Tensor = transport(start + step.to(device))
        return moved.cpu()

    def reconstruct(self, image: Tensor, label: int | None = None) -> Reconstruction:
        """Encode and decode an image, uint8 (C, H, W), with its label if the run is conditional."""
        label = self._taken(label)
        code = self.run.encode(image[None], labels=label)
        x_hat = self.run.decode(code, labels=label)[0]
        return Reconstruction(
            image,
            x_hat,
            (image.int() - x_hat.int()).abs().to(torch.uint8),
            reconstruction_error(image[None], x_hat[None]),
            code.norm().item(),
            norm_percentile(code[0], self._prior_codes),
            None if self._axes is None else norm_percentile(code[0], self._axes[1]),
        )

    def nearest(self, samples: Tensor) -> Nearest:
        """Find the nearest training image of each sample, uint8 (N, C, H, W); InputError without the images."""
        self._check_images()
        with self._lock:
            distances, index = self._search(self._pixels(samples))
            return Nearest(self.run.data.train.images[index], distances.tolist(), self._held_out)

    @cached_property
    def _pixels(self) -> Features:
        return load_features("pixels", self.run.data)

    @cached_property
    def _held_out(self) -> tuple[float, float, float]:
        distances, _ = self._search(self._pixels(self.run.data.test.images[:_SOME]))
        return distances.min().item(), distances.median().item(), distances.max().item()

    def _search(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distances to the nearest training images, (N,), and the numbers of these."""
        best, index = (
            torch.full((len(features),), torch.inf, dtype=torch.float64),
            torch.zeros(len(features)).long(),
        )
        for i, chunk in enumerate(self.run.data.train.images.split(_CHUNK)):
            found = nearest_neighbours(features, self._pixels(chunk))
            nearer = found.distances < best
            best[nearer], index[nearer] = found.distances[nearer], found.indices[nearer] + i * _CHUNK
        return best, index

    def _check_images(self) -> None:
        if self.missing:
            raise InputError(f"the run's images are missing: {self.missing}")

    def map(self, method: str = "pca") -> CodeMap:
        """Place the codes of 2,000 test images at most in two dimensions; InputError without the images.

        Arguments:
            method: one of ``evaluation.map_methods()``.
        """
        self._check_images()
        with self._lock:
            if method not in self._maps:
                test = self.run.data.test
                some = torch.randperm(len(test.images), generator=generator(0))[:_MAPPED].sort().values
                codes = self.run.encode(test.images[some], labels=taken(self.run, test.at(some)))
                prior = self.run.model.bottleneck.prior()
                labels = None if test.labels is None else test.labels[some].tolist()
                self._maps[method] = CodeMap(some.tolist(), labels, map_codes(codes, prior, method=method))
            return self._maps[method]

    def interpolate(
        self,
        start: Tensor,
        end: Tensor,
        *,
        steps: int,
        kind: str,
        labels: tuple[int | None, int | None] = (None, None),
    ) -> Tensor:
        """Decode interpolated codes between two images, (C, H, W), with their labels: uint8 (steps, C, H, W)."""
        first, last = map(self._taken, labels)
        ends = {"labels": first, "end_labels": last}
        return self.run.interpolate(start[None], end[None], steps=steps, kind=kind, **ends)[0]
