"""A run: a trained system with its folder, to use, to measure and to share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from entropic_ae import generation, sharing
from entropic_ae.densities import DENSITIES, Density
from entropic_ae.errors import InputError
from entropic_ae.export import check_export, export_model
from entropic_ae.recipes import Scalar
from entropic_ae.runs import transporting
from entropic_ae.runs.drawing import draw
from entropic_ae.runs.fitting import fitted
from entropic_ae.runs.inference import Inference
from entropic_ae.runs.labels import Label, either_spelling, find_label
from entropic_ae.runs.measuring import judged, measure
from entropic_ae.runs.showing import as_html, show
from entropic_ae.runs.stored import StoredRun
from entropic_ae.transports import Transport
from entropic_ae.verdict import Verdict

__all__ = ["Run"]


class Run(Inference, StoredRun):
    """A trained system with its folder. Made by ``train`` and ``load``.

    Attributes:
        folder: the run folder; for a run on the Hub, its folder in the Hub's cache.
        origin: ``hf:owner/name`` of a run on the Hub, ``example:NAME`` of an example, else None. Nothing is
            written into the folder of either: fitted densities stay in memory, metrics are returned only.
        files: the files of the folder.
        info: run.json, by attribute and by key.
        system: the recipe on its preset, with settings.
        model: the autoencoder, with the weights of the lowest validation loss, on its device. Results of a model
            that was changed in memory are returned, and never saved as the folder's.
        overview: what its training was understood to be, of a run from ``train``; else None.

    >>> import tempfile
    >>> from entropic_ae import train
    >>> small = {"width": 2}
    >>> run = train("eae", "digits", epochs=1, set=small, out=tempfile.mkdtemp(), device="cpu", progress=False)
    >>> run.encode(run.data.test.images).shape
    torch.Size([360, 8])
    """

    @property
    def verdict(self) -> Verdict | None:
        """What the metrics of the weights mean, in words, and the next command; None before ``evaluate``."""
        return judged(self)

    @property
    def codes(self) -> tuple[Tensor, Tensor | None]:
        """The codes of the training images, (N, D) float32, and their posteriors' standard deviations or None.

        They are computed once for the weights in memory.
        """
        weights = self.weights_sha256()
        if self._codes is None or self._codes[0] != weights:
            self._codes = weights, generation.encode_posterior(self.model, *self.data.train)
        return self._codes[1]

    @property
    def transport(self) -> Transport | None:
        """The transport of the codes to the prior, or None."""
        return transporting.transport_of(self.model)

    def fit_transport(self, kind: str = "mixture", *, seed: int | None = None, **settings: Scalar) -> Transport:
        """Fit an invertible map between the codes and the prior, and keep it in the folder as part of the model.

        From then on ``encode`` gives codes u that follow the prior as well as the map fits, and every decoding
        maps them back first. Densities are fitted again; metrics and pictures of before no longer apply. Codes
        with posteriors: the map is fitted to samples of them, and maps the means. See ``Transported``.

        Arguments:
            kind: a name in ``TRANSPORTS``.
            seed: of the fit; default: the run's own.
            settings: of the fit, such as ``components=50``; see the class of the transport.

        Returns: the transport; its ``log_prob(z)`` is the exact log likelihood of codes before the map.

        Raises: InputError for an unknown transport or setting, missing training images, or a prior
            without normal scores. For a run on the Hub and for changed weights, the transport is kept in memory.
        """
        return transporting.fit_transport(self, kind, self.info.seed if seed is None else seed, settings)

    def remove_transport(self) -> None:
        """Remove the transport, from the folder too."""
        transporting.remove_transport(self)

    @either_spelling
    def density(self, name: str, *, label: Label | None = None) -> Density:
        """Return a density by name: read from the folder, or fitted to the training codes once and saved.

        With a label it is fitted to the codes of the training images of that label alone.

        It is saved in the folder; for a run on the Hub, and (with a warning) for weights that are not the
        folder's, it is cached in memory.

        Raises: InputError for an unknown name, or if it must be fitted and the training images are missing; with a
            label also if the images have no labels, fewer than two have this one, or the density is not fitted.
        """
        return fitted(self, name, None if label is None else find_label(self, label), self._fitted)

    def export(
        self, to: str = "onnx", *, out: str | Path | None = None, densities: Sequence[str] | None = None
    ) -> dict[Path, float | None]:
        """Write encoder, decoder and samplers for use without this library; see ``export.export_model``.

        Arguments:
            to: onnx, or safetensors, which hold no samplers.
            out: a folder that is missing or empty; default: RUN/onnx or RUN/safetensors, which is replaced. A
                model that was changed in memory needs one: its files have a digest of its own as
                ``weights_sha256``, and that of the run's weights as ``changed_from``.
            densities: names of the densities to export a sampler for; default: those of the recipe that can have
                one. All but the prior are fitted to the training codes first, if need be.

        Returns: by file, the largest difference from PyTorch, or None if it was not compared.

        Raises: InputError if a package is missing, ``out`` is not empty, or the format cannot hold the model; also
            for a model that was changed in memory, without ``out``.
        """
        if out is None and self.origin is not None:
            raise InputError(
                f"{self.name} is read-only: nothing is written into its folder; give a folder (out, --out)."
            )
        about = {"weights_sha256": self.weights_sha256()}
        if self.is_changed:
            if out is None:
                raise InputError(f"{self._changed} its export needs a folder of its own; give one (out).")
            about["changed_from"] = str(self._weights)
        folder = self.folder / to if out is None else Path(out)
        check_export(to, densities, folder, overwrite=out is None)
        samplers = None
        if to == "onnx":
            own = self.system.recipe.densities
            names = [one for one in own if DENSITIES[one].has_sampler] if densities is None else densities
            samplers = {name: self.density(name) for name in names}
        return export_model(
            self.model,
            self.shape,
            folder,
            to=to,
            densities=samplers,
            about={"recipe": self.info.recipe, "data": self.info.data, **about},
            settings=self.system.settings(),
            overwrite=out is None,
        )

    def draw(self, *densities: str) -> None:
        """Write the run folder's pictures: samples of each density, reconstructions, interpolations, real images.

        They are not written, with a warning, for weights that are not the folder's.

        Raises: InputError for a run on the Hub.
        """
        draw(self, densities)

    def evaluate(
        self,
        *,
        features: str | Sequence[str] | None = None,
        n: int = 10_000,
        seed: int = 0,
        split: str = "test",
        densities: Sequence[str] | None = None,
        weights: str | Path | None = None,
        samples_only: bool = False,
        train_on_samples: bool = False,
        compile: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Measure the run against the test or validation images and add the metrics to metrics.json.

        The metrics are returned but not saved for a run on the Hub, and (with a warning) if the weights in memory
        are not the folder's: either may have changed since loading.

        The key of a result in metrics.json is its feature space, with `` (validation)`` appended for the
        validation images. Results of other weights, from before a resume, are dropped.

        Arguments:
            features: a feature space as for ``load_features``, or several; default: the preset's, and pixels.
            n: images from each density.
            seed: of all random draws.
            split: test, or validation to choose settings without reading any test image.
            densities: names of the densities to fit and measure; default: the recipe's.
            weights: those of the feature space, as for ``load_features``, if they cannot be downloaded.
            samples_only: measure only the distances of the densities; metrics.json is not changed.
            train_on_samples: add the classification accuracy score: what a classifier learns from samples of each
                label, see ``evaluation.classification_accuracy_score``. It takes minutes.
            compile: compile the encoder and the decoder first: for very many images on a GPU.
            tell: called with the name of each step before it starts.

        Returns: the result in the first space, see ``evaluation.evaluate_in``; in others, by name, in ``also``.

        Raises: InputError, see ``evaluation.evaluate_in`` and ``load_features``; also for an unknown density,
            before anything is computed.
        """
        return measure(
            self,
            features=features,
            n=n,
            seed=seed,
            split=split,
            densities=densities,
            weights=weights,
            samples_only=samples_only,
            train_on_samples=train_on_samples,
            compile=compile,
            tell=tell,
        )

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool = True,
        token: str | None = None,
        revision: str | None = None,
        message: str | None = None,
        license: str | None = None,
        include: Sequence[str] = (),
    ) -> str:
        """Push the run to the Hugging Face Hub in one commit, with a generated model card.

        Pushed are run.json, the weights, the fitted densities, metrics.json, log.csv and the pictures of samples.
        The recipe's density is fitted first, if need be, so that the run can be sampled without its data.
        Checkpoints, which are pickles, and other files of the folder are never pushed. **Pictures that show or
        follow real images** may be private, and are pushed only if listed in ``include``: held-out images,
        reconstructions, interpolations, and the report, which holds them and training images. Local paths are
        removed: custom data are identified by their name, which is looked up in the current folder when the run is
        used. The weights may have memorised training images.

        Arguments:
            repo: ``owner/name``, created if it does not exist.
            private: whether a new repository is private; an existing one is not changed.
            token: access token of the Hub with write permission; default: that of ``hf auth login`` or
                ``HF_TOKEN``.
            revision: a branch, created if it does not exist; default: the main branch.
            message: of the commit.
            license: identifier of the Hub for the card, such as ``mit``; default: none.
            include: files to push too, of real.png, reconstructions.png, interpolations.png, report.html.

        Returns: the address of the repository.

        Raises: InputError if the run was itself loaded from the Hub, the model was changed in memory, a file is
            missing or is a link out of the folder, or the Hub cannot be reached or refuses.

        >>> Run(Path("x"), None, None, None, origin="hf:owner/name").push_to_hub("owner/other")
        Traceback (most recent call last):
            ...
        entropic_ae.errors.InputError: hf:owner/name is read-only; load it with out=FOLDER to push it elsewhere.
        """
        if self.origin is not None:
            raise InputError(f"{self.name} is read-only; load it with out=FOLDER to push it elsewhere.")
        if self.is_changed:
            raise InputError(f"{self._changed} only the folder's can be pushed; load it again.")
        self.density(self.system.recipe.density)
        return sharing.push(
            self.folder,
            repo,
            private=private,
            token=token,
            revision=revision,
            message=message,
            license=license,
            include=include,
        )

    def show(self, n: int = 8, *, density: str | Density | None = None, seed: int = 0) -> Image.Image:
        """Return a picture of real validation images, their reconstructions and as many samples, a row each.

        A notebook shows it; elsewhere ``run.show().show()`` opens a window and ``.save("run.png")`` writes a file.
        Without the run's images there are samples alone, and a warning says why.

        Raises: InputError if n is below 1, or the density must be fitted and the run's images are missing.
        """
        return show(self, n, density, seed)

    def _repr_html_(self) -> str:
        """Return what a notebook shows of the run: a line, samples from seed 0, the verdict, the next command."""
        return as_html(self, self._fitted)
