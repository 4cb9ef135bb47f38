#!/usr/bin/env bash
# ema-pytorch 0.7.9, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: a training of 10,000 steps with a single weight, which is t / 10,000 at step t, so that an average of weights
# says when, on average, its weights are from. KarrasEMA (PostHocEMA has several of it) with sigma_rel=0.1, and EMA with
# power=1, which its docstring calls a simple average. update_every, "to save on compute", is 1, 10, the default of
# EMA, and 100, that of KarrasEMA.
# One would expect: the same averages, up to the coarser grid of steps. sigma_rel is the width of the average relative
# to the length of training, and a simple average is from 0.5.
# What happens: only every tenth or hundredth call averages, but with the decay of one step, whose step is counted in
# calls. So the average forgets 10 or 100 times as slowly, and does not recover: the decay goes to 1 as the steps
# go on. With the default of KarrasEMA most of the average is the network before its training.
# Seen: sigma_rel=0.1: from 0.888, 0.442 and 0.073 for 1, 10 and 100, and the untrained network has a share of 0.000,
# 0.003 and 0.664; the formula gives 0.888. The simple average is from 0.505 and 0.100 for 1 and 10.
#
# What our library does: its average of the weights is taken at each optimiser step.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps ema-pytorch==0.7.9
cd "$work"
cat > look.py <<'PY'
import numpy as np
import torch
from ema_pytorch import EMA, KarrasEMA
from ema_pytorch.post_hoc_ema import sigma_rel_to_gamma

STEPS = 10_000


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        # when the weights are from, and whether they are untrained
        self.weight = torch.nn.Parameter(torch.tensor([0.0, 1.0], dtype=torch.float64))


def averaged(wrapper, **settings):
    network = Network()
    average = wrapper(network, **settings)
    for step in range(1, STEPS + 1):
        with torch.no_grad():
            network.weight[0] = step / STEPS
            network.weight[1] = float(step == 1)
        average.update()
    return average.ema_model.weight.tolist()


exponent = sigma_rel_to_gamma(0.1)
times = np.arange(1, STEPS + 1) / STEPS
exact = np.average(times, weights=times**exponent)
print(f"sigma_rel 0.1 by the formula: from {exact:.3f}")
assert abs(exact - (exponent + 1) / (exponent + 2)) < 1e-3
for every, when, share in ((1, 0.888, 0.0), (10, 0.442, 0.003), (100, 0.073, 0.664)):
    found = averaged(KarrasEMA, sigma_rel=0.1, update_every=every)
    print(f"KarrasEMA, update_every={every}: from {found[0]:.3f}, share of the untrained network {found[1]:.3f}")
    assert np.allclose(found, (when, share), atol=1e-3)
assert np.allclose(averaged(KarrasEMA, sigma_rel=0.1), found)  # 100 is the default
for every, when in ((1, 0.505), (10, 0.100)):
    found = averaged(EMA, power=1, update_every=every)
    print(f"EMA, power=1, update_every={every}: from {found[0]:.3f}")
    assert abs(found[0] - when) < 1e-3
PY
"$work/env/bin/python" look.py 2>/dev/null
