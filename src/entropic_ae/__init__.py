"""Deterministic autoencoders that generate.

Batch normalisation without affine shift fixes the mean and the variance of the codes; a nearest-neighbour
entropy term pushes them to the maximum-entropy distribution under those constraints, N(0, I); so images are
decoded from N(0, I) with no sampling step in training.

Names are imported when they are first used, so that ``import entropic_ae`` is quick; ``__init__.pyi`` lists them.
"""

from typing import Any

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return _load(name)
