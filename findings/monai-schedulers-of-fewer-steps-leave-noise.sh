#!/usr/bin/env bash
# monai 1.6.1, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: DDPMScheduler and PNDMScheduler with their defaults, of 1,000 training steps, told by set_timesteps to draw in
# fewer, and the exact noise prediction for data from N(0, 0.01), as a perfect network of them would give. DDPM without
# clipping.
# One would expect: draws with a standard deviation of about 0.1, nearer to it with more steps. set_timesteps documents
# its number as that of the "steps used when generating samples with a pre-trained model".
# What happens: DDPM's step always goes from t to t - 1, also when the next step is at t - 10. PNDM counts its extra
# Runge-Kutta evaluations into the number of steps, and takes its stride from that number, so its strides are too short:
# 1 in place of 2 for 500 steps, 9 in place of 10 for 100. Either way each network call is told of less noise than there
# is, and the rest stays in the image. No error, no warning.
# Seen, standard deviation of draws for 1,000, 500, 100 and 50 steps: DDPM 0.10, 0.17, 0.65, 0.80; the same posterior,
# from each step of the list to the next, 0.10, 0.09, 0.08, 0.07. PNDM for 500, 250, 100 and 50: 0.32, 0.18, 0.13, 0.16;
# with its number of steps set back by hand 0.10 each time. For 500 steps it believes in 509.
#
# What our library does: it has no diffusion; codes are drawn from densities that are fitted to them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps monai==1.6.1
cd "$work"
cat > look.py <<'PY'
import torch
from monai.networks.schedulers import DDPMScheduler, PNDMScheduler

SPREAD = 0.1
torch.set_num_threads(1)


def noise(x, alpha):
    """The mean of the noise, given the noisy x, for data from N(0, SPREAD^2)."""
    return (1 - alpha).sqrt() * x / (alpha * SPREAD**2 + 1 - alpha)


def draw(scheduler, steps, set_back=False):
    scheduler.set_timesteps(steps)
    if set_back:
        scheduler.num_inference_steps = steps
    torch.manual_seed(0)
    x = torch.randn(20_000, 1, 1)
    for t in scheduler.timesteps.tolist():
        x, _ = scheduler.step(noise(x, scheduler.alphas_cumprod[t]), t, x)
    return x.std().item()


def reference(scheduler, steps):
    """The posterior of DDPM from each step of the list to the next of the list."""
    scheduler.set_timesteps(steps)
    torch.manual_seed(0)
    x = torch.randn(20_000, 1, 1)
    times = scheduler.timesteps.tolist()
    for t, following in zip(times, times[1:] + [None], strict=True):
        alpha = scheduler.alphas_cumprod[t]
        previous = torch.tensor(1.0) if following is None else scheduler.alphas_cumprod[following]
        ratio = alpha / previous
        clean = (x - (1 - alpha).sqrt() * noise(x, alpha)) / alpha.sqrt()
        mean = (previous.sqrt() * (1 - ratio) * clean + ratio.sqrt() * (1 - previous) * x) / (1 - alpha)
        x = mean + ((1 - previous) / (1 - alpha) * (1 - ratio)).sqrt() * torch.randn(x.shape)
    return x.std().item()


ddpm = DDPMScheduler(clip_sample=False)
found = {steps: (draw(ddpm, steps), reference(ddpm, steps)) for steps in (1000, 500, 100, 50)}
for steps, (seen, right) in found.items():
    print(f"DDPM, {steps} steps: {seen:.3f}; to the next step of the list: {right:.3f}")
assert abs(found[1000][0] - SPREAD) < 0.01
assert found[500][0] > 0.15 and found[100][0] > 0.6 and found[50][0] > 0.75
assert all(abs(right - SPREAD) < 0.04 for _, right in found.values())
found = {steps: (draw(PNDMScheduler(), steps), draw(PNDMScheduler(), steps, True)) for steps in (500, 250, 100, 50)}
for steps, (seen, right) in found.items():
    print(f"PNDM, {steps} steps: {seen:.3f}; with the number set back: {right:.3f}")
assert found[500][0] > 0.3 and found[250][0] > 0.17 and found[50][0] > 0.15
assert all(abs(right - SPREAD) < 0.02 for _, right in found.values())
scheduler = PNDMScheduler()
scheduler.set_timesteps(500)
print("PNDM, number of steps after set_timesteps(500):", scheduler.num_inference_steps)
assert scheduler.num_inference_steps == 509
PY
"$work/env/bin/python" look.py 2>/dev/null
