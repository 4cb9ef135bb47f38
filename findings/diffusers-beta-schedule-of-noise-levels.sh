#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.13.0 (CPU), scipy 1.17.1, numpy 2.4.6, Python 3.11.
#
# Input: EulerDiscreteScheduler and DPMSolverMultistepScheduler with their defaults, and with use_beta_sigmas=True, for
# which the docstring refers to "Beta Sampling is All You Need" (Lee et al., 2024). 20,000 draws in 10, 20 and 50 steps,
# with the exact prediction of the noise for data from N(0, 0.25). Then the schedule of that paper, timesteps that are
# quantiles of the beta distribution with both parameters 0.6, handed to Euler's set_timesteps. Last the
# DPM solver with the noise schedule of Stable Diffusion.
# One would expect: draws of a standard deviation near 0.5, the nearer the more steps, about as near as by default.
# What happens: the quantiles are taken between the smallest and the largest noise level, not between the timesteps.
# Noise levels go from 157 to 0.01, so nearly all steps are where the image is all noise: with 10 steps the last but
# one is at 7.4, and the image is made in one step, which is its mean. Images are flat. The Karras and exponential
# schedules do space noise levels, but evenly in a power or the logarithm of them.
# Where the first two levels round to one timestep, the DPM solver starts at the second, and runs past the end.
# Seen: Euler 0.36, 0.43 and 0.47 by default and 0.04, 0.12 and 0.33 with use_beta_sigmas; 0.40, 0.45 and 0.48 by the
# schedule of the paper. The DPM solver 0.41, 0.48 and 0.50 by default, 0.11, 0.30 and 0.66 with use_beta_sigmas, and
# with the noise schedule of Stable Diffusion an IndexError.
#
# What our library does: it has no diffusion; codes are drawn from densities that are fitted to them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1 pillow==13.0.0 huggingface-hub==2.4.0 \
  safetensors==0.8.0 regex==2026.11.19 requests==2.34.2 importlib-metadata==10.2.0
"$work/env/bin/pip" install --quiet --no-deps diffusers==0.42.1
cd "$work"
cat > look.py <<'PY'
import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler
from scipy.stats import beta

SPREAD = 0.5
STEPS = 10, 20, 50
STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def draw(scheduler):
    """Return the standard deviation of draws with the exact prediction of the noise."""
    torch.manual_seed(0)
    x = torch.randn(20_000, 1, 1, 1) * float(scheduler.init_noise_sigma)
    euler = isinstance(scheduler, EulerDiscreteScheduler)
    for position, t in enumerate(scheduler.timesteps):
        level = scheduler.sigmas[position]  # noise beside a signal of 1
        unscaled = x if euler else x * (1 + level**2).sqrt()
        scheduler.scale_model_input(x, t)
        x = scheduler.step(unscaled * level / (SPREAD**2 + level**2), t, x).prev_sample
    return x.std().item()


def quantiles(steps):
    """Return timesteps at quantiles of the beta distribution."""
    return np.rint(999 * beta.ppf(1 - np.arange(steps) / steps, 0.6, 0.6)).astype(int).tolist()


found = {}
for kind in (EulerDiscreteScheduler, DPMSolverMultistepScheduler):
    for setting in (False, True):
        for steps in STEPS:
            scheduler = kind(use_beta_sigmas=setting)
            scheduler.set_timesteps(steps)
            found[kind, setting, steps] = draw(scheduler)
        name = f"{kind.__name__}, use_beta_sigmas={setting}:"
        print(name, ", ".join(f"{found[kind, setting, steps]:.3f}" for steps in STEPS))
for steps in STEPS:
    scheduler = EulerDiscreteScheduler()
    scheduler.set_timesteps(timesteps=quantiles(steps))
    found["paper", steps] = draw(scheduler)
print("Euler with the schedule of the paper:", ", ".join(f"{found['paper', steps]:.3f}" for steps in STEPS))

scheduler = EulerDiscreteScheduler(use_beta_sigmas=True)
scheduler.set_timesteps(10)
levels = scheduler.sigmas[:-1].numpy()
print("noise levels:", levels.round(2).tolist())
across = (levels - levels[-1]) / (levels[0] - levels[-1])
assert np.allclose(across, beta.ppf(1 - np.linspace(0, 1, 10), 0.6, 0.6), atol=1e-5)  # quantiles of the levels
for steps in STEPS:
    assert found[EulerDiscreteScheduler, True, steps] < found[EulerDiscreteScheduler, False, steps] - 0.1
    assert found["paper", steps] > found[EulerDiscreteScheduler, False, steps]
assert found[EulerDiscreteScheduler, True, 10] < 0.06 and found[DPMSolverMultistepScheduler, True, 10] < 0.13
assert found[DPMSolverMultistepScheduler, True, 50] > 0.6
try:
    scheduler = DPMSolverMultistepScheduler(use_beta_sigmas=True, **STABLE)
    scheduler.set_timesteps(50)
    draw(scheduler)
except IndexError as error:
    print("with the noise schedule of Stable Diffusion:", error)
else:
    raise AssertionError("no error")
PY
"$work/env/bin/python" look.py 2>/dev/null
