"""Training: each system against a bare loop of PyTorch on the same network, batch and precision, and pythae."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.entropy import constant
from benchmarks.pairs import compared, interleave
from benchmarks.sizes import BATCH, DIM, EPOCHS, SHAPE
from benchmarks.tables import where
from entropic_ae.networks import ConvDecoder, ConvEncoder
from entropic_ae.recipes import PRESETS, RECIPES, System, configure
from entropic_ae.storage.files import read_json
from entropic_ae.training import fit
from entropic_ae.training.allocator import memory_kept


def configured(recipe: str, width: int, epochs: int = EPOCHS) -> System:
    """Return a system at CIFAR-10's settings, but for the sizes that the contenders have in common."""
    changes = {"width": width, "latent_dim": DIM, "batch_size": BATCH, "epochs": epochs, **CHANGED.get(recipe, {})}
    return configure(RECIPES[recipe], PRESETS["cifar10"], changes)


# published for CIFAR-10 without its penalty, and so nothing that rae is not
CHANGED = {"rae-gp": {"decoder_gradient": 1e-4}}


def library(recipe: str, images: Tensor, width: int, **options: Any) -> float:
    """Return the seconds of an epoch of ``fit``, its own bookkeeping included; the options are its own."""
    system = configured(recipe, width)
    model, objective = system.build(SHAPE)
    rows = fit(model, objective, images, images[:BATCH], system.preset.training, **{"device": "cpu", **options})
    return len(images) / rows[-1]["images_per_s"]


class Bare(nn.Module):
    """What a loop of one's own would hold: the same encoder and decoder, the code's layer in between, weights."""

    def __init__(self, recipe: str, width: int) -> None:
        super().__init__()
        features, spectral = 2 * DIM if recipe in ("vae", "2svae") else DIM, recipe == "rae-sn"
        self.encoder = ConvEncoder(SHAPE, features, width=width, spectral=spectral)
        normal = recipe in ("bn-ae", "eae", "eae-linear")
        self.norm = nn.BatchNorm1d(DIM, affine=False) if normal else nn.Identity()
        self.decoder = ConvDecoder(SHAPE, DIM, width=width, spectral=spectral)
        self.settings: Any = configured(recipe, width).settings()


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
    optimizer = torch.optim.Adam(model.parameters(), model.settings["learning_rate"], fused=device == "cuda")
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


def _keeping(recipe: str, images: Tensor, width: int) -> float:
    """Return the seconds of the bare loop with the allocator as ``fit`` sets it."""
    with memory_kept():
        return bare(recipe, images, width)


def _error(x_hat: Tensor, x: Tensor) -> Tensor:
    return (x_hat - x).square().flatten(1).sum(1).mean()


def _plain(model: Bare, x: Tensor) -> Tensor:
    return _error(model.decoder(model.norm(model.encoder(x))), x)


def _decay(model: Bare, kind: type[nn.Module]) -> Tensor:
    squares = [layer.weight.square().sum() for layer in model.decoder.modules() if isinstance(layer, kind)]
    return model.settings["decoder_decay"] * torch.stack(squares).sum()


def _decayed(model: Bare, x: Tensor) -> Tensor:
    return _plain(model, x) + _decay(model, nn.ConvTranspose2d)


def _norm(model: Bare, x: Tensor) -> Tensor:
    z = model.encoder(x).float()
    return _error(model.decoder(z), x) + model.settings["code_norm"] * z.square().sum(1).mean()


def _norm_decayed(model: Bare, x: Tensor) -> Tensor:
    return _norm(model, x) + _decay(model, nn.ConvTranspose2d)


def _norm_smooth(model: Bare, x: Tensor) -> Tensor:
    z = model.encoder(x).float()
    x_hat = model.decoder(z)
    signs = x_hat.new_empty(x_hat.shape).bernoulli_() * 2 - 1
    (gradient,) = torch.autograd.grad(x_hat, z, signs, create_graph=True)
    loss = _error(x_hat, x) + model.settings["code_norm"] * z.square().sum(1).mean()
    return loss + model.settings["decoder_gradient"] * gradient.square().sum(1).mean()


def _posterior(model: Bare, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a sample, and the divergence of the posterior from N(0, I)."""
    mean, raw = model.encoder(x).float().chunk(2, 1)
    log_std = 5 * torch.tanh(raw)
    z = mean + log_std.exp() * torch.randn_like(mean)
    return z, 0.5 * (mean.square() + (2 * log_std).exp() - 2 * log_std - 1).sum(1).mean()


def _variational(model: Bare, x: Tensor) -> Tensor:
    z, divergence = _posterior(model, x)
    return _error(model.decoder(z), x) + model.settings["kl"] * divergence


def _of_constant_variance(model: Bare, x: Tensor) -> Tensor:
    mean, std = model.encoder(x).float(), model.settings["std"]
    divergence = 0.5 * (mean.square() + std**2 - 2 * math.log(std) - 1).sum(1).mean()
    z = mean + std * torch.randn_like(mean)
    return _error(model.decoder(z), x) + model.settings["kl"] * divergence


def _of_learned_scale(model: Bare, x: Tensor) -> Tensor:
    z, divergence = _posterior(model, x)
    error = (model.decoder(z) - x).square().mean()
    variance = error.detach()
    return 0.5 * x[0].numel() * ((2 * math.pi * variance).log() + error / variance) + divergence


def _entropic(model: Bare, x: Tensor, kind: type[nn.Module] = nn.ConvTranspose2d) -> Tensor:
    z = model.norm(model.encoder(x).float())
    loss = _error(model.decoder(z), x) + _decay(model, kind)
    with torch.autocast(x.device.type, enabled=False):
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        distance = torch.cdist(z, z).masked_fill(itself, torch.inf).min(1).values
        entropy = DIM * distance.log().mean() + constant(*z.shape)
    return loss - model.settings["entropy"] * entropy


def _matched(model: Bare, x: Tensor) -> Tensor:
    z = model.encoder(x).float()
    y = torch.randn_like(z)
    n = len(z)
    off = 1 - torch.eye(n, device=z.device)
    within_z, within_y, between = (torch.cdist(a, b).square() for a, b in ((z, z), (y, y), (z, y)))
    total = z.new_zeros(())
    for scale in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0):
        c = 2 * DIM * scale
        total = total + (off * (c / (c + within_z) + c / (c + within_y))).sum() / (n * (n - 1))
        total = total - 2 * (c / (c + between)).mean()
    return _error(model.decoder(z), x) + model.settings["mmd"] * total


# the systems of the table, each by what a loop of one's own would minimise; 2seae trains as eae does
LOSSES: dict[str, Callable[[Bare, Tensor], Tensor]] = {
    "ae": _plain,
    "ae-l2": _decayed,
    "rae": _norm,
    "rae-l2": _norm_decayed,
    "rae-gp": _norm_smooth,
    "rae-sn": _norm,
    "vae": _variational,
    "cv-vae": _of_constant_variance,
    "2svae": _of_learned_scale,
    "wae": _matched,
    "bn-ae": _plain,
    "eae": _entropic,
    "eae-linear": partial(_entropic, kind=nn.Linear),
}
PEERS = {"ae": "AE", "rae-l2": "RAE_L2", "rae-gp": "RAE_GP", "vae": "VAE", "wae": "WAE_MMD"}


def pythae(
    python: Path, model: str, images: int, width: int, *, device: str = "cpu", mixed: bool = False
) -> float:
    """Return the seconds of an epoch of pythae, in its own environment; mixed is its own, float16."""
    sizes = [str(images), str(width)]
    kind = [device, "mixed" if mixed else "float32"]
    return float(_in_peers(python, "-m", "benchmarks.pythae_epoch", model, *sizes, *kind))


def peer_versions(python: Path) -> dict[str, str]:
    """Return the versions of pythae and of the PyTorch that it runs on."""
    code = "import json; from importlib.metadata import version as v; print(json.dumps([v('pythae'), v('torch')]))"
    pythae_version, torch_version = _in_peers(python, "-c", code)
    return {"pythae": pythae_version, "torch of pythae": torch_version}


def _in_peers(python: Path, *arguments: str) -> Any:
    """Return what pythae's Python prints last."""
    root = Path(__file__).parent.parent
    paths = os.pathsep.join([str(root), str(root / "src")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(
        [str(python), *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{python} {' '.join(arguments)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(rounds: int, peers: Path | None, *, images: int = 2000, width: int = 16) -> Iterator[dict[str, Any]]:
    """Yield a row a system: seconds of an epoch and paired ratios to this library's."""
    data = torch.randint(256, (images, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for recipe in LOSSES:
        contenders: dict[str, Callable[[], float]] = {
            "entropic-ae": partial(library, recipe, data, width),
            "bare loop": partial(bare, recipe, data, width),
            "bare loop, memory kept": partial(_keeping, recipe, data, width),
        }
        if peers is not None and recipe in PEERS:
            contenders["pythae"] = partial(pythae, peers, PEERS[recipe], images, width)
        found = compared(interleave(contenders, rounds), "entropic-ae")
        speed = round(images / found["seconds"]["entropic-ae"])
        yield {"system": recipe, "images": images, "width": width, "images_per_second": speed, **found}


def render_pace(path: Path) -> str:
    """Return a sentence with the range of each contender's time relative to the library's."""
    found = read_json(path)
    parts = []
    for other in dict.fromkeys(name for row in found["rows"] for name in row["ratios"]):
        medians = {
            row["system"]: row["ratios"][other]["median"] for row in found["rows"] if other in row["ratios"]
        }
        least, most = (choose(medians, key=medians.__getitem__) for choose in (min, max))
        ends = " to ".join(f"{medians[system]:.2f} (`{system}`)" for system in (least, most))
        parts.append(f"{other} {ends}, {len(medians)} systems")
    return f"Time of an epoch relative to this library, lowest and highest: {'; '.join(parts)}. {where(found)}"
