#!/usr/bin/env bash
# sbi 0.27.0, torch 2.13.0 (CPU), numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1, Python 3.11.
#
# Input: run_tarp and check_tarp of sbi, a test of the coverage of posteriors by random points, for 500 simulations in
# ten dimensions with 500 draws each of a posterior that is exact but for its spread: right, 1.5, 3, 10 and 30 times too
# wide.
# One would expect: check_tarp's area between the curve and the diagonal, for levels above 0.5, is 0 for the right
# posterior and grows with the width, as its docstring says. Its p-value, of a test of Kolmogorov and Smirnov, is below
# 0.05 for a wrong posterior, the more certainly the more simulations.
# What happens: levels are the bins of a histogram from the smallest to the largest coverage that was seen, not from 0
# to 1. A posterior that is far too wide has all coverages near 0, so that the upper half of the levels is there too,
# and the area is nearly nothing. The p-value compares the heights of the curve with the levels, as if both were
# samples; there are as many as bins, not simulations, so it is set by the number of bins, and by default is far too
# large.
# Seen: the area is 0.007, 0.061, 0.142, 0.079 and 0.001; over levels from 0.5 to 1 it is 0.008, 0.059, 0.120, 0.125 and
# 0.125. For 1.5 the p-value is 1.0 with 10 bins, 0.41 with 50, the default, and 0.00002 with 400; the same test of the
# 500 coverages has 4e-13.
#
# What our library does: it has no test of a posterior's coverage.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 matplotlib==3.11.2 \
  tensorboard==2.21.0 skorch==1.4.0 tqdm==4.70.1 setuptools==84.2.1
"$work/env/bin/pip" install --quiet --no-deps sbi==0.27.0 zuko==1.6.0 nflows==0.14
cd "$work"
cat > look.py <<'PY'
import torch
from sbi.diagnostics import check_tarp, run_tarp
from scipy.stats import kstest


class Posterior:
    """Exact but for its spread: parameters are centres with noise of 0.3, and the observation is the centre."""

    def __init__(self, width):
        self.width = width

    def sample_batched(self, shape, x, **_):
        self.draws = x + 0.3 * self.width * torch.randn(*shape, *x.shape)
        return self.draws


def look(width, dimensions=10, number=500, **settings):
    torch.manual_seed(0)
    centres = torch.randn(number, dimensions)
    parameters = centres + 0.3 * torch.randn(number, dimensions)
    low, high = parameters.amin(0), parameters.amax(0)
    references = low + (high - low) * torch.rand(number, dimensions)
    posterior = Posterior(width)
    coverage, levels = run_tarp(parameters, centres, posterior, references, num_posterior_samples=500, **settings)
    area, value = check_tarp(coverage, levels)
    # by hand: the share of draws nearer to the reference than the parameter, which is uniform if all is well
    share = ((posterior.draws - references).norm(dim=2) < (parameters - references).norm(dim=1)).double().mean(0)
    true = kstest(share.numpy(), "uniform").pvalue
    grid = torch.linspace(0.5, 1, 201)
    exact = (torch.tensor([(share <= level).double().mean() for level in grid]) - grid).mean().item() / 2
    print(f"{width} times the spread: area {area:.3f}, by hand {exact:.3f};", end=" ")
    print(f"p {value:.2g}, by hand {true:.1g}; levels from {levels[0]:.2f} to {levels[-1]:.2f}", settings)
    return area, exact, value, true


found = {width: look(width) for width in (1, 1.5, 3, 10, 30)}
bins = {number: look(1.5, num_bins=number)[2] for number in (10, 400)}
assert abs(found[1][0]) < 0.02 and found[1][3] > 0.05
assert abs(found[30][0]) < 0.01 < found[10][0] < found[3][0] and min(found[10][1], found[30][1]) > 0.12
assert found[1.5][2] > 0.2 and found[1.5][3] < 1e-9
assert bins[10] > 0.9 and bins[400] < 1e-3
PY
"$work/env/bin/python" look.py 2>/dev/null
