#!/usr/bin/env bash
# image-similarity-measures 0.3.6, numpy 1.26.4, opencv-python-headless 4.11.0.86, scikit-image 0.20.0, Python 3.11.
#
# Input: a smooth colour image of 64 x 64 pixels, from 0 to 255, and the same with noise, saved as PNG and compared by
# the package's own evaluation() of two files: the spectral angle (sam), the signal to reconstruction error ratio (sre)
# and the feature similarity (fsim). Then the same as arrays.
# One would expect: an image makes an angle of 0 with itself; a ratio of signal to error, in decibels, does not depend
# on the unit or on the number of pixels; a pair has the fsim of the mirrored pair.
# What happens: sam multiplies the bytes as they are, and their products wrap around at 256. As floats the angle is
# right, until a pixel is black in one of the images: its angle is 0 / 0, so the mean is NaN, which becomes 0, the value
# of a perfect copy. sre divides the squared mean by the norm of the error, not squared, over the number of pixels. fsim
# takes gradients into unsigned numbers of 16 bits: one that falls from left to right or from top to bottom is 0, and
# the squares of the others wrap around.
# Seen: sam of the image with itself 90 degrees, as floats 0; of the noisy image 4 as floats, and 0 when one pixel is
# black, also beside unrelated noise. sre 49 dB, of values from 0 to 1 25 dB, of four copies side by side 52 dB; by its
# formula 20 dB each time. fsim 0.77, mirrored 0.78; with signed gradients 0.90 both times.
#
# What our library does: it has none of the three; its psnr is in decibels of the mean squared error over pixels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==1.26.4 scipy==1.14.1 scikit-image==0.20.0 opencv-python-headless==4.11.0.86
"$work/env/bin/pip" install --quiet --no-deps phasepack==1.5 image-similarity-measures==0.3.6
cd "$work"
cat > look.py <<'PY'
import cv2
import numpy as np
from image_similarity_measures import quality_metrics
from image_similarity_measures.evaluate import evaluation
from image_similarity_measures.quality_metrics import fsim, sam, sre
from scipy.ndimage import gaussian_filter

rng = np.random.default_rng(0)
image = np.stack([gaussian_filter(rng.random((64, 64)), 2) for _ in range(3)], -1)
image = (255 * (image - image.min()) / (image.max() - image.min())).astype(np.uint8)
noisy = np.clip(image + rng.integers(-20, 21, image.shape), 0, 255).astype(np.uint8)
cv2.imwrite("image.png", image)
cv2.imwrite("noisy.png", noisy)

angle = evaluation("image.png", "image.png", ["sam"])["sam"]
x, y = image.astype(float), noisy.astype(float)
print(f"sam of a file and itself: {angle:.1f} degrees; as floats {sam(x, x):.4f}")
assert angle > 80 and sam(x, x) < 1e-3
cosine = (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
right = np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).mean()
black = x.copy()
black[0, 0] = 0
unrelated = sam(black, 255 * rng.random(x.shape))
print(f"sam of the noisy image, floats: {sam(x, y):.2f}, exactly {right:.2f}; with one black pixel {sam(black, y)}")
print(f"sam of the image with a black pixel and unrelated noise: {unrelated}")
assert abs(sam(x, y) - right) < 1e-6 and right > 3 and sam(black, y) == 0 == unrelated


def ratio(x, y):
    """Return the mean over channels of the squared mean by the mean squared error, in decibels."""
    return 10 * np.log10(np.mean(x.mean((0, 1)) ** 2 / ((x - y) ** 2).mean((0, 1))))


pairs = {
    "0 to 255": (x, y),
    "0 to 1": (x / 255, y / 255),
    "four copies": (np.tile(x, (2, 2, 1)), np.tile(y, (2, 2, 1))),
}
for name, pair in pairs.items():
    print(f"sre, {name}: {sre(*pair):.1f} dB; by its formula {ratio(*pair):.1f}")
found = [sre(*pair) for pair in pairs.values()]
assert abs(found[0] - found[1] - 10 * np.log10(255)) < 0.01 and abs(found[2] - found[0] - 10 * np.log10(2)) < 0.01
assert np.ptp([ratio(*pair) for pair in pairs.values()]) < 1e-9
assert abs(evaluation("image.png", "noisy.png", ["sre"])["sre"] - found[0]) < 0.01


def signed(image, depth):
    """Return the length of the gradient, in place of the package's."""
    return np.hypot(*(cv2.Scharr(image.astype(float), cv2.CV_64F, *axis) for axis in ((1, 0), (0, 1))))


mirrored = [np.ascontiguousarray(z[:, ::-1]) for z in (image, noisy)]
found = fsim(image, noisy), fsim(*mirrored)
quality_metrics._gradient_magnitude = signed
right = fsim(image, noisy), fsim(*mirrored)
print(f"fsim: {found[0]:.4f}, mirrored {found[1]:.4f}; with signed gradients {right[0]:.4f} and {right[1]:.4f}")
assert abs(found[0] - found[1]) > 0.005 and right[0] - max(found) > 0.1
assert abs(right[0] - right[1]) < 1e-4
PY
"$work/env/bin/python" -W ignore look.py
