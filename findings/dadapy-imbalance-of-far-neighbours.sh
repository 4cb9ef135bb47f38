#!/usr/bin/env bash
# dadapy 0.3.4, jax 0.4.30, flax 0.8.5, scipy 1.14.1, scikit-learn 1.9.1, numpy 1.26.4, Python 3.11.
#
# Input: 500 or 2,000 codes from N(0, 1), the same codes with noise of a deviation of 0.2, and the same codes where 30 %
# are replaced by other draws. The information imbalance from the codes to either is 2/N times the mean rank that the
# nearest neighbour of each code has there: 0 if nothing is lost, 1 if all is. Then 1,000 codes, uniform in 8 periodic
# dimensions, as angles are, for their intrinsic dimension by two neighbours and by Gride, with the period given.
# One would expect: an imbalance that depends on the number of codes as little as its definition does, and a dimension
# near 8 by both estimators.
# What happens: ranks are known up to the 100th neighbour only, the default of maxk, which is said to be the number of
# neighbours to consider. Any larger one is replaced by a random rank between 100 and N. So the more codes, the nearer
# to 1 is a loss that is spread over all codes, and the order of two losses is turned round. All functions of pairs,
# lists, matrices and greedy selections of features do so; return_information_imbalace takes all ranks. Gride computes
# its own distances, without the period, if there are none yet or if it wants more than maxk of them. The first ones are
# left for all later calls, so that the estimate by two neighbours changes too. Nothing is reported.
# Seen: noise 0.35 of 500 codes and 0.74 of 2,000, by definition 0.23 and 0.24; others 0.51, by definition 0.50. With
# maxk=N-1 all are exact. Dimension by two neighbours 8.0, then by Gride 7.9 to 8.0 up to 64 neighbours, 6.7 down to
# 5.4 up to 256. With Gride first 6.7 down to 6.1, then by two neighbours 6.8, all as without a period.
#
# What our library does: it has no imbalance and no periodic codes. Give maxk=N-1, and call compute_distances with the
# period and with maxk at least range_max before Gride.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet dadapy==0.3.4 jax==0.4.30 jaxlib==0.4.30 flax==0.8.5 scipy==1.14.1 \
    scikit-learn==1.9.1 numpy==1.26.4
cd "$work"
cat > look.py <<'PY'
import contextlib
import os
import warnings

import numpy as np
from dadapy import Data

warnings.simplefilter("ignore")
draws = np.random.default_rng(0)


def ranked(one, other):
    """The imbalance by its definition: 2/N times the mean rank in `other` of the nearest neighbour in `one`."""
    near, far = (np.abs(values[:, None] - values) for values in (one, other))
    np.fill_diagonal(near, np.inf)
    np.fill_diagonal(far, -1)
    nearest = near.argmin(axis=1)
    ranks = far.argsort(axis=1).argsort(axis=1)
    return 2 / len(one) * ranks[np.arange(len(one)), nearest].mean()


found = {}
for count in (500, 2000):
    code = draws.normal(size=count)
    noisy = code + 0.2 * draws.normal(size=count)
    mixed = np.where(np.arange(count) < 0.3 * count, draws.normal(size=count), code)
    codes = np.stack([code, noisy, mixed], axis=1)
    for column, name in ((1, "with noise"), (2, "with a part of others")):
        exact = ranked(code, codes[:, column])
        default = Data(coordinates=codes, n_jobs=1).return_inf_imb_two_selected_coords([0], [column])[0]
        full = Data(coordinates=codes, maxk=count - 1, n_jobs=1).return_inf_imb_two_selected_coords([0], [column])[0]
        found[count, column] = exact, default
        print(f"{count} codes, the same {name}: {default:.2f}, by definition {exact:.2f}, maxk N-1 {full:.2f}")
        assert abs(full - exact) < 1e-6
assert found[2000, 1][0] < 0.3 < 0.6 < found[2000, 1][1]
assert abs(found[500, 1][0] - found[2000, 1][0]) < 0.05 < 0.25 < found[2000, 1][1] - found[500, 1][1]
assert found[2000, 1][0] < found[2000, 2][0] and found[2000, 1][1] > found[2000, 2][1]

angles = draws.uniform(size=(1000, 8))
print("dimension of 8 periodic codes")
with contextlib.redirect_stdout(open(os.devnull, "w")):
    first = Data(coordinates=angles, period=1.0, n_jobs=1)
    two = first.compute_id_2NN()[0]
    inside = first.return_id_scaling_gride(range_max=64)[0]
    beyond = first.return_id_scaling_gride(range_max=256)[0]
    second = Data(coordinates=angles, period=1.0, n_jobs=1)
    alone = second.return_id_scaling_gride(range_max=64)[0]
    after = second.compute_id_2NN()[0]
    plain = Data(coordinates=angles, n_jobs=1)
    without = plain.return_id_scaling_gride(range_max=64)[0], plain.compute_id_2NN()[0]
print("2NN", round(two, 2), "then Gride to 64", inside.round(2), "to 256", beyond.round(2))
print("Gride first", alone.round(2), "then 2NN", round(after, 2))
print("period not given: Gride", without[0].round(2), "2NN", round(without[1], 2))
assert abs(inside[1:] - 8).max() < 0.5 and beyond.max() < 7.2 and beyond[-1] < 5.5
assert np.allclose(alone, without[0]) and np.isclose(after, without[1]) and two - after > 1
PY
"$work/env/bin/python" look.py
