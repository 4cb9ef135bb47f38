#!/usr/bin/env bash
# scoringrules 0.10.0, numpy 2.4.6, scipy 1.17.1, torch 2.13.0 (CPU), without numba, Python 3.11.
#
# Input: weighted_interval_score, of observations and quantiles of N(m, 1), with m of 0, 10 and 100; the same in torch,
# as a loss for a median. error_spread_score for 5,000 observations that are exponential, with ensembles of 500 that are
# exponential too, or normal with the same mean and variance. The kernel score gksmv_ensemble with
# estimator="fair", with and without equal weights.
# One would expect: the first does not depend on m; its docstring has the distance of observation and median. The second
# takes in the skewness, so that it is near 4 for the right ensembles and 8 for the others. Equal weights change
# nothing.
# What happens: with every backend but numba, which is optional, the first adds the median itself. So it goes with the
# level of the data, is below 0 for negative medians, and as a loss sends the median to minus infinity. The second, with
# each backend, divides the skewness by the size of the ensemble, so that it is as good as ignored. With weights, the
# fair kernel score of the same backends keeps the pairs of a member with itself, and divides as if they were left out.
# Seen: for m of 0, 10 and 100 interval scores of 0.33, 2.33 and 20.3, by the formula 0.48; 200 steps of descent take
# the median from 3 to -37. The spread scores are 7.5 and 7.5, with the skewness 3.5 and 7.6. The kernel score is 0.446
# without weights and 0.472 with them.
#
# What our library does: it has none of these scores; tests compare its energy distance with a double loop and SciPy's.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 torch==2.13.0
"$work/env/bin/pip" install --quiet --no-deps scoringrules==0.10.0
cd "$work"
cat > look.py <<'PY'
import numpy as np
import scoringrules
import torch
from scipy.stats import norm, skew

rng = np.random.default_rng(0)
levels = np.array([0.1, 0.5])
errors = rng.normal(size=1000)
lower, upper = norm.ppf(levels / 2), norm.ppf(1 - levels / 2)


def by_formula(observed, median, lower, upper):
    outside = np.maximum(lower - observed[:, None], 0) + np.maximum(observed[:, None] - upper, 0)
    intervals = upper - lower + 2 / levels * outside
    return (0.5 * np.abs(observed - median) + (levels / 2 * intervals).sum(1)) / (len(levels) + 0.5)


found = {}
for mean in (0, 10, 100):
    medians = np.full(1000, float(mean))
    bounds = np.tile(lower + mean, (1000, 1)), np.tile(upper + mean, (1000, 1))
    found[mean] = scoringrules.weighted_interval_score(errors + mean, medians, *bounds, levels).mean()
    right = by_formula(errors + mean, mean, lower + mean, upper + mean).mean()
    print(f"m = {mean}: weighted interval score {found[mean]:.2f}, by the formula {right:.2f}")
    assert abs(found[mean] - right - (0.5 * mean - 0.5 * np.abs(errors).mean()) / 2.5) < 1e-6
assert found[100] > 20 > 5 > found[10]

median = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
observed = torch.from_numpy(errors)
bounds = (torch.from_numpy(bound).expand(1000, 2) for bound in (lower, upper))
below, above = bounds
for _ in range(200):
    score = scoringrules.weighted_interval_score(
        observed, median.expand(1000), below, above, torch.from_numpy(levels), backend="torch"
    )
    (slope,) = torch.autograd.grad(score.mean(), median)
    with torch.no_grad():
        median -= slope
print(f"median after 200 steps {median.item():.1f}, score {score.mean():.2f}; observed {np.median(errors):.2f}")
assert median.item() < -30 and score.mean() < 0

observed = rng.exponential(size=5000)
ensembles = {"exponential": rng.exponential(size=(5000, 500)), "normal": rng.normal(1, 1, (5000, 500))}
spread = {}
for name, members in ensembles.items():
    error = members.mean(1) - observed
    deviation = members.std(1, ddof=1)
    skewness = skew(members, axis=1, bias=False)
    right = (deviation**2 - error**2 - error * deviation * skewness) ** 2
    less = (deviation**2 - error**2 - error * deviation * skewness / 500) ** 2
    score = scoringrules.error_spread_score(observed, members)
    assert np.allclose(score, less)
    spread[name] = score.mean(), right.mean()
    print(f"{name} ensembles: error-spread score {score.mean():.1f}, with their skewness {right.mean():.1f}")
assert abs(spread["exponential"][0] - spread["normal"][0]) < 0.4
assert spread["exponential"][1] < 0.6 * spread["normal"][1]

rng = np.random.default_rng(0)
members, observed = rng.normal(size=(20, 4)), rng.normal(size=4)
squares = ((members[:, None] - members) ** 2).sum(-1)
pairs = np.exp(-squares / 2).sum() - 20
right = pairs / (20 * 19) / 2 + 0.5 - np.exp(-((members - observed) ** 2).sum(-1) / 2).mean()
plain = scoringrules.gksmv_ensemble(observed, members, estimator="fair")
weighted = scoringrules.gksmv_ensemble(observed, members, ens_w=np.ones(20), estimator="fair")
print(f"fair kernel score {plain:.4f}, with equal weights {weighted:.4f}, by the formula {right:.4f}")
assert abs(plain - right) < 1e-6 and abs(weighted - right - 1 / 19 / 2) < 1e-6
PY
"$work/env/bin/python" look.py
