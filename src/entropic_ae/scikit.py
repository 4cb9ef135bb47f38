"""The entropic autoencoder as a scikit-learn estimator, for tables of numbers and flattened images."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
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
from entropic_ae.terms import NegativeEntropy, Objective, SquaredError
from entropic_ae.training import Settings, fit

__all__ = ["EntropicAutoencoder"]

_STEPS = 500  # minibatches that training aims at where epochs is None
_FEWEST_EPOCHS, _MOST_EPOCHS = 10, 100
_FEWEST_HELD_OUT = 100  # rows; fewer choose weights by chance, which costs more than it saves from overfitting
_BATCH = 10_000  # rows at a time outside training
_DTYPES = (np.float64, np.float32)
_LEAST = {"n_components": 1, "hidden": 1, "depth": 1, "width": 1, "epochs": 1, "batch_size": 2}
_ROUNDINGS = 10  # relative to the largest value of a column: differences below come of computing it


class EntropicAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Codes, reconstructions and new rows of a table, as a scikit-learn transformer.

    Each column is standardised. An encoder maps a row to ``n_components`` values, a bottleneck fixes their mean
    and their variance, and a decoder maps them back. Training minimises the squared error less ``entropy`` times
    the entropy of the codes, which brings these to the bottleneck's prior, N(0, I) unless told otherwise; so
    ``sample`` decodes draws from it. Encoder and decoder are perceptrons whose input joins their last hidden
    layer, so that principal component analysis is within their reach.

    With ``image_shape`` rows are flattened images, as scikit-learn's data sets have them: encoder and decoder are
    then the paper's convolutions, and all pixels have one unit, from the least value of the training rows, 0, to
    the largest, 1. Batch norms inside them use running averages after training, which some 100 minibatches settle.

    A column that is constant, up to rounding, takes no part: ``transform`` and ``score`` ignore it, and
    reconstructions and samples have its one value. Categories must be encoded as numbers before, missing values
    filled in.

    Arguments:
        n_components: length D of a code; may be more than the columns.
        entropy: weight of the entropy, in nats, against the squared error, in standardised units (of images, in
            units of their range) and summed over columns. 0 leaves it out. More brings samples nearer to the data,
            and costs some reconstruction.
        bottleneck: a name in ``BOTTLENECKS`` other than the variational ones; ``identity`` bounds no entropy and
            asks for ``entropy=0``.
        image_shape: (C, H, W) of the images that the rows are, C * H * W = F, sides multiples of 8 up to 128; None
            for a table.
        hidden, depth: units of a hidden layer, and hidden layers, of encoder and decoder each, for a table.
        width: channels of the first convolution, for images; the paper's is 128, which is for a GPU.
        epochs: passes over the rows; None for as many as give 500 minibatches, from 10 to 100.
        batch_size: rows of a minibatch, at least 2; all rows, if there are fewer.
        learning_rate: of Adam, at the start; halved when the validation loss has not fallen for a tenth of the
            epochs.
        validation_fraction: share of the rows held out to choose the weights of the lowest loss. Where that is
            fewer than 100 rows, which would choose by chance, all rows serve for both.
        random_state: of the weights, the held-out rows, the order of the rows and the samples: an int for the same
            result each time, a ``numpy.random.RandomState`` to draw a seed from, or None for a new seed each time.
            No global random state is used, with None neither: that seed is the operating system's.
        device: cpu, cuda or auto for training; small networks are as fast on a CPU. All else runs on the CPU.
        verbose: print a line an epoch to the standard error.

    Attributes:
        embedding_: codes of the training rows, (N, D).
        model_: the ``Autoencoder`` of standardised rows, float64, in evaluation mode.
        mean_, scale_: what is taken from columns, and what they are then divided by, (F,) float64: mean and
            standard deviation, its value and 1 where constant; of images their least value and range, F times.
        varies_: which columns are not constant, (F,) bool.
        history_: a dict an epoch: each term, in training and validation, entropy and learning rate.
        n_features_in_, feature_names_in_: F and, of a data frame, the names of the columns.

    Raises: InputError, which is a ValueError, from ``fit``: fewer than 2 rows, no column that varies, a parameter
        out of range, or a loss that is not finite.

    Reference: section 3 of arXiv:2002.10631; for rows in place of images, and with networks of its own.

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
        """Train on rows, (N, F), N at least 2; y is not looked at."""
        self._check_parameters()
        self.__dict__.pop("model_", None)  # not fitted, should this fail: what is known of columns is set first
        X = validate_data(self, X, dtype=_DTYPES)
        mean, scale, varies = _standard(X) if self.image_shape is None else _range(X, self.image_shape)
        seed = _seed(self.random_state)
        rows = _standardised(X, mean, scale, varies)
        with seeded(seed):
            model = self._build(rows.shape[1])
        objective = Objective([SquaredError(), NegativeEntropy(float(self.entropy))], model)
        train, validation = _split(rows.float(), float(self.validation_fraction), seed)
        self._check_batch(model.bottleneck, len(train))
        options: dict[str, Any] = {"seed": seed, "device": self.device, "progress": bool(self.verbose)}
        history = fit(model, objective, train, validation, self._settings(len(train)), **options)
        # double precision: a row's code is then the same, to 1e-12 or so, whichever rows stand beside it
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
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the codes, (N, D), of rows, (N, F); float32 of float32 rows, else float64."""
        X = self._check_rows(X)
        codes = _in_batches(self.model_.encode, _standardised(X, self.mean_, self.scale_, self.varies_))
        return codes.numpy().astype(X.dtype, copy=False)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Decode codes, (N, D), to rows, (N, F), in the units of the data; float32 of float32 codes, else float64.

        Raises: InputError for codes of another length.
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
    ) -> np.ndarray:
        """Draw new rows, (n_samples, F), in the units and the floating-point type of the data.

        They lie where the decoder maps codes: what ``n_components`` values cannot say of a row, they lack.

        Arguments:
            n_samples: at least 1.
            density: of the codes, a name in ``DENSITIES``, such as prior, gaussian or mixture; fitted to
                ``embedding_`` when it is first asked for. None for the prior, after ``identity`` for the mixture.
            random_state: None for the estimator's own, with which an int gives the same rows at each call.

        Raises: InputError for n_samples below 1 or an unknown density.
        """
        check_is_fitted(self, "model_")
        if not _is_whole(n_samples, 1):
            raise InputError(f"n_samples must be a whole number of at least 1, got {n_samples!r}.")
        prior = self.model_.bottleneck.prior()
        name = density or ("prior" if self.model_.bottleneck.bounds_entropy else "mixture")
        if name not in self._densities:
            codes = torch.from_numpy(self.embedding_)
            # by the seed of the fit, so that a density is the same whichever call comes first
            self._densities[name] = DENSITIES.find(name).fit(codes, prior, seed=self._fit_seed)
        seed = _seed(self.random_state if random_state is None else random_state)
        codes = self._densities[name].sample(int(n_samples), seed=seed)
        return self._decode(codes.double()).astype(self.embedding_.dtype, copy=False)

    def score(self, X: Any, y: Any = None) -> float:  # noqa: ARG002
        """Return the share of variance explained: 1 less the mean squared error in units of the variance.

        That is 1 in each column of a standardised table; of images it is the mean over pixels.
        1 is perfect, and 0 what the training rows' mean would reach on them. The variances are the training rows'
        throughout, unlike those of R^2: so a single row has a score, and the score of rows together is the mean of
        theirs. It judges reconstructions, not samples: a higher ``entropy`` often lowers it.
        """
        return float(self.score_samples(X).mean())

    def score_samples(self, X: Any) -> np.ndarray:
        """Return the score of each row, (N,) float64; the lowest are of the rows least like those of training."""
        rows = _standardised(self._check_rows(X), self.mean_, self.scale_, self.varies_)
        errors = _in_batches(lambda x: (self.model_(x).x_hat - x).square().mean(1), rows)
        return 1 - errors.numpy() / self._variance

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        """What ``get_feature_names_out`` counts."""
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
        encoder = nn.Sequential(nn.Unflatten(1, shape), ConvEncoder(shape, bottleneck.in_features, width=width))
        return Autoencoder(encoder, bottleneck, nn.Sequential(ConvDecoder(shape, dim, width=width), nn.Flatten()))

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


def _standard(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, standard deviation and whether it is not constant of each column, the first two float64."""
    if len(X) < 2:
        raise InputError(
            "EntropicAutoencoder expects at least 2 rows, got n_samples=1, whose codes have no variance; "
            "give more rows."
        )
    low, high = X.min(0).astype(np.float64), X.max(0).astype(np.float64)
    # 0.3 and 0.1 + 0.2 are one value, and their difference is no unit
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
    """Return the least value of all images, their range and that all pixels take part, once a column."""
    if math.prod(shape) != X.shape[1]:
        raise InputError(
            f"image_shape={tuple(shape)} asks for rows of {math.prod(shape)} pixels, got {X.shape[1]} columns; "
            "give the (C, H, W) of the images before they were flattened."
        )
    if any(side % 8 or side > 128 for side in shape[1:]):
        raise InputError(
            "the convolutions take images whose sides are multiples of 8 up to 128, got image_shape="
            f"{tuple(shape)}; pad or resize the images, or leave image_shape out."
        )
    low, high = float(X.min()), float(X.max())
    if len(X) < 2 or not np.isfinite(high - low) or high == low:
        raise InputError(
            f"EntropicAutoencoder expects at least 2 images whose pixels differ, got n_samples={len(X)} with "
            f"values from {low:g} to {high:g}."
        )
    return np.full(X.shape[1], low), np.full(X.shape[1], high - low), np.ones(X.shape[1], dtype=bool)


def _standardised(X: np.ndarray, mean: np.ndarray, scale: np.ndarray, varies: np.ndarray) -> Tensor:
    """Return the columns that vary, float64, less the mean and in units of the scale."""
    return torch.from_numpy((X[:, varies] - mean[varies]) / scale[varies])


def _split(rows: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the rows to train on and those held out."""
    held = int(fraction * len(rows))
    if held < _FEWEST_HELD_OUT or len(rows) - held < 2:
        return rows, rows
    order = torch.randperm(len(rows), generator=generator(seed))  # a table may be sorted
    return rows[order[held:]], rows[order[:held]]


def _settled(trained: Bottleneck, kind: type[Bottleneck], hidden: Tensor) -> Bottleneck:
    """Return the bottleneck with the statistics of all rows, where it keeps any.

    Those that it kept in training are averages over the latest minibatches, and lag behind the weights.

    Arguments:
        trained: the bottleneck after training.
        kind: its class.
        hidden: what the encoder makes of all rows, (N, in_features) float64.
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
    """Return a seed for PyTorch: an int as it is, one drawn from a RandomState, or for None a new one."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, Integral):
        return check_seed(int(random_state))
    return int(check_random_state(random_state).randint(2**32, dtype=np.uint32))


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
