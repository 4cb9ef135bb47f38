#!/usr/bin/env bash
# infomeasure 0.6.3, numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: draws of N(0, I) in 4 dimensions, twice: 500 and 500, 4,000 and 500, 500 and 4,000. The Kullback-Leibler
# divergence of the first from the second, by nearest neighbours (approach "metric").
# One would expect: about 0 in all three cases; more draws make it more exact.
# What happens: its cross entropy divides the sum over the points of the first sample by the number of the second. With
# equal numbers that is the mean; otherwise the term of the distances is multiplied by the ratio of the numbers.
# Seen: 0.03, 4.20 and 1.26 nats; the estimator of Wang, Kulkarni and Verdu (2009) gives 0.03, -0.03 and 0.00.
#
# What our library does instead: knn_divergence is a mean over the first sample; a test with 20 and 15 codes has a
# double loop beside it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 infomeasure==0.6.3
cd "$work"
cat > look.py <<'PY'
import infomeasure
import numpy as np
from scipy.spatial import cKDTree


def wang(first, second, k=4):
    """The divergence by k-th neighbours: D times the mean log ratio of distances, plus log M / (N - 1)."""
    own = cKDTree(first).query(first, k + 1)[0][:, -1]
    other = cKDTree(second).query(first, k)[0][:, -1]
    return first.shape[1] * np.log(other / own).mean() + np.log(len(second) / (len(first) - 1))


rng = np.random.default_rng(0)
found = {}
for n, m in ((500, 500), (4000, 500), (500, 4000)):
    first, second = rng.standard_normal((n, 4)), rng.standard_normal((m, 4))
    value = float(infomeasure.kld(first, second, approach="metric"))
    found[n, m] = value, wang(first, second)
    print(f"{n} and {m}: infomeasure {value:.2f}, Wang et al. {found[n, m][1]:.2f}")
    assert abs(found[n, m][1]) < 0.15
assert abs(found[500, 500][0]) < 0.15 and found[4000, 500][0] > 3 and found[500, 4000][0] > 0.8
PY
"$work/env/bin/python" look.py
echo "as described"
