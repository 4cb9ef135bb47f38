"""Training: its schedule, what is refused before it, its loop.

The loop is imported when it is first used: with it comes Lightning, whose import takes about as long as PyTorch's,
and which neither the list of recipes nor a wrong name needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entropic_ae.storage.run_folder import CHECKPOINT, WEIGHTS
from entropic_ae.training.batches import to_unit
from entropic_ae.training.checkpoint import check_checkpoint
from entropic_ae.training.checks import (
    PRECISIONS,
    check_devices,
    check_images,
    check_processes,
    select_device,
    select_precision,
)
from entropic_ae.training.loggers import LOGGERS, LoggerKind
from entropic_ae.training.settings import Settings

if TYPE_CHECKING:
    from entropic_ae.training.loop import fit, quiet_lightning

__all__ = [
    "CHECKPOINT",
    "LOGGERS",
    "PRECISIONS",
    "WEIGHTS",
    "LoggerKind",
    "Settings",
    "check_checkpoint",
    "check_devices",
    "check_images",
    "check_processes",
    "fit",
    "quiet_lightning",
    "select_device",
    "select_precision",
    "to_unit",
]


def __getattr__(name: str) -> Any:
    if name not in ("fit", "quiet_lightning"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from entropic_ae.training import loop

    return getattr(loop, name)
