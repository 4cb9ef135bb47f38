"""The entropic autoencoder as a scikit-learn estimator, for tables of numbers and flattened images."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from importlib import import_module
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.bottlenecks import BOTTLENECKS, Bottleneck
from entropic_ae.densities import DENSITIES, Density
from entropic_ae.errors import InputError, unknown_name
from entropic_ae.networks import ConvDecoder, ConvEncoder, Perceptron
from entropic_ae.randomness import check_seed, generator, seeded
from entropic_ae.terms import NegativeDiscreteEntropy, NegativeEntropy, Objective, SquaredError
from entropic_ae.training import Settings, fit

__all__ = ["EntropicAutoencoder"]

_STEPS = 500  # target number of minibatches if epochs is None
_FEWEST_EPOCHS, _MOST_EPOCHS = 10, 100
_FEWEST_HELD_OUT = 100  # rows; selecting weights on fewer is too noisy to be worth the training rows
_BATCH = 10_000  # rows at a time outside training
_DTYPES = (np.float64, np.float32)
_LEAST = {"n_components": 1, "hidden": 1, "depth": 1, "width": 1, "epochs": 1, "batch_size": 2}
_ROUNDINGS = 10  # epsilons, relative to the largest value of a column: smaller differences are rounding


class EntropicAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Scikit-learn transformer that encodes, reconstructs and samples rows of a table.

    Columns are standardised. An encoder maps a row to ``n_components`` values, a bottleneck fixes their mean and
    variance, and a decoder maps them back. Training minimises the squared error minus ``entropy`` times the
    entropy of the codes. This moves the codes to the bottleneck's prior, by default N(0, I), and ``sample``
    decodes draws from the prior. Encoder and decoder are perceptrons with a skip connection from the input to the
    output layer, so they can represent principal component analysis.

    With ``image_shape`` the rows are flattened images, as in scikit-learn's data sets. Encoder and decoder are
    then the paper's convolutional networks, and pixels are scaled to [0, 1] by the range of all training rows.
    After training, their batch norms use running averages, which need about 100 minibatches to converge.

    Columns that are constant up to rounding are ignored by ``transform`` and ``score``; reconstructions and
    samples contain the constant. Encode categories as numbers and impute missing values first.

    Arguments:
        n_components: length D of a code; may exceed the number of columns.
        entropy: weight of the entropy, in nats, relative to the squared error, summed over columns in standardised
            units (for images, in units of their range). 0 disables the term. A higher weight brings samples closer
            to the data at some cost in reconstruction.
        bottleneck: a name in ``BOTTLENECKS``, except the variational ones; ``identity`` does not bound the entropy
            and requires ``entropy=0``. Of ``binary`` and ``levels``, whose codes have few values, the entropy is
            that of ``NegativeDiscreteEntropy``.
        image_shape: (C, H, W) of the flattened images, C * H * W = F, sides up to 128; None for a table.
            Sides that are no multiples of 8 are padded with the lowest value inside the networks: 28 to 32.
        hidden, depth: units per hidden layer and number of hidden layers of encoder and decoder, for a table.
        width: channels of the first convolution, for images; the paper's 128 needs a GPU.
        epochs: passes over the rows; None chooses 10 to 100, to train on about 500 minibatches.
        batch_size: rows per minibatch, at least 2; if there are fewer rows, all of them.
        learning_rate: initial learning rate of Adam; halved when the validation loss has not fallen for a tenth of
            the epochs.
        validation_fraction: fraction of the rows held out to select the weights with the lowest loss. If that is
            fewer than 100 rows, too few for a reliable selection, all rows are used for both.
        random_state: seed of the weights, the held-out rows, the order of the rows and the samples. An int gives
            reproducible results, a ``numpy.random.RandomState`` is used to draw a seed, and None takes a new seed
            from the operating system. The global random state is never used.
        device: cpu, cuda or auto for training; small networks are as fast on a CPU. All else runs on the CPU.
        verbose: print one line per epoch to standard error.

    Attributes:
        embedding_: codes of the training rows, (N, D).
        model_: the ``Autoencoder`` of standardised rows, float64, in evaluation mode.
        mean_, scale_: offset and scale of the columns, (F,) float64: mean and standard deviation; for a constant
            column its value and 1; for images the minimum and the range of all pixels.
        varies_: mask of the columns that are not constant, (F,) bool.
        history_: one dict per epoch: each term in training and validation, entropy and learning rate.
        n_features_in_, feature_names_in_: F and, for a data frame, the names of the columns.

    Raises: InputError, a ValueError, from ``fit``: fewer than 2 rows, only constant columns, a parameter out of
        range, or a loss that is not finite.

    Reference: Ghose, Rashwan and Poupart, "Batch norm with entropic regularization turns deterministic
    autoencoders into generative models", 2020, section 3, https://arxiv.org/abs/2002.10631; here for rows of a
    table too.

    >>> from sklearn.datasets import load_iris
    >>> X = load_iris().data
    >>> model = EntropicAutoencoder(n_components=2, epochs=40, random_state=0).fit(X)
    >>> model.transform(X).shape
    (150, 2)
    >>> model.score(X) > 0.8
    True
    >>> model.sample(5).shape
    (5, 4)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        entropy: float = 0.1,
        bottleneck: str = "batch-norm",
        image_shape: tuple[int, int, int] | None = None,
        hidden: int = 128,
        depth: int = 2,
        width: int = 16,
        epochs: int | None = None,
        batch_size: int = 100,
        learning_rate: float = 3e-3,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.entropy = entropy
        self.bottleneck = bottleneck
        self.image_shape = image_shape
        self.hidden = hidden
        self.depth = depth
        self.width = width
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> EntropicAutoencoder:  # noqa: ARG002
        """Train on rows, (N, F), N at least 2; y is ignored."""
        self._check_parameters()
        self.__dict__.pop("model_", None)  # unfitted if this fails, because validate_data sets attributes first
        library, X = _library(X), validate_data(self, X, dtype=_DTYPES)
        mean, scale, varies = _standard(X) if self.image_shape is None else _range(X, self.image_shape)
        seed = _seed(self.random_state)
        rows = _standardised(X, mean, scale, varies)
        with seeded(seed):
            model = self._build(rows.shape[1])
        term = NegativeDiscreteEntropy if model.bottleneck.is_discrete else NegativeEntropy
        objective = Objective([SquaredError(), term(float(self.entropy))], model)
        train, validation = _split(rows.float(), float(self.validation_fraction), seed)
        self._check_batch(model.bottleneck, len(train))
        options: dict[str, Any] = {"seed": seed, "device": self.device, "progress": bool(self.verbose)}
        history = fit(model, objective, train, validation, self._settings(len(train)), **options)
        # double precision: the code of a row then depends on the other rows by about 1e-12 only
        model = model.cpu().double().eval().requires_grad_(False)
        hidden = _in_batches(model.encoder, rows)
        model.bottleneck = _settled(model.bottleneck, BOTTLENECKS[self.bottleneck], hidden)
        codes = _in_batches(model.encode, rows)
        self.model_, self.mean_, self.scale_, self.varies_ = model, mean, scale, varies
        self.history_ = [{k: v for k, v in row.items() if k != "images_per_s"} for row in history]
        self.embedding_ = codes.numpy().astype(X.dtype, copy=False)
        self._variance = 1.0 if self.image_shape is None else float(rows.var(0, correction=0).mean())
        self._fit_seed = seed
        self._densities: dict[str, Density] = {}
        self._library, self._low, self._high = library, X.min(0), X.max(0)
        self._whole = (np.rint(X) == X).all(0)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the codes, (N, D), of rows, (N, F); float32 for float32 rows, else float64."""
        X = self._check_rows(X)
        codes = _in_batches(self.model_.encode, _standardised(X, self.mean_, self.scale_, self.varies_))
        return codes.numpy().astype(X.dtype, copy=False)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Decode codes, (N, D), to rows, (N, F), in data units; float32 for float32 codes, else float64.

        Raises: InputError for codes of the wrong length.
        """
        check_is_fitted(self, "model_")
        X = check_array(X, dtype=_DTYPES, estimator=self)
        if X.shape[1] != self.embedding_.shape[1]:
            raise InputError(
                f"inverse_transform expects codes (N, {self.embedding_.shape[1]}), got shape {X.shape}; give what "
                "transform returns."
            )
        return self._decode(torch.from_numpy(X.astype(np.float64))).astype(X.dtype, copy=False)

    def sample(
        self,
        n_samples: int = 1,
        *,
        density: str | None = None,
        random_state: int | np.random.RandomState | None = None,
        round: bool = False,
        clip: bool = False,
    ) -> Any:
        """Draw new rows, (n_samples, F), in the units and the floating-point type of the data.

        Samples are outputs of the decoder, so they lack any detail that ``n_components`` values cannot encode, and
        nothing keeps them whole or inside bounds. They come as a data frame with the columns of the data if the
        estimator was fitted on one, or if ``set_output`` asks for one; else as an array.

        Arguments:
            n_samples: number of rows, at least 1.
            density: density of the codes, a name in ``DENSITIES``, such as prior, gaussian or mixture; fitted to
                ``embedding_`` on first use. None takes the prior, or the mixture if the bottleneck is
                ``identity``.
            random_state: None takes that of the estimator; if it is an int, every call returns the same rows.
            round: round the columns in which all training rows are whole numbers.
            clip: limit each column to its values in the training rows. The share at a bound is then too high.

        Raises: InputError for n_samples below 1 or an unknown density.
        """
        check_is_fitted(self, "model_")
        if not _is_whole(n_samples, 1):
            raise InputError(f"n_samples must be a whole number of at least 1, got {n_samples!r}.")
        prior = self.model_.bottleneck.prior()
        name = density or ("prior" if self.model_.bottleneck.bounds_entropy else "mixture")
        if name not in self._densities:
            codes = torch.from_numpy(self.embedding_)
            # the seed of the fit, so the density does not depend on the order of calls
            self._densities[name] = DENSITIES.find(name).fit(codes, prior, seed=self._fit_seed)
        seed = _seed(self.random_state if random_state is None else random_state)
        codes = self._densities[name].sample(int(n_samples), seed=seed)
        rows = self._decode(codes.double()).astype(self.embedding_.dtype, copy=False)
        if round:
            rows[:, self._whole] = np.rint(rows[:, self._whole])
        rows = rows.clip(self._low, self._high) if clip else rows
        config = getattr(self, "_sklearn_output_config", {})  # of set_output, which scikit-learn has no reader for
        library = config.get("transform", get_config()["transform_output"])
        if (library := self._library if library == "default" else library) is None:
            return rows
        names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(rows.shape[1])])
        return import_module(library).DataFrame(dict(zip(names, rows.T, strict=True)))

    def score(self, X: Any, y: Any = None) -> float:  # noqa: ARG002
        """Return the fraction of variance explained: 1 minus the mean squared error divided by the variance.

        The variance is 1 for each column of a standardised table; for images it is the mean over pixels. A score
        of 1 is perfect; predicting the mean of the training rows scores 0 on them. Unlike R^2, the score uses the
        variances of the training rows. So a single row has a score, and the score of several rows is the mean of
        their scores. It measures reconstructions, not samples: a higher ``entropy`` often lowers it.
        """
        return float(self.score_samples(X).mean())

    def score_samples(self, X: Any) -> np.ndarray:
        """Return the score of each row, (N,) float64; rows unlike the training rows score lowest."""
        rows = _standardised(self._check_rows(X), self.mean_, self.scale_, self.varies_)
        errors = _in_batches(lambda x: (self.model_(x).x_hat - x).square().mean(1), rows)
        return 1 - errors.numpy() / self._variance

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        """The number of names from ``get_feature_names_out``."""
        return int(self.embedding_.shape[1])

    def _check_parameters(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not (_is_whole(value, least) or (name == "epochs" and value is None)):
                raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}.")
        for name in ("entropy", "learning_rate", "validation_fraction"):
            value = getattr(self, name)
            if not isinstance(value, Real):
                raise InputError(f"{name} must be a number, got {value!r}.")
        shape = self.image_shape
        if shape is not None and not (
            isinstance(shape, Sequence) and len(shape) == 3 and all(_is_whole(side, 1) for side in shape)
        ):
            raise InputError(f"image_shape must be (C, H, W), three whole numbers, or None, got {shape!r}.")
        if not 0 <= self.validation_fraction < 1:
            raise InputError(
                f"validation_fraction must be at least 0 and below 1, got {self.validation_fraction!r}."
            )
        allowed = {name: kind for name, kind in BOTTLENECKS.items() if not kind.has_posterior}
        if self.bottleneck not in allowed:
            raise unknown_name("bottleneck", str(self.bottleneck), allowed)

    def _build(self, features: int) -> Autoencoder:
        dim, hidden, depth = int(self.n_components), int(self.hidden), int(self.depth)
        bottleneck = BOTTLENECKS[self.bottleneck](dim)
        if self.image_shape is None:
            encoder: nn.Module = Perceptron(features, bottleneck.in_features, hidden, depth)
            return Autoencoder(encoder, bottleneck, Perceptron(dim, features, hidden, depth))
        channels, height, w = map(int, self.image_shape)
        shape, width = (channels, height, w), int(self.width)
        padded, border = _padded(shape)
        left, right, above, below = border
        images = nn.Sequential(nn.Unflatten(1, shape), nn.ConstantPad2d(border, 0.0))
        cut = nn.ConstantPad2d((-left, -right, -above, -below), 0.0)
        encoder = nn.Sequential(images, ConvEncoder(padded, bottleneck.in_features, width=width))
        decoder = nn.Sequential(ConvDecoder(padded, dim, width=width), cut, nn.Flatten())
        return Autoencoder(encoder, bottleneck, decoder)

    def _check_batch(self, bottleneck: Bottleneck, rows: int) -> None:
        batch = min(rows, int(self.batch_size))
        if batch < bottleneck.least_batch:
            raise InputError(
                f"the bottleneck '{self.bottleneck}' with n_components={self.n_components} expects minibatches of "
                f"at least {bottleneck.least_batch} rows, got {batch}; give more rows, a larger batch_size or "
                "fewer components."
            )

    def _settings(self, rows: int) -> Settings:
        steps = max(1, rows // int(self.batch_size))
        epochs = self.epochs or min(max(math.ceil(_STEPS / steps), _FEWEST_EPOCHS), _MOST_EPOCHS)
        return Settings(
            epochs=int(epochs),
            batch_size=int(self.batch_size),
            learning_rate=float(self.learning_rate),
            patience=max(5, int(epochs) // 10),  # epochs of a small table are a few steps each
        )

    def _check_rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "model_")
        rows: np.ndarray = validate_data(self, X, reset=False, dtype=_DTYPES)
        return rows

    def _decode(self, codes: Tensor) -> np.ndarray:
        rows = np.tile(self.mean_, (len(codes), 1))
        rows[:, self.varies_] += self.scale_[self.varies_] * _in_batches(self.model_.decode, codes).numpy()
        return rows


def _library(X: Any) -> str | None:
    """Return the library of a data frame whose columns have names; None for anything else."""
    library = type(X).__module__.partition(".")[0]
    named = library in ("pandas", "polars") and all(isinstance(name, str) for name in getattr(X, "columns", [0]))
    return library if named else None


def _standard(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, standard deviation and whether it is not constant of each column, the first two float64."""
    if len(X) < 2:
        raise InputError(
            "EntropicAutoencoder expects at least 2 rows, got n_samples=1, whose codes have no variance; "
            "give more rows."
        )
    low, high = X.min(0).astype(np.float64), X.max(0).astype(np.float64)
    # 0.3 and 0.1 + 0.2 count as equal: scaling by their difference would amplify rounding
    varies = high / 2 - low / 2 > _ROUNDINGS / 2 * np.finfo(X.dtype).eps * np.maximum(np.abs(low), np.abs(high))
    if not varies.any():
        raise InputError(
            f"EntropicAutoencoder expects a column that varies, got {X.shape[1]} constant columns; give rows that "
            "differ."
        )
    mean = np.where(varies, X.mean(0, dtype=np.float64), low)
    span = np.where(varies, high - low, 1)
    # in units of the span, whose squares neither overflow nor vanish
    scale = np.where(varies, span * np.sqrt(np.square((X - mean) / span).mean(0)), 1)
    return mean, scale, varies


def _range(X: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the minimum and the range of all images and a mask of all columns, each repeated for every column."""
    if math.prod(shape) != X.shape[1]:
        raise InputError(
            f"image_shape={tuple(shape)} asks for rows of {math.prod(shape)} pixels, got {X.shape[1]} columns; "
            "give the (C, H, W) of the images before they were flattened."
        )
    if max(shape[1:]) > 128:
        raise InputError(
            f"the convolutions take images whose sides are at most 128, got image_shape={tuple(shape)}; resize "
            "the images, or leave image_shape out."
        )
    low, high = float(X.min()), float(X.max())
    if len(X) < 2 or not np.isfinite(high - low) or high == low:
        raise InputError(
            f"EntropicAutoencoder expects at least 2 images whose pixels differ, got n_samples={len(X)} with "
            f"values from {low:g} to {high:g}."
        )
    return np.full(X.shape[1], low), np.full(X.shape[1], high - low), np.ones(X.shape[1], dtype=bool)


def _padded(shape: tuple[int, int, int]) -> tuple[tuple[int, int, int], tuple[int, int, int, int]]:
    """Return the shape with sides of multiples of 8, and the columns and rows added left, right, above, below.

    >>> _padded((1, 28, 45))
    ((1, 32, 48), (1, 2, 2, 2))
    """
    channels, *sides = shape
    (above, below), (left, right) = ((-side % 8 // 2, -side % 8 - -side % 8 // 2) for side in sides)
    return (channels, sides[0] + above + below, sides[1] + left + right), (left, right, above, below)


def _standardised(X: np.ndarray, mean: np.ndarray, scale: np.ndarray, varies: np.ndarray) -> Tensor:
    """Return the columns that vary, minus the mean and divided by the scale, as float64."""
    return torch.from_numpy((X[:, varies] - mean[varies]) / scale[varies])


def _split(rows: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the training rows and the held-out rows."""
    held = int(fraction * len(rows))
    if held < _FEWEST_HELD_OUT or len(rows) - held < 2:
        return rows, rows
    order = torch.randperm(len(rows), generator=generator(seed))  # a table may be sorted
    return rows[order[held:]], rows[order[:held]]


def _settled(trained: Bottleneck, kind: type[Bottleneck], hidden: Tensor) -> Bottleneck:
    """Return the bottleneck with running statistics recomputed on all rows, if it has any.

    The statistics from training are averages over the latest minibatches and lag behind the weights.

    Arguments:
        trained: the bottleneck after training.
        kind: its class.
        hidden: encoder outputs of all rows, (N, in_features) float64.
    """
    if "momentum" not in inspect.signature(kind).parameters or len(hidden) < trained.least_batch:
        return trained
    settled = kind(trained.latent_dim, momentum=1.0).double()  # type: ignore[call-arg]
    settled(hidden)
    return settled.eval()


def _in_batches(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([function(part) for part in rows.split(_BATCH)])


def _seed(random_state: Any) -> int:
    """Return a seed for PyTorch: the given int, a draw from a RandomState, or a new seed for None."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, Integral):
        return check_seed(int(random_state))
    return int(check_random_state(random_state).randint(2**32, dtype=np.uint32))


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
