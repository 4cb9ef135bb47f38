#!/usr/bin/env bash
# frouros 0.9.0, scipy 1.14.1, numpy 2.1.3, Python 3.11.
#
# Input: PSI, the population stability index, on 200 pairs of samples of 1,000 numbers of one law: N(0, 1), and
# exponential ones. Then MMD, unbiased as in its reference, on 200 pairs of samples of 100 codes from N(0, I) in four
# dimensions, with three kernels: its own, half of it, and the sum of three widths, each of which is a valid kernel.
# One would expect: a PSI near 0.02, as nine free bins of two samples of 1,000 give, below 0.1, where the usual rule of
# thumb says that nothing has changed, and far below its 0.25 of a large change. A mean MMD of 0 with each kernel.
# What happens: bins are of equal width up to the largest number of either sample, so the outer ones hold few. A bin
# that is empty in one sample is given the smallest float, 2e-308, whose logarithm is -708: each number in a bin that
# the other sample leaves empty adds about 0.7. And MMD leaves out the diagonal of the kernel by subtracting the number
# of codes, which is right only where the kernel of a code with itself is 1. Nothing is reported.
# Seen: of equal laws the PSI is above 0.25 exactly where one sample has an empty bin that the other has not: 34 % of
# the pairs from N(0, 1), and 79 % of the exponential ones, with a median of 1.41. With 1e-4 for an empty bin the
# medians are 0.018 and 0.019, and the largest 0.058 and 0.049. The mean MMD is 0.000 with its own kernel, -0.010 with
# half of it and 0.041 with the sum of three; without the diagonals of the kernels it is 0.000 with each.
#
# What our library does: it has no PSI, and its kernel distance leaves out the diagonal itself. For PSI take quantiles
# of the reference as bins; for MMD divide the kernel by its value on the diagonal.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.1.3 scipy==1.14.1 tqdm==4.70.1
"$work/env/bin/pip" install --quiet --no-deps frouros==0.9.0
cd "$work"
cat > look.py <<'PY'
import numpy as np
from frouros.detectors.data_drift import MMD, PSI
from frouros.utils.kernels import rbf_kernel

draws = np.random.default_rng(0)


def with_floor(one, other, floor=1e-4):
    edges = np.histogram_bin_edges(np.concatenate([one, other]), bins=10)
    a, b = (np.maximum(np.histogram(values, edges)[0] / len(values), floor) for values in (one, other))
    return ((b - a) * np.log(b / a)).sum(), np.any((a == floor) != (b == floor))


laws = (("normal", draws.standard_normal, 0.25), ("exponential", draws.standard_exponential, 0.4))
for name, draw, least in laws:
    found, floored, empty = [], [], []
    for _ in range(200):
        one, other = draw(1000), draw(1000)
        detector = PSI()
        detector.fit(X=one)
        found.append(detector.compare(X=other)[0].distance)
        value, has_empty = with_floor(one, other)
        floored.append(value)
        empty.append(has_empty)
        if not has_empty:  # the same formula, then
            assert np.isclose(found[-1], value)
    found, floored, empty = np.array(found), np.array(floored), np.array(empty)
    print(f"{name}: PSI of equal laws, median {np.median(found):.2f}, above 0.25 {np.mean(found > 0.25):.2f},", end=" ")
    print(f"with an empty bin {empty.mean():.2f}; 1e-4: median {np.median(floored):.3f}, largest {floored.max():.3f}")
    assert np.mean(found > 0.25) > least
    assert np.array_equal(found > 0.25, empty)
    assert floored.max() < 0.1


def half(one, other):
    return rbf_kernel(one, other) / 2


def three(one, other):
    return sum(rbf_kernel(one, other, sigma=width) for width in (1, 2, 4))


pairs = draws.standard_normal((200, 2, 100, 4))
for name, kernel, factor in (("its own", rbf_kernel, 1), ("half of it", half, 0.5), ("the sum of three", three, 3)):
    found, right = [], []
    for one, other in pairs:
        detector = MMD(kernel=kernel)
        detector.fit(X=one)
        found.append(detector.compare(X=other)[0].distance)
        inner = sum((kernel(x, x).sum() - np.trace(kernel(x, x))) / (100 * 99) for x in (one, other))
        right.append(inner - 2 * kernel(one, other).mean())
    print(f"MMD, kernel {name}: mean {np.mean(found):.3f}, without the diagonal {np.mean(right):.4f}")
    assert abs(np.mean(right)) < 0.002
    assert np.allclose(np.subtract(found, right), 2 * (factor - 1) / 99)
PY
"$work/env/bin/python" look.py
