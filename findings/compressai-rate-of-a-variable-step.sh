#!/usr/bin/env bash
# compressai 1.2.8, torch 2.13.0 (CPU), numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: EntropyBottleneckVbr, the entropy model of its networks of variable rate, called with the step of the
# quantisation qs, as they do. The 20,000 codes are drawn from the model's own distribution function, which takes values
# of some tens, so that the entropy of the rounded codes is known. The file that compress writes is the second witness.
# One would expect: likelihoods of -log2 as many bits as the file has; fewer for larger steps, by one bit for each
# factor of 2; a sum of 1 over all codes; and gradients for the model's parameters, as it is a loss.
# What happens: forward hands qs to a function whose second parameter is the switch that stops the gradient, and whose
# third is the step. So the likelihood is that of a step of 1, whatever the step is, and the parameters of the density
# get no gradient at all. If the codes need none either, backward raises. update_variable names its arguments, so that
# the tables, and files, are right. A loss of rate and distortion pays the same for codes of any step.
# Seen, for steps 0.5, 1, 2 and 4: files of 7.2, 6.2, 5.2 and 4.2 bits, which is the entropy; likelihoods of 6.2 bits
# each, in training and evaluation, that add up to 2.0, 1.0, 0.5 and 0.25. With a step none of the 14 parameters of the
# density has a gradient; without one all have. The same function, with qs by its name, gives what the files have.
#
# What our library does: it has no entropy coder. Here, take the codes that forward returns, channels first, and call
# _likelihood_variable(codes, qs=qs) for their likelihood.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1
"$work/env/bin/pip" install --quiet --no-deps compressai==1.2.8
cd "$work"
cat > look.py <<'PY'
import importlib.util
import sys
import types

import numpy as np
import torch

# The package as a whole imports others, for point clouds, tables and pictures. Its entropy models need none of them.
package = types.ModuleType("compressai")
package.__path__ = importlib.util.find_spec("compressai").submodule_search_locations
package.available_entropy_coders, package.get_entropy_coder = lambda: ["ans"], lambda: "ans"
sys.modules["compressai"] = package
from compressai.entropy_models import EntropyBottleneckVbr  # noqa: E402

torch.set_num_threads(1)
torch.manual_seed(0)
model = EntropyBottleneckVbr(1).eval()
grid = torch.linspace(-400, 400, 400001)
with torch.no_grad():
    logits = model._logits_cumulative(grid.reshape(1, 1, -1).clone(), stop_gradient=True).flatten().double()
    ends = np.interp([-21.4, 0, 21.4], logits.numpy(), grid.numpy())  # a mass of 1e-9 is outside, as the tables assume
    model.quantiles.copy_(torch.tensor(ends).reshape(1, 1, 3))
below = torch.sigmoid(logits).numpy()
draws = np.interp(np.random.default_rng(0).uniform(size=20000), below, grid.numpy())
codes = torch.tensor(draws, dtype=torch.float32).reshape(1, 1, -1)
median = model.quantiles[0, 0, 1].item()


def bits(values, training, step):
    with torch.no_grad():
        return -model(values, training=training, qs=step)[1].log2().mean().item()


for number in (None, 0.5, 1.0, 2.0, 4.0):
    width = number or 1.0
    step = None if number is None else torch.tensor(number)
    centres = median + width * np.arange(-int(390 / width), int(390 / width) + 1)
    mass = np.interp(centres + width / 2, grid.numpy(), below) - np.interp(centres - width / 2, grid.numpy(), below)
    entropy = -(mass[mass > 0] * np.log2(mass[mass > 0])).sum()
    if step is None:
        model.update(force=True)
    else:
        model.update_variable(force=True, qs=step)
    (file,) = model.compress(codes, qs=step)
    assert torch.allclose(model.decompress([file], codes.shape[2:], qs=step), model(codes, qs=step)[0], atol=1e-3)
    size = 8 * len(file) / codes.numel()
    training, evaluation = bits(codes, True, step), bits(codes, False, step)
    total = model(torch.tensor(centres, dtype=torch.float32).reshape(1, 1, -1), qs=step)[1].sum().item()
    model.zero_grad(set_to_none=True)
    model(codes.clone().requires_grad_(), training=True, qs=step)[1].log2().sum().backward()
    moved = sum(p.grad is not None for name, p in model.named_parameters() if name != "quantiles")
    print(f"step {number}: entropy {entropy:.2f} bits, file {size:.2f},", end=" ")
    print(f"likelihood {training:.2f} in training, {evaluation:.2f} in evaluation, sum {total:.3f};", end=" ")
    print(f"{moved} parameters with a gradient")
    assert abs(size - entropy) < 0.05 and abs(entropy - (6.2 - np.log2(width))) < 0.05
    assert abs(training - 6.2) < 0.05 and abs(evaluation - 6.2) < 0.05 and abs(total - 1 / width) < 0.01
    assert moved == (14 if step is None else 0)
    named = model._likelihood_variable(model(codes, training=True, qs=step)[0], qs=step)[0]
    named.log2().sum().backward()
    assert abs(-named.log2().mean().item() - entropy) < 0.05
    assert sum(p.grad is not None for name, p in model.named_parameters() if name != "quantiles") == 14
PY
"$work/env/bin/python" look.py
