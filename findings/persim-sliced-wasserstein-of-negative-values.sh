#!/usr/bin/env bash
# persim 0.4.1, gudhi 3.13.0, scikit-learn 1.9.1, scipy 1.17.1, numpy 2.4.6, Python 3.11.
#
# Input: two smooth random images of 24 x 24 pixels, with the same number added to both: 0, 4, -4 and 100. The
# persistence diagrams of their pixels (the sublevel sets, dimension 0), by gudhi, and sliced_wasserstein of persim.
# One would expect: the same distance each time, since it compares where points lie relative to each other; and the
# value of gudhi's sliced Wasserstein distance, which is of the same paper.
# What happens: each diagram gets the points of the other, moved to the nearest place of the diagonal. That place is
# computed as the root of a square, so its sign is lost: points with a negative sum of birth and death go to the
# opposite side of the origin. Images from -1 to 1, standardised ones, log densities and function values below zero
# have such points. Its other distances, wasserstein and bottleneck, are right.
# Seen: 10.66, 2.96, 32.41 and 2.96, where 2.96 is right; with the sign taken off, the formula gives 10.66 and 32.42. At
# -4 a diagram is 8.40 from itself without its smallest feature, not 0.02.
#
# What our library does: it has no persistence diagrams; its sliced distances are of samples, which need no diagonal.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 gudhi==3.13.0 matplotlib joblib
"$work/env/bin/pip" install --quiet --no-deps persim==0.4.1 Deprecated wrapt
cd "$work"
cat > look.py <<'PY'
import numpy as np
from gudhi import CubicalComplex
from gudhi.representations import SlicedWassersteinDistance
from persim import bottleneck, sliced_wasserstein, wasserstein
from scipy.ndimage import gaussian_filter

ANGLES = np.pi * (np.arange(2000) + 0.5) / 2000
LINES = np.stack([np.cos(ANGLES), np.sin(ANGLES)])


def by_formula(first, second, place=lambda value: value):
    """Return the mean over directions of the transport cost between the projections."""

    def on_the_diagonal(points):
        return place(points.mean(axis=1, keepdims=True)).repeat(2, axis=1)

    left = np.concatenate([first, on_the_diagonal(second)]) @ LINES
    right = np.concatenate([second, on_the_diagonal(first)]) @ LINES
    return np.abs(np.sort(left, axis=0) - np.sort(right, axis=0)).sum(axis=0).mean()


def diagram(image):
    cells = CubicalComplex(top_dimensional_cells=image)
    cells.persistence()
    points = cells.persistence_intervals_in_dimension(0)
    return points[np.isfinite(points).all(axis=1)]


rng = np.random.default_rng(0)
images = [gaussian_filter(rng.standard_normal((24, 24)), 2) for _ in range(2)]
images = [image / image.std() for image in images]
right = by_formula(*(diagram(image) for image in images))
for added in (0.0, 4.0, -4.0, 100.0):
    first, second = (diagram(image + added) for image in images)
    found = sliced_wasserstein(first, second)
    gudhi = SlicedWassersteinDistance(num_directions=2000).fit([first]).transform([second]).item()
    mirrored = by_formula(first, second, np.abs)
    print(f"{added:+g} added: persim {found:.2f}, gudhi {gudhi:.2f}, formula {by_formula(first, second):.2f},", end=" ")
    print(f"without the sign {mirrored:.2f}; wasserstein {wasserstein(first, second):.3f},", end=" ")
    print(f"bottleneck {bottleneck(first, second):.3f}")
    assert np.isclose(gudhi, right, rtol=0.01) and np.isclose(by_formula(first, second), right, rtol=0.01)
    assert np.isclose(found, mirrored, rtol=0.01)
    assert found > 3 * right if added <= 0 else np.isclose(found, right, rtol=0.01)
    fewer = np.delete(first, np.argmin(first[:, 1] - first[:, 0]), axis=0)
    itself, truth = sliced_wasserstein(first, fewer), by_formula(first, fewer)
    print(f"  the first, beside itself without its smallest feature: {itself:.2f}, formula {truth:.2f}")
    assert itself > 2 * right > 10 * truth if added == -4 else True
PY
"$work/env/bin/python" -W ignore look.py
