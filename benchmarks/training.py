"""Training: each system against a bare loop of PyTorch on the same network, batch and precision, and pythae."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.pairs import compared, interleave
from benchmarks.sizes import BATCH, DIM, EPOCHS, SHAPE
from entropic_ae.networks import ConvDecoder, ConvEncoder
from entropic_ae.recipes import PRESETS, RECIPES, configure
from entropic_ae.training import fit


def library(recipe: str, images: Tensor, width: int, **options: Any) -> float:
    """Return the seconds of an epoch of ``fit``, its own bookkeeping included; the options are its own."""
    changes = {"width": width, "latent_dim": DIM, "batch_size": BATCH, "epochs": EPOCHS}
    system = configure(RECIPES[recipe], PRESETS["cifar10"], changes)
    model, objective = system.build(SHAPE)
    rows = fit(model, objective, images, images[:BATCH], system.preset.training, **{"device": "cpu", **options})
    return len(images) / rows[-1]["images_per_s"]


class Bare(nn.Module):
    """What a loop of one's own would hold: the same encoder and decoder, and the code's layer in between."""

    def __init__(self, recipe: str, width: int) -> None:
        super().__init__()
        self.encoder = ConvEncoder(SHAPE, 2 * DIM if recipe == "vae" else DIM, width=width)
        self.norm = nn.BatchNorm1d(DIM, affine=False) if recipe in ("bn-ae", "eae") else nn.Identity()
        self.decoder = ConvDecoder(SHAPE, DIM, width=width)


def bare(
    recipe: str, images: Tensor, width: int, *, device: str = "cpu", bf16: bool = False, compile: bool = False
) -> float:
    """Return the seconds of an epoch of a plain loop that computes the loss and steps, and nothing else."""
    torch.manual_seed(0)
    model = Bare(recipe, width).to(device)
    if compile:
        model.encoder.compile()
        model.decoder.compile()
    images = images.to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=device == "cuda")
    loss_of = LOSSES[recipe]
    for _ in range(EPOCHS):
        started = time.perf_counter()
        for index in torch.randperm(len(images), device=device).split(BATCH):
            x = images[index].float() / 255
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                loss = loss_of(model, x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        elapsed = time.perf_counter() - started
    return elapsed


def _error(model: Bare, x: Tensor, z: Tensor) -> Tensor:
    return (model.decoder(z) - x).square().flatten(1).sum(1).mean()


def _plain(model: Bare, x: Tensor) -> Tensor:
    return _error(model, x, model.norm(model.encoder(x)))


def _norm(model: Bare, x: Tensor) -> Tensor:
    z = model.encoder(x)
    return _error(model, x, z) + 1e-2 * z.square().sum(1).mean()


def _decay(model: Bare, x: Tensor) -> Tensor:
    weights = [layer.weight for layer in model.decoder.modules() if isinstance(layer, nn.ConvTranspose2d)]
    return _plain(model, x) + 1e-4 * sum(weight.square().sum() for weight in weights)


def _variational(model: Bare, x: Tensor) -> Tensor:
    mean, raw = model.encoder(x).chunk(2, 1)
    log_std = 5 * torch.tanh(raw)
    z = mean + log_std.exp() * torch.randn_like(mean)
    divergence = 0.5 * (mean.square() + (2 * log_std).exp() - 2 * log_std - 1).sum(1).mean()
    return _error(model, x, z) + 1e-1 * divergence


def _entropic(model: Bare, x: Tensor) -> Tensor:
    z = model.norm(model.encoder(x))
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    distance = torch.cdist(z, z).masked_fill(itself, torch.inf).min(1).values
    return _error(model, x, z) - 0.5 * DIM * distance.log().mean()


def _matched(model: Bare, x: Tensor) -> Tensor:
    z = model.encoder(x)
    y = torch.randn_like(z)
    n = len(z)
    off = 1 - torch.eye(n, device=z.device)
    within_z, within_y, between = (torch.cdist(a, b).square() for a, b in ((z, z), (y, y), (z, y)))
    total = z.new_zeros(())
    for scale in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0):
        c = 2 * DIM * scale
        total = total + (off * (c / (c + within_z) + c / (c + within_y))).sum() / (n * (n - 1))
        total = total - 2 * (c / (c + between)).mean()
    return _error(model, x, z) + 10 * total


LOSSES: dict[str, Callable[[Bare, Tensor], Tensor]] = {
    "ae": _plain,
    "ae-l2": _decay,
    "rae": _norm,
    "vae": _variational,
    "wae": _matched,
    "bn-ae": _plain,
    "eae": _entropic,
}
PEERS = {"ae": "AE", "rae": "RAE_L2", "vae": "VAE", "wae": "WAE_MMD", "rae-gp": "RAE_GP"}


def pythae(python: Path, model: str, images: int, width: int) -> float:
    """Return the seconds of an epoch of pythae, in its own environment."""
    root = Path(__file__).parent.parent
    command = [str(python), "-m", "benchmarks.pythae_epoch", model, str(images), str(width)]
    paths = os.pathsep.join([str(root), str(root / "src")])
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def measure(rounds: int, peers: Path | None, *, images: int = 2000, width: int = 16) -> Iterator[dict[str, Any]]:
    """Yield a row a system: seconds of an epoch and paired ratios to this library's."""
    data = torch.randint(256, (images, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for recipe in dict.fromkeys((*LOSSES, *PEERS)):
        contenders: dict[str, Callable[[], float]] = {"entropic-ae": partial(library, recipe, data, width)}
        if recipe in LOSSES:
            contenders["bare loop"] = partial(bare, recipe, data, width)
        if peers is not None and recipe in PEERS:
            contenders["pythae"] = partial(pythae, peers, PEERS[recipe], images, width)
        yield {
            "system": recipe,
            "images": images,
            "width": width,
            **compared(interleave(contenders, rounds), "entropic-ae"),
        }
