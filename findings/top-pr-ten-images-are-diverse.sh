#!/usr/bin/env bash
# top-pr 0.2.1, torch 2.13.0 on the CPU, scikit-learn 1.9.1, gudhi 3.13.0, Python 3.11.
#
# Input: features of 800 real images, draws of N(0, I) in 64 dimensions, and 800 generated ones: ten of the real ones,
# each repeated 80 times with noise of a hundredth of their spread.
# One would expect: a diversity near 0, since a recall that holds against outliers should see that ten images are not
# 800. It is near 0 for copies of a single image.
# What happens: the width of the kernel is a median distance to the 160th among the later images of the set, which is
# beyond the 79 copies of one image. So the ten images are spread over the space between them, and more than half of
# the real images lie in that. The same images in another order have another diversity.
# Seen: fidelity 1.00, diversity 0.68, shuffled 0.72; 0.00 for copies of one image; 0.99 and 0.97 for 800 new draws.
#
# What our library does instead: recall and coverage, whose balls end at a near neighbour, and near-copies.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 gudhi==3.13.0 \
  matplotlib==3.11.2 tqdm==4.70.1
"$work/env/bin/pip" install --quiet --no-deps top-pr==0.2.1
cd "$work"
cat > look.py <<'PY'
import numpy as np
from top_pr.top_pr import compute_top_pr

rng = np.random.default_rng(0)
real, new = rng.standard_normal((2, 800, 64)).astype(np.float32)
noise = 0.01 * rng.standard_normal((800, 64)).astype(np.float32)
found = {}
ten = np.repeat(real[:10], 80, 0) + noise
shuffled = ten[rng.permutation(800)]
for name, fake in (("new draws", new), ("ten", ten), ("ten, shuffled", shuffled), ("one", real[:1] + noise)):
    scores = compute_top_pr(real_features=real, fake_features=fake)
    found[name] = {part: round(float(scores[part]), 3) for part in ("fidelity", "diversity")}
    print(name, found[name])
assert found["new draws"]["diversity"] > 0.9
assert found["ten"]["fidelity"] > 0.95 and found["ten"]["diversity"] > 0.5
assert found["ten, shuffled"]["diversity"] > 0.5
assert abs(found["ten, shuffled"]["diversity"] - found["ten"]["diversity"]) > 0.01
assert found["one"]["diversity"] < 0.05
PY
"$work/env/bin/python" look.py
echo "as described"
