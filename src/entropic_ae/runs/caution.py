"""The caution of a run whose running averages have not converged."""

from __future__ import annotations

import math

from torch import nn

from entropic_ae.storage.run_info import RunInfo
from entropic_ae.training.checks import minibatches_to_settle

__all__ = ["caution"]


def caution(model: nn.Module, info: RunInfo, best_epoch: int | None, batch_size: int) -> str | None:
    """Return the warning of ``Run.caution``, or None if training was long enough or has no readable log."""
    needed = minibatches_to_settle(model)
    images = info.training_images
    if not needed or best_epoch is None or images < 1 or not info.waits_for_averages:
        return None
    per_epoch = images // min(images, batch_size)
    seen = best_epoch * per_epoch
    if seen >= needed:
        return None
    return (
        f"the weights have seen {seen} minibatch{'es' * (seen > 1)}, and the running averages of the norms have "
        f"not converged before {needed}: entropies, distances and images mean little yet; train for more than "
        f"{math.ceil(needed / per_epoch)} epochs (continue with --resume)."
    )
