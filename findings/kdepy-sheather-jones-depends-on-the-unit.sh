#!/usr/bin/env bash
# KDEpy 1.1.12, KDE-diffusion 1.0.5, numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: 2,000 draws of N(0, 1), then the same draws times 100, 10, 0.1 and 0.01, and bw="ISJ", the improved
# Sheather-Jones bandwidth of Botev, Grotowski and Kroese (2010), which KDEpy offers for data that are not normal.
# One would expect: the same bandwidth in standard deviations for each unit, near 0.23, which is the best one for normal
# draws, and the density of KDE-diffusion, an independent implementation of the same paper.
# What happens: the bandwidth comes from a grid that is wider than the data, by half of their range on each side and by
# at least 6, whatever the unit. It is a share of the grid's width, but is multiplied by the range of the data. So it is
# half of the right one for data of a large unit, and much less for small ones. Silverman's rule has no such error.
# Seen: in standard deviations, 0.126 for units of 100 and 10, 0.092 for 1, 0.014 for 0.1 and 0.0016 for 0.01;
# KDE-diffusion has 0.251 in all, twice the 0.126. The log-likelihood of new draws falls from -1.43 to -1.52 for a unit
# of 0.1 and to -2.31 for 0.01, where the density has 521 peaks.
#
# What our library does: it has no kernel density estimate; fits of its mixtures do not depend on scales, by a test.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1
"$work/env/bin/pip" install --quiet --no-deps KDEpy==1.1.12 KDE-diffusion==1.0.5
cd "$work"
cat > look.py <<'PY'
import numpy as np
from kde_diffusion import kde1d
from KDEpy import FFTKDE
from KDEpy.bw_selection import improved_sheather_jones, silvermans_rule
from scipy.stats import norm

DRAWS = 2000
draws = np.random.default_rng(0).normal(size=DRAWS)
new = np.random.default_rng(1).normal(size=5000)
best = (4 / 3 / DRAWS) ** 0.2


def look(unit):
    """Return both bandwidths, the log-likelihood of new draws and the number of peaks, all in standard deviations."""
    width = improved_sheather_jones(draws[:, None] * unit) / unit
    other = kde1d(draws * unit)[2] / unit
    estimate = FFTKDE(bw="ISJ").fit(draws * unit)
    points, density = estimate.evaluate(2**14)
    assert np.isclose(estimate.bw / unit, width)
    likelihood = np.log(np.interp(new * unit, points, density) * unit + 1e-12).mean()
    height = density / density.max()
    inner = height[1:-1]
    peaks = int(((inner > height[:-2]) & (inner > height[2:]) & (inner > 1e-4)).sum())
    # the share of the grid that the range of the draws has, as the source lays it out
    span = np.ptp(draws) * unit
    share = span / (span + 2 * max(6, 0.5 * span))
    print(f"unit {unit}: ISJ {width:.4f}, by KDE-diffusion {other:.4f}, times the share {share * other:.4f};", end=" ")
    print(f"log-likelihood {likelihood:.3f}, peaks {peaks}")
    assert abs(other - 0.251) < 2e-3 and abs(width / (share * other) - 1) < 0.15
    assert np.isclose(silvermans_rule(draws[:, None] * unit) / unit, best, rtol=0.05)
    return width, likelihood, peaks


print(f"best for normal draws: {best:.3f}, log-likelihood at most {norm.logpdf(new).mean():.3f}")
found = {unit: look(unit) for unit in (100, 10, 1, 0.1, 0.01)}
for unit, width in {100: 0.1256, 10: 0.1256, 1: 0.0923, 0.1: 0.0138, 0.01: 0.0016}.items():
    assert abs(found[unit][0] / width - 1) < 0.05
assert found[100][1] > -1.46 and found[0.1][1] < found[100][1] - 0.05 and found[0.01][1] < -2.2
assert found[100][2] < 30 and found[0.01][2] > 300
PY
"$work/env/bin/python" -W ignore look.py
