"""A spline flow as a transport, fitted by maximum likelihood with early stopping; needs the extra ``flow``."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from typing_extensions import Self

from entropic_ae.errors import InputError
from entropic_ae.randomness import seeded
from entropic_ae.storage.tensors import parameters
from entropic_ae.transports.transport import Transport, mean_and_unit

__all__ = ["FlowTransport"]

_BATCH, _RATE = 256, 1e-3
_HELD_OUT = 10  # one code in ten tells when to stop
_ROWS = 256  # codes mapped at once: the intermediates of one take 1.6 MB in 64 dimensions
_PATIENCE = 10  # epochs without a higher likelihood of held-out codes
_LARGEST = (10_000, 100, 100_000, 100, 1000)  # of each entry of an architecture that is read from a file


class FlowTransport(Transport):
    """A neural spline flow: autoregressive maps whose derivative is everywhere positive, by the library zuko.

    It is fitted by Adam to nine tenths of the codes, and keeps the weights with the highest likelihood of the
    others. The inverse takes one pass of the network per dimension.

    Arguments:
        prior: over (D,).
        mean, deviation: (S,), by which normal scores are standardised.
        architecture: (5,): S, transforms, hidden width, hidden layers and bins.
        weights: of the networks, by name.

    Raises: InputError from ``fit`` if zuko is not installed, or for a setting below 1.

    Reference: Durkan et al., "Neural Spline Flows", 2019, https://arxiv.org/abs/1906.04032.

    >>> from entropic_ae.priors import Normal
    >>> z = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    >>> transport = FlowTransport.fit(z, Normal.standard(2), epochs=1, hidden=8)
    >>> torch.allclose(transport.inverse(transport(z)), z, atol=1e-4)
    True
    """

    name = "flow"
    mean: Tensor
    deviation: Tensor
    architecture: Tensor

    def __init__(
        self, prior: Distribution, mean: Tensor, deviation: Tensor, architecture: Tensor, **weights: Tensor
    ) -> None:
        super().__init__(prior)
        self._keep(mean=mean, deviation=deviation)
        self.register_buffer("architecture", architecture)
        self.flow = _build(architecture.tolist()).requires_grad_(False)
        self.flow.load_state_dict({name.removeprefix("flow."): value for name, value in weights.items()})

    @classmethod
    def check(
        cls, *, transforms: int = 3, hidden: int = 64, layers: int = 2, bins: int = 8, epochs: int = 200
    ) -> None:
        """Raise InputError for a missing package, or a setting below 1."""
        given = {"transforms": transforms, "hidden": hidden, "layers": layers, "bins": bins, "epochs": epochs}
        for name, value in given.items():
            if value < 1:
                raise InputError(f"transport.{name} must be at least 1, got {value}.")
        if find_spec("zuko") is None:
            raise InputError("flows need zuko, which cannot be imported; pip install 'entropic-ae[flow]'.")

    @classmethod
    def fit_scores(
        cls,
        scores: Tensor,
        *,
        seed: int = 0,
        transforms: int = 3,
        hidden: int = 64,
        layers: int = 2,
        bins: int = 8,
        epochs: int = 200,
    ) -> dict[str, Tensor]:
        """Fit to scores, (N, S).

        Arguments:
            transforms: number of autoregressive maps, each in the reverse order of the one before.
            hidden, layers: width and number of hidden layers of each network.
            bins: pieces of a spline.
            epochs: at most; training ends 10 epochs after the highest likelihood of held-out scores.
        """
        cls.check(transforms=transforms, hidden=hidden, layers=layers, bins=bins, epochs=epochs)
        mean, deviation = mean_and_unit(scores)
        architecture = torch.tensor([scores.shape[1], transforms, hidden, layers, bins])
        points = ((scores - mean) / deviation).float()
        with seeded(seed), torch.enable_grad():
            flow = _build(architecture.tolist()).float().to(scores.device)
            best = _train(flow, points[torch.randperm(len(points)).to(points.device)], epochs)
        state = {f"flow.{name}": value.double() for name, value in best.items()}
        return {"mean": mean, "deviation": deviation, "architecture": architecture, **state}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Self:
        """Rebuild from the networks' weights; InputError if zuko is missing."""
        cls.check()
        dim = cls.scores_of(prior)
        mean, deviation = parameters(state, dim, mean="D", deviation="D")
        architecture = state["architecture"]
        if architecture.shape != (5,) or architecture.is_floating_point() or architecture[0] != dim:
            raise KeyError("architecture does not fit the codes")
        if any(not 1 <= value <= most for value, most in zip(architecture.tolist(), _LARGEST, strict=True)):
            raise KeyError("architecture is out of range")
        weights = {name: value for name, value in state.items() if name.startswith("flow.")}
        _, transforms, hidden, layers, _ = architecture.tolist()
        held = sum(value.numel() for value in weights.values())
        # before memory is allocated; a single dimension has no network
        if dim > 1 and transforms * (2 * hidden * dim + (layers - 1) * hidden**2) > held:
            raise KeyError("weights do not fit the architecture")
        if deviation.min() <= 0 or not all(bool(value.isfinite().all()) for value in weights.values()):
            raise KeyError("weights are not finite")
        try:
            return cls(prior, mean, deviation, architecture, **weights)
        except RuntimeError:
            raise KeyError("weights do not fit the architecture") from None

    def transform(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Standardise scores, (N, S), and pass them through the flow."""
        if not len(scores):  # which zuko cannot map
            return scores, scores.sum(1)
        blocks = ((scores - self.mean) / self.deviation).split(_ROWS)
        parts = [self.flow().transform.call_and_ladj(block) for block in blocks]
        u, log_det = (torch.cat(part) for part in zip(*parts, strict=True))
        return u, log_det - self.deviation.log().sum()

    def restore(self, scores: Tensor) -> Tensor:
        """Pass scores, (N, S), back through the flow."""
        restored = torch.cat([self.flow().transform.inv(block) for block in scores.split(_ROWS)])
        return self.mean + self.deviation * restored


def _build(architecture: list[int]) -> nn.Module:
    import zuko

    features, transforms, hidden, layers, bins = architecture
    flow: nn.Module = zuko.flows.NSF(features, bins=bins, transforms=transforms, hidden_features=[hidden] * layers)
    return flow.double()


def _train(flow: Any, points: Tensor, epochs: int) -> dict[str, Tensor]:
    """Train in place and return the state with the highest likelihood of held-out points."""
    held_out, others = points[::_HELD_OUT], points[torch.arange(len(points)) % _HELD_OUT != 0]
    optimizer = torch.optim.Adam(flow.parameters(), _RATE)
    best, state, since = float("inf"), copy.deepcopy(flow.state_dict()), 0
    for _ in range(epochs):
        for batch in others[torch.randperm(len(others)).to(others.device)].split(_BATCH):
            loss = -flow().log_prob(batch).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            loss = -flow().log_prob(held_out).mean()
        if loss < best:
            best, state, since = loss.item(), copy.deepcopy(flow.state_dict()), 0
        else:
            since += 1
            if since == _PATIENCE:
                break
    return state
