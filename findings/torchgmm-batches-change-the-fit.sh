#!/usr/bin/env bash
# torchgmm 0.1.4, pytorch-lightning 2.6.6, torchmetrics 1.9.0, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: 2,000 codes in the plane. First N((0, 5), I), for GaussianMixture with one component, which has a closed form;
# then four classes of deviation 0.5, four apart, in random order and class after class, for four components. Each is
# fitted at once and with a batch_size, which is there for data that do not fit into memory.
# One would expect: the same fit for every batch size and order. The documentation says that EM is split over two
# epochs for batches: one for the means, one for the covariances around them.
# What happens: the test for batches is turned round. One batch gets two epochs, which is harmless; several batches get
# one, in which the covariances are taken around the mean of the batches so far. For covariances of all types but "full"
# they are the mean square minus the square of that mean, and can be negative, which gives NaN without a word, also with
# the default type "diag". With "full" it matters only where batches differ.
# Seen: one component, variance of the second dimension: 1.025 at once and with one batch of 2,000, 0.865 for batches of
# 1,000 and 0.768 for 100. Four components, "diag": 0.24 to 0.28 at once; in batches of 500 0.16 to 0.68 in random
# order, and NaN class after class.
#
# What our library does: fit_mixture takes all codes at once; a test compares it with scikit-learn's.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pytorch-lightning==2.6.6 torchmetrics==1.9.0
"$work/env/bin/pip" install --quiet --no-deps torchgmm==0.1.4
cd "$work"
cat > look.py <<'PY'
import logging
import warnings

import numpy as np
import torch

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
from torchgmm.bayes import GaussianMixture  # noqa: E402

QUIET = {
    "max_epochs": 20,
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "logger": False,
    "enable_model_summary": False,
}


def variances(codes, components, kind, batch_size):
    fitted = GaussianMixture(components, covariance_type=kind, batch_size=batch_size, trainer_params=QUIET).fit(codes)
    found = fitted.model_.covariances.numpy()
    if kind in ("full", "tied"):
        found = np.diagonal(found, axis1=-2, axis2=-1)
    print(f"{components} components, {kind}, batch size {batch_size}: {sorted(round(float(v), 3) for v in found.flat)}")
    return found


torch.manual_seed(0)
codes = torch.randn(2000, 2) + torch.tensor([0.0, 5.0])
exact = codes.var(0, unbiased=False).numpy()
# what comes out if each batch is taken around the mean of the batches so far
sums, squares = codes.double().reshape(20, 100, 2).sum(1).cumsum(0), codes.double().square().sum(0)
running = sums / torch.arange(100, 2001, 100)[:, None]
predicted = ((squares - 100 * running.square().sum(0)) / 2000).numpy()
print("one component: exact", exact.round(3), "around the means so far, of 100 each", predicted.round(3))
for kind, batch_size in (("diag", None), ("diag", 2000), ("tied", None), ("full", None), ("full", 100)):
    assert np.allclose(variances(codes, 1, kind, batch_size), exact, atol=5e-3)
assert 0.8 < variances(codes, 1, "diag", 1000).flatten()[1] < 0.9
for kind in ("diag", "tied"):
    assert np.allclose(variances(codes, 1, kind, 100), predicted, atol=2e-3)
assert predicted[1] < 0.8

classes = torch.arange(2000) // 500
ordered = 0.5 * torch.randn(2000, 2)
ordered[:, 1] += 4 * classes
mixed = ordered[torch.randperm(2000)]
for name, data in (("random order", mixed), ("class after class", ordered)):
    print(name)
    assert np.abs(variances(data, 4, "diag", None) - 0.25).max() < 0.03
assert np.abs(variances(mixed, 4, "diag", 500) - 0.25).max() > 0.1
assert np.isnan(variances(ordered, 4, "diag", 500)).all()
PY
"$work/env/bin/python" look.py 2>/dev/null
