#!/usr/bin/env bash
# sewar 0.4.10, numpy 2.4.6, scipy 1.17.1, pillow 13.0.0, Python 3.11.
#
# Input: sewar's universal quality index (uqi) of an image of noise with independent noise, with its negative and with
# plain grey; and its multi-scale structural similarity (msssim) of colour images, one with noise in its blue only.
# One would expect: by the definition of Wang and Bovik (2002) about 0, -1 and 0. Similarities of colour images are made
# of those of their channels, so they do not change when the channels of both are reversed.
# What happens: the index of a window is written for sums over its 64 pixels and is given means over them. Then 63/64
# of the product of the two means are left in the covariance, and of their squares in the variances, so images of equal
# brightness are nearly equal. And msssim halves an image by a filter that reaches over the last axis, too: from the
# second scale on, green is mixed with red and blue with green.
# Seen: uqi of the three 0.73, 0.49 and 0.85, by the definition -0.02, -0.99 and 0. msssim of the noise in blue 0.96 for
# RGB and 0.89 for BGR; its channels have 1, 1 and 0.77.
#
# What our library does: it has no such index; its multi-scale similarity halves each channel by itself, and a test
# compares it with SciPy's windows.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 pillow==13.0.0
"$work/env/bin/pip" install --quiet --no-deps sewar==0.4.10
cd "$work"
cat > look.py <<'PY'
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter
from sewar.full_ref import msssim, uqi

rng = np.random.default_rng(0)


def exact(x, y, size=8):
    """Return the mean index of all windows, by the definition."""
    x, y = (sliding_window_view(image, (size, size)).reshape(-1, size * size) for image in (x, y))
    a, b = x.mean(1), y.mean(1)
    covariance = (x * y).mean(1) - a * b
    return (4 * covariance * a * b / ((x.var(1) + y.var(1)) * (a**2 + b**2))).mean()


noise = rng.random((64, 64))
pairs = {
    "itself": (noise, 1, 1),
    "independent noise": (rng.random((64, 64)), 0.73, 0),
    "its negative": (1 - noise, 0.49, -1),
    "plain grey": (np.full((64, 64), 0.5), 0.85, 0),
    "itself, darker": (noise / 2, 0.64, 0.64),
}
for name, (other, expected, right) in pairs.items():
    found, defined = uqi(noise, other), exact(noise, other)
    print(f"uqi of noise and {name}: {found:.2f}; by the definition {defined:.2f}")
    assert abs(found - expected) < 0.02 and abs(defined - right) < 0.03
# the error itself: sums in the formula, means in the image
x, y = noise[:8, :8], pairs["independent noise"][0][:8, :8]
n, a, b = 64, x.mean(), y.mean()
by_means = 4 * (n * (x * y).mean() - a * b) * a * b
by_means /= (n * ((x**2).mean() + (y**2).mean()) - a**2 - b**2) * (a**2 + b**2)
tile = [np.tile(z, (4, 4)) for z in (x, y)]  # each window holds the same pixels
assert abs(uqi(*tile) - by_means) < 1e-6

image = np.stack([gaussian_filter(rng.random((256, 256)), 2) for _ in range(3)], -1)
image = (image - image.min()) / (image.max() - image.min())
noisy = image.copy()
noisy[..., 2] = np.clip(noisy[..., 2] + 0.2 * rng.standard_normal((256, 256)), 0, 1)
channels = [msssim(image[..., i], noisy[..., i], MAX=1) for i in range(3)]
found = [msssim(*(z[..., order] for z in (image, noisy)), MAX=1) for order in ([0, 1, 2], [2, 1, 0])]
print("msssim of red, green and blue:", [f"{value:.2f}" for value in channels])
print(f"msssim of RGB {found[0]:.2f}, of BGR {found[1]:.2f}")
assert abs(channels[0] - 1) < 1e-9 and abs(channels[1] - 1) < 1e-9 and channels[2] < 0.8
assert found[0] - found[1] > 0.05
grey = [np.repeat(z[..., 2:], 3, axis=2) for z in (image, noisy)]
assert abs(msssim(*grey, MAX=1) - channels[2]) < 1e-9  # equal channels do no harm
PY
"$work/env/bin/python" look.py
