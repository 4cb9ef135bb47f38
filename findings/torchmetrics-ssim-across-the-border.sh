#!/usr/bin/env bash
# torchmetrics 1.9.0, scikit-image 0.26.0, torch 2.13.0 on the CPU, Python 3.11.
#
# Input: two images of independent noise, 11 x 11 pixels: as large as the Gaussian window of structural similarity, so
# that one window fits.
# One would expect: the similarity in that window, as the paper's code and scikit-image have it.
# What happens: torchmetrics reflects the pixels at the border and takes the mean of all 121 windows, most of which hold
# reflected pixels. The reflected pixels are alike on both sides of the border, which raises the variances' agreement.
# Seen: see the output; the values differ by more than 0.02 in a measure whose value for such images is near 0.
#
# What our library does: ssim says so in its docstring, and evaluates images of one size against each other only.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 torchmetrics==1.9.0 scikit-image==0.26.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import numpy as np
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

first, second = np.random.default_rng(0).random((2, 11, 11))
tensors = [torch.from_numpy(image)[None, None] for image in (first, second)]
theirs = structural_similarity_index_measure(*tensors, data_range=1.0).item()
options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
_, full = structural_similarity(first, second, full=True, **options)
whole = full[5, 5]
print("torchmetrics:", round(theirs, 4), "the one whole window:", round(float(whole), 4))
assert abs(theirs - whole) > 0.02
equal = structural_similarity_index_measure(tensors[0].repeat(1, 1, 4, 4), tensors[0].repeat(1, 1, 4, 4), data_range=1.0)
assert abs(equal.item() - 1) < 1e-6
PY
"$work/env/bin/python" look.py
