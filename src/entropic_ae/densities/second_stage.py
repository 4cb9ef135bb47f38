"""A small VAE over codes: the second stage of the two-stage VAE."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.utils.data import Dataset

from entropic_ae.arrays import as_double, as_tensor
from entropic_ae.autoencoder import Autoencoder
from entropic_ae.bottlenecks import Code, GaussianPosterior
from entropic_ae.densities.density import Density, Sampler, check_codes
from entropic_ae.errors import InputError
from entropic_ae.mixtures import mean_and_deviation
from entropic_ae.networks import Perceptron
from entropic_ae.randomness import generator, seeded
from entropic_ae.storage.tensors import parameters
from entropic_ae.terms import GaussianLikelihood, KullbackLeibler, Objective
from entropic_ae.training import Settings

__all__ = ["SecondStage"]

_log = logging.getLogger(__name__)

_HELD_OUT = 10  # a tenth of the codes is for validation; none is held out of fewer than twice as many codes
_BATCH = 10_000  # batch size outside training


class SecondStage(Density):
    """A VAE over codes: u ~ N(0, I), then z ~ N(f(u), gamma^2 I), the noise included.

    Encoder and decoder are perceptrons whose input is concatenated to their last hidden layer; u has the dimension
    of z. The VAE models the aggregate posterior of the first stage: with ``std``, each epoch draws new samples of
    the codes' posteriors. Deterministic codes are used directly. Codes are standardised by dimension for the fit.

    The scale gamma is always at its optimum in closed form, the root mean squared error: over a batch in training,
    over all codes for sampling. A tenth of the codes, chosen by the seed, is held out for the learning rate
    schedule and the choice of the best weights; fewer than 20 codes all serve for training and validation.

    Standardised codes that no linear map distinguishes from N(0, I) (a ring in the plane) may leave the VAE at the
    optimum of a linear one: it ignores u, gamma is 1, and the draws are those of one Gaussian.

    Arguments:
        decoder: f, from (N, D) to standardised codes, (N, D).
        mean, deviation: of the codes by dimension, for the standardisation, (D,) float64.
        gamma: scale of the noise in standardised units, 0-dimensional float64.

    Raises: InputError from ``fit`` for fewer than 2 codes, codes or standard deviations that are not finite, a
        setting out of range, or a loss that is not finite.

    Differences from the code of Dai and Wipf: theirs trains four to eight times longer at a tenth of the learning
    rate, makes gamma a parameter, does not bound the posterior's deviation and does not standardise. The second
    stage of Ghosh et al., whose epochs and batch size are the defaults, has a fixed weight instead of gamma.

    References: section 4 of "Diagnosing and Enhancing VAE Models", Dai and Wipf (2019),
    https://arxiv.org/abs/1903.05789, and their code; for gamma, "Simple and Effective VAE Training with Calibrated
    Decoders", Rybkin et al. (2021), https://arxiv.org/abs/2006.13202; "From Variational to Deterministic
    Autoencoders", Ghosh et al. (2019), https://arxiv.org/abs/1903.12436.

    >>> codes = torch.randn(40, 2)
    >>> density = SecondStage.fit(codes, None, std=torch.full((40, 2), 0.1), hidden=8, epochs=1, batch_size=10)
    >>> density.sample(5, seed=0).shape
    torch.Size([5, 2])
    """

    name = "second-stage"

    def __init__(self, decoder: nn.Module, mean: Tensor, deviation: Tensor, gamma: Tensor) -> None:
        self.decoder = decoder
        self.mean = mean
        self.deviation = deviation
        self.gamma = gamma

    @classmethod
    def check(cls, *, hidden: int = 1024, depth: int = 3, **training: Any) -> None:
        """Raise InputError for sizes below 1, and for settings that ``training.Settings`` refuses."""
        for name, size in {"hidden": hidden, "depth": depth, "epochs": training.get("epochs", 1)}.items():
            if size < 1:
                raise InputError(f"{cls.name}.{name} must be at least 1, got {size}.")
        try:
            Settings(**training)
        except InputError as error:
            raise InputError(f"{cls.name}: {error}") from None

    @classmethod
    def fit(
        cls,
        codes: Tensor,
        prior: Distribution | None,  # noqa: ARG003
        *,
        std: Tensor | None = None,
        seed: int = 0,
        hidden: int = 1024,
        depth: int = 3,
        epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
    ) -> SecondStage:
        """Train on codes, (N, D), N at least 2, on their device.

        Arguments:
            codes: finite; if they have posteriors, the posterior means.
            prior: ignored.
            std: standard deviations of the codes' posteriors, (N, D), or None for deterministic codes.
            seed: of the weights, the held-out codes and all random draws.
            hidden, depth: units per hidden layer and number of hidden layers, of encoder and decoder each.
            epochs, batch_size, learning_rate: see ``training.Settings``.
        """
        from entropic_ae.training import fit  # lazily: it imports Lightning, which few densities need

        codes = as_tensor(codes, cls.name)
        device = codes.device
        codes = check_codes(codes, 2, f"the density '{cls.name}'")
        std = _check_std(std, codes)
        training: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
        cls.check(hidden=hidden, depth=depth, **training)
        mean, deviation = mean_and_deviation(codes)
        if std is not None:  # of the aggregate posterior
            deviation = deviation.hypot(std.square().mean(0).sqrt())
        scaled = [((codes - mean) / deviation).float().to(device)]
        if std is not None:
            scaled.append((std / deviation).float().to(device))
        with seeded(seed):
            model = _build(codes.shape[1], hidden, depth)
            train, validation = _split(_Samples(*scaled))
        _log.info("training the density '%s' on %s codes, for %s epochs", cls.name, f"{len(codes):,}", epochs)
        try:
            settings = Settings(**training)
            fit(model, _objective(model), train, validation, settings, seed=seed, device=device.type)
        except InputError as error:
            raise type(error)(f"the density '{cls.name}' could not be fitted: {error}") from None
        with seeded(seed):
            gamma = _root_mean_squared_error(model.to(device), _Samples(*scaled))
        return cls(model.decoder.cpu(), mean, deviation, gamma)

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw n codes, (n, D) float32."""
        source = generator(seed)
        u = torch.randn(n, len(self.mean), generator=source)
        noise = torch.randn(n, len(self.mean), generator=source)
        with torch.no_grad():
            means = torch.cat([self.decoder(part) for part in u.split(_BATCH)])
        return (self.mean + self.deviation * (means + self.gamma * noise)).float()

    def sampler(self) -> Sampler:
        """Return the density as a function of 2 D values of noise: u, and the decoder's noise."""
        return _TwoNoises(self)

    def state(self) -> dict[str, Tensor]:
        """Return the decoder's weights, mean, deviation and gamma."""
        weights = {f"decoder.{name}": tensor for name, tensor in self.decoder.state_dict().items()}
        return weights | {"mean": self.mean, "deviation": self.deviation, "gamma": self.gamma}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> SecondStage:
        """Rebuild from ``state()``; KeyError if a parameter is missing or does not fit the others."""
        mean, deviation, gamma = parameters(state, prior.event_shape[0], mean="D", deviation="D", gamma="")
        names = [name for name in state if name.startswith("decoder.")]
        weights = {name.removeprefix("decoder."): state[name].float() for name in names}
        if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
            raise KeyError("the decoder's weights are not finite")
        dim, hidden = len(mean), weights["layers.0.bias"].numel()
        with torch.device("meta"):  # no allocation for sizes that a damaged file may claim
            decoder = Perceptron(dim, dim, hidden, len(weights) // 2 - 1)  # a weight and a bias for each layer
        try:
            decoder.load_state_dict(weights, assign=True)
        except RuntimeError as error:
            raise KeyError(f"the decoder's weights do not fit: {error}") from None
        return cls(decoder, mean, deviation, gamma)


class _TwoNoises(Sampler):
    mean: Tensor
    deviation: Tensor
    gamma: Tensor

    def __init__(self, density: SecondStage) -> None:
        super().__init__(
            2 * density.mean.numel(),
            "the first half is the second stage's own code, the other half the noise that it adds",
            mean=density.mean,
            deviation=density.deviation,
            gamma=density.gamma,
        )
        self.decoder = copy.deepcopy(density.decoder).float().cpu()

    def forward(self, noise: Tensor) -> Tensor:
        u, noise = noise.chunk(2, dim=1)
        return self.mean + self.deviation * (self.decoder(u) + self.gamma * noise)


class _AlwaysSampled(GaussianPosterior):
    """Samples in evaluation too: at the posterior's mean, the validation loss would not be a bound."""

    def forward(self, h: Tensor) -> Code:
        posterior = super().forward(h).posterior
        assert posterior is not None
        return Code(posterior.rsample(), posterior)


class _Samples(Dataset[Tensor]):
    """Samples of Gaussian posteriors, drawn at each access; the codes themselves if there are no deviations."""

    def __init__(self, means: Tensor, std: Tensor | None = None) -> None:
        self.means = means
        self.std = std

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, indices: Tensor) -> Tensor:
        indices = indices.to(self.means.device)
        means = self.means[indices]
        return means if self.std is None else means + self.std[indices] * torch.randn_like(means)

    def part(self, indices: Tensor) -> _Samples:
        """Return the rows of those indices as a data set."""
        indices = indices.to(self.means.device)
        return _Samples(self.means[indices], None if self.std is None else self.std[indices])


def _check_std(std: Tensor | None, codes: Tensor) -> Tensor | None:
    """Return standard deviations as float64 on the CPU, or raise InputError if they do not fit the codes."""
    if std is None:
        return None
    std = as_tensor(std, "std")
    if std.shape != codes.shape or not bool(torch.isfinite(std).all()) or bool((std < 0).any()):
        raise InputError(
            f"std expects a finite standard deviation of at least 0 for each value of the codes, "
            f"{tuple(codes.shape)}, got shape {tuple(std.shape)} or other values."
        )
    return std.detach().cpu().double()


def _build(dim: int, hidden: int, depth: int) -> Autoencoder:
    bottleneck = _AlwaysSampled(dim)
    encoder = Perceptron(dim, bottleneck.in_features, hidden, depth)
    return Autoencoder(encoder, bottleneck, Perceptron(dim, dim, hidden, depth))


def _objective(model: Autoencoder) -> Objective:
    return Objective([GaussianLikelihood(), KullbackLeibler()], model)


def _split(samples: _Samples) -> tuple[_Samples, Tensor]:
    """Return the training part, and one draw of the held-out part, so that its losses compare across epochs."""
    order = torch.randperm(len(samples))  # codes may be sorted by class
    held = len(samples) // _HELD_OUT
    if held < 2:
        return samples, samples[order]
    return samples.part(order[held:]), samples[order[:held]]


def _root_mean_squared_error(model: Autoencoder, samples: _Samples) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    with torch.no_grad():
        for indices in torch.arange(len(samples)).split(_BATCH):
            trace = model(samples[indices])
            total += as_double(trace.x_hat - trace.x).square().sum().cpu()
    return (total / samples.means.numel()).sqrt()
