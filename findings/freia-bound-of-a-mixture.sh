#!/usr/bin/env bash
# FrEIA 0.2, torch 2.13.0 (CPU), numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: GaussianMixtureModel with two components, whose parameters are trained on 1,000 draws: two clusters of
# deviation 0.1, at 2 and -2. Once with nll_loss, once with nll_upper_bound, which its docstring offers as a
# "numerically more stable upper bound of the negative log-likelihood".
# One would expect: with the bound a mixture too, perhaps a worse one, and a bound that is never below the likelihood.
# What happens: the bound adds the logarithms of all components. So each component is fitted to all draws by itself, and
# at the minimum all are the same normal distribution with equal weights: no mixture is learned from any data. And it
# is no bound: where densities of the components exceed 1, as of well-fitted or narrow codes, it is below the loss.
# Seen: nll_loss finds both clusters, means of 2 and -2 and deviations of 0.10. With the bound both components have mean
# 0 and deviation 2.00 in the direction of the clusters. The loss of nll_loss is -2.87 and -0.57 (both leave a constant
# out). For two equal components of deviation 0.01 in the plane the loss is -8.3 and the "bound" -15.1.
#
# What our library does: its mixtures are fitted by expectation maximisation; tests compare fits with scikit-learn's.
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
from FrEIA.modules import GaussianMixtureModel

torch.set_num_threads(1)  # small tensors
model = GaussianMixtureModel([(2,)], [(2,), (2, 2), (2, 3)])
torch.manual_seed(0)
draws = 0.1 * torch.randn(1000, 2)
draws[:500, 0] += 2
draws[500:, 0] -= 2


def losses(points, logits, means, factors):
    """Return both losses of points for parameters that are the same for all of them."""
    count = len(points)
    weights = GaussianMixtureModel.normalize_weights(logits[None]).expand(count, -1)
    settings = [weights, means.expand(count, -1, -1), factors.expand(count, -1, -1), None]
    (codes,), volume = model([points], settings)
    return {
        name: getattr(GaussianMixtureModel, name)(weights, codes, volume).mean()
        for name in ("nll_loss", "nll_upper_bound")
    }


def independent(points, logits, means, factors):
    """Return the negative log-likelihood without its constant, from PyTorch's distributions."""
    precision = torch.diag_embed(factors[:, :2].exp()) + torch.diag_embed(factors[:, 2:], 1)
    parts = torch.distributions.MultivariateNormal(means, precision_matrix=precision.mT @ precision)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=logits), parts)
    return -mixture.log_prob(points).mean() - math.log(2 * math.pi)


def train(name):
    torch.manual_seed(1)
    logits, means, factors = torch.zeros(2), torch.randn(2, 2), torch.zeros(2, 3)
    parameters = [value.requires_grad_() for value in (logits, means, factors)]
    optimiser = torch.optim.Adam(parameters, 0.02)
    for _ in range(1500):
        loss = losses(draws, *parameters)[name]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    value = losses(draws, *parameters)["nll_loss"].item()
    assert abs(value - independent(draws, *parameters).item()) < 1e-3
    across = means[:, 0].tolist()
    deviations = factors[:, 0].neg().exp().tolist()
    print(f"trained with {name}: means {[round(one, 2) for one in across]}", end=", ")
    print(f"deviations {[round(one, 2) for one in deviations]}, nll_loss {value:.2f}")
    return sorted(across), deviations, value


means, deviations, value = train("nll_loss")
assert abs(means[0] + 2) < 0.05 and abs(means[1] - 2) < 0.05 and max(deviations) < 0.12 and value < -2.8
means, deviations, value = train("nll_upper_bound")
assert max(map(abs, means)) < 0.05 and min(deviations) > 1.9 and value > -0.7

narrow = torch.zeros(2, 3)
narrow[:, :2] = -math.log(0.01)
points = 0.01 * torch.randn(2000, 2)
both = losses(points, torch.zeros(2), torch.zeros(2, 2), narrow)
print("two equal components of deviation 0.01:", {name: round(loss.item(), 2) for name, loss in both.items()})
assert both["nll_upper_bound"] < both["nll_loss"] - 5
PY
"$work/env/bin/python" -W ignore look.py
