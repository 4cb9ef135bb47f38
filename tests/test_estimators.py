import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import betainc, digamma, gammaln
from sklearn.neighbors import NearestNeighbors

from entropic_ae import InputError, cube_entropy, knn_entropy, mmd2, sphere_entropy
from entropic_ae.estimators import discrepancy, entropy, neighbours


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(n, d, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=generator(seed))


def reference(z, k):
    """Kozachenko-Leonenko through scikit-learn's exact neighbours."""
    n, d = z.shape
    radius = NearestNeighbors(n_neighbors=k + 1, algorithm="kd_tree").fit(z).kneighbors(z)[0][:, k]
    return d * np.log(radius).mean() + d / 2 * np.log(np.pi) - gammaln(d / 2 + 1) + np.log(n - 1) - digamma(k)


@pytest.mark.parametrize(
    ("n", "d", "k"), [(500, 1, 1), (500, 5, 1), (500, 5, 3), (60, 128, 2), (3, 2, 2), (2, 7, 1)]
)
def test_equals_scikit_learn(n, d, k):
    z = normal(n, d)
    assert knn_entropy(z, k).item() == pytest.approx(reference(z.numpy(), k), abs=1e-9)


def test_equals_the_paper_formula_by_hand():
    # N + 1 = 3 points on a line: R = 1, 1, 2 and Y = N R; B_1 = 2
    z = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    expected = (math.log(2) + math.log(2) + math.log(4)) / 3 + math.log(2) + 0.5772156649015329
    assert knn_entropy(z).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("few", [0, 2**21])
@pytest.mark.parametrize(("separation", "spread"), [(1e6, 1e-3), (1e6, 1e-6), (2, 1e-8), (1, 1)])
def test_float64_neighbours_in_tight_clusters_far_apart(separation, spread, few, monkeypatch):
    monkeypatch.setattr(neighbours, "_FEW", few)
    z = spread * normal(400, 5)
    z[::2] += separation
    distance = (z[:, None] - z).norm(dim=2) + torch.diag(torch.full((400,), torch.inf))
    for k in (1, 3):
        radius = distance.topk(k, largest=False).values[:, -1].numpy()
        expected = 5 * np.log(radius).mean() + 2.5 * np.log(np.pi) - gammaln(3.5) + np.log(399) - digamma(k)
        assert knn_entropy(z, k).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_float32_codes_of_extreme_scale(scale):
    z = normal(100, 3).float()
    shift = knn_entropy(z * scale) - knn_entropy(z)
    assert shift.item() == pytest.approx(3 * math.log(scale), abs=1e-2)


@pytest.mark.parametrize(
    ("n", "others", "d", "k"), [(500, 0, 3, 1), (300, 201, 2, 5), (97, 0, 1, 96), (64, 33, 16, 2)]
)
@pytest.mark.parametrize("separation", [0, 1e6])
def test_many_points_find_what_few_do(n, others, d, k, separation, monkeypatch):
    z = normal(n + others, d) + separation * torch.arange(n + others, dtype=torch.float64)[:, None].remainder(2)
    expected = neighbours.kth_neighbour(z, n, k, certain=True)
    monkeypatch.setattr(neighbours, "_FEW", 0)
    assert torch.equal(neighbours.kth_neighbour(z, n, k, certain=True), expected)
    monkeypatch.setattr(neighbours, "_LONG", 1)
    # so small that there are several blocks, of which the last is smaller
    monkeypatch.setattr(neighbours, "_CHUNK", 500)
    assert torch.equal(neighbours.kth_neighbour(z, n, k, certain=True), expected)
    exact = torch.cdist(z[:n], z, compute_mode="donot_use_mm_for_euclid_dist").sort(1).indices[:, k]
    assert torch.equal(expected, exact)


@pytest.mark.parametrize("copies", [1, 12])  # as many as there are candidates, and more
def test_many_points_that_coincide(copies, monkeypatch):
    z = normal(20, 3).repeat(copies, 1)
    expected = knn_entropy(z)
    monkeypatch.setattr(neighbours, "_FEW", 0)
    assert knn_entropy(z) == expected
    monkeypatch.setattr(neighbours, "_LONG", 1)
    assert knn_entropy(z) == expected


def test_codes_that_are_searched_again_take_no_more_memory(monkeypatch):
    sizes, cdist = [], torch.cdist
    monkeypatch.setattr(neighbours, "_FEW", 0)
    monkeypatch.setattr(neighbours, "_CHUNK", 1000)
    monkeypatch.setattr(torch, "cdist", lambda a, b, **how: (sizes.append(len(a) * len(b)), cdist(a, b, **how))[1])
    knn_entropy(normal(20, 3).repeat(12, 1))  # more copies than candidates: all are doubtful
    assert sum(sizes) == 240 * 240
    assert max(sizes) <= 1000


@pytest.mark.parametrize(("few", "long"), [(2**21, 1), (0, 4096), (0, 1)])
def test_points_that_are_not_finite_have_no_finite_entropy(few, long, monkeypatch):
    monkeypatch.setattr(neighbours, "_FEW", few)
    monkeypatch.setattr(neighbours, "_LONG", long)
    z = normal(50, 3)
    z[7, 1] = torch.nan
    assert knn_entropy(z, check_finite=False).isnan()


def test_chunks_change_nothing(monkeypatch):
    z = normal(300, 4)
    whole = knn_entropy(z, 2)
    monkeypatch.setattr(neighbours, "_FEW", 0)
    monkeypatch.setattr("entropic_ae.estimators.neighbours._CHUNK", 1000)
    assert knn_entropy(z, 2).item() == pytest.approx(whole.item(), abs=1e-12)


KNOWN = {
    "normal": (lambda g: torch.randn(10_000, 2, generator=g), math.log(2 * math.pi * math.e)),
    "uniform square": (lambda g: 3 * torch.rand(10_000, 2, generator=g), math.log(9)),
    "laplace": (
        lambda g: (
            torch.empty(10_000, 2).exponential_(generator=g) - torch.empty(10_000, 2).exponential_(generator=g)
        ),
        2 * (1 + math.log(2)),
    ),
    # covariance [[4, 1.8], [1.8, 1]]: determinant 0.76
    "correlated normal": (
        lambda g: torch.randn(10_000, 2, generator=g) @ torch.tensor([[2.0, 0.9], [0.0, math.sqrt(0.19)]]),
        math.log(2 * math.pi * math.e) + 0.5 * math.log(0.76),
    ),
}


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("name", KNOWN)
def test_known_entropies(name, k):
    draw, entropy = KNOWN[name]
    assert knn_entropy(draw(generator(1)).double(), k).item() == pytest.approx(entropy, abs=0.05)


def test_bias_shrinks_with_n():
    dim = 16  # where most of the minibatch's neighbours lie far away
    true = dim / 2 * math.log(2 * math.pi * math.e)
    bias = [
        np.mean([knn_entropy(normal(n, dim, seed)).item() - true for seed in range(repeats)])
        for n, repeats in ((100, 20), (1000, 5), (4000, 2))
    ]
    assert bias[0] > 1.5 * bias[1] > 1.5 * 1.3 * bias[2] > 0


def test_scaling_adds_its_logarithm():
    z = normal(200, 5)
    for scale in (1e-6, 1e6):
        assert (knn_entropy(scale * z) - knn_entropy(z)).item() == pytest.approx(5 * math.log(scale), abs=1e-8)
        moved = knn_entropy((scale * z + 100 * scale).float())
        assert moved.item() == pytest.approx(knn_entropy(scale * z).item(), abs=1e-2)


def test_gradient_by_finite_differences():
    assert torch.autograd.gradcheck(lambda z: knn_entropy(z, 2), normal(12, 3).requires_grad_())


def test_ascent_drives_codes_apart():
    z = normal(50, 2).mul(0.1).requires_grad_()
    before = knn_entropy(z)
    before.backward()
    assert knn_entropy(z.detach() + 0.01 * z.grad) > before


def test_coincident_codes_stay_finite_and_distinct_codes_keep_their_gradient():
    far = normal(20, 3)
    z = torch.cat([far, far[:1], far[:1]]).requires_grad_()  # three codes coincide
    entropy = knn_entropy(z)
    entropy.backward()
    assert entropy.isfinite()
    assert z.grad.isfinite().all()
    # the gradient that the distances of the distinct codes alone give
    n, d = z.shape
    other = z.detach().clone().requires_grad_()
    distance = torch.cdist(other, other, compute_mode="donot_use_mm_for_euclid_dist") + 1e9 * torch.eye(n).double()
    kept = [i for i in range(n) if i not in (0, 20, 21)]
    nearest = distance.detach().argmin(1)
    (d / n * sum((other[i] - other[nearest[i]]).norm().log() for i in kept)).backward()
    torch.testing.assert_close(z.grad, other.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_codes_equal(dtype):
    z = torch.ones(10, 4, dtype=dtype, requires_grad=True)
    entropy = knn_entropy(z)
    entropy.backward()
    assert entropy.isfinite()
    assert z.grad.eq(0).all()


def test_codes_that_differ_by_rounding_coincide():
    z = normal(50, 8).float()
    twin = z[:1] * (1 + 1e-7)
    z = torch.cat([z, twin]).requires_grad_()
    knn_entropy(z).backward()
    assert z.grad.norm() < 10


@pytest.mark.parametrize("far", [1e6, 1e30])
def test_one_far_point_does_not_change_the_distances_of_the_others(far):
    z = torch.randn(5_000, 1, generator=generator())
    z[0] = far
    z.requires_grad_()
    estimate = knn_entropy(z)
    assert estimate.item() == pytest.approx(knn_entropy(z.double()).item(), abs=1e-3)
    assert estimate.item() == pytest.approx(1.43, abs=0.02)
    estimate.backward()
    assert z.grad.eq(0).sum() < 15  # a code, and the one below its resolution, of 5,000


@pytest.mark.parametrize("dim", [1, 4])
@pytest.mark.parametrize("freedom", [1, 1.5])  # Cauchy's distribution is Student's of 1
def test_heavy_tails_have_one_entropy_in_float32_and_float64(freedom, dim):
    z = torch.from_numpy(np.random.default_rng(0).standard_t(freedom, (3000, dim))).float()
    for k, others in ((1, None), (3, None), (1, z[1500:])):
        codes = z if others is None else z[:1500]
        double = None if others is None else others.double()
        expected = knn_entropy(codes.double(), k, others=double).item()
        assert knn_entropy(codes, k, others=others).item() == pytest.approx(expected, abs=1e-3)
    if dim == 1:  # the truth for Cauchy's is log(4 pi)
        assert knn_entropy(z, 3).item() == pytest.approx(stats.t(freedom).entropy(), abs=0.1)


def test_resolution_is_that_of_each_coordinate():
    """A coordinate of large equal values takes nothing from another of small ones."""
    z = torch.cat([torch.full((500, 1), 1e6), torch.randn(500, 1, generator=generator())], 1)
    codes = z.clone().requires_grad_()
    knn_entropy(codes).backward()
    alone = z[:, 1:].clone().requires_grad_()
    knn_entropy(alone).backward()
    torch.testing.assert_close(codes.grad[:, 1:], 2 * alone.grad)  # D times the mean logarithm


@pytest.mark.parametrize(
    ("estimator", "bring"),
    [(sphere_entropy, lambda z: torch.nn.functional.normalize(z, dim=1)), (cube_entropy, lambda z: z / 1e4)],
)
def test_sphere_and_cube_agree_in_float32_and_float64(estimator, bring):
    z = torch.from_numpy(np.random.default_rng(0).standard_t(1.5, (5000, 3))).float()
    z = bring(z).float().clamp(-1, 1)
    z[:10] = z[10:20]
    assert estimator(z).item() == pytest.approx(estimator(z.double()).item(), abs=1e-3)


def test_rounded_values_are_told():
    x = normal(5000, 1)
    rounded = (x * 1e4).round() / 1e4
    with pytest.warns(UserWarning, match=r"codes \(\d+\.\d\d%\) equal .* k=1, .* knn_entropy .* raise k .* noise"):
        assert knn_entropy(rounded) < 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        noise = 1e-4 * torch.rand(5000, 1, generator=generator())
        remedies = knn_entropy(rounded, 20), knn_entropy(rounded + noise)
        knn_entropy(rounded, check_finite=False)
    for remedy in remedies:
        assert remedy.item() == pytest.approx(1.42, abs=0.05)
    for estimator in (sphere_entropy, cube_entropy):
        with pytest.warns(UserWarning, match=rf"4 of 10 codes \(40.00%\) .* {estimator.__name__}"):
            estimator(torch.cat([on_sphere(8, 3), on_sphere(8, 3)[:2]]))


@pytest.mark.parametrize("scale", [1e-200, 1e-320, 0.0])
def test_float64_codes_near_zero_stay_finite(scale):
    z = (scale * normal(10, 2)).requires_grad_()
    estimate = knn_entropy(z)
    estimate.backward()
    assert estimate.isfinite()
    assert z.grad.isfinite().all()


def test_float32_finds_neighbours_below_its_matrix_product_resolution():
    z = torch.arange(5000.0)[:, None] / 5000  # their squared distances vanish beside 1
    z += 1e-5 * torch.rand(5000, 1, generator=generator())
    assert knn_entropy(z).item() == pytest.approx(knn_entropy(z.double()).item(), abs=1e-3)


def test_half_precision_and_autocast_compute_in_float32():
    z = normal(200, 8)
    exact = knn_entropy(z).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = knn_entropy(z.float())
    assert under_autocast.dtype == torch.float32
    assert under_autocast.item() == pytest.approx(exact, abs=1e-4)
    half = knn_entropy(z.bfloat16())
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(exact, abs=0.1)


def test_memory_is_linear():
    """In a process of its own: a full distance matrix of these codes would take 3 GB in float64."""
    script = (
        "import resource, torch\n"
        "from entropic_ae import knn_entropy\n"
        "knn_entropy(torch.randn(500, 8))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "z = torch.randn(20_000, 8, requires_grad=True)\n"
        "knn_entropy(z).backward()\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 600  # MiB


@pytest.mark.parametrize(
    ("z", "k", "sentence"),
    [
        (torch.zeros(1, 3), 1, "needs more than k=1 codes, got 1; raise the batch size"),
        (torch.zeros(4, 3), 4, "needs more than k=4 codes, got 4"),
        (torch.tensor([[0.0], [math.nan]]), 1, "expects finite codes, got NaN or infinity"),
        (torch.tensor([[0.0], [math.inf]]), 1, "expects finite codes, got NaN or infinity"),
        (torch.zeros(5), 1, r"shaped \(N, D\), got torch.float32 of shape \(5,\)"),
        (torch.zeros(5, 0), 1, r"of shape \(5, 0\)"),
        (torch.zeros(5, 2, dtype=torch.int64), 1, "got torch.int64"),
        (torch.zeros(5, 2), 0, "k >= 1, got 0"),
        (torch.zeros(5, 2), 1.5, "k >= 1, got 1.5"),
    ],
)
def test_refuses(z, k, sentence):
    with pytest.raises(InputError, match=sentence):
        knn_entropy(z, k)


def test_unchecked_codes_give_an_estimate_that_is_not_finite():
    assert knn_entropy(torch.tensor([[0.0], [math.nan], [1.0]]), check_finite=False).isnan()


def naive_mmd2(x, y, scales):
    def k(a, b):
        square = ((a - b) ** 2).sum().item()
        return sum(2 * len(a) * s / (2 * len(a) * s + square) for s in scales)

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_mmd_is_that_of_a_double_loop(dtype, monkeypatch):
    x, y = torch.randn(12, 3, dtype=dtype), 1 + torch.randn(9, 3, dtype=dtype)
    expected = naive_mmd2(x.double(), y.double(), (0.1, 0.2, 0.5, 1, 2, 5, 10))
    x.requires_grad_()
    value = mmd2(x, y)
    assert value.dtype == dtype
    assert value.item() == pytest.approx(expected, rel=1e-12 if dtype == torch.float64 else 1e-6)
    assert mmd2(x, y, scales=(0.3,)).item() == pytest.approx(naive_mmd2(x.double(), y.double(), (0.3,)), rel=1e-6)
    (gradient,) = torch.autograd.grad(value, x)
    monkeypatch.setattr(discrepancy, "_CHUNK", 40)  # several blocks, computed again for the gradient
    blocks = mmd2(x, y)
    torch.testing.assert_close(blocks, value)
    torch.testing.assert_close(torch.autograd.grad(blocks, x)[0], gradient)
    if dtype == torch.float64:
        assert torch.autograd.gradcheck(lambda x: mmd2(x, y), x)


def test_mmd_of_a_sample_with_itself_compares_all_pairs_across():
    x = torch.randn(12, 3, dtype=torch.float64)
    assert mmd2(x, x).item() == pytest.approx(naive_mmd2(x, x, (0.1, 0.2, 0.5, 1, 2, 5, 10)), rel=1e-12)


def test_mmd_is_unbiased_and_finite_for_coinciding_points():
    torch.manual_seed(0)
    drawn = torch.stack([mmd2(torch.randn(8, 2), torch.randn(8, 2)) for _ in range(2000)])
    assert abs(drawn.mean()) < 4 * drawn.std() / 2000**0.5
    x = torch.zeros(5, 2, requires_grad=True)
    value = mmd2(x, torch.zeros(4, 2))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("x", "y", "scales"),
    [
        (torch.zeros(1, 2), torch.zeros(5, 2), (1.0,)),
        (torch.zeros(5, 2), torch.zeros(5, 2).long(), (1.0,)),
        (torch.zeros(5, 2), torch.zeros(5, 3), (1.0,)),
        (torch.zeros(5, 2), torch.zeros(5, 2), ()),
        (torch.zeros(5, 2), torch.zeros(5, 2), (0.0,)),
    ],
)
def test_mmd_refuses(x, y, scales):
    with pytest.raises(InputError, match="mmd2 expects"):
        mmd2(x, y, scales=scales)


def test_others_are_candidates_without_a_gradient():
    z, others = normal(40, 3).requires_grad_(), normal(300, 3, seed=1).requires_grad_()
    estimate = knn_entropy(z, 2, others=others)
    both = np.concatenate([z.detach(), others.detach()])
    radius = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(both).kneighbors(z.detach())[0][:, 2]
    expected = 3 * np.log(radius).mean() + math.log(4 * math.pi / 3) + math.log(339) - digamma(2)
    assert estimate.item() == pytest.approx(expected, abs=1e-9)
    estimate.backward()
    assert z.grad.abs().sum() > 0
    assert others.grad is None


def test_others_sharpen_the_estimate_of_a_minibatch():
    """Of 100 codes of N(0, I) in 16 dimensions it is about a nat high; among 4,000 others less than half."""
    exact = 8 * math.log(2 * math.pi * math.e)
    alone, among = [], []
    for seed in range(20):
        z, others = normal(100, 16, seed), normal(4000, 16, 100 + seed)
        alone.append(knn_entropy(z).item() - exact)
        among.append(knn_entropy(z, others=others).item() - exact)
    assert 0.7 < np.mean(alone) < 1.3
    assert abs(np.mean(among)) < 0.5 * np.mean(alone)


def test_others_are_found_in_chunks(monkeypatch):
    z, others = normal(50, 4), normal(70, 4, seed=1)
    whole = knn_entropy(z, others=others)
    monkeypatch.setattr(neighbours, "_CHUNK", 500)
    torch.testing.assert_close(knn_entropy(z, others=others), whole)


def test_others_alone_may_be_enough():
    assert knn_entropy(normal(1, 2), others=normal(3, 2, seed=1)).isfinite()


@pytest.mark.parametrize("others", [torch.zeros(5), torch.zeros(5, 3)])
def test_others_of_another_width_are_refused(others):
    with pytest.raises(InputError, match="expects others of the codes' width 2, got shape"):
        knn_entropy(torch.rand(4, 2), others=others)


def on_sphere(n, d, seed=0):
    z = normal(n, d, seed)
    return z / z.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("dim", [2, 3, 16, 128])
def test_sphere_entropy_of_the_uniform_distribution_is_unbiased(dim):
    """However many dimensions and few codes: knn_entropy of as many would be off by nats."""
    area = math.log(2) + dim / 2 * math.log(math.pi) - gammaln(dim / 2)
    found = [sphere_entropy(on_sphere(200, dim, seed)).item() - area for seed in range(40)]
    expected = math.log(199) - digamma(200)
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / math.sqrt(40)
    assert abs(np.mean(found)) < 0.1


@pytest.mark.parametrize(("dim", "k"), [(1, 1), (2, 3), (16, 1), (64, 1)])
def test_cube_entropy_of_the_uniform_distribution_is_unbiased(dim, k):
    source = torch.Generator().manual_seed(0)
    draws = [2 * torch.rand(300, dim, generator=source) - 1 for _ in range(40)]
    found = [cube_entropy(z[:200], k, others=z[200:]).item() - dim * math.log(2) for z in draws]
    expected = math.log(299) - digamma(300)
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / math.sqrt(40)
    assert abs(np.mean(found)) < 0.1


def test_cube_entropy_is_the_formula_written_down_and_that_of_other_densities():
    z = 2 * torch.rand(30, 3, generator=torch.Generator().manual_seed(1)).double() - 1
    total = 0.0
    for i in range(30):
        reach = sorted((z[i] - z[j]).abs().max().item() for j in range(30) if j != i)[1]
        sides = [min(c + reach, 1) - max(c - reach, -1) for c in z[i].tolist()]
        total += sum(math.log(side) for side in sides)
    assert cube_entropy(z, 2).item() == pytest.approx(total / 30 + math.log(29) - digamma(2))
    beta = torch.distributions.Beta(2.0, 3.0)  # away from the faces, and at them
    torch.manual_seed(0)
    codes = 2 * beta.sample((10_000, 2)) - 1
    assert cube_entropy(codes, 3).item() == pytest.approx(2 * (beta.entropy().item() + math.log(2)), abs=0.03)


def test_cube_entropy_has_the_right_gradient_stands_coincidence_and_refuses():
    z = (2 * torch.rand(12, 3, generator=torch.Generator().manual_seed(0)).double() - 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: cube_entropy(z, check_finite=False), z)
    twice = torch.cat([z.detach(), z.detach()]).requires_grad_()
    estimate = cube_entropy(twice)
    estimate.backward()
    assert estimate.isfinite()
    assert twice.grad.isfinite().all()
    with pytest.raises(InputError, match="expects codes from -1 to 1"):
        cube_entropy(2 * z)


def test_sphere_entropy_of_a_von_mises_distribution():
    angle = torch.from_numpy(np.random.default_rng(0).vonmises(0, 3, 10_000))
    exact = -3 * 0.8100  # H = log(2 pi I0(k)) - k I1(k) / I0(k), with I1(3) / I0(3) = 0.8100
    exact += math.log(2 * math.pi * np.i0(3))
    estimate = sphere_entropy(torch.stack([angle.cos(), angle.sin()], 1), 3).item()
    assert estimate == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize("dim", [2, 3, 9, 64, 300])
def test_cap_area_equals_the_incomplete_beta_function(dim):
    angle = torch.linspace(0.3, 3.1, 20, dtype=torch.float64)
    sphere = math.log(2) + dim / 2 * math.log(math.pi) - gammaln(dim / 2)
    share = betainc((dim - 1) / 2, 0.5, np.sin(angle.numpy()) ** 2) / 2
    share = np.where(angle > math.pi / 2, 1 - share, share)
    np.testing.assert_allclose(entropy._log_cap(angle, dim).numpy(), np.log(share) + sphere, atol=1e-9)


def test_sphere_entropy_has_the_right_gradient_and_stands_coincidence():
    z = on_sphere(12, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: sphere_entropy(z, check_finite=False), z)
    twice = torch.cat([on_sphere(5, 4), on_sphere(5, 4)]).requires_grad_()
    estimate = sphere_entropy(twice)
    estimate.backward()
    assert estimate.isfinite()
    assert twice.grad.isfinite().all()


def test_sphere_entropy_refuses():
    with pytest.raises(InputError, match="expects codes of norm 1"):
        sphere_entropy(normal(5, 3))
    with pytest.raises(InputError, match="2 dimensions at least, got 1"):
        sphere_entropy(torch.ones(5, 1))
    with pytest.raises(InputError, match="sphere_entropy needs more than k=1 codes, got 1"):
        sphere_entropy(on_sphere(1, 3))


SPACES = [
    (knn_entropy, lambda z: z),
    (sphere_entropy, lambda z: z / z.norm(dim=1, keepdim=True)),
    (cube_entropy, torch.tanh),
]


@pytest.mark.parametrize(("estimator", "bring"), SPACES)
def test_queries_find_their_neighbours_among_all_codes(estimator, bring):
    z, others = bring(normal(300, 4)), bring(normal(50, 4, seed=1))
    for more in ({}, {"others": others}):
        terms = estimator(z, 2, reduction="none", **more)
        assert terms.mean().item() == pytest.approx(estimator(z, 2, **more).item(), abs=1e-12)
        order = torch.randperm(300, generator=generator(3))
        drawn = estimator(z, 2, queries=40, seed=3, reduction="none", **more)
        torch.testing.assert_close(drawn, terms[order[:40]], rtol=0, atol=1e-12)
        assert estimator(z, 2, queries=40, seed=3, **more).item() == pytest.approx(drawn.mean().item(), abs=1e-12)
        whole = estimator(z, 2, queries=300, seed=3, **more)
        assert whole.item() == pytest.approx(terms.mean().item(), abs=1e-12)


def test_the_mean_over_draws_is_the_estimate_of_all_codes_and_the_standard_error_covers_it():
    """Of draws without replacement, half of the codes each: their errors are smaller by the root of a half."""
    z = normal(1000, 3)
    full = knn_entropy(z).item()
    estimates, covered = [], 0
    for seed in range(300):
        terms = knn_entropy(z, queries=500, seed=seed, reduction="none")
        error = (terms.std() / math.sqrt(500) * math.sqrt(1 - 500 / 1000)).item()
        estimates.append(terms.mean().item())
        covered += abs(estimates[-1] - full) < 1.96 * error
    spread = np.std(estimates)
    assert abs(np.mean(estimates) - full) < 4 * spread / math.sqrt(300)
    assert error == pytest.approx(spread, rel=0.15)
    assert 270 <= covered <= 298  # 285 of 300 expected


@pytest.mark.parametrize(("estimator", "bring"), SPACES)
def test_queries_and_their_neighbours_get_the_gradient_of_their_terms(estimator, bring):
    z = bring(normal(60, 3)).requires_grad_()
    order = torch.randperm(60, generator=generator(1))[:9]
    (expected,) = torch.autograd.grad(estimator(z, reduction="none")[order].mean(), z)
    (gradient,) = torch.autograd.grad(estimator(z, queries=9, seed=1), z)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)
    touched = gradient.abs().sum(1) > 0
    assert touched[order].all()
    assert 9 < touched.sum() <= 18


@pytest.mark.parametrize("queries", [0, 6, 2.0, True])
def test_queries_that_are_not_a_number_of_the_codes_are_refused(queries):
    with pytest.raises(InputError, match="a whole number of queries from 1 to 5, the number of codes"):
        knn_entropy(normal(5, 2), queries=queries)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(InputError, match="expects the reduction mean or none, got 'sum'"):
        cube_entropy(normal(5, 2).tanh(), reduction="sum")
