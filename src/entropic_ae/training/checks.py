"""What is refused before anything is trained: devices, precisions, data that a part cannot be trained on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.errors import InputError
from entropic_ae.terms import Objective
from entropic_ae.training.batches import EqualBatches, length
from entropic_ae.training.settings import Settings

__all__ = [
    "PRECISIONS",
    "check_devices",
    "check_images",
    "check_processes",
    "select_device",
    "select_precision",
]

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "64": "64-true"}


def select_device(device: str) -> torch.device:
    """Return the device of 'auto', 'cpu' or 'cuda'; auto takes a GPU where there is one.

    Raises: InputError for another name, or where there is no such device.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device must be auto, cpu or cuda, got '{device}'.")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but PyTorch sees no GPU; use --device cpu.")
    use_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_gpu else "cpu")


def select_precision(precision: str) -> Any:
    """Return Lightning's name for '32', 'bf16' or '64'.

    Raises: InputError for another name.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, got '{precision}'.")
    return PRECISIONS[precision]


def check_processes(device: str, devices: int, nodes: int) -> None:
    """Raise InputError unless each of so many processes has a device here; arguments as of ``fit``."""
    if min(devices, nodes) < 1:
        raise InputError(f"devices and nodes must be at least 1, got {devices} and {nodes}.")
    if select_device(device).type == "cuda" and devices > torch.cuda.device_count():
        raise InputError(f"this machine has {torch.cuda.device_count()} GPUs, got devices={devices}.")


def check_devices(device: str, devices: int, nodes: int, batch_size: int, images: int) -> None:
    """Raise InputError unless so many processes, a device each, can share each minibatch evenly.

    Arguments:
        device: auto, cpu or cuda.
        devices: processes on each machine.
        nodes: machines.
        batch_size: of all processes together.
        images: for training or for validation, whichever are fewer.
    """
    check_processes(device, devices, nodes)
    count = devices * nodes
    if batch_size % count:
        raise InputError(f"batch_size must be a multiple of the {count} processes, got {batch_size}.")
    if count > 1 and images < 2 * count:
        raise InputError(f"{count} processes need at least {2 * count} images to share, got {images}; take fewer.")


def check_images(
    model: Autoencoder,
    objective: Objective,
    train: Tensor | Dataset[Tensor],
    validation: Tensor | Dataset[Tensor],
    settings: Settings,
) -> None:
    """Raise InputError if data cannot be trained on: of another type, or too few for a batch of some part."""
    data = {"training": train, "validation": validation}
    images = any(isinstance(one, Tensor) and not one.is_floating_point() for one in data.values())
    for name, one in data.items():
        if length(one) < 2 or (images and not (isinstance(one, Tensor) and _is_image_batch(one))):
            got = f"{one.dtype} of shape {tuple(one.shape)}" if isinstance(one, Tensor) else f"{length(one)} rows"
            raise InputError(
                f"expected at least 2 {name} images as uint8 (N, C, H, W), or rows of floats for both "
                f"training and validation, got {got}."
            )
    batches = {
        "training": min(length(train), settings.batch_size),
        "validation": min(map(len, EqualBatches(length(validation), settings.batch_size))),
    }
    least = model.bottleneck.least_batch
    if batches["training"] < least:
        raise InputError(
            f"{type(model.bottleneck).__name__} needs batches of at least {least} images in training, got "
            f"{batches['training']}; raise batch_size or give more images."
        )
    for term in objective.terms:
        for name, smallest in batches.items():
            if smallest < term.least_batch:
                raise InputError(
                    f"{term.name} needs batches of at least {term.least_batch} images, got {smallest} in "
                    f"{name}; raise batch_size or give more images."
                )


def _is_image_batch(data: Tensor) -> bool:
    return data.dtype == torch.uint8 and data.dim() == 4
