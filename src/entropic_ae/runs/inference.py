"""What a run does with images, codes and labels: encode, decode, reconstruct, interpolate, sample, score, edit."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, cast

from PIL import Image
from torch import Tensor

from entropic_ae import generation
from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.data import Given, images_for
from entropic_ae.densities import Density
from entropic_ae.errors import InputError
from entropic_ae.runs.editing import direction, edit
from entropic_ae.runs.fitting import default_density
from entropic_ae.runs.images import Cuts, fit_of
from entropic_ae.runs.labels import Label, Labels, class_names, either_spelling, find_label, given_labels
from entropic_ae.runs.scoring import Anomalies, Scores, compared, score, validation_scores

if TYPE_CHECKING:
    from entropic_ae.runs.run import Run

__all__ = ["Images", "Inference"]

Images = str | Path | Image.Image | Given


class Inference:
    """The methods of a ``Run`` that use its model.

    A conditional run, such as one of ``c-eae``, needs ``labels`` wherever it encodes or decodes: one for all
    images or one for each, (N,), as numbers of classes or as their names. Other runs take none. InputError tells
    if they are missing, are no class, or are not taken. ``label`` and ``labels`` are spellings of one argument:
    every method takes both.
    """

    @property
    def _run(self) -> Run:
        return cast("Run", self)  # the only class derived from this one

    @either_spelling
    def encode(self, images: Images, *, labels: Labels | None = None, transported: bool = True) -> Tensor:
        """Return the codes, (N, D) float32, of images.

        Arguments:
            images: one or several, as uint8 (N, C, H, W) or in any other form: floats in [0, 1] (or in the run's
                ``value_range``), with the channel last, or without one if they are grey; a PIL image or a path, or
                a list of either, each fitted to the run's size as in training; a folder or a file of arrays, as
                for ``load_images``, in the order of its names; a data set of PyTorch or ``datasets``. One warning
                tells of images of which much is cut off or lost.
            labels: of a conditional run, see the class.
            transported: False gives the codes before the run's transport, if it has one: for any other use of
                codes than drawing and comparing with the prior, such as telling classes apart.

        Raises: InputError for arrays of another size or range, and for images that cannot be read.
        """
        images = self._check(images)
        labels = given_labels(self._run, labels, len(images))
        with nullcontext() if transported else generation.without_transport(self._run.model):
            return generation.encode(self._run.model, images, labels)

    @either_spelling
    def decode(self, codes: ArrayLike, *, labels: Labels | None = None, transported: bool = True) -> Tensor:
        """Return the images, uint8 (N, C, H, W), of finite codes, (N, D), a tensor or an array.

        With ``transported=False`` they are codes before the run's transport, as ``encode`` gives them.
        """
        codes = as_tensor(codes, "decode").float()
        if codes.dim() != 2 or codes.shape[1] != self._run.system.preset.latent_dim:
            raise InputError(
                f"expected codes (N, {self._run.system.preset.latent_dim}), got shape {tuple(codes.shape)}."
            )
        if not bool(codes.isfinite().all()):
            raise InputError("expected codes that are finite, got NaN or infinity.")
        labels = given_labels(self._run, labels, len(codes))
        with nullcontext() if transported else generation.without_transport(self._run.model):
            return generation.decode(self._run.model, codes, labels)

    @either_spelling
    def reconstruct(self, images: Images, *, labels: Labels | None = None) -> Tensor:
        """Encode and decode images, given as to ``encode``: uint8 (N, C, H, W)."""
        images = self._check(images)
        return generation.reconstruct(self._run.model, images, given_labels(self._run, labels, len(images)))

    @either_spelling
    def interpolate(
        self,
        start: Images,
        end: Images,
        *,
        steps: int = 8,
        kind: str = "spherical",
        labels: Labels | None = None,
        end_labels: Labels | None = None,
    ) -> Tensor:
        """Decode interpolated codes between pairs of images, given as to ``encode``: uint8 (N, steps, C, H, W).

        A conditional run decodes the first half of a row with the label of its start, the other with that of its
        end, ``end_labels``.
        """
        start, end = self._check(start), self._check(end)
        return generation.interpolate(
            self._run.model,
            start,
            end,
            steps=steps,
            kind=kind,
            labels=given_labels(self._run, labels, len(start)),
            end_labels=given_labels(self._run, end_labels, len(end)),
        )

    @either_spelling
    def walk(
        self,
        n: int = 8,
        *,
        frames: int = 16,
        images: Images | None = None,
        density: str | Density | None = None,
        kind: str | None = None,
        labels: Labels | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Decode a closed walk through codes, for ``save_animation``: uint8 (n * frames, C, H, W).

        Arguments:
            n: number of codes, at least 2; with images, their number.
            frames: images from each code to the next.
            images: walk through their codes, given as to ``encode``; default: through draws from the density.
            density: as for ``sample``.
            kind: linear or spherical, see ``mix_codes``; default: spherical for a normal prior and on the sphere.
            labels: of the codes, for a conditional run, one for all or one for each; frames between two codes take
                the label of the nearer one.
            seed: of the draws.
        """
        if images is not None:
            images = self._check(images)
        found = given_labels(self._run, labels, n if images is None else len(images))
        if images is not None:
            codes = generation.encode(self._run.model, images, found)
        else:
            given = density if isinstance(density, Density) else None
            codes = (given or self._run.density(str(density or default_density(self._run)))).sample(n, seed=seed)
        kind = kind or generation.interpolation_for(self._run.model)
        path = generation.walk_codes(codes, frames, kind, prior=self._run.model.bottleneck.prior())
        if found is not None:
            found = found.repeat_interleave(frames).roll(-(frames // 2))
        return self.decode(path, labels=found)

    @either_spelling
    def sample(
        self,
        n: int,
        *,
        density: str | Density | None = None,
        label: Labels | None = None,
        seed: int = 0,
        rounds: int = 0,
    ) -> Tensor:
        """Draw n new images, uint8 (n, C, H, W); the same seed gives the same images.

        In each of the ``rounds`` they are encoded and decoded again, see ``generation.sample``.

        The density is a name, or a ``Density`` that was fitted by hand, as to the codes of chosen images:
        ``Gaussian.fit(run.encode(images), run.model.bottleneck.prior())``. The default is the recipe's density:
        the prior for eae and the variational systems, the mixture for systems whose codes follow no prior.

        The label is the number of a class, or its name. A conditional run decodes the same codes as that class;
        without a label, with the labels ``draw_labels(n, seed=seed)``, and it takes a label for each image, too.
        For other runs the density is fitted to the codes of the training images of that label, so the images are
        new ones of it; the model is the same. The default density is then the recipe's first that is fitted.
        """
        if self._run.model.labels is not None:
            if not isinstance(density, Density):
                density = self._run.density(density or default_density(self._run))
            labels = self.draw_labels(n, seed=seed) if label is None else given_labels(self._run, label, n)
            return generation.sample(self._run.model, density, n, seed=seed, labels=labels, rounds=rounds)
        one = None if label is None else find_label(self._run, cast("Label", label))
        if not isinstance(density, Density):
            density = self._run.density(density or default_density(self._run, one), label=one)
        elif label is not None:
            raise InputError("a density that is given is not fitted again; give its name with a label.")
        return generation.sample(self._run.model, density, n, seed=seed, rounds=rounds)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes by number; numbers where they have none, and () without labels.

        Raises: InputError if run.json does not tell, and the training images are missing.
        """
        return class_names(self._run)

    def draw_labels(self, n: int, *, seed: int = 0) -> Tensor:
        """Return the labels, int64 (n,), that ``sample`` draws for a conditional run with this seed.

        They have the frequencies of the training images. Raises: InputError for a run that takes no labels.
        """
        if self._run.model.labels is None:
            raise InputError(f"{self._run.name} is not conditional: its samples have no labels of their own.")
        return self._run.model.labels.draw(n, seed=seed)

    @either_spelling
    def score(
        self, images: Images, *, density: str | Density | None = None, labels: Labels | None = None
    ) -> Scores:
        """Score how unusual images, given as to ``encode``, are: reconstruction error, and likelihood of the code.

        The density is the recipe's by default, as for ``sample``. Raises: InputError for one without a likelihood.
        """
        images = self._check(images)
        return score(self._run, images, density, given_labels(self._run, labels, len(images)))

    @either_spelling
    def anomalies(
        self,
        images: Images,
        *,
        density: str | Density | None = None,
        reference: Images | None = None,
        labels: Labels | None = None,
        reference_labels: Labels | None = None,
    ) -> Anomalies:
        """Compare the scores of images with those of ordinary ones: both scores, their surprise, and its p-value.

        Arguments:
            images: as for ``encode``.
            density: as for ``score``.
            reference: ordinary images, which the model was not trained on, at least 20; default: the run's
                validation images. Their scores are computed once for each density by name.
            labels, reference_labels: of a conditional run, see the class.

        Raises: InputError as ``score``; for too few ordinary images, or validation images that are missing.
        """
        scores = self.score(images, density=density, labels=labels)
        if reference is not None:
            return compared(scores, self.score(reference, density=density, labels=reference_labels))
        return compared(scores, validation_scores(self._run, density, self._run._ordinary))

    def direction(self, toward: Label, *, away: Label | None = None, transported: bool = True) -> Tensor:
        """Return the direction between two classes in the space of the codes, (D,) float32.

        It is the mean code of the training images of one label, less that of another; by default, less that of all
        other images. With a transport it is a direction of the mapped codes, with ``transported=False`` one of the
        codes before the map.

        Raises: InputError for a conditional run, whose decoder takes the label; for a label without training
            images; and if the training images or their labels are missing.

        Reference: Larsen et al., "Autoencoding beyond pixels using a learned similarity metric", 2016, section
        4.2, https://arxiv.org/abs/1512.09300.
        """
        return direction(self._run, toward, away, transported=transported)

    @either_spelling
    def edit(
        self,
        images: Images,
        toward: Label,
        *,
        away: Label | None = None,
        strength: float = 1.0,
        labels: Labels | None = None,
    ) -> Tensor:
        """Change images, given as to ``encode``, toward a class, and return them as uint8 (N, C, H, W).

        Codes move along ``direction(toward, away=away)``: by 1 the mean code of one class becomes that of the
        other, by 0 images are reconstructed, and negative strengths lead away. With a transport they are the codes
        before the map, in which classes lie closer together. A conditional run encodes images
        with their ``labels`` and decodes the codes with the other label, which has no strength.

        Raises: InputError, see ``direction``.
        """
        return edit(self._run, self._check(images), toward, away, strength, labels)

    def _check(self, images: Images) -> Tensor:
        cuts = Cuts(self._run.info)
        found = images_for(fit_of(self._run.info), images, self._run.info.value_range, note=cuts)
        cuts.warn()
        return found
