#!/usr/bin/env bash
# pytorch-ignite 0.5.5, torch 2.13.0 (CPU), numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: SSIM of pytorch-ignite with gaussian=False, "to use uniform kernel", and a kernel_size of 3, 5, 7 (that of
# scikit-image), 11 and 15: of two images of independent noise, and of black and white stripes, four pixels wide, and
# the same moved by one pixel.
# One would expect: the mean over windows of that size, all pixels with equal weights that add up to 1.
# What happens: the weights are 1/5 for the five pixels around the middle and 0 for all others. So every size from 5 on
# is a window of 5 x 5, and only the border grows. A window of 3 has three weights of 1/5 in each direction: they add up
# to 0.36, so most of the squared brightness counts as variance and covariance, and unrelated images look alike.
# Seen: noise: 0.63 for 3, -0.01 for each other size; by the formula -0.02 to -0.01. Stripes: 0.55 for 3 and 0.35 for
# each other size; by the formula 0.36, 0.35, 0.47, 0.49 and 0.50.
#
# What our library does: its structural similarity has a Gaussian window, which a test compares with SciPy's.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1 packaging==26.4
"$work/env/bin/pip" install --quiet --no-deps pytorch-ignite==0.5.5
cd "$work"
cat > look.py <<'PY'
import numpy as np
import torch
from ignite.metrics import SSIM
from scipy.ndimage import uniform_filter

C, D = 0.01**2, 0.03**2


def similarity(x, y, size):
    metric = SSIM(data_range=1.0, kernel_size=size, gaussian=False)
    metric.update([torch.from_numpy(image)[None, None] for image in (x, y)])
    return metric.compute(), metric._kernel_nd


def exact(x, y, size):
    """Return the mean over windows of equal weights, reflected at the border as ignite does."""

    def smooth(z):
        return uniform_filter(z, size, mode="mirror")

    a, b = smooth(x), smooth(y)
    value = (2 * a * b + C) * (2 * (smooth(x * y) - a * b) + D)
    return (value / ((a**2 + b**2 + C) * (smooth(x * x) - a**2 + smooth(y * y) - b**2 + D))).mean()


rng = np.random.default_rng(0)
noise = rng.random((64, 64)), rng.random((64, 64))
stripes = (np.arange(64) // 4 % 2 * np.ones((64, 1))).astype(float)
pairs = {"noise": noise, "stripes of 4 pixels, moved by 1": (stripes, np.roll(stripes, 1, 1))}
for name, pair in pairs.items():
    found, right = {}, {}
    for size in (3, 5, 7, 11, 15):
        found[size], weights = similarity(*pair, size)
        right[size] = exact(*pair, size)
        print(f"{name}, window {size}: {found[size]:.3f}; by the formula {right[size]:.3f}", end="; ")
        print(f"{int((weights > 0).sum())} weights, sum {weights.sum():.2f}")
        assert int((weights > 0).sum()) == min(size, 5) ** 2 and abs(weights.max() - 0.04) < 1e-6
    assert abs(found[5] - right[5]) < 1e-6
    assert abs(found[7] - exact(*pair, 5)) < 1e-6 and abs(found[15] - exact(*pair, 5)) < 1e-6
    assert found[3] - right[3] > 0.15
    if name == "noise":
        assert found[3] > 0.6 and abs(right[3]) < 0.05
    else:
        assert right[7] - found[7] > 0.1 and right[15] - found[15] > 0.1
PY
"$work/env/bin/python" look.py
