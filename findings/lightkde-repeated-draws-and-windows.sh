#!/usr/bin/env bash
# lightkde 1.0.5, numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: kde_1d for 1,000 draws of N(0, 1): as they are, and ten times each; then 10,000 draws rounded to two decimals.
# Each without weights and with weights of 1. Last 10,000 draws with x_min=2 and x_max=4, where 230 of them are, and
# these 230 alone with the same bounds.
# One would expect: weights of 1 change nothing, as None is documented as equal weights. What is between x_min and x_max
# is "treated as the full sample", as documented, so that the draws outside make no difference.
# What happens: counts in bins are divided by the number of different values, not by the number of counts, before the
# bandwidth is searched. With weights they add up to 1; without them to more if values repeat, and to less if some are
# outside of the bounds, as if the density were so much steeper or flatter. Too small a bandwidth is a comb with a
# tooth for each value. The density is scaled to 1 at the end, so that nothing shows.
# Seen: bandwidths of 0.283 for the draws, with and without weights; ten times each 0.0001, and 0.283 with weights;
# rounded 0.0001, so that 92 % of the mass is elsewhere, and 0.339 with weights. With the bounds 0.57 for all draws and
# 0.14 for the 230 alone.
#
# What our library does: it has no such kernel densities.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1
"$work/env/bin/pip" install --quiet --no-deps lightkde==1.0.5
cd "$work"
cat > look.py <<'PY'
import numpy as np
from lightkde import kde_1d
from scipy.stats import norm

rng = np.random.default_rng(0)
draws, many = rng.normal(size=1000), rng.normal(size=10_000)
samples = {"draws": draws, "ten times each": np.repeat(draws, 10), "two decimals": np.round(many, 2)}
widths, misplaced = {}, {}
for name, sample in samples.items():
    for weights in (None, np.ones(len(sample))):
        density, grid, width = kde_1d(sample, weight_vec=weights, return_bandwidth=True)
        key = name, weights is None
        widths[key], misplaced[key] = width, np.trapezoid(np.abs(density - norm.pdf(grid)), grid) / 2
        print(f"{name}, {'no weights' if weights is None else 'weights of 1'}: bandwidth {width:.4f}", end=", ")
        print(f"highest density {density.max():.2f}, misplaced {misplaced[key]:.3f}")
assert abs(widths["draws", True] - widths["draws", False]) < 1e-6
assert abs(widths["ten times each", False] - widths["draws", True]) < 1e-3 and widths["ten times each", True] < 1e-3
assert widths["two decimals", True] < 1e-3 and widths["two decimals", False] > 0.2
assert misplaced["two decimals", True] > 0.8 and misplaced["two decimals", False] < 0.1

inside = many[(many > 2) & (many < 4)]
bounds = {"x_min": 2, "x_max": 4, "return_bandwidth": True}
(whole, grid, wide), (part, _, narrow) = kde_1d(many, **bounds), kde_1d(inside, **bounds)
print(f"{len(inside)} of {len(many)} between 2 and 4: bandwidth {wide:.3f} with all, {narrow:.3f} with these alone")
print(f"mass {np.trapezoid(whole, grid):.3f}; density at 2: {whole[0]:.2f} and {part[0]:.2f}")
assert wide > 3 * narrow and abs(np.trapezoid(whole, grid) - 1) < 1e-6
PY
"$work/env/bin/python" look.py
