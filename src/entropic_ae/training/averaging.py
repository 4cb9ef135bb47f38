"""What is validated and saved in place of what is trained: averaged weights, running averages estimated anew."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from entropic_ae.errors import InputError

__all__ = ["Average", "Validated"]


class Average:
    """An exponential moving average of a model's parameters, over optimiser steps.

    After t steps the decay is min(decay, (1 + t) / (10 + t)): the first steps, far from where training ends, are
    forgotten quickly, so a short training has a useful average too.

    Lightning's ``EMAWeightAveraging`` (2.6) averages once per call of the training step, which holds several
    optimiser steps on a GPU; averages, by default, all buffers, counters included; and puts the parameters back
    before the best weights are taken. Its arithmetic, ``torch.optim.swa_utils``, is the one used here.

    Arguments:
        model: the model, on its device.
        decay: between 0 and 1.
        state: of ``state_dict``, to continue.

    References: "Acceleration of stochastic approximation by averaging", Polyak and Juditsky (1992),
    https://doi.org/10.1137/0330046; "Averaging weights leads to wider optima and better generalization", Izmailov
    et al. (2018), https://arxiv.org/abs/1803.05407.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(model.weight)
    >>> average = Average(model, decay=0.5)
    >>> _ = nn.init.ones_(model.weight)
    >>> average.update()  # the first decay is 2 / 11
    >>> round(average.weights[0].item(), 6), round(1 - 2 / 11, 6)
    (0.818182, 0.818182)
    """

    def __init__(self, model: nn.Module, decay: float, state: dict[str, Any] | None = None) -> None:
        self.model, self.decay, self.steps = model, decay, 0
        self.weights = [parameter.detach().clone() for parameter in model.parameters()]
        if state is not None:
            self.steps = state["steps"]
            for average, saved in zip(self.weights, state["weights"], strict=True):
                average.copy_(saved)

    @staticmethod
    def check(state: dict[str, Any] | None, decay: float) -> None:
        """Raise InputError unless a checkpoint's state, None if it has none, is of an average of that decay."""
        if (before := 0.0 if state is None else state["decay"]) != decay:
            raise InputError(
                f"the checkpoint has ema={before}, got {decay}; restore it, or train in another folder."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"decay": self.decay, "steps": self.steps, "weights": self.weights}

    def update(self) -> None:
        """Take in the parameters after an optimiser step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        get_ema_multi_avg_fn(decay)(self.weights, [one.detach() for one in self.model.parameters()], self.steps)


class Validated:
    """What takes the place of a model's weights and running averages for validation (``enter``, ``leave``).

    Running averages of norms and bottlenecks, which follow the newest minibatches, are replaced by plain averages
    over minibatches that the last weights of an epoch see. So no earlier weights are in them, and many minibatches
    leave less noise: a momentum of 0.1 weighs about 20. With an average of weights they have to be estimated, and
    so have the vectors of spectral norms: an average of running averages does not belong to the average of the
    weights, whose codes would vary less than the prior.

    Arguments:
        model: the model, on its device.
        average: of the weights, to be validated instead of them; None for the weights themselves.

    References: section 3.2 of "Averaging weights leads to wider optima and better generalization", Izmailov et al.
    (2018), https://arxiv.org/abs/1803.05407; section 3 of "Rethinking 'Batch' in BatchNorm", Wu and Johnson
    (2021), https://arxiv.org/abs/2105.07576.

    >>> model = nn.BatchNorm1d(1)
    >>> validated = Validated(model)
    >>> batches = [(torch.tensor([[1.0], [3.0]]),), (torch.tensor([[5.0], [7.0]]),)]
    >>> validated.enter(batches, {model: True})
    >>> model.running_mean.item(), model.running_var.item()
    (4.0, 2.0)
    >>> validated.leave()
    >>> model.running_mean.item(), model.running_var.item()
    (0.0, 1.0)
    """

    def __init__(self, model: nn.Module, average: Average | None = None) -> None:
        self.model, self.average = model, average
        self.own: list[tuple[Tensor, Tensor]] = []  # tensors of the model with what they hold in training

    @torch.no_grad()
    def enter(self, minibatches: Iterable[tuple[Tensor, ...]], modes: dict[nn.Module, bool]) -> None:
        """Give the model the average, if there is one, and running averages that belong to its weights.

        Arguments:
            minibatches: the arguments of the model, training images in [0, 1] first; at least one minibatch.
            modes: whether each module is in training mode while it is trained.
        """
        held = [*(self.model.parameters() if self.average is not None else ()), *self.model.buffers()]
        self.own = [(tensor, tensor.detach().clone()) for tensor in held]
        if self.average is not None:
            for parameter, average in zip(self.model.parameters(), self.average.weights, strict=True):
                parameter.copy_(average)
        _estimate(self.model, minibatches, modes)

    @torch.no_grad()
    def leave(self) -> None:
        """Give the model back what it had before ``enter``."""
        for tensor, own in self.own:
            tensor.copy_(own)
        self.own = []


def _estimate(model: nn.Module, minibatches: Iterable[tuple[Tensor, ...]], modes: dict[nn.Module, bool]) -> None:
    """Set all running averages of a model to plain averages over minibatches."""
    norms = [one for one in modes if _momentum(one) is not None and modes[one]]
    buffers = [b for one in norms for b in one._buffers.values() if b is not None and b.is_floating_point()]
    counts = [b for b in model.buffers() if not b.is_floating_point()]
    counted = [count.clone() for count in counts]
    sums = [torch.zeros_like(buffer) for buffer in buffers]
    with ExitStack() as restored:
        for module, training in modes.items():
            restored.callback(_set, module, "training", module.training)
            module.training = training
        for module in norms:
            restored.callback(_set, module, "momentum", module.momentum)
            module.momentum = 1.0  # type: ignore[assignment]  # each minibatch leaves its own statistics
        n = 0
        for minibatch in minibatches:
            model(*minibatch)
            torch._foreach_add_(sums, buffers)
            n += 1
    for buffer, total in zip(buffers, sums, strict=True):
        buffer.copy_(total / n)
    for count, before in zip(counts, counted, strict=True):
        count.copy_(before)


def _momentum(module: nn.Module) -> float | None:
    """Return the weight of the newest minibatch in a module's running averages; None if it has none."""
    if isinstance(module, nn.modules.batchnorm._NormBase) and module.momentum is None:
        return 0.0  # a plain average of all minibatches
    momentum = getattr(module, "momentum", None)
    return momentum if isinstance(momentum, float) else None


def _set(module: nn.Module, name: str, value: Any) -> None:
    setattr(module, name, value)
