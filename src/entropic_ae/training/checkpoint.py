"""The files that training goes on from, and whether it can go on from a checkpoint."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from pathlib import Path

import torch
from torch import nn

from entropic_ae.errors import InputError

__all__ = ["check_checkpoint"]

# what reading a damaged checkpoint raises
_DAMAGE = (
    *(OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, MemoryError),
    *(NotImplementedError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)


def check_checkpoint(path: Path, epochs: int, task: nn.Module | None = None) -> None:
    """Raise InputError if a checkpoint cannot be gone on from.

    Arguments:
        path: of the checkpoint; damage shows by the checksums in it, which PyTorch's own loading passes over.
        epochs: to be trained for in all; one that has been trained for more is refused.
        task: what goes on from it, if it is made already; a checkpoint of another is refused.
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
            f"{path} is damaged ({reason}), so training cannot go on from it; train anew into another folder."
        ) from None
    if task is not None and shapes != {
        name: getattr(tensor, "shape", None) for name, tensor in task.state_dict().items()
    }:
        raise InputError(f"{path} is of another model, so training cannot go on from it; restore the run's own.")
    if done > epochs:
        raise InputError(f"{path} has been trained for {done} epochs, got epochs={epochs}; give at least {done}.")
