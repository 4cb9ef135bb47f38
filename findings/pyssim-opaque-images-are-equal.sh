#!/usr/bin/env bash
# pyssim 0.7.1, PyWavelets 1.9.0, pillow 13.0.0, numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: SSIM of pyssim, with the Gaussian window of its command line: of two images of independent noise, in the mode
# RGB, and in the mode RGBA with an alpha of 255 everywhere, as screens and web pages are saved; and of a pair of grey
# images, both as they are and both mirrored.
# One would expect: an alpha of 255 says opaque, so it changes nothing; two mirrored images are as similar as before.
# What happens: pixels with an alpha of 255 are set to 0, the opaque ones in place of the transparent ones. So any two
# opaque RGBA or LA images are black, and their similarity is 1; an image beside itself with such an alpha has 0.
# Transparent pixels count in full. The window's weights are those of -5.5 to 4.5, since 11 is halved without rounding,
# so its centre is half a pixel away from the pixel that it is for.
# Seen: noise: RGB 0.001, RGBA 1.000, the same as for an alpha of 128 or 0: 0.001; an image and its RGBA copy 0.000.
# Weights before, at and after the middle 0.161, 0.252 and 0.252; a pair has 0.787 and mirrored 0.795, exactly 0.791.
#
# What our library does: transparent pixels are put on white when images are read; tests compare its structural
# similarity with the formula by SciPy.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 pillow==13.0.0 PyWavelets==1.9.0
"$work/env/bin/pip" install --quiet --no-deps pyssim==0.7.1
cd "$work"
cat > look.py <<'PY'
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from ssim import SSIM
from ssim.utils import get_gaussian_kernel

window = get_gaussian_kernel(11, 1.5)
rng = np.random.default_rng(0)


def similarity(one, other):
    return SSIM(one, window).ssim_value(other)


def with_alpha(image, alpha):
    image = image.convert("RGBA")
    image.putalpha(alpha)
    return image


def exact(x, y):
    """Return the mean structural similarity of grey images, with a symmetric window of 11 pixels."""

    def smooth(z):
        return gaussian_filter(z, 1.5, radius=5)

    x, y = x.astype(float), y.astype(float)
    a, b, c, d = smooth(x), smooth(y), 2.55**2, 7.65**2
    value = (2 * a * b + c) * (2 * (smooth(x * y) - a * b) + d)
    return (value / ((a**2 + b**2 + c) * (smooth(x * x) - a**2 + smooth(y * y) - b**2 + d))).mean()


one, other = (Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(2))
right = exact(np.asarray(one.convert("L")), np.asarray(other.convert("L")))
print(f"noise, RGB: {similarity(one, other):.3f}; by the formula {right:.3f}")
assert abs(similarity(one, other) - right) < 0.01
for alpha, expected in ((255, 1), (254, right), (128, right), (0, right)):
    found = similarity(with_alpha(one, alpha), with_alpha(other, alpha))
    print(f"noise, RGBA, alpha {alpha}: {found:.3f}")
    assert abs(found - expected) < 0.01
assert similarity(one.convert("LA"), other.convert("LA")) == 1
print(f"an image and its RGBA copy: {similarity(one, one.convert('RGBA')):.3f}")
assert similarity(one, one.convert("RGBA")) < 0.01 and similarity(one, one) > 0.999

print("weights before, at and after the middle:", window[4:7].round(3).tolist())
assert abs(window[5] - window[6]) < 1e-9 and window[6] > 1.4 * window[4]
smooth = gaussian_filter(rng.random((64, 64)), 2)
smooth = 255 * (smooth - smooth.min()) / (smooth.max() - smooth.min())
pair = [smooth, smooth + 30 * np.linspace(0, 1, 64) * rng.standard_normal((64, 64))]
pair = [np.clip(image, 0, 255).astype(np.uint8) for image in pair]
found = {}
for name, images in {"as they are": pair, "mirrored": [image[::-1, ::-1] for image in pair]}.items():
    found[name] = similarity(*(Image.fromarray(np.ascontiguousarray(image)) for image in images))
    print(f"{name}: {found[name]:.4f}; by the formula {exact(*images):.4f}")
assert abs(exact(*pair) - exact(*(image[::-1, ::-1] for image in pair))) < 1e-9
assert abs(found["as they are"] - found["mirrored"]) > 1e-3
PY
"$work/env/bin/python" look.py
