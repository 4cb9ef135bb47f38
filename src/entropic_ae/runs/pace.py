"""What is said of a long training on a CPU: the time that it takes, and that of narrower networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from entropic_ae.recipes import System
from entropic_ae.training.line import duration

__all__ = ["advice", "flops"]

_NARROWER = (64, 32, 16, 8)
_MINUTES = 600  # seconds, up to which a training takes minutes


def advice(system: System, shape: Sequence[int]) -> Callable[[float], str]:
    """Return a function from the seconds that training takes to a sentence about them.

    It names the widest of narrower networks that take minutes, or else the narrowest.
    The time of narrower networks is that of these by the ratio of their floating-point operations. Measured on a
    CPU with images of 32 x 32 pixels, a step at width 64 takes 14.0 times that at 16 and has 14.4 times the
    operations; at width 32 it is 3.5 and 3.7 times.

    >>> from entropic_ae.recipes import PRESETS, RECIPES
    >>> advice(System(RECIPES["eae"], PRESETS["cifar10"]), (3, 32, 32))(30000.0)
    'about 8.3 h on this CPU at this width; width 16 (--width 16) takes about 9 min'
    """
    return partial(_said, system, shape)


def _said(system: System, shape: Sequence[int], seconds: float) -> str:
    settings = system.settings()
    width, early = settings.get("width"), bool(settings["stop_after"] or settings["stop_rate"])
    said = f"{'up to ' * early}about {duration(seconds)} on this CPU"
    narrower = [one for one in _NARROWER if isinstance(width, int) and one < width]
    if not narrower or system.own_parts:
        return said
    own = flops(system, shape)
    for narrow in narrower:
        shorter = seconds * flops(system.with_settings({"width": narrow}), shape) / own
        if shorter <= _MINUTES:
            break
    return f"{said} at this width; width {narrow} (--width {narrow}) takes about {duration(shorter)}"


def flops(system: System, shape: Sequence[int]) -> int:
    """Return the floating-point operations of a pass through the networks of a system, for one image (C, H, W).

    Those that a conditional system adds for its labels are left out.

    >>> from entropic_ae.recipes import PRESETS, RECIPES
    >>> flops(System(RECIPES["ae"], PRESETS["mlp"]).with_settings({"hidden": 10, "depth": 1}), (1, 8, 8))
    2880
    """
    system = replace(system, recipe=replace(system.recipe, conditional=False))
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model, _ = system.build(tuple(shape))
        model.eval()
        model.encoder(torch.zeros(1, *shape))
        model.decoder(torch.zeros(1, model.bottleneck.latent_dim))
    return int(counter.get_total_flops())
