#!/usr/bin/env bash
# prdc 0.2, numpy 2.4.6, scikit-learn 1.9.1, Python 3.11.
#
# Input: 1,000 draws from N(0, I) in 64 dimensions as real features, and a generator that repeats one point, their mean.
# One would expect: low coverage, which was proposed as the measure of diversity, and density near precision, near 1.
# What happens: in many dimensions the mean is inside the ball of every real point, since it is nearer to all of them
# than they are to each other. So one point covers all. A generator that repeats a real point covers next to nothing.
# Seen: of the mean precision 1.0, density 200.0, coverage 1.0, recall 0.0; of a real point coverage below 0.02.
#
# What our library does: evaluate shows coverage beside recall, which is 0 here, and beside near-copies.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet prdc==0.2 numpy==2.4.6 scikit-learn==1.9.1
cd "$work"
cat > look.py <<'PY'
import numpy as np
from prdc import compute_prdc

real = np.random.default_rng(0).normal(size=(1000, 64))
for name, point in (("mean", real.mean(0)), ("a real point", real[3])):
    found = compute_prdc(real, np.tile(point, (1000, 1)), nearest_k=5)
    print(name, {key: round(float(value), 3) for key, value in found.items()})
    if name == "mean":
        assert (found["precision"], found["density"], found["coverage"], found["recall"]) == (1, 200, 1, 0)
    else:
        assert found["coverage"] < 0.02
PY
"$work/env/bin/python" look.py
