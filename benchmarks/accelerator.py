"""A GPU: a row of the table, waits, images a second, the share of its matrix rate, where time goes, a mixture.

The one benchmark that needs a GPU, for about ten minutes. With ``--dry`` it runs on a CPU, small, to see that it
works.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from functools import lru_cache, partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.densities import bent
from benchmarks.pairs import Contender, compared, interleave
from benchmarks.sizes import BATCH, SHAPE
from benchmarks.tables import duration, markdown, ratio, where
from benchmarks.training import PEERS, bare, configured, library, pythae
from entropic_ae.autoencoder import Autoencoder
from entropic_ae.bottlenecks import BatchNorm
from entropic_ae.densities import Mixture
from entropic_ae.storage.files import read_json
from entropic_ae.terms import Objective
from entropic_ae.training import fit

WAYS = (  # of training that are timed
    *(("eae", "bf16"), ("ae", "bf16"), ("vae", "bf16"), ("wae", "bf16"), ("rae-gp", "bf16")),
    *(("eae", "32"), ("ae", "32")),
)
KINDS = {  # what a kernel's name holds, looked for in this order
    "fused by the compiler": ("triton_",),
    "changes of layout": ("nchwtonhwc", "nhwctonchw"),
    "batch norm": ("batch_norm", "batchnorm", "bn_fw", "bn_bw", "batch_normalization"),
    "optimiser": ("adam", "multi_tensor"),
    "convolutions and matrix products": (
        *("conv", "gemm", "xmma", "cutlass", "cudnn", "nvjet", "wgrad", "dgrad", "fprop", "addmm", "aten::mm"),
    ),
    "copies": ("memcpy", "memset", "copy", "catarray"),
    "neighbours": ("topk", "sort"),
    "minibatches": ("index", "gather", "scatter"),
}


def measure(rounds: int, *, peers: Path | None = None, dry: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the card and its rate, a row of the table, waits, a row a way of training, where time goes, a mixture.

    Arguments:
        rounds: turns of each contender.
        peers: the Python of pythae's environment, if pythae takes part.
        dry: on the CPU, with little of everything.
    """
    device = "cpu" if dry else "cuda"
    count, width, side, epochs = (100, 2, 64, 2) if dry else (50_000, 128, 8192, 100)
    images = torch.randint(256, (count, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    part = images[:10_000]  # four calls of many steps each: an epoch takes a fraction of a second
    rate = matrix_rate(side, device)
    yield {
        "device": "cpu" if dry else torch.cuda.get_device_name(),
        "matrix": side,
        "bf16_tflops": rate / 1e12,
    }
    yield table_row(images, width, epochs, device, compiles=not dry)
    systems = list(dict.fromkeys(recipe for recipe, _ in WAYS))
    yield {"waits": {recipe: waits(recipe, part, width, device) for recipe in systems}}
    for recipe, precision in WAYS:
        yield _speeds(recipe, precision, part, width, device, rounds, rate, peers, compiles=not dry)
    for compiles in (False,) if dry else (False, True):
        yield {"profile": "eae", "compiled": compiles, **where_time_goes(part, width, device, compiles)}
    yield mixtures(500 if dry else 50_000, 4 if dry else 128, device)


def _speeds(
    recipe: str,
    precision: str,
    images: Tensor,
    width: int,
    device: str,
    rounds: int,
    rate: float,
    peers: Path | None,
    *,
    compiles: bool,
) -> dict[str, Any]:
    """Return images a second of a system in a precision, by contender; pythae, which takes long, has one turn."""
    work = flops(recipe, width)
    seconds = interleave(_contenders(recipe, images, width, device, precision, compiles=compiles), rounds)
    if peers is not None and recipe in PEERS:
        mixed = precision == "bf16" and device == "cuda"
        try:
            taken = pythae(peers, PEERS[recipe], len(images), width, device=device, mixed=mixed)
            seconds["pythae, mixed" if mixed else "pythae"] = [taken]
        except SystemExit as failure:  # the rest is worth having
            print(failure, file=sys.stderr)
    speeds = {name: len(images) / median(times) for name, times in seconds.items()}
    return {
        "system": recipe,
        "precision": precision,
        "images": len(images),
        "width": width,
        "flops_per_image": work,
        "images_per_second": speeds,
        "share_of_matrix_rate": {name: work * speed / rate for name, speed in speeds.items()},
        **compared(seconds, "entropic-ae"),
    }


def matrix_rate(side: int, device: str) -> float:
    """Return the floating-point operations a second of a bf16 matrix product of that side."""
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    _wait(device)
    rates, products = [], 20
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(products):
            a @ a
        _wait(device)
        rates.append(2 * side**3 * products / (time.perf_counter() - started))
    return median(rates)


@lru_cache
def flops(recipe: str, width: int) -> float:
    """Return the floating-point operations of a training step, an image."""
    model, objective = configured(recipe, width).build(SHAPE)
    counter = FlopCounterMode(display=False)
    with counter:
        _loss(model, objective, torch.rand(BATCH, *SHAPE)).backward()
    return counter.get_total_flops() / BATCH


def waits(recipe: str, images: Tensor, width: int, device: str) -> dict[str, Any] | None:
    """Return the waits for the GPU that a further step and validation batch brings; None on a CPU, which has none.

    An epoch has some of its own, so two of different lengths are compared.

    Returns: waits for each step and batch more, and how many more for each line of code that waited more often.
    """
    if device == "cpu":
        return None
    few, many = (_waits(recipe, part, width, device) for part in (images[: len(images) // 2], images))
    more = Counter(many)
    more.subtract(few)
    steps = (len(images) - len(images) // 2) / BATCH
    return {"per_step": sum(more.values()) / steps, "lines": {line: n for line, n in more.items() if n}}


class _Watch(Callback):
    """Profiles the training steps of the last epoch."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.profile = profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
        )

    def on_train_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:  # noqa: ARG002
        if trainer.current_epoch + 1 == trainer.max_epochs:
            _wait(self.device)
            self.profile.start()
            self.started = time.perf_counter()

    def on_validation_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:  # noqa: ARG002
        if trainer.current_epoch + 1 == trainer.max_epochs:
            _wait(self.device)
            self.seconds = time.perf_counter() - self.started
            self.profile.stop()


def where_time_goes(images: Tensor, width: int, device: str, compiles: bool) -> dict[str, Any]:
    """Return the shares of an epoch of eae in bf16 by kind of kernel (of operator, on a CPU), and the longest.

    What is left to 1 is time without a kernel. The profiler makes an epoch longer, and this share larger.
    """
    system = configured("eae", width)
    model, objective = system.build(SHAPE)
    watch = _Watch(device)
    options: dict[str, Any] = {"device": device, "precision": "bf16", "compile": compiles, "callbacks": [watch]}
    fit(model, objective, images, images[:BATCH], system.preset.training, **options)
    times = Counter[str]()
    for event in watch.profile.key_averages():
        if event.is_user_annotation:  # a name for kernels that are counted by themselves
            continue
        if device == "cpu":
            times[event.key] += event.self_cpu_time_total
        elif event.device_type == DeviceType.CUDA:
            times[event.key] += event.self_device_time_total
    kinds = Counter[str]()
    for name, microseconds in times.items():
        kinds[_kind(name)] += microseconds / 1e6 / watch.seconds
    longest = {name[:100]: microseconds / 1e6 / watch.seconds for name, microseconds in times.most_common(15)}
    return {"seconds": watch.seconds, "shares": dict(kinds.most_common()), "longest": longest}


def _kind(kernel: str) -> str:
    """Return what a kernel does, by its name."""
    name = kernel.lower()
    return next(
        (kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "elementwise, sums"
    )


def mixtures(n: int, dim: int, device: str) -> dict[str, Any]:
    """Return the seconds of fitting the mixture of ten on the CPU and on the device, and the likelihoods."""
    codes, held_out = bent(n, dim, 1), bent(n, dim, 2)
    prior = BatchNorm(dim).prior()
    found: dict[str, Any] = {"mixture": 10, "codes": n, "dimensions": dim, "seconds": {}, "log_likelihood": {}}
    for name, place in (("CPU", "cpu"), ("device", device)):
        placed = codes.to(place)
        _wait(device)
        started = time.perf_counter()
        density = Mixture.fit(placed, prior)
        found["seconds"][name] = time.perf_counter() - started
        found["log_likelihood"][name] = density.log_prob(held_out).mean().item()
    return found


def table_row(images: Tensor, width: int, epochs: int, device: str, *, compiles: bool) -> dict[str, Any]:
    """Return the seconds of a whole training of eae: compiling, validation and a checkpoint an epoch included."""
    system = configured("eae", width, epochs)
    model, objective = system.build(SHAPE)
    held_out = images[: len(images) // 5]
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {
            "device": device,
            "precision": "bf16",
            "compile": compiles,
        }
        started = time.perf_counter()
        rows = fit(model, objective, images, held_out, system.preset.training, folder=Path(folder), **options)
        _wait(device)
        seconds = time.perf_counter() - started
    return {
        "row": f"eae, {epochs} epochs of {len(images):,} images, width {width}, bf16{', compiled' * compiles}",
        "validation_images": len(held_out),
        "seconds": seconds,
        "seconds_of_steps": sum(len(images) / row["images_per_s"] for row in rows),
    }


def _contenders(
    recipe: str, images: Tensor, width: int, device: str, precision: str, *, compiles: bool
) -> dict[str, Contender]:
    ours = partial(library, recipe, images, width, device=device, precision=precision)
    loop = partial(bare, recipe, images, width, device=device, bf16=precision == "bf16")
    found: dict[str, Contender] = {"entropic-ae": ours, "bare loop": loop}
    if compiles and not any(term.derives_twice for term in configured(recipe, width).recipe.terms):
        found["entropic-ae, compiled"] = partial(ours, compile=True)
        found["bare loop, compiled"] = partial(loop, compile=True)
    return found


def _waits(recipe: str, images: Tensor, width: int, device: str) -> Counter[str]:
    """Return how often each line waited for the GPU in an epoch with as many images to validate on."""
    system = configured(recipe, width, 1)
    model, objective = system.build(SHAPE)
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("warn")
    try:
        with (
            warnings.catch_warnings(record=True) as seen,
            patch("entropic_ae.training.loop.quiet_lightning", nullcontext),  # which hides warnings of its lines
        ):
            warnings.simplefilter("always")
            fit(model, objective, images, images, system.preset.training, device=device, precision="bf16")
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    lines = [f"{Path(one.filename).name}:{one.lineno}" for one in seen if "synchroniz" in str(one.message)]
    return Counter(lines)


def _loss(model: Autoencoder, objective: Objective, x: Tensor) -> Tensor:
    loss: Tensor = objective(model, model(x))[0]
    return loss


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def render_gpu(path: Path) -> str:
    """Return the benchmark of a GPU: speeds and shares of its rate, waits, where time goes, a row of the table."""
    found = read_json(path)
    card, *rows = found["rows"]
    timed = [row for row in rows if "system" in row]
    lines = [
        [
            f"`{row['system']}`",
            row["precision"],
            name,
            f"{speed:,.0f}",
            f"{100 * row['share_of_matrix_rate'][name]:.1f} %"
            if row["precision"] == "bf16" and not name.startswith("pythae")  # of which it is the rate
            else "-",
            ratio(row["ratios"][name]) if name in row["ratios"] else "-",
        ]
        for row in timed
        for name, speed in row["images_per_second"].items()
    ]
    head = ["system", "precision", "what", "images/s", "share of the matrix rate", "times as long as entropic-ae"]
    parts = [
        f"{card['device']}: {card['bf16_tflops']:.0f} TFLOP/s in bf16 products of {card['matrix']:,} x "
        f"{card['matrix']:,}. Width {timed[0]['width']}; medians of {timed[0]['rounds']} rounds in which "
        "all contenders took turns, with quartiles of the ratios.",
        markdown(head, lines),
    ]
    for row in rows:
        if "waits" in row:
            shown = ((name, waits) for name, waits in row["waits"].items() if waits is not None)
            waiting = [[f"`{name}`", f"{waits['per_step']:.2f}"] for name, waits in shown]
            parts += [markdown(["system", "waits for the GPU in a step"], waiting)] if waiting else []
        elif "profile" in row:
            shares = {**row["shares"], "no kernel": max(0.0, 1 - sum(row["shares"].values()))}
            title = f"`{row['profile']}`, {'compiled' if row['compiled'] else 'not compiled'}: where its time goes"
            parts.append(markdown([title, "share"], [[kind, f"{100 * s:.0f} %"] for kind, s in shares.items()]))
        elif "mixture" in row:
            title = f"mixture of {row['mixture']}, {row['codes']:,} codes of {row['dimensions']}"
            fits = [
                [name, duration(seconds), f"{row['log_likelihood'][name]:.4f}"]
                for name, seconds in row["seconds"].items()
            ]
            parts.append(markdown([title, "time", "log likelihood of held-out codes"], fits))
        elif "row" in row:
            validated = f"{row['validation_images']:,} images validated each epoch"
            steps = duration(row["seconds_of_steps"])
            parts.append(f"{row['row']}; {validated}: {duration(row['seconds'])}, of which its steps {steps}.")
    return "\n\n".join([*parts, where(found)])
