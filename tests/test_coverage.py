"""Fidelity and coverage against loops over all pairs, and what they miss."""

import math

import pytest
import torch

from entropic_ae.errors import InputError
from entropic_ae.estimators import pairs
from entropic_ae.estimators.pairs import Pairs
from entropic_ae.metrics import fidelity_coverage

BOUNDED = ("precision", "recall", "coverage", "clipped_density", "clipped_coverage")


def normal(n, dim, seed=0):
    return torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive(real, fake, k):
    """Pair by pair, from the papers' formulas; the expected coverage by a sum over all counts."""
    real, fake = real.double().tolist(), fake.double().tolist()
    n, m = len(real), len(fake)

    def neighbours(points):
        return [
            sorted((math.dist(p, q), j) for j, q in enumerate(points) if i != j)[:k] for i, p in enumerate(points)
        ]

    near, fake_near = neighbours(real), neighbours(fake)
    radius, fake_radius = [one[-1][0] for one in near], [one[-1][0] for one in fake_near]
    ordered = sorted(radius)
    median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    balls = [sum(math.dist(real[i], f) < radius[i] for i in range(n)) for f in fake]
    inside = [sum(math.dist(real[i], f) < radius[i] for f in fake) for i in range(n)]
    few = [sum(math.dist(real[i], f) <= min(radius[i], median) for i in range(n)) for f in fake]
    own = [0] * n
    for i in range(n):
        for distance, j in near[i]:
            own[j] += distance <= min(radius[i], median)
    share = sum(min(count, k) for count in inside) / n / k

    def beta(a, b):
        return math.gamma(a) * math.gamma(b) / math.gamma(a + b)

    def expected(good):
        return sum(
            min(j, k) * math.comb(good, j) * beta(k + j, n - k + good - j) / beta(k, n - k)
            for j in range(good + 1)
        )

    values = [0.0] * k + [expected(good) / k for good in range(k, m + 1)]
    ratio = sum(min(count, k) for count in few) / m / (sum(min(count, k) for count in own) / n)
    return {
        "precision": sum(count > 0 for count in balls) / m,
        "recall": sum(any(math.dist(r, f) < q for f, q in zip(fake, fake_radius, strict=True)) for r in real) / n,
        "density": sum(balls) / m / k,
        "coverage": sum(count > 0 for count in inside) / n,
        "clipped_density": min(1.0, ratio),
        "clipped_coverage": sum(value < share for value in values) / (m + 1),
    }


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(
    ("real", "fake"),
    [
        (normal(40, 3), normal(30, 3, seed=1)),
        (normal(41, 3), 0.5 * normal(50, 3, seed=1) + 0.3),
        (normal(40, 3).float(), normal(30, 3, seed=1).float()),
        (normal(40, 3) + 1e6, normal(30, 3, seed=1) + 1e6),
        ((4 * normal(40, 3)).round(), (4 * normal(30, 3, seed=1)).round()),  # with ties and equal points
        (torch.cat([normal(30, 3), 1e4 * normal(5, 3)]), torch.cat([normal(30, 3, 1), 1e5 * normal(5, 3)])),
        (normal(30, 3), torch.zeros(20, 3)),
        (
            (1e4 * normal(4, 3)).repeat(9, 1) + normal(36, 3, 1),
            (1e4 * normal(4, 3)).repeat(9, 1) + normal(36, 3, 2),
        ),
    ],
)
def test_fidelity_and_coverage_agree_with_loops(real, fake, k):
    assert fidelity_coverage(real, fake, k) == pytest.approx(naive(real, fake, k), abs=1e-12)


def test_values_of_five_points_by_hand():
    # radii of the real points 1, 1, 2 and of the generated ones 0.5, 0.5, 97
    real, fake = [[0.0], [1.0], [3.0]], [[0.5], [1.0], [98.0]]
    found = fidelity_coverage(real, fake, k=1)
    assert found["precision"] == pytest.approx(2 / 3)  # 0.5 and 1, but 1 is at the boundary of the first ball
    assert found["density"] == pytest.approx((2 + 1) / 3)  # 0.5: first and second ball; 1: second
    assert found["coverage"] == pytest.approx(2 / 3)  # 1 is at the boundary of the third
    assert found["recall"] == pytest.approx(2 / 3)  # 1 is a generated point, 3 in the ball of 98


def test_good_samples_and_bad_ones_have_their_share():
    """The clipped forms are calibrated: with half of the samples far away they are a half."""
    real, good = normal(1000, 4), normal(1000, 4, seed=1)
    found = fidelity_coverage(real, good)
    assert all(found[name] > 0.93 for name in BOUNDED)
    assert found["density"] == pytest.approx(1, abs=0.06)
    good[::2] += 100
    half = fidelity_coverage(real, good)
    assert half["clipped_density"] == pytest.approx(0.5, abs=0.03)
    assert half["clipped_coverage"] == pytest.approx(0.5, abs=0.03)
    assert half["coverage"] > 0.85  # not calibrated
    far = fidelity_coverage(real, real + 100)
    assert far == dict.fromkeys(far, 0.0)


def test_what_is_missed():
    real = normal(1000, 64)
    mean = fidelity_coverage(real, torch.zeros(1000, 64))
    assert mean == dict.fromkeys(mean, 1.0) | {"density": 200.0, "recall": 0.0}  # density is N / k
    half = fidelity_coverage(real, 0.5 * normal(1000, 64, seed=1))
    assert (half["coverage"], half["recall"]) == (1.0, 0.0)
    one = fidelity_coverage(real, real[:1].expand(1000, -1))
    assert one["coverage"] < 0.02
    assert one["clipped_coverage"] < 0.02
    assert one["precision"] == 1
    copies = fidelity_coverage(real, real)
    assert copies == dict.fromkeys(copies, 1.0)


def test_equal_points_have_nothing_inside():
    found = fidelity_coverage(torch.ones(8, 2), torch.ones(9, 2), k=2)
    assert (found["precision"], found["recall"], found["density"], found["coverage"]) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("real", "fake", "k", "message"),
    [
        (normal(9, 2), normal(9, 2), 0, "at least 1, got 0"),
        (normal(5, 2), normal(9, 2), 5, "more than k=5 rows of real features, got 5"),
        (normal(9, 2), normal(9, 3), 5, "one width"),
        (normal(9, 2), normal(9, 2) / 0, 5, "fake features must be finite"),
    ],
)
def test_features_without_a_coverage(real, fake, k, message):
    with pytest.raises(InputError, match=message):
        fidelity_coverage(real, fake, k)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.uint8])
def test_comparisons_are_exact_in_any_precision(kind):
    """Also at the distance itself, and with limits that rounding of a product would miss."""
    x, y = ((20 * normal(50, 30, seed).abs() + 100).to(kind) for seed in (0, 1))
    exact = (x.double()[:, None] - y.double()).square().sum(2)
    pairs = Pairs(x, y)
    (rows,) = pairs.blocks()
    limit = exact.gather(1, exact.argsort(1)[:, 9:10])  # each the distance of a pair
    block = pairs.bounds(rows)
    assert bool((block.low <= block.high).all())
    assert torch.equal(pairs.inside(block, limit), exact < limit)
    assert torch.equal(pairs.inside(block, limit, closed=True), exact <= limit)


def test_nearest_rows_with_equal_ones_among_them():
    y = normal(60, 5).repeat(3, 1)
    x = y[:20] + torch.tensor([0.0, 1e-9, 1.0, 10.0]).repeat(5)[:, None]
    pairs = Pairs(x, y)
    (rows,) = pairs.blocks()
    distance, number, equal = pairs.nearest(rows, 2, ties=True)
    exact = (x[:, None] - y).square().sum(2)
    assert torch.equal(distance, exact.sort(1).values[:, :2])
    assert torch.equal(number, exact.argsort(dim=1, stable=True)[:, :2])
    assert equal.tolist() == [3] * 20


@pytest.mark.parametrize("scale", [1e-160, 1e38, 1e150])
def test_rows_of_extreme_scale(scale):
    points = normal(300, 3) * scale
    exact = (points[:, None] - points).square().sum(2)
    exact.fill_diagonal_(torch.inf)
    assert torch.equal(Pairs(points, points).all_nearest(2, itself=True)[0], exact.sort(1).values[:, :2])


def test_doubtful_blocks_are_searched_in_float64():
    """Tight clusters far apart: float32 cannot order the points of a cluster."""
    points = (1e3 * normal(4, 8)).repeat(40, 1) + 1e-5 * normal(160, 8, seed=1)
    pairs = Pairs(points, points)
    (rows,) = pairs.blocks()
    exact = (points[:, None] - points).square().sum(2)
    exact.fill_diagonal_(torch.inf)
    assert torch.equal(pairs.nearest(rows, 3, itself=True)[0], exact.sort(1).values[:, :3])


@pytest.mark.parametrize(("group", "side"), [(1, 3), (2, 1), (3, 2), (128, 8)])
@pytest.mark.parametrize("scale", [1.0, 1e-7])
@pytest.mark.parametrize("queries", [None, 20])
def test_nearest_of_all_rows(monkeypatch, group, side, scale, queries):
    """The neighbours are those of the whole matrix, with ties, equal rows and doubtful bounds."""
    monkeypatch.setattr(pairs, "_GROUP", group)
    monkeypatch.setattr(pairs, "_SIDE", side)
    y = (1e3 * normal(4, 8)).repeat(10, 1) + scale * (2 * normal(40, 8, seed=1)).round()
    y = torch.cat([y, y[:6]])
    x = y if queries is None else y[:queries]
    exact = (x[:, None] - y).square().sum(2)
    for itself in (True, False):
        if itself:
            exact = exact.fill_diagonal_(torch.inf)
        for k in (1, 3, 45):
            distances, numbers = Pairs(x, y).all_nearest(k, itself=itself)
            assert torch.equal(distances, exact.sort(1).values[:, :k])
            assert torch.equal(exact.gather(1, numbers), distances)
            assert all(len(set(row)) == k for row in numbers.tolist())
        exact = exact.where(exact.isfinite(), 0)
