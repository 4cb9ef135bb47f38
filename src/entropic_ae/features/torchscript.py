"""A TorchScript file as a feature space."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from entropic_ae.data import ImageData
from entropic_ae.errors import InputError
from entropic_ae.features.space import Features

__all__ = ["SUFFIXES", "check_script", "torchscript_features"]

SUFFIXES = (".pt", ".ts", ".torchscript")


class _Script(nn.Module):
    """A loaded TorchScript network whose failures name its file."""

    def __init__(self, script: nn.Module, path: Path) -> None:
        super().__init__()
        self.script = script
        self.path = path

    def forward(self, images: Tensor) -> Any:
        try:
            return self.script(images)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(
                f"the TorchScript network {self.path} failed on images {tuple(images.shape)} ({reason}); "
                "it must map uint8 (N, C, H, W) to (N, F)."
            ) from None


def check_script(path: Path) -> None:
    """Raise InputError if there is no such file."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; --features must name a feature space or a TorchScript file.")


def torchscript_features(path: Path, data: ImageData, device: str) -> Features:
    """Return the feature space of a TorchScript network, after a test on two images."""
    check_script(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")
            script = _Script(torch.jit.load(str(path), map_location="cpu"), path)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path} is not a TorchScript file ({reason}); "
            "save the network with torch.jit.script(network).save(path)."
        ) from None
    probe = data.train.images[:2]
    with torch.inference_mode():
        out = script.eval()(probe)
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(probe) or out.shape[1] == 0:
        came = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise InputError(
            f"the TorchScript network {path} must map {tuple(probe.shape)} images to ({len(probe)}, F), "
            f"got {came}; flatten what belongs to one image to one row."
        )
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return Features(path.name, script, out.shape[1], device=device, content=content)
