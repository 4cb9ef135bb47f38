#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: an image of 64 x 64 pixels, black but for a textured square of 24 x 24 in the middle, as digits and objects on
# a plain background are, and universal_image_quality_index of the image with itself.
# One would expect: 1, the value of equal images by the definition of Wang and Bovik (2002), whom its docstring cites.
# What happens: the index of a window is a quotient that is 0 / 0 where both images are flat. torchmetrics adds the
# rounding error of the float type to its denominator, so a flat window counts 0, the value of unrelated images. The
# denominator is of the fourth power of the pixels, so dark windows with little noise count 0 too, for pixels from 0 to
# 1, but not from 0 to 255, though the quotient does not depend on the scale. A perfect copy scores about the share of
# windows with texture.
# Seen: black background 0.33; with noise of 0.01 added on both sides 0.33, and 1.00 after both are multiplied by 255; a
# flat image 0; structural similarity is 1 in all cases.
#
# What our library does: it has no such index; its structural similarity has the constants of the paper of 2004, and a
# test has 1 for an image with itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 torchmetrics==1.9.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import torch
from torchmetrics.functional.image import structural_similarity_index_measure, universal_image_quality_index

generator = torch.Generator().manual_seed(0)
image = torch.zeros(1, 1, 64, 64)
image[..., 20:44, 20:44] = torch.rand(1, 1, 24, 24, generator=generator)
noisy = image + 0.01 * torch.randn(image.shape, generator=generator)
texture = torch.rand(image.shape, generator=generator)
found = {}
images = {
    "black background": image,
    "flat": torch.zeros_like(image),
    "noise of 0.01": noisy,
    "noise, times 255": 255 * noisy,
    "texture everywhere": texture,
}
for name, one in images.items():
    found[name] = universal_image_quality_index(one, one).item()
    similarity = structural_similarity_index_measure(one, one, data_range=255.0 if "255" in name else 1.0).item()
    print(f"{name}: {found[name]:.3f}; structural similarity {similarity:.3f}")
    assert abs(similarity - 1) < 1e-4
assert found["flat"] == 0
assert 0.25 < found["black background"] < 0.45 and 0.25 < found["noise of 0.01"] < 0.45
assert found["noise, times 255"] > 0.99 and found["texture everywhere"] > 0.999
PY
"$work/env/bin/python" look.py 2>/dev/null
