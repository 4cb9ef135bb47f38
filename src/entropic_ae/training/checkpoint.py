"""Validation of a checkpoint before training resumes from it."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from pathlib import Path

import torch
from torch import nn

from entropic_ae.errors import InputError

__all__ = ["check_checkpoint"]

# the errors of reading a damaged checkpoint
_DAMAGE = (
    *(OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, MemoryError),
    *(NotImplementedError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)


def check_checkpoint(path: Path, epochs: int, task: nn.Module | None = None) -> None:
    """Raise InputError if training cannot resume from a checkpoint.

    Arguments:
        path: of the checkpoint. Damage is detected by its checksums, which PyTorch's loading ignores.
        epochs: total epochs to train for; a checkpoint with more epochs is refused.
        task: the module to resume, if it exists already; a checkpoint of another model is refused.
    """
    try:
        with zipfile.ZipFile(path) as file:
            if bad := file.testzip():
                raise ValueError(f"the checksum of {bad} is wrong")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        done = checkpoint["epoch"] + 1
        shapes = {name: getattr(tensor, "shape", None) for name, tensor in checkpoint["state_dict"].items()}
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(
            f"{path} is damaged ({reason}), so training cannot resume from it; train again into another folder."
        ) from None
    if task is not None and shapes != {
        name: getattr(tensor, "shape", None) for name, tensor in task.state_dict().items()
    }:
        raise InputError(f"{path} is of another model, so training cannot resume from it; restore the run's own.")
    if done > epochs:
        raise InputError(f"{path} has been trained for {done} epochs, got epochs={epochs}; give at least {done}.")
