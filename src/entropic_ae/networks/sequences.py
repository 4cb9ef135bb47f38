"""A causal transformer over sequences of symbols, which predicts each from those before it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from entropic_ae.errors import InputError

__all__ = ["CausalTransformer"]

_HEAD = 16  # width of a head


class CausalTransformer(nn.Module):
    """A pre-norm transformer over S symbols of V states: the logits of each symbol given those before it.

    Untrained, it gives all states the same probability. Positions are learned. When it draws, keys and values of
    earlier symbols are kept, so that each symbol passes once.

    Arguments:
        symbols: length S of a sequence.
        states: number V of states.
        width: of the hidden layers, a multiple of 16.
        depth: number of blocks.

    Raises: InputError for a size below 1, or another width.

    References:
        Vaswani et al., "Attention is all you need", 2017, https://arxiv.org/abs/1706.03762.
        Xiong et al., "On layer normalization in the transformer architecture", 2020, for the place of the norms,
        https://arxiv.org/abs/2002.04745.

    >>> network = CausalTransformer(4, 3, width=16)
    >>> network(torch.zeros(2, 4, dtype=torch.long)).shape
    torch.Size([2, 4, 3])
    >>> network.draw(5, torch.Generator().manual_seed(0)).shape
    torch.Size([5, 4])
    """

    def __init__(self, symbols: int, states: int, *, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        for name, size in {"symbols": symbols, "states": states, "depth": depth}.items():
            if size < 1:
                raise InputError(f"{name} must be at least 1, got {size}.")
        if width < 1 or width % _HEAD:
            raise InputError(f"width must be a multiple of {_HEAD}, got {width}.")
        self.symbols, self.states = symbols, states
        self.before = nn.Embedding(states + 1, width)  # the last is the start
        self.place = nn.Embedding(symbols, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, states)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def forward(self, symbols: Tensor) -> Tensor:
        """Return the logits, (N, S, V), of symbols, int64 (N, S)."""
        start = symbols.new_full((len(symbols), 1), self.states)
        x = self.before(torch.cat([start, symbols[:, :-1]], 1)) + self.place.weight
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.logits(self.norm(x))
        return logits

    def log_prob(self, symbols: Tensor) -> Tensor:
        """Return the log probabilities of sequences, int64 (N, S): (N,)."""
        return self(symbols).log_softmax(-1).gather(2, symbols[..., None]).squeeze(2).sum(1)

    @torch.no_grad()
    def draw(self, n: int, source: torch.Generator) -> Tensor:
        """Draw n sequences, int64 (n, S), on the CPU."""
        drawn = torch.full((n, 1), self.states)
        kept: list[Tensor | None] = [None] * len(self.blocks)
        for place in range(self.symbols):
            x = self.before(drawn[:, -1:]) + self.place.weight[place]
            for i, block in enumerate(self.blocks):
                assert isinstance(block, _Block)
                x, kept[i] = block.step(x, kept[i])
            p = self.logits(self.norm(x))[:, 0].double().softmax(-1)
            drawn = torch.cat([drawn, torch.multinomial(p, 1, generator=source)], 1)
        return drawn[:, 1:]


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        nn.init.normal_(self.out.weight, std=0.02 / math.sqrt(2))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self._heads(x)
        return self._rest(x, nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))

    def step(self, x: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the output for one more symbol, (N, 1, width), and the keys and values of all so far."""
        q, k, v = self._heads(x)
        both = torch.stack([k, v])
        both = both if kept is None else torch.cat([kept, both], 3)
        return self._rest(x, nn.functional.scaled_dot_product_attention(q, both[0], both[1])), both

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, (N, heads, S, 16)."""
        q, k, v = (part.unflatten(2, (-1, _HEAD)).transpose(1, 2) for part in self.qkv(self.first(x)).chunk(3, 2))
        return q, k, v

    def _rest(self, x: Tensor, seen: Tensor) -> Tensor:
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        y: Tensor = x + self.mlp(self.second(x))
        return y
