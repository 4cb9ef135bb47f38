"""Settings that are newer than the first results, with the value that keeps the behaviour of before."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from entropic_ae.recipes.recipe import Scalar

__all__ = ["EARLIER"]

# a setting at its value here is left out of a cell's name, so that old results stay valid, and a run whose folder
# lacks the setting was trained with that value
EARLIER: Mapping[str, Scalar] = MappingProxyType(
    {
        "entropy.memory": 0,
        "depth": 1,
        "validation_images": 0,
        "encoder_rate": 1.0,
        "decoder_rate": 1.0,
        "patience_steps": 0,
        "stop_after": 0,
        "stop_rate": 0.0,
        "ema": 0.0,
        "augment": "none",
        "statistics_batches": 0,
        "beta2": 0.999,
        "transport": "none",
        "transport.scales": 1,
        "transport.shrinkage": 0.0,
    }
)
