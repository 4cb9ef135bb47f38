"""The objective, a weighted sum of terms, and the memory of recent codes that some terms use."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.distributed import gather
from entropic_ae.errors import InputError
from entropic_ae.terms.term import Term

__all__ = ["CodeMemory", "Objective"]


class CodeMemory(nn.Module):
    """A ring buffer of the latest codes of an epoch, detached and saved in checkpoints.

    With b codes in a global minibatch no code is older than size / b steps, rounded up, which limits how stale the
    codes are. Training clears the memory at the start of each epoch. Otherwise the nearest neighbour of a code
    could be the code of the same image in the previous epoch, which is no information on the entropy.

    Arguments:
        size: capacity in codes, at least 1.
        latent_dim: length D of a code.

    >>> memory = CodeMemory(3, 1)
    >>> memory.push(torch.tensor([[1.0], [2.0]])), memory.codes().tolist()
    (None, [[1.0], [2.0]])
    >>> memory.push(torch.tensor([[3.0], [4.0]])), sorted(memory.codes().flatten().tolist())
    (None, [2.0, 3.0, 4.0])
    """

    ring: Tensor

    def __init__(self, size: int, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("ring", torch.zeros(size, latent_dim))
        self.pushed = 0

    def codes(self) -> Tensor:
        """Return the stored codes, (M, D) with M up to the size, in no particular order."""
        return self.ring[: self.pushed]

    @torch.no_grad()
    def push(self, z: Tensor) -> None:
        """Store a minibatch of codes, (N, D), of every process; they replace the oldest."""
        z = gather(z.detach().to(self.ring))[-len(self.ring) :]
        places = torch.arange(self.pushed, self.pushed + len(z), device=z.device) % len(self.ring)
        self.ring[places] = z
        self.pushed += len(z)

    def clear(self) -> None:
        """Remove all codes."""
        self.pushed = 0

    def get_extra_state(self) -> int:
        """Return the number of codes stored so far, for the checkpoint."""
        return self.pushed

    def set_extra_state(self, state: int) -> None:
        """Restore the number of codes from a checkpoint."""
        self.pushed = state


class Objective(nn.Module):
    """The weighted sum of terms that training minimises.

    It also holds the memory of recent codes, if a term uses one. So the state of training is that of the model and
    the objective.

    Arguments:
        terms: terms with distinct names; those of weight 0 are skipped and cost nothing.
        model: the model to train; each term checks that it can be minimised on it.

    Raises: InputError if no term has a weight above 0, two terms have the same name, or a term rejects the model.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.terms import NegativeEntropy, SquaredError
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> objective = Objective([SquaredError(), NegativeEntropy(0.05)], model)
    >>> loss, values = objective(model, model(torch.rand(10, 1, 8, 8)))
    >>> list(values)
    ['squared_error', 'negative_entropy']
    """

    def __init__(self, terms: Iterable[Term], model: Autoencoder) -> None:
        super().__init__()
        given = tuple(terms)
        self.terms = tuple(term for term in given if term.weight > 0)
        names = [term.name for term in given]
        if not self.terms or len(set(names)) < len(names):
            shown = ", ".join(f"{term.name} of weight {term.weight}" for term in given) or "none"
            raise InputError(
                f"an objective needs at least one term with a weight above 0, and each only once, got {shown}."
            )
        for term in self.terms:
            term.check(model)
        size = max(term.recent_codes for term in self.terms)
        self.memory = CodeMemory(size, model.bottleneck.latent_dim) if size else None
        self.states = nn.ModuleDict()

    def prepare(self, network: Callable[[str], nn.Module | None], images: Tensor | None = None) -> None:
        """Give the terms what they need of the training images, see ``Term.prepared`` and ``Term.with_images``."""
        self.terms = tuple(term.prepared(network) for term in self.terms)
        if images is not None:
            self.terms = tuple(term.with_images(images) for term in self.terms)
        found = {term.name: term.new_state() for term in self.terms}
        self.states = nn.ModuleDict({name: state for name, state in found.items() if state is not None})

    def forward(self, model: Autoencoder, trace: Trace) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum and the unweighted value of each term, computed outside autocast.

        In training mode the codes are stored if a term uses recent codes.
        """
        if self.memory is not None:
            trace = trace._replace(recent=self.memory.codes())
        with torch.autocast(trace.x.device.type, enabled=False):
            values = {term.name: term(model, self._remembering(trace, term)) for term in self.terms}
            total = torch.stack([term.weight * values[term.name] for term in self.terms]).sum()
        if self.memory is not None and model.training:
            self.memory.push(trace.code.z)
        return total, {name: value.detach() for name, value in values.items()}

    def _remembering(self, trace: Trace, term: Term) -> Trace:
        return trace._replace(state=self.states[term.name]) if term.name in self.states else trace
