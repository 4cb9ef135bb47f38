"""Training: the schedule, the checks before it, the execution and the loop.

The loop is imported on first use: it imports Lightning, which takes about as long as PyTorch, and which neither
the list of recipes nor the error for a wrong name needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entropic_ae.storage.run_folder import CHECKPOINT, WEIGHTS
from entropic_ae.training.batches import to_unit
from entropic_ae.training.checkpoint import check_checkpoint
from entropic_ae.training.checks import check_training
from entropic_ae.training.execution import Execution, quiet_lightning
from entropic_ae.training.loggers import LOGGERS, LoggerKind
from entropic_ae.training.settings import Settings

if TYPE_CHECKING:
    from entropic_ae.training.loop import fit, fit_model

__all__ = [
    "CHECKPOINT",
    "LOGGERS",
    "WEIGHTS",
    "Execution",
    "LoggerKind",
    "Settings",
    "check_checkpoint",
    "check_training",
    "fit",
    "fit_model",
    "quiet_lightning",
    "to_unit",
]


def __getattr__(name: str) -> Any:
    if name not in ("fit", "fit_model"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from entropic_ae.training import loop

    return getattr(loop, name)
