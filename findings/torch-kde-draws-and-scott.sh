#!/usr/bin/env bash
# torch-kde 0.1.5, scipy 1.17.1, scikit-learn 1.9.1, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: a kernel density estimate with the gaussian kernel, once of coincident points with a bandwidth of 0.5, once of
# 500 draws from N(0, I) in 16 dimensions with Scott's rule, bandwidth="scott".
# One would expect: draws of the first have standard deviation 0.5, as its densities say; the second has the densities
# of scipy's gaussian_kde, whose documentation and reference torch-kde repeats.
# What happens: densities use the bandwidth, draws its square: the deviation is 0.25, and 4 for a bandwidth of 2.
# Scott's factor multiplies the covariance where its square should, so the kernel's standard deviation is the data's
# times the root of it. After the rule draws fail with an error about sizes, or, for one, the default, or as many as
# there are dimensions, come out wrong without one.
# Seen: deviations 0.250, 1.004 and 3.99 for bandwidths of 0.5, 1 and 2; log densities at draws of the data lower by 2.4
# nats than scipy's.
#
# What our library does: it has no kernel density. Its densities of codes are compared with their own draws by tests.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 pandas tqdm
"$work/env/bin/pip" install --quiet --no-deps torch-kde==0.1.5
cd "$work"
cat > look.py <<'PY'
import torch
from scipy.stats import gaussian_kde
from torchkde import KernelDensity

torch.manual_seed(0)
for bandwidth in (0.5, 1.0, 2.0):
    model = KernelDensity(bandwidth=bandwidth, kernel="gaussian").fit(torch.zeros(100, 4))
    spread = model.sample(20_000).std().item()
    expected = -2 * torch.log(torch.tensor(2 * torch.pi * bandwidth**2)).item()
    print(bandwidth, "draws", round(spread, 3), "log density", round(model.score_samples(torch.zeros(1, 4)).item(), 3))
    assert abs(spread / bandwidth**2 - 1) < 0.02
    assert abs(model.score_samples(torch.zeros(1, 4)).item() - expected) < 1e-3
codes = torch.randn(500, 16)
model = KernelDensity(bandwidth="scott", kernel="gaussian").fit(codes)
lower = torch.tensor(gaussian_kde(codes.T.numpy()).logpdf(codes.T.numpy())) - model.score_samples(codes)
print("scott: lower by", round(lower.mean().item(), 2), "nats")
assert 2 < lower.mean() < 3
try:
    model.sample(2000)
except RuntimeError as error:
    print("draws:", error)
else:
    raise AssertionError("draws after Scott's rule work now")
assert model.sample(16).shape == (16, 16)
PY
"$work/env/bin/python" look.py 2>/dev/null
