#!/usr/bin/env bash
# sbi 0.27.0, torch 2.13.0 (CPU), numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1, Python 3.11.
#
# Input: calc_misspecification_mmd of sbi, the test of whether observations come from a simulator, with its defaults but
# for 20 shuffles, for 3,000 simulations of N(0, I) in four dimensions: 500, 990, 1,000 and 2,000 observations, moved by
# 0.2 or by 3 standard deviations in each dimension. And its squared MMD of equal distributions, "biased" and
# "unbiased".
# One would expect: the more observations, the smaller the shift that is found; with a shift of 3 p is 0. The unbiased
# estimate is 0 on average.
# What happens: what is likely by chance is found by splitting max_samples=1,000 simulations into as many as there are
# observations, and the rest. The observations themselves are compared with all 1,000. So near 1,000 the rest is small
# and its MMD large by chance. From 1,000 on there is no rest, and its MMD is not a number, which is never below that of
# the observations, so that p is 1 for any observations. There is no warning. The unbiased MMD divides by n (n - 1), but
# the diagonal, n ones, is in the sum, so it has a larger bias than the biased one.
# Seen: 500 observations moved by 0.2 have p = 0, 990 have 0.95; 1,000 and 2,000 moved by 3 have 1.00; by shuffling both
# sets together 0 each time. Equal distributions, 50 draws each: unbiased 0.042, biased 0.023.
#
# What our library does: it has no such test. Its mmd2 is unbiased, and a test has a double loop beside it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 matplotlib==3.11.2 \
  tensorboard==2.21.0 skorch==1.4.0 tqdm==4.70.1 setuptools==84.2.1
"$work/env/bin/pip" install --quiet --no-deps sbi==0.27.0 zuko==1.6.0 nflows==0.14
cd "$work"
cat > look.py <<'PY'
import math

import torch
from sbi.diagnostics.misspecification import calc_misspecification_mmd, compute_rbf_mmd

torch.manual_seed(0)
simulated = torch.randn(3000, 4)
found = {}
for number, shift in ((500, 0.2), (990, 0.2), (1000, 3.0), (2000, 3.0)):
    observed = torch.randn(number, 4) + shift
    value, (null, seen) = calc_misspecification_mmd(observed, simulated, n_shuffle=20)
    # by hand: both sets shuffled together, split as they were, with one kernel
    both = torch.cat((observed, simulated[:1000]))
    kernel = (-(torch.cdist(both, both) ** 2) / 8).exp()

    def mmd(labels):
        sign = torch.where(labels, 1 / labels.sum(), -1 / (~labels).sum())
        return (sign @ kernel @ sign).item()

    labels = torch.arange(len(both)) < number
    shuffled = [mmd(labels[torch.randperm(len(both))]) for _ in range(20)]
    by_hand = sum(other >= mmd(labels) for other in shuffled) / 20
    found[number] = value, by_hand
    print(f"{number} observations moved by {shift}: p {value:.2f}, by hand {by_hand:.2f}; ", end="")
    print(f"MMD {seen:.4f}, its mean by chance {null.mean():.4f}")
    assert by_hand == 0 and math.isnan(null.mean()) == (number >= 1000)
assert found[500][0] == 0 and found[990][0] > 0.9 and found[1000][0] == found[2000][0] == 1

pairs = [(torch.randn(50, 4), torch.randn(50, 4)) for _ in range(300)]
means = {}
for mode in ("unbiased", "biased"):
    means[mode] = torch.tensor([compute_rbf_mmd(x, y, 2.0, mode) for x, y in pairs]).mean()
less = means["unbiased"] - 2 / 49
print(f"equal distributions, 50 draws each: unbiased {means['unbiased']:.4f}, biased {means['biased']:.4f};", end=" ")
print(f"unbiased without the diagonals {less:.4f}")
assert means["unbiased"] > 1.5 * means["biased"] > 0.02 and abs(less) < 2e-3
PY
"$work/env/bin/python" look.py 2>/dev/null
