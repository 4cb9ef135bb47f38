"""What a training step of each network costs at the same width: processor time, parameters, largest layer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.pairs import compared
from benchmarks.tables import duration, markdown, ratio, where
from entropic_ae.recipes import NETWORKS, PRESETS, RECIPES, configure, preset_for
from entropic_ae.storage.files import read_json

PAPER, GRID = "paper", "grid"
SIDES = (32, 64, 128, 256)
WIDTH, BATCH = 16, 20


def measure(
    rounds: int, *, sides: Sequence[int] = SIDES, width: int = WIDTH, batch: int = BATCH
) -> Iterator[dict[str, Any]]:
    """Yield a row for each side of colour images and each network but the paper's, of which it has ratios.

    Arguments:
        rounds: turns of each, of one step of ``bn-ae`` by one thread.
        sides: of the images.
        width: of the networks.
        batch: images a step.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for side in sides:
            yield from _of_side(rounds, side, width, batch)
    finally:
        torch.set_num_threads(threads)


def _of_side(rounds: int, side: int, width: int, batch: int) -> Iterator[dict[str, Any]]:
    shape = (3, side, side)
    x = torch.rand(batch, *shape)
    preset = PRESETS[preset_for(shape)]
    built = {
        name: configure(RECIPES["bn-ae"], preset, {"network": name, "width": width}).build(shape)
        for name in NETWORKS.builtin
        if name != GRID  # whose codes have the lengths that fit its cells
    }
    times: dict[str, list[float]] = {name: [] for name in built}
    optimisers = {name: torch.optim.Adam(model.parameters()) for name, (model, _) in built.items()}
    for turn in range(rounds + 1):  # the first warms up
        for name, (model, objective) in built.items():
            started = time.process_time()
            objective(model, model(x))[0].backward()
            optimisers[name].step()
            optimisers[name].zero_grad()
            if turn:
                times[name].append(time.process_time() - started)
    sizes = {name: sum(one.numel() for one in model.parameters()) for name, (model, _) in built.items()}
    largest = {name: max(_linear(part) for part in (m.encoder, m.decoder)) for name, (m, _) in built.items()}
    yield {
        "side": side,
        "width": width,
        "batch": batch,
        "latent_dim": preset.latent_dim,
        "parameters": sizes,
        "largest_linear": largest,
        **compared(times, PAPER),
    }


def _linear(network: nn.Module) -> int:
    return max(layer.weight.numel() for layer in network.modules() if isinstance(layer, nn.Linear))


def render_cost(path: Path) -> str:
    """Return the benchmark as a table."""
    found = read_json(path)
    lines = []
    for row in found["rows"]:
        for name, seconds in row["seconds"].items():
            lines.append(
                [
                    f"{row['side']} x {row['side']}",
                    f"`{name}`",
                    duration(seconds / row["batch"]),
                    "-" if name == PAPER else ratio(row["ratios"][name]),
                    f"{row['parameters'][name] / 1e6:.2f}",
                    f"{row['largest_linear'][name] / 1e6:.2f}",
                ]
            )
    first = found["rows"][0]
    heads = ["colour images", "network", "per image", "times that of `paper`", "million parameters"]
    return (
        f"{markdown([*heads, 'in the largest linear layer'], lines)}\n\nTraining steps of `bn-ae` at width "
        f"{first['width']} with the latent dimensions of the nearest preset, {first['batch']} images a step: "
        f"processor time of one thread, medians of {first['rounds']} rounds in which both took turns, with "
        f"quartiles of the ratios. {where(found)}"
    )
