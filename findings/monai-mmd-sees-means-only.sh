#!/usr/bin/env bash
# monai 1.6.1, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: MMDMetric, the "unbiased maximum mean discrepancy" of Gretton et al. (2012), with its default, for 1,000 codes
# from N(0, I) in 16 dimensions, of shape (1000, 1, 4, 4), against other draws; draws of a third and of three times the
# spread; the mean of the codes, repeated with noise of a thousandth; and draws with all 16 dimensions equal.
# One would expect: about 0 for other draws and clearly more for the rest, which are other distributions. The docstring
# calls it a measure of the similarity of distributions, smaller for a closer match; in the paper the kernel makes it
# one.
# What happens: the kernel is the inner product, whose MMD is the squared distance of the two means and sees nothing
# else. There is no argument for a kernel: y_mapping, "usually a Gaussian or Laplace filter", maps each sample before
# the inner product, which blurs an image; that is not the Gaussian kernel of two images.
# Seen: other draws 0.011, a third of the spread 0.006, three times 0.065, the repeated mean -0.016, the best of all,
# equal dimensions 0.063; a shift of 0.2 has 0.81. All are the squared distance of the means, less its expectation for
# equal distributions. A Gaussian kernel has 0.0002, 0.12, 0.35, 0.16 and 0.09, and 0.02 for the shift.
#
# What our library does: mmd2 has a sum of inverse multiquadratic kernels; a test has a double loop beside it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps monai==1.6.1
cd "$work"
cat > look.py <<'PY'
import torch
from monai.metrics import MMDMetric

COUNT, WIDTH = 1000, 16
generator = torch.Generator().manual_seed(0)
real, draws = torch.randn(2, COUNT, WIDTH, generator=generator, dtype=torch.float64)
sets = {
    "other draws": draws,
    "a third of the spread": draws / 3,
    "three times the spread": 3 * draws,
    "the real mean, repeated": real.mean(0) + 1e-3 * draws,
    "equal dimensions": draws[:, :1].expand(-1, WIDTH),
    "moved by 0.2": draws + 0.2,
}


def means(x, y):
    """The squared distance of the means, less its expectation for equal distributions."""
    return ((x.mean(0) - y.mean(0)) ** 2).sum() - x.var(0).sum() / COUNT - y.var(0).sum() / COUNT


def gaussian(x, y):
    """The unbiased MMD of a Gaussian kernel as wide as the cloud."""
    of_x, of_y, across = (torch.exp(-(torch.cdist(*pair) ** 2) / 2 / WIDTH) for pair in ((x, x), (y, y), (x, y)))
    return (of_x.sum() + of_y.sum() - 2 * COUNT) / COUNT / (COUNT - 1) - 2 * across.mean()


metric, found = MMDMetric(), {}
for name, codes in sets.items():
    seen = metric(real.reshape(COUNT, 1, 4, 4), codes.reshape(COUNT, 1, 4, 4)).item()
    found[name] = seen, means(real, codes).item(), gaussian(real, codes).item()
    print("{}: {:.4f}; of the means {:.4f}; Gaussian kernel {:.4f}".format(name, *found[name]))
    assert abs(seen - found[name][1]) < 1e-9
for name, (seen, _, kernel) in found.items():
    if name != "moved by 0.2":
        assert abs(seen) < 0.08
    assert (abs(kernel) < 0.001) == (name == "other draws")
assert found["the real mean, repeated"][0] < 0 < found["other draws"][0]
assert found["moved by 0.2"][0] > 0.5
PY
"$work/env/bin/python" look.py 2>/dev/null
