"""A transformer over the symbols of codes of a finite alphabet as their density."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from typing_extensions import Self

from entropic_ae.arrays import as_tensor
from entropic_ae.densities.density import Density, check_codes
from entropic_ae.errors import InputError
from entropic_ae.networks import CausalTransformer
from entropic_ae.priors import Alphabet, as_prior
from entropic_ae.randomness import generator, seeded

__all__ = ["Autoregressive"]

_log = logging.getLogger(__name__)

_STATES = 256  # of a symbol, at most, where tokens are joined
_HELD_OUT = 10  # one code in ten tells when to stop
_PATIENCE = 5  # epochs without a higher likelihood of held-out codes
_WARM_UP = 0.2  # of the steps
_CLIP = 1.0  # norm of the gradient, at most
_BATCH = 2000  # sequences at once, outside training
_LARGEST = (4096, 32)  # width and depth, which are read from a file too


class Autoregressive(Density):
    """A causal transformer over codes of a finite alphabet: each symbol given those before it.

    Consecutive tokens are joined to symbols of up to 256 states, as many as divide the code evenly: 8 bits of a
    binary code. A grid of codes is read row by row. The probabilities are exact, of symbols and of codes. The
    weights are those with the highest likelihood of a tenth of the codes, held out by the seed; before the first
    step the density is the uniform prior. It is not exported to ONNX, since each symbol needs those drawn before.

    Arguments:
        prior: of the bottleneck, a ``priors.Alphabet``.
        network: over the symbols.

    Raises: InputError from ``fit`` for a prior without an alphabet, fewer than 2 codes, codes that are not finite
        or not of the alphabet, or a setting out of range.

    Reference: van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning", 2017, section 3.2,
    for an autoregressive prior over a grid of codes, https://arxiv.org/abs/1711.00937.

    >>> from entropic_ae.priors import UniformLevels
    >>> prior = UniformLevels(4, 2)
    >>> density = Autoregressive.fit(prior.sample((50,)), prior, width=16, epochs=1)
    >>> density.sample(3, seed=0).shape, density.log_prob(prior.sample((2,))).shape
    (torch.Size([3, 4]), torch.Size([2]))
    """

    name = "autoregressive"
    has_sampler = False
    is_discrete = True

    def __init__(self, prior: Alphabet, network: CausalTransformer) -> None:
        self.prior = prior
        self.network = network

    @classmethod
    def check(
        cls,
        *,
        width: int = 64,
        depth: int = 2,
        epochs: int = 10,
        batch_size: int = 50,
        learning_rate: float = 8e-3,
    ) -> None:
        """Raise InputError for a setting out of range."""
        for name, value in {"depth": depth, "epochs": epochs, "batch_size": batch_size}.items():
            if value < 1:
                raise InputError(f"{cls.name}.{name} must be at least 1, got {value}.")
        if width < 16 or width % 16 or width > _LARGEST[0]:
            raise InputError(f"{cls.name}.width must be a multiple of 16 up to {_LARGEST[0]}, got {width}.")
        if depth > _LARGEST[1]:
            raise InputError(f"{cls.name}.depth must be at most {_LARGEST[1]}, got {depth}.")
        if not (math.isfinite(learning_rate) and learning_rate > 0):
            raise InputError(f"{cls.name}.learning_rate must be above 0, got {learning_rate}.")

    @classmethod
    def fit(
        cls,
        codes: Tensor,
        prior: Distribution,
        *,
        std: Tensor | None = None,  # noqa: ARG003
        seed: int = 0,
        width: int = 64,
        depth: int = 2,
        epochs: int = 10,
        batch_size: int = 50,
        learning_rate: float = 8e-3,
    ) -> Self:
        """Train on codes, (N, D), N at least 2, on their device.

        Arguments:
            codes: of the alphabet.
            prior: a ``priors.Alphabet``.
            std: ignored.
            seed: of the weights, the held-out codes and the order of the others.
            width, depth: of the transformer, see ``CausalTransformer``.
            epochs: at most; training ends 5 epochs after the highest likelihood of held-out codes.
            batch_size: of Adam.
            learning_rate: at its highest: it rises through the first fifth of the steps, and falls to 0 like a
                cosine.
        """
        cls.check(width=width, depth=depth, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
        codes = as_tensor(codes, cls.name)
        device = codes.device
        codes = check_codes(codes, 2, f"the density '{cls.name}'")
        prior = as_prior(prior)
        if not isinstance(prior, Alphabet):
            raise InputError(
                f"the density '{cls.name}' expects codes of a finite alphabet (bottleneck binary, levels, ...), "
                f"got the prior {prior.title}; fit a mixture."
            )
        prior.check_codes(codes, f"the density '{cls.name}'")
        symbols = _symbols(prior, prior.to_states(codes)).to(device)
        _log.info("training the density '%s' on %s codes", cls.name, f"{len(codes):,}")
        with seeded(seed), torch.enable_grad():
            size = _size(prior)
            network = CausalTransformer(prior.tokens // size, prior.states**size, width=width, depth=depth)
            _train(network.to(device), symbols, epochs, batch_size, learning_rate)
        return cls(prior, network.cpu().requires_grad_(False))

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw n codes, (n, D) float32."""
        source = generator(seed)
        sizes = [min(_BATCH, n - start) for start in range(0, max(n, 1), _BATCH)]
        symbols = torch.cat([self.network.draw(size, source) for size in sizes])
        return self.prior.from_states(_states(self.prior, symbols)).float()

    @torch.no_grad()
    def log_prob(self, codes: Tensor) -> Tensor:
        """Return the log probabilities of codes, (N, D), in nats: (N,) float64, -inf off the alphabet."""
        codes = as_tensor(codes, self.name).detach().cpu().nan_to_num(math.inf)
        symbols = _symbols(self.prior, self.prior.to_states(codes))
        found = torch.cat([self.network.log_prob(part) for part in symbols.split(_BATCH)]).double()
        return torch.where(self.prior.log_prob(codes.double()).isfinite(), found, -math.inf)

    def state(self) -> dict[str, Tensor]:
        """Return the weights, and width and depth."""
        network = self.network
        architecture = torch.tensor([network.norm.normalized_shape[0], len(network.blocks)])
        return {f"network.{name}": value for name, value in network.state_dict().items()} | {
            "architecture": architecture
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Self:
        """Rebuild from the weights; KeyError if one is missing or does not fit the others or the prior."""
        alphabet = as_prior(prior)
        if not isinstance(alphabet, Alphabet):
            raise KeyError("the codes are not of a finite alphabet")
        architecture = state["architecture"]
        if architecture.shape != (2,) or architecture.is_floating_point():
            raise KeyError("architecture is no width and depth")
        if any(not 1 <= value <= most for value, most in zip(architecture.tolist(), _LARGEST, strict=True)):
            raise KeyError("architecture is out of range")
        weights = {
            name.removeprefix("network."): value for name, value in state.items() if value is not architecture
        }
        if not all(value.is_floating_point() and bool(value.isfinite().all()) for value in weights.values()):
            raise KeyError("the weights are not finite")
        width, depth = architecture.tolist()
        size = _size(alphabet)
        try:
            with torch.device("meta"):  # no allocation for sizes that a damaged file may claim
                network = CausalTransformer(
                    alphabet.tokens // size, alphabet.states**size, width=width, depth=depth
                )
            network.load_state_dict(weights, assign=True)
        except (RuntimeError, InputError) as error:
            raise KeyError(f"the weights do not fit: {error}") from None
        return cls(alphabet, network.requires_grad_(False))


def _size(prior: Alphabet) -> int:
    """Return how many tokens a symbol joins."""
    sizes = range(1, prior.tokens + 1)
    return max(size for size in sizes if size == 1 or (prior.states**size <= _STATES and prior.tokens % size == 0))


def _symbols(prior: Alphabet, states: Tensor) -> Tensor:
    """Join the states of tokens, (N, T), to symbols, (N, S)."""
    size = _size(prior)
    places = prior.states ** torch.arange(size, device=states.device)
    return (states.unflatten(1, (-1, size)) * places).sum(2)


def _states(prior: Alphabet, symbols: Tensor) -> Tensor:
    """Split symbols, (N, S), into the states of tokens, (N, T)."""
    places = prior.states ** torch.arange(_size(prior))
    return (symbols[..., None] // places % prior.states).flatten(1)


def _train(
    network: CausalTransformer, symbols: Tensor, epochs: int, batch_size: int, learning_rate: float
) -> None:
    """Train in place, and leave the weights with the highest likelihood of held-out symbols."""
    order = torch.randperm(len(symbols)).to(symbols.device)  # codes may be sorted by class
    held = max(1, len(symbols) // _HELD_OUT)
    held_out, others = symbols[order[:held]], symbols[order[held:]]
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    steps = epochs * math.ceil(len(others) / batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step / steps))
    best, kept, since = _loss(network, held_out), copy.deepcopy(network.state_dict()), 0
    for _ in range(epochs):
        for batch in others[torch.randperm(len(others)).to(others.device)].split(batch_size):
            loss = -network.log_prob(batch).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
            optimizer.step()
            schedule.step()
        if (now := _loss(network, held_out)) < best:
            best, kept, since = now, copy.deepcopy(network.state_dict()), 0
        else:
            since += 1
            if since == _PATIENCE:
                break
    network.load_state_dict(kept)


def _share(done: float) -> float:
    """Return the share of the highest learning rate, after a share of the steps."""
    if done < _WARM_UP:
        return 0.04 + 0.96 * done / _WARM_UP
    return (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2


@torch.no_grad()
def _loss(network: CausalTransformer, symbols: Tensor) -> float:
    return sum(-network.log_prob(part).sum().item() for part in symbols.split(_BATCH)) / len(symbols)
