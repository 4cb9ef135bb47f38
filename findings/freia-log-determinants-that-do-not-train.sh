#!/usr/bin/env bash
# FrEIA 0.2, torch 2.13.0 (CPU), numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: two layers of FrEIA, each asked for the logarithm of its Jacobian determinant. IResNetLayer, an invertible
# residual layer, is trained with it by maximum likelihood on draws of N(0, 0.49 I) in the plane, with
# lipschitz_correction after each step. LearnedElementwiseScaling is asked in both directions.
# One would expect: IResNetLayer maps the draws to N(0, I). The log-determinant of an inverse is minus that of the map,
# as the base class of all modules says; LearnedElementwiseScaling(init_scale=2) multiplies by 2, as its docstring says.
# What happens: IResNetLayer estimates its log-determinant with derivatives that keep no graph, so the value is right
# but has no gradient. The loss trains only the other part, the squared norm of the output, which is least where the
# layer contracts most. LearnedElementwiseScaling returns the same log-determinant in both directions, and multiplies
# the logarithm of init_scale by zeros, so that the scale at the start is 1 for any value. No warning.
# Seen: outputs of deviation 0.36 in place of 1, and a negative log-likelihood, without its constant, of 1.48; the same
# layer with an exact log-determinant gets 0.98 and 0.28, near the 0.287 of the draws' own density. With s = 0.5 in
# three dimensions the scaling's log-determinants are 1.5 forward and 1.5 back.
#
# What our library does: it has no such layers; tests hold the likelihoods of its transports against their integrals.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1
"$work/env/bin/pip" install --quiet --no-deps FrEIA==0.2
cd "$work"
cat > look.py <<'PY'
import math

import torch
from FrEIA.modules import IResNetLayer, LearnedElementwiseScaling

torch.set_num_threads(1)  # small tensors
DEVIATION = 0.7


def exact(layer, inputs):
    jacobian = torch.vmap(torch.func.jacrev(lambda one: one + layer.residual(one)))(inputs)
    return torch.linalg.slogdet(jacobian)[1]


def train(own):
    """Return the mean deviation of the outputs and the negative log-likelihood of new draws."""
    torch.manual_seed(0)
    layer = IResNetLayer([(2,)], internal_size=16)
    optimiser = torch.optim.Adam(layer.parameters(), 0.01)
    for _ in range(600):
        inputs = DEVIATION * torch.randn(256, 2)
        (outputs,), volume = layer([inputs], jac=own)
        if not own:
            volume = exact(layer, inputs)
        loss = (outputs.square().sum(1) / 2 - volume).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        layer.lipschitz_correction()
    inputs = DEVIATION * torch.randn(5000, 2)
    (outputs,), volume = layer([inputs.clone()])
    true = exact(layer, inputs)
    assert not volume.requires_grad and true.requires_grad
    assert abs(volume.mean() - true.mean()) < 0.05  # the value itself is right
    return outputs.std(0).mean().item(), (outputs.square().sum(1) / 2 - true).mean().item()


best = 1 + 2 * math.log(DEVIATION)
found = {own: train(own) for own in (True, False)}
for own, (deviation, loss) in found.items():
    name = "its own" if own else "an exact"
    print(f"IResNetLayer, {name} log-determinant: deviation {deviation:.3f}, loss {loss:.3f}; entropy {best:.3f}")
assert found[True][0] < 0.5 and found[True][1] > best + 0.8
assert abs(found[False][0] - 1) < 0.1 and abs(found[False][1] - best) < 0.05

scaling = LearnedElementwiseScaling([(3,)], init_scale=2.0)
(start,), _ = scaling([torch.ones(1, 3)])
with torch.no_grad():
    scaling.s.fill_(0.5)
(there,), forward = scaling([torch.ones(1, 3)])
(back,), inverse = scaling([there], rev=True)
print(f"LearnedElementwiseScaling: scale at the start {start[0, 0]:.1f} for init_scale=2;", end=" ")
print(f"log-determinants {forward.item():.1f} and {inverse.item():.1f}")
assert torch.allclose(back, torch.ones(1, 3))
assert torch.equal(start, torch.ones(1, 3)) and forward.item() == inverse.item() == 1.5
PY
"$work/env/bin/python" -W ignore look.py
