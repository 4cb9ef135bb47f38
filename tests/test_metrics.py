"""Metrics against closed forms and against slow, independent computations."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
from torch.distributions import Independent, Normal
from torchmetrics.image.fid import FrechetInceptionDistance

from entropic_ae.bottlenecks import BatchNorm, Cube, L1Norm, Sphere
from entropic_ae.errors import InputError
from entropic_ae.metrics import (
    FrechetReference,
    active_codes,
    entropy_gap,
    frechet_distance,
    kernel_distance,
    psnr,
    reconstruction_error,
    spread,
    ssim,
)
from entropic_ae.randomness import seeded


def normal(n, dim, seed=0):
    return torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Given(torch.nn.Module):
    """An extractor for torchmetrics that passes given features on."""

    def __init__(self, width):
        super().__init__()
        self.num_features = width

    def forward(self, features):
        return features


def scipy_frechet(real, fake):
    """The distance by SciPy's matrix square root of the product of the two covariances."""
    x, y = real.double().numpy(), fake.double().numpy()
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s @ t)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * root.real))


def with_moments(mean, covariance, n=50):
    """Samples whose sample mean and unbiased sample covariance are exactly the given ones."""
    x = normal(n, len(mean))
    x = x - x.mean(0)
    whitened = x @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T))).T
    return whitened @ torch.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_known_gaussians():
    diagonal = with_moments(torch.tensor([1.0, 2.0]).double(), torch.diag(torch.tensor([4.0, 9.0]).double()))
    other = with_moments(torch.tensor([4.0, -2.0]).double(), torch.diag(torch.tensor([1.0, 25.0]).double()))
    # ||(3, -4)||^2 + (2 - 1)^2 + (3 - 5)^2
    assert frechet_distance(diagonal, other) == pytest.approx(25 + 1 + 4, rel=1e-10)


def test_frechet_distance_of_correlated_gaussians():
    # S has eigenvalues 3 and 1, so tr (S I)^(1/2) = sqrt 3 + 1.
    correlated = with_moments(torch.zeros(2).double(), torch.tensor([[2.0, 1.0], [1.0, 2.0]]).double())
    white = with_moments(torch.zeros(2).double(), torch.eye(2).double())
    assert frechet_distance(correlated, white) == pytest.approx(4 + 2 - 2 * (math.sqrt(3) + 1), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_frechet_distance_agrees_with_scipy(dtype):
    real = (normal(300, 12) @ normal(12, 12, seed=1)).to(dtype)
    fake = (normal(200, 12, seed=2) @ normal(12, 12, seed=3) + 0.5).to(dtype)
    assert frechet_distance(real, fake) == pytest.approx(scipy_frechet(real, fake), rel=1e-6)


def test_frechet_distance_keeps_its_digits_far_from_the_origin():
    real, fake = normal(300, 6), 1.1 * normal(200, 6, seed=2)
    shift = 1e5
    assert frechet_distance(real + shift, fake + shift) == pytest.approx(frechet_distance(real, fake), rel=1e-6)


def test_frechet_distance_with_fewer_rows_than_features():
    real, fake = normal(20, 64), normal(15, 64, seed=1) + 0.3
    # tr (S T)^(1/2) is the sum of the singular values of A B^T for S = A^T A and T = B^T B.
    a = (real - real.mean(0)) / math.sqrt(len(real) - 1)
    b = (fake - fake.mean(0)) / math.sqrt(len(fake) - 1)
    cross = torch.linalg.svdvals(a @ b.T).sum()
    expected = (real.mean(0) - fake.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * cross
    assert frechet_distance(real, fake) == pytest.approx(expected.item(), rel=1e-5)


def test_frechet_distance_of_a_set_to_itself_is_zero():
    real = normal(100, 8)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(real, real) >= 0


def test_frechet_distance_agrees_with_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(300, 20, generator=generator), torch.rand(200, 20, generator=generator)
    theirs = FrechetInceptionDistance(feature=Given(20), sync_on_compute=False).set_dtype(torch.float64)
    theirs.update(real.double(), real=True)
    theirs.update(fake.double(), real=False)
    assert frechet_distance(real, fake) == pytest.approx(float(theirs.compute()), rel=1e-9)


@pytest.mark.parametrize(
    ("width", "rows", "shift", "scale"), [(8, 300, 0.3, 1.2), (32, 60, 0.2, 1.1), (32, 54, 0.0, 1.0)]
)
def test_an_interval_of_the_frechet_distance_holds_its_mean(width, rows, shift, scale):
    """Over fresh draws of both sets; of few rows and of equal Gaussians it is wide rather than narrow."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(width, width, generator=generator).double()
    found = []
    for _ in range(200):
        real, fake = (torch.randn(n, width, generator=generator).double() @ mixing for n in (100, rows))
        found.append(FrechetReference(real).estimate(fake * scale + shift))
    distances = torch.tensor([one.distance for one in found])
    errors = torch.tensor([one.standard_error for one in found])
    covered = ((distances - distances.mean()).abs() < 1.96 * errors).double().mean()
    assert covered > 0.92
    assert errors.mean() < 1.5 * distances.std()


def test_the_standard_error_of_means_alone():
    """In one dimension and with equal variances, it is 2 |n - m| standard errors of n - m."""
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(40_000, 1, generator=generator), 3 + torch.randn(10_000, 1, generator=generator)
    found = FrechetReference(real).estimate(fake)
    expected = 2 * 3 * math.sqrt(1 / 40_000 + 1 / 10_000)
    assert found.standard_error == pytest.approx(expected, rel=0.02)


def test_frechet_distance_is_symmetric_and_ignores_row_order():
    real, fake = normal(100, 8), 2 * normal(90, 8, seed=1)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(4))
    assert frechet_distance(real[order], fake) == pytest.approx(frechet_distance(real, fake), rel=1e-9)
    assert frechet_distance(fake, real) == pytest.approx(frechet_distance(real, fake), rel=1e-9)


def naive_kernel_distance(x, y):
    """The unbiased estimate, pair by pair."""

    def kernel(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    n = len(x)
    within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i in range(n) for j in range(n) if i != j)
    across = sum(kernel(x[i], y[j]) for i in range(n) for j in range(n))
    return within / (n * (n - 1)) - 2 * across / n**2


def test_kernel_distance_agrees_with_a_double_loop():
    real, fake = normal(20, 5), normal(20, 5, seed=1) + 0.5
    mean, std = kernel_distance(real, fake, subsets=3, subset_size=20)
    assert mean == pytest.approx(naive_kernel_distance(real, fake), rel=1e-10)
    assert std == pytest.approx(0, abs=1e-12)  # each subset is the whole set
    order = torch.randperm(20, generator=torch.Generator().manual_seed(4))
    assert kernel_distance(real[order], fake, subsets=1)[0] == pytest.approx(mean, rel=1e-10)


def test_kernel_distance_of_one_distribution_is_unbiased():
    mean, std = kernel_distance(normal(1000, 4), normal(1000, 4, seed=1), subsets=50, subset_size=100)
    assert abs(mean) < 3 * std / math.sqrt(10)  # ten disjoint subsets fit


def test_kernel_distance_is_reproducible_and_leaves_the_global_generators_alone():
    real, fake = normal(60, 4), normal(50, 4, seed=1)
    state = torch.get_rng_state()
    first = kernel_distance(real, fake, subsets=5, subset_size=20, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert kernel_distance(real, fake, subsets=5, subset_size=20, seed=3) == first
    assert kernel_distance(real, fake, subsets=5, subset_size=20, seed=4) != first
    assert first[1] > 0


def test_kernel_distance_lowers_the_subset_to_what_is_there():
    real, fake = normal(30, 4), normal(20, 4, seed=1)
    assert kernel_distance(real, fake, subsets=4) == kernel_distance(real, fake, subsets=4, subset_size=20)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (torch.zeros(1, 3), torch.zeros(4, 3), "at least 2 rows of real"),
        (torch.zeros(4, 3), torch.zeros(0, 3), "at least 2 rows of fake"),
        (torch.zeros(4, 3), torch.zeros(4, 2), "one width, got 3 and 2"),
        (torch.zeros(4, 3, 1), torch.zeros(4, 3), "must be a matrix"),
        (torch.zeros(4, 3), torch.full((4, 3), torch.nan), "fake features must be finite"),
        (torch.full((4, 3), torch.inf), torch.zeros(4, 3), "real features must be finite"),
    ],
)
def test_features_that_cannot_be_compared(distance, real, fake, message):
    with pytest.raises(InputError, match=message):
        distance(real, fake)


def test_kernel_distance_refuses_subsets_of_one():
    with pytest.raises(InputError, match="subset_size >= 2"):
        kernel_distance(normal(5, 2), normal(5, 2), subset_size=1)


def standard(dim):
    return Independent(Normal(torch.zeros(dim), torch.ones(dim)), 1)


def test_entropy_gap_of_a_standard_normal_is_near_zero():
    result = entropy_gap(normal(5000, 3).float(), standard(3), k=3)
    assert result["maximum"] == pytest.approx(1.5 * math.log(2 * math.pi * math.e), rel=1e-6)
    assert result["gap"] == pytest.approx(0, abs=0.1)
    assert result["gap"] == pytest.approx(result["maximum"] - result["entropy"])
    assert result["corrected_gap"] == pytest.approx(0, abs=0.1)
    assert result["n"] == 5000


def test_corrected_gap_takes_the_bias_out():
    """In 64 dimensions the plain gap of exact draws from the prior is several nats; a true gap is found again."""
    codes = normal(2000, 64, seed=5)
    exact = entropy_gap(codes, standard(64))
    assert exact["gap"] < -5
    assert exact["corrected_gap"] == pytest.approx(0, abs=0.5)
    assert exact["corrected_gap"] == pytest.approx(exact["prior_estimate"] - exact["entropy"])
    shrunk = entropy_gap(0.9 * codes, standard(64))  # 64 log 0.9 nats less
    assert shrunk["corrected_gap"] - exact["corrected_gap"] == pytest.approx(-64 * math.log(0.9), abs=1e-6)


def test_entropy_gap_of_a_uniform_square():
    # Variance 1 needs a side of sqrt 12; the entropy is its log, in each direction.
    side = math.sqrt(12)
    codes = side * torch.rand(5000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gap = entropy_gap(codes, standard(2), k=3)["gap"]
    assert gap == pytest.approx(math.log(2 * math.pi * math.e) - math.log(12), abs=0.05)


@pytest.mark.parametrize("bottleneck", [BatchNorm, L1Norm, Sphere, Cube])
def test_equal_codes_count_once_in_the_entropy_gap(bottleneck):
    prior = bottleneck(8).prior()
    with seeded(1):
        codes = prior.sample((188,))
    estimator = bottleneck.entropy
    distinct = entropy_gap(codes[5:], prior, estimator=estimator)
    codes[:5] = codes[5:10]
    for given in (codes, codes.double()):
        found = entropy_gap(given, prior, estimator=estimator)
        assert found == pytest.approx(distinct | {"n": 188, "distinct": 183}, abs=1e-9)
    assert abs(found["corrected_gap"]) < 1


def test_equal_codes_of_a_normal_leave_no_gap():
    z = torch.randn(188, 8, generator=torch.Generator().manual_seed(0))
    z[:5] = z[5:10]
    assert entropy_gap(z, standard(8))["corrected_gap"] == pytest.approx(0, abs=0.1)


def test_too_few_distinct_codes_have_a_low_entropy():
    with pytest.warns(UserWarning, match=r"50 of 50 codes \(100.00%\) equal"):
        found = entropy_gap(torch.ones(50, 2), standard(2))
    assert found["distinct"] == 1
    assert found["entropy"] < -50


def test_entropy_gap_without_a_maximum():
    result = entropy_gap(normal(100, 2), None)
    assert (result["maximum"], result["gap"], result["n"]) == (None, None, 100)
    assert (result["prior_estimate"], result["corrected_gap"]) == (None, None)
    assert math.isfinite(result["entropy"])


@pytest.mark.parametrize(
    ("codes", "dim", "message"),
    [
        (torch.zeros(1, 2), 2, "N > k=1"),
        (torch.zeros(9), 2, "N > k=1"),
        (torch.full((9, 2), torch.nan), 2, "must be finite"),
        (normal(9, 2), 3, r"over the 2 values of a code, got event \(3,\)"),
    ],
)
def test_codes_without_an_entropy_gap(codes, dim, message):
    with pytest.raises(InputError, match=message):
        entropy_gap(codes, standard(dim))


def test_reconstruction_error_by_hand():
    images = torch.tensor([[[[0, 255]]], [[[51, 0]]]], dtype=torch.uint8)
    reconstructions = torch.tensor([[[[255, 0]]], [[[0, 102]]]], dtype=torch.uint8)
    # (1 + 1 + 0.2^2 + 0.4^2) / 2 images
    assert reconstruction_error(images, reconstructions) == pytest.approx(1.1, rel=1e-15)
    assert reconstruction_error(images, images) == 0


def test_reconstruction_error_sums_across_chunks():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 256, (2, 2500, 3, 4, 4), generator=generator, dtype=torch.uint8)
    expected = ((x.double() - y.double()) / 255).square().sum() / 2500
    assert reconstruction_error(x, y) == pytest.approx(expected.item(), rel=1e-12)


def test_reconstruction_error_refuses_floats_and_other_shapes():
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"reconstructions must be uint8"):
        reconstruction_error(images, images.float())
    with pytest.raises(InputError, match="equal shapes"):
        reconstruction_error(images, images[:1])
    with pytest.raises(InputError, match="at least one image"):
        reconstruction_error(images[:0], images[:0])


def pictures(n, high=256, seed=0):
    return torch.randint(high, (n, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_spread_of_scaled_and_shifted_images_is_the_scale_squared():
    low = pictures(60, 64)
    assert spread(3 * low, low) == 9
    assert spread(low, 4 * low) == 1 / 16
    assert spread(low + 100, low) == 1
    assert spread(255 - low, low) == 1


def test_spread_of_one_image_is_zero():
    assert spread(pictures(1).expand(40, -1, -1, -1), pictures(50)) == 0


def test_spread_agrees_with_the_covariances_across_chunks():
    fake, real = pictures(2500, 100), pictures(1100, seed=1)
    expected = torch.cov(fake.flatten(1).double().T).trace() / torch.cov(real.flatten(1).double().T).trace()
    assert spread(fake, real) == pytest.approx(expected.item(), rel=1e-12)


def test_spread_of_blends_halves():
    # the mean of two independent images has half the variance of one
    a, b = pictures(20_000, 128), pictures(20_000, 128, seed=1)
    assert spread(a + b, 2 * a) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    ("fake", "real", "message"),
    [
        (pictures(5).float(), pictures(5), "2 generated images, uint8"),
        (pictures(5), pictures(1), "2 real images"),
        (pictures(5)[:, :1], pictures(5), "one shape"),
        (pictures(5), torch.zeros(5, 3, 4, 4, dtype=torch.uint8), "real images are all the same"),
    ],
)
def test_images_without_a_spread(fake, real, message):
    with pytest.raises(InputError, match=message):
        spread(fake, real)


def test_active_codes_of_a_deterministic_model():
    live = normal(400, 5)
    dead = torch.full((400, 3), 0.1).double()
    assert active_codes(torch.cat([live, dead], 1)) == 5
    assert active_codes(torch.cat([live, live @ normal(5, 4, seed=1)], 1)) == 5  # mixtures of the others
    turned = torch.cat([live, dead], 1) @ torch.linalg.qr(normal(8, 8, seed=2))[0]
    assert active_codes(turned) == 5  # the axes do not matter
    assert active_codes(1e-3 * turned + 7) == 5  # nor does the scale
    assert active_codes(live * torch.tensor([1, 1, 0.2, 0.05, 0.01])) == 3


@pytest.mark.parametrize("value", [0.1, 3.0, -1e6])
def test_equal_codes_are_dead(value):
    codes = torch.full((300, 4), value)
    assert active_codes(codes) == 0
    assert active_codes(codes, torch.ones(4)) == 0
    nearly = torch.nextafter(codes, torch.tensor(torch.inf))
    assert active_codes(torch.where(torch.arange(300)[:, None] % 2 == 0, codes, nearly)) == 0


def test_active_codes_with_a_posterior():
    """The rule of Burda et al. where the aggregate has variance 1, and the same at another scale."""
    variance = torch.tensor([0.9, 0.5, 0.02, 0.005, 0.0]).double()
    means = normal(5000, 5)
    means = (means - means.mean(0)) / means.std(0) * variance.sqrt()
    std = (1 - variance).sqrt().expand(5000, -1)
    assert active_codes(means, std) == int((variance > 0.01).sum()) == 3
    assert active_codes(30 * means, 30 * std) == 3
    assert active_codes(means, std[0]) == 3
    assert active_codes(means, torch.zeros(5)) == 4  # without noise all that moves is information


@pytest.mark.parametrize(
    ("codes", "std", "message"),
    [
        (torch.zeros(1, 2), None, "N >= 2"),
        (torch.zeros(4), None, "N >= 2"),
        (torch.full((4, 2), torch.nan), None, "must be finite"),
        (torch.zeros(4, 2), torch.zeros(4, 3), "posterior_std must be"),
        (torch.zeros(4, 2), -torch.ones(2), "at least 0"),
    ],
)
def test_codes_that_cannot_be_counted(codes, std, message):
    with pytest.raises(InputError, match=message):
        active_codes(codes, std)


def noise(shape, seed=0):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_psnr_is_the_mean_over_images():
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    reconstructions = torch.tensor([51, 102, 255], dtype=torch.uint8)[:, None, None, None].expand(3, 1, 4, 4)
    expected = sum(-20 * math.log10(value / 255) for value in (51, 102, 255)) / 3
    assert psnr(images, reconstructions) == pytest.approx(expected, rel=1e-7)
    assert psnr(images, images) == math.inf
    many, others = noise((1030, 1, 3, 5)), noise((1030, 1, 3, 5), seed=1)
    error = ((many.double() - others.double()) / 255).square().mean((1, 2, 3))
    assert psnr(many, others) == pytest.approx((-10 * error.log10()).mean().item(), rel=1e-7)


def test_ssim_of_constant_images_is_that_of_their_means():
    """Without variance only the luminance is left: (2 a b + c) / (a^2 + b^2 + c), c = (0.01 255)^2."""
    a, b = (torch.full((2, 3, 12, 15), value, dtype=torch.uint8) for value in (100, 150))
    c = 2.55**2
    assert ssim(a, b) == pytest.approx((2 * 100 * 150 + c) / (100**2 + 150**2 + c), rel=1e-9)


def test_ssim_agrees_with_its_formula_by_scipy():
    x, y = noise((2, 1, 13, 8)).double(), noise((2, 1, 13, 8), seed=1).double()

    def smooth(z):
        smoothed = scipy.ndimage.gaussian_filter(z.numpy(), 1.5, truncate=3.5, mode="mirror", axes=(2, 3))
        return torch.from_numpy(smoothed)

    a, b = smooth(x), smooth(y)
    c, d = 2.55**2, 7.65**2
    expected = (2 * a * b + c) * (2 * (smooth(x * y) - a * b) + d)
    expected /= (a**2 + b**2 + c) * (smooth(x**2) - a**2 + smooth(y**2) - b**2 + d)
    assert ssim(x.byte(), y.byte()) == pytest.approx(expected.mean().item(), rel=1e-9)


def test_ssim_is_a_mean_over_images_and_knows_noise():
    images = noise((100, 1, 16, 16))
    halves = torch.cat([images[:50], noise((50, 1, 16, 16), seed=1)])
    assert ssim(images, images) == pytest.approx(1)
    assert ssim(images, halves) == pytest.approx(0.5 + 0.5 * ssim(images[50:], halves[50:]), rel=1e-9)
    assert abs(ssim(images[50:], halves[50:])) < 0.1


def test_similarities_refuse():
    with pytest.raises(InputError, match="at least 6 x 6, for the borders of its window, got 5 x 20"):
        ssim(noise((2, 1, 5, 20)), noise((2, 1, 5, 20)))
    with pytest.raises(InputError, match="images must be uint8"):
        psnr(torch.zeros(2, 1, 12, 12), noise((2, 1, 12, 12)))
    with pytest.raises(InputError, match="ssim needs at least one image and equal shapes"):
        ssim(noise((2, 1, 12, 12)), noise((3, 1, 12, 12)))
