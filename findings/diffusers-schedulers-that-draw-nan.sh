#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: DDPMScheduler with each of its four fixed variances, without clipping, and UniPCMultistepScheduler with its
# defaults, with solver_type="bh1" (recommended by its docstring for unconditional sampling in fewer than 10 steps),
# and with predict_x0=False. 20,000 draws, with the exact prediction of the noise for data from N(0, 0.25), in 8 and 50
# steps.
# One would expect: draws of a standard deviation near 0.5, the nearer the more steps.
# What happens: DDPMScheduler takes the logarithm of the variance for "fixed_large_log", and later its square root as
# if it were the variance. So each step adds NaN. "fixed_small_log" takes the logarithm back at once.
# UniPC goes to a noise of 0 in its last step, by default, where the step in the logarithm of the signal-to-noise ratio
# is infinite. Its correction is 0 there, times the step itself in "bh1", which is NaN; "bh2", the default, has an
# exponential of it, which is finite. predict_x0=False has an infinite exponential.
# No warning. With final_sigmas_type="sigma_min" UniPC is right.
# Seen: "fixed_large_log" NaN, the three others 0.44 to 0.51 for 50 steps; UniPC 0.500, NaN and NaN, and with
# "sigma_min" 0.502, 0.505 and 0.498.
#
# What our library does: it has no diffusion; codes are drawn from densities that are fitted to them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pillow==13.0.0 huggingface-hub==2.4.0 \
  safetensors==0.8.0 regex==2026.11.19 requests==2.34.2 importlib-metadata==10.2.0
"$work/env/bin/pip" install --quiet --no-deps diffusers==0.42.1
cd "$work"
cat > look.py <<'PY'
import math

import torch
from diffusers import DDPMScheduler, UniPCMultistepScheduler

SPREAD = 0.5


def draw(kind, steps, **settings):
    """Return the standard deviation of draws with the exact prediction of the noise."""
    scheduler = kind(**settings)
    scheduler.set_timesteps(steps)
    torch.manual_seed(0)
    x = torch.randn(20_000, 1, 1, 1)
    for t in scheduler.timesteps:
        signal = scheduler.alphas_cumprod[int(t)]
        noise = x * (1 - signal).sqrt() / (signal * SPREAD**2 + 1 - signal)
        x = scheduler.step(noise, t, x).prev_sample
    return x.std().item()


def look(name, kind, right, **settings):
    few, many = (draw(kind, steps, **settings) for steps in (8, 50))
    print(f"{name}: {few:.3f} for 8 steps, {many:.3f} for 50")
    if right:
        assert 0.25 < few < 0.75 and abs(many - SPREAD) < 0.07
    else:
        assert math.isnan(few) and math.isnan(many)


for variance in ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"):
    right = variance != "fixed_large_log"
    look(f"DDPM, {variance}", DDPMScheduler, right, variance_type=variance, clip_sample=False)
for final in ("zero", "sigma_min"):
    for settings in ({}, {"solver_type": "bh1"}, {"predict_x0": False}):
        right = final == "sigma_min" or not settings
        look(f"UniPC, {final}, {settings}", UniPCMultistepScheduler, right, final_sigmas_type=final, **settings)
assert UniPCMultistepScheduler().config.final_sigmas_type == "zero"
assert "recommended to use `bh1`" in UniPCMultistepScheduler.__doc__
PY
"$work/env/bin/python" look.py 2>/dev/null
