#!/usr/bin/env bash
# entropy-estimators 0.0.2, numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: 5,000 draws of N(0, I) in 1, 2 and 4 dimensions, and get_h, the Kozachenko-Leonenko estimate of the entropy,
# with its two norms.
# One would expect: the norm changes the shape of the neighbourhood, whose volume is part of the formula, so both norms
# estimate the same entropy.
# What happens: with norm="euclidean" the volume of the ball of radius 1 meets twice the distance, where the maximum
# norm has the cube of side 1. The estimate is D log 2 nats too large.
# Seen: in one dimension, where both norms are the same, 1.42 and 2.11 nats, of 1.42.
#
# What our library does instead: knn_entropy has the Euclidean ball; tests compare it with known entropies.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 entropy-estimators==0.0.2
cd "$work"
cat > look.py <<'PY'
import numpy as np
from entropy_estimators import continuous

rng = np.random.default_rng(0)
for dimensions in (1, 2, 4):
    draws = rng.standard_normal((5000, dimensions))
    true = dimensions / 2 * np.log(2 * np.pi * np.e)
    cube, ball = (float(continuous.get_h(draws, k=5, norm=norm)) for norm in ("max", "euclidean"))
    excess = dimensions * np.log(2)
    print(f"D = {dimensions}: max {cube:.2f}, euclidean {ball:.2f}, true {true:.2f}; D log 2 is {excess:.2f}")
    assert abs(cube - true) < 0.15 and abs(ball - true - excess) < 0.15
PY
"$work/env/bin/python" look.py
echo "as described"
