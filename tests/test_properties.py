"""Properties that hold for every sample: of any shape, scale, ties, constant dimensions and batch size.

The examples are the same each time. ``pytest tests/test_properties.py --hypothesis-profile=search`` looks further.
"""

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.special import digamma, gammaln
from torch import nn

from entropic_ae import BOTTLENECKS, DENSITIES, InputError, cube_entropy, knn_entropy, mmd2, sphere_entropy
from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.bottlenecks import Code
from entropic_ae.priors import UniformSphere
from entropic_ae.storage.tensors import read_tensors, write_tensors
from entropic_ae.terms import TERMS, DecoderDecay, DecoderGradient

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def samples(draw, least=2, most=24, dtype=torch.float64):
    """Codes (N, D), N from least to most: normal, uniform, on a grid or heavy-tailed; with copies of rows,
    constant dimensions, any scale from 1e-6 to 1e6, and an offset of up to ten times that.
    """
    n, d = draw(st.integers(least, most)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(SEEDS))
    kind = draw(st.sampled_from(["normal", "uniform", "grid", "heavy"]))
    if kind == "grid":
        z = torch.randint(-3, 4, (n, d), generator=generator).double()
    else:
        z = torch.randn(n, d, dtype=torch.float64, generator=generator)
        z = {"normal": z, "uniform": torch.special.ndtr(z), "heavy": z**3}[kind]
    copies = draw(st.integers(0, n - 1))
    z[n - copies :] = z[:1]
    z[:, : draw(st.integers(0, d))] = draw(st.sampled_from([0.0, 1.0, -7.0]))
    z = z + draw(st.sampled_from([0, 0, 1, -10]))
    return (z * 10 ** draw(st.floats(-6, 6))).to(dtype)


def naive_distances(z, others=None, norm=2):
    """All distances from each code to every other, float64 (N, N + M - 1), ascending: differences, no product."""
    points = np.concatenate([z] if others is None else [z, others]).astype(np.float64)
    rows = [np.sort(np.linalg.norm(np.delete(points, i, 0) - points[i], ord=norm, axis=1)) for i in range(len(z))]
    return np.stack(rows)


def resolution(points):
    """Below this distance two codes coincide, as the docstring of ``knn_entropy`` has it."""
    centred = points.double() - points.double().mean(0)
    spread = centred.square().sum(1).mean().item()
    return math.sqrt(max(spread * (2 * torch.finfo(points.dtype).eps) ** 2, np.finfo(np.float64).tiny))


def apart(z, radius):
    """Distances, (N,), with the substitute of 0 that the docstring of ``knn_entropy`` has for equal codes."""
    least = np.abs(z.numpy()).max(1).astype(np.float64) * np.finfo(np.float64).eps / 2
    return np.where(radius == 0, np.maximum(least, math.sqrt(np.finfo(np.float64).tiny)), radius)


def naive_entropy(z, k, others=None):
    points = z if others is None else torch.cat([z, others])
    radius = apart(z, naive_distances(z.numpy(), None if others is None else others.numpy())[:, k - 1])
    d = z.shape[1]
    return (
        d * np.log(radius).mean()
        + d / 2 * math.log(math.pi)
        - gammaln(d / 2 + 1)
        + math.log(len(points) - 1)
        - digamma(k)
    )


@given(samples(), st.integers(1, 5))
def test_entropy_is_that_of_a_naive_version_in_float64(z, k):
    assume(len(z) > k)
    assert knn_entropy(z, k).item() == pytest.approx(naive_entropy(z, k), abs=1e-6)


@given(samples(dtype=torch.float32), st.integers(1, 5))
def test_entropy_of_float32_codes_is_that_of_the_naive_version(z, k):
    assume(len(z) > k)
    assert knn_entropy(z, k).item() == pytest.approx(naive_entropy(z, k), rel=1e-6, abs=1e-4)


@given(samples(), SEEDS, st.integers(1, 10), st.integers(1, 3))
def test_entropy_among_others_is_that_of_a_naive_version(z, seed, m, k):
    others = z[torch.randint(len(z), (m,), generator=torch.Generator().manual_seed(seed))] * 1.25
    assume(len(z) + m > k)
    assert knn_entropy(z, k, others=others).item() == pytest.approx(naive_entropy(z, k, others), abs=1e-6)


@given(samples(), st.floats(-6, 6))
def test_entropy_of_a_scaled_sample_moves_by_d_log_s(z, exponent):
    assume((z != z[:1]).any())  # codes that all coincide have no scale
    shift = knn_entropy(z * 10**exponent) - knn_entropy(z)
    assert shift.item() == pytest.approx(z.shape[1] * exponent * math.log(10), abs=1e-5)


@given(samples(), st.floats(-10, 10), SEEDS)
def test_entropy_is_the_same_for_a_moved_turned_and_shuffled_sample(z, offset, seed):
    generator = torch.Generator().manual_seed(seed)
    before = knn_entropy(z).item()
    order = torch.randperm(len(z), generator=generator)
    assert knn_entropy(z[order]).item() == pytest.approx(before, abs=1e-9)
    assert knn_entropy(z.flip(1)).item() == pytest.approx(before, abs=1e-9)
    assert knn_entropy(-z).item() == pytest.approx(before, abs=1e-9)
    if naive_distances(z.numpy())[:, 0].min() > 1e-8 * z.abs().max():  # rounding parts what coincides
        turn = torch.linalg.qr(torch.randn(z.shape[1], z.shape[1], dtype=torch.float64, generator=generator))[0]
        assert knn_entropy(z @ turn + offset * z.abs().max()).item() == pytest.approx(before, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(data=st.data())
def test_gradient_of_the_entropy_is_finite_and_obeys_its_symmetries(dtype, data):
    """It adds up to 0, for the entropy of a moved sample is the same; along z it is D a distinct code."""
    z = data.draw(samples(dtype=dtype)).requires_grad_()
    knn_entropy(z).backward()
    assert z.grad.isfinite().all()
    gradient, size = z.grad.double(), z.grad.double().abs().max()
    relative = 1e-4 if dtype == torch.float32 else 1e-9
    assert gradient.sum(0).abs().max() <= relative * size * len(z)
    distinct = (naive_distances(z.detach().numpy())[:, 0] > resolution(z.detach())).mean()
    centred = (z - z.mean(0)).detach().double()
    along = (gradient * centred).sum().item()
    assert along == pytest.approx(
        distinct * z.shape[1], rel=relative, abs=relative * (1 + (centred.norm() * size).item())
    )


@given(st.integers(2, 24), st.integers(2, 3), SEEDS, st.integers(0, 23), st.booleans())
def test_entropy_on_the_sphere_is_that_of_the_angles(n, d, seed, copies, opposites):
    """A cap of angle t has length 2 t on the circle, and area 2 pi (1 - cos t) on the sphere."""
    torch.manual_seed(seed)
    z = UniformSphere(d).sample((n,)).double()
    z = z / z.norm(dim=1, keepdim=True)
    z[n - min(copies, n - 1) :] = -z[:1] if opposites else z[:1]
    z.requires_grad_()
    found = sphere_entropy(z)
    distance = naive_distances(z.detach().numpy())[:, 0]
    angle = 2 * np.arcsin(np.clip(apart(z.detach(), distance) / 2, 0, 1))
    area = 2 * angle if d == 2 else 4 * math.pi * np.sin(angle / 2) ** 2
    assert found.item() == pytest.approx(np.log(area).mean() + math.log(n - 1) - digamma(1), abs=1e-5)
    found.backward()
    assert z.grad.isfinite().all()


@given(samples(most=16), st.integers(1, 3), st.booleans())
def test_entropy_in_the_cube_is_that_of_a_naive_version(z, k, at_the_faces):
    assume(len(z) > k)
    z = torch.tanh(z / z.abs().max().clamp_min(1e-9)) if not at_the_faces else z.sign()
    z.requires_grad_()
    found = cube_entropy(z, k)
    found.backward()
    assert z.grad.isfinite().all()
    codes = z.detach().numpy()
    reach = apart(z.detach(), naive_distances(codes, norm=np.inf)[:, k - 1])[:, None]
    sides = np.minimum(codes + reach, 1) - np.maximum(codes - reach, -1)
    expected = np.log(sides).sum(1).mean() + math.log(len(z) - 1) - digamma(k)
    assert found.item() == pytest.approx(expected, abs=1e-6)
    assert cube_entropy(-z.detach(), k).item() == pytest.approx(found.item(), abs=1e-6)


@given(samples(most=10), SEEDS, st.integers(2, 8))
def test_discrepancy_is_that_of_a_double_loop_and_symmetric(x, seed, m):
    x = x.requires_grad_()
    y = torch.randn(m, x.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    constants = [2 * x.shape[1] * scale for scale in (0.1, 0.2, 0.5, 1, 2, 5, 10)]

    def mean_kernel(a, b, within):
        pairs = [(p, q) for i, p in enumerate(a) for j, q in enumerate(b) if not (within and i == j)]
        return np.mean([sum(c / (c + ((p - q) ** 2).sum()) for c in constants) for p, q in pairs])

    a, b = x.detach().numpy(), y.numpy()
    expected = mean_kernel(a, a, True) + mean_kernel(b, b, True) - 2 * mean_kernel(a, b, False)
    found = mmd2(x, y)
    # the product that gives the distances loses digits of codes that are large for the kernel
    lost = 100 * np.finfo(np.float64).eps * (a**2).sum(1).max() / min(constants)
    assert found.item() == pytest.approx(expected, abs=1e-9 + lost)
    assert mmd2(y, x.detach()).item() == pytest.approx(found.item(), abs=1e-9 + lost)
    found.backward()
    assert x.grad.isfinite().all()


def rows_for(bottleneck, z):
    """Encoder outputs of the width that a bottleneck takes."""
    return z.repeat(1, bottleneck.in_features // z.shape[1])


@pytest.mark.parametrize("name", BOTTLENECKS)
@given(z=samples(dtype=torch.float32))
def test_a_bottleneck_gives_finite_codes_with_finite_gradients_or_says_what_it_needs(name, z):
    if name in ("sphere", "noisy-sphere") and z.shape[1] == 1:
        z = z.repeat(1, 2)
    bottleneck = BOTTLENECKS[name](z.shape[1])
    h = rows_for(bottleneck, z).requires_grad_()
    if len(z) < bottleneck.least_batch:
        with pytest.raises(InputError, match=f"needs a batch of at least {bottleneck.least_batch} in training"):
            bottleneck(h)
        return
    code = bottleneck(h).z
    assert code.shape == z.shape
    code.square().sum().backward()
    assert code.isfinite().all()
    assert h.grad.isfinite().all()
    bottleneck.eval()
    assert bottleneck(h).z.isfinite().all()
    assert bottleneck(h[:1]).z.shape == (1, z.shape[1])
    assert bottleneck(h[:0]).z.shape == (0, z.shape[1])


CENTRED = [
    name for name, kind in BOTTLENECKS.items() if kind(2).least_batch > 1 and not kind(2).prior().mean.any()
]


@pytest.mark.parametrize("name", CENTRED)
@given(z=samples(dtype=torch.float32))
def test_moments_hold_over_a_minibatch_but_for_eps(name, z):
    """Mean 0 whatever the offset; a spread v becomes v / (v + eps), so that a constant dimension gives zeros."""
    bottleneck = BOTTLENECKS[name](z.shape[1])
    assume(len(z) >= bottleneck.least_batch)
    code, z = bottleneck(z).z.double(), z.double()
    centred = z - z.mean(0)
    if name == "l1-norm":
        spread = centred.abs().mean(0)
        scale, expected, found = spread + 1e-5, spread / (spread + 1e-5), code.abs().mean(0)
    else:
        spread = centred.square().mean(0)
        scale, expected, found = (spread + 1e-5).sqrt(), spread / (spread + 1e-5), code.square().mean(0)
        if name == "whitening":  # each code has a share of the narrowest direction, where rounding is largest
            covariance = (centred.T @ centred / len(z)).reshape(z.shape[1], -1)
            scale = (torch.linalg.eigvalsh(covariance).clamp(min=0).min() + 1e-5).sqrt()
    constant = centred.abs().amax(0) <= 1e-12 * z.abs().amax(0)
    rounding = 4 * torch.finfo(torch.float32).eps * z.abs().amax(0) / scale  # of the mean
    tolerance = torch.where(constant, 0, rounding) + 1e-3
    assert (code.mean(0).abs() <= tolerance).all()
    assert (code[:, constant] == 0).all()
    if name != "whitening":  # whose eps is added to the principal variances
        assert ((found - expected).abs() <= 2 * tolerance * (1 + tolerance)).all()


@given(samples(least=8, dtype=torch.float32))
def test_whitened_codes_are_uncorrelated_and_of_variance_one_at_most(z):
    h = z.double()
    # of a direction without variance ten digits are left: in float64 as much as an inverse root can tell
    eps = 1e-12 + 1e-10 * h.var(0, correction=0).sum().item()
    bottleneck = BOTTLENECKS["whitening"](z.shape[1], eps=eps, iterations=60).double()
    code = bottleneck(h).z
    covariance = code.T @ code / len(z)
    assert torch.linalg.eigvalsh(covariance).max() <= 1 + 1e-3
    values = torch.linalg.eigvalsh(torch.cov(h.T, correction=0).reshape(z.shape[1], -1))
    if values.min() > 1e-6 * values.max() and values.min() > 1e-8:  # else some directions are all but constant
        torch.testing.assert_close(covariance, torch.eye(z.shape[1]).double(), atol=1e-3, rtol=0)


@given(samples(dtype=torch.float32))
def test_domains_hold_for_each_code(z):
    assert BOTTLENECKS["cube"](z.shape[1])(z).z.abs().max() <= 1
    assume(z.shape[1] > 1)
    norms = BOTTLENECKS["sphere"](z.shape[1])(z).z.norm(dim=1)
    alive = z.norm(dim=1) > 1e-12
    torch.testing.assert_close(norms[alive], torch.ones(int(alive.sum())), atol=1e-5, rtol=0)


def takes_no_model(term):
    """Whether a term can be called with None for the model, by its annotation."""
    return "None" in inspect.signature(term.__call__).parameters["model"].annotation


OF_IMAGES = ("multiscale_similarity", "feature_error")  # no vectors: tests/test_reconstruction_terms.py
ALONE = [name for name, term in TERMS.items() if takes_no_model(term) and name not in OF_IMAGES]
POWERS = {"squared_error": 2, "absolute_error": 1, "code_norm": 2}  # of the scale of z


def trace_of(z):
    """A pass whose images, codes, posteriors and reconstructions are made of one sample."""
    posterior = BOTTLENECKS["gaussian-posterior"](z.shape[1])(z.repeat(1, 2)).posterior
    return Trace(torch.zeros_like(z), Code(z, posterior), z)


@pytest.mark.parametrize("name", ALONE)
@given(z=samples(dtype=torch.float32))
def test_a_term_is_finite_with_a_finite_gradient(name, z):
    term = TERMS[name]()
    assume(name != "free_energy" or len(z) > z.shape[1])
    z.requires_grad_()
    value = term(None, trace_of(z))
    assert value.shape == ()
    value.backward()
    assert value.isfinite()
    assert z.grad.isfinite().all()
    if name in POWERS:
        twice = term(None, trace_of(2 * z.detach()))
        assert twice.item() == pytest.approx(2 ** POWERS[name] * value.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["squared_error", "code_norm", "kl_divergence", "negative_log_likelihood"])
@given(z=samples(least=1, dtype=torch.float32))
def test_a_term_averages_over_the_batch_and_sums_over_features(name, z):
    term = TERMS[name]()

    def of(rows):
        return term(None, trace_of(rows)).item()

    value = of(z)
    assert of(torch.cat([z, z])) == pytest.approx(value, rel=1e-5, abs=1e-6)
    x = z.double().numpy()
    square = (x**2).sum(1).mean()
    if name == "kl_divergence":
        log_std = 5 * np.tanh(x)
        expected = 0.5 * ((x**2) + np.exp(2 * log_std) - 1 - 2 * log_std).sum(1).mean()
    elif name == "negative_log_likelihood":
        variance = max(square / x.shape[1], 1e-6)
        expected = x.shape[1] / 2 * (math.log(2 * math.pi * variance) + square / x.shape[1] / variance)
    else:
        expected = square
    assert value == pytest.approx(expected, rel=1e-4, abs=1e-5)


@given(z=samples(least=1), exponent=st.floats(-6, 6), seed=SEEDS)
def test_terms_of_a_diagonal_decoder_are_the_sum_of_its_squares(z, exponent, seed):
    """The signs of the gradient's estimate square to 1, so that it is exact here, whatever the codes."""
    d = z.shape[1]
    model = Autoencoder(nn.Identity(), BOTTLENECKS["identity"](d), nn.Linear(d, d, bias=False).double())
    weight = model.decoder.weight
    scales = 10**exponent * torch.randn(d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    weight.data = torch.diag(scales)
    z.requires_grad_()
    for term in (DecoderDecay(), DecoderGradient()):
        weight.grad = None
        value = term(model, Trace(None, Code(z), model.decode(z)))
        assert value.item() == pytest.approx(scales.square().sum().item(), rel=1e-9)
        value.backward()
        torch.testing.assert_close(weight.grad.diag(), 2 * scales)


def prior_for(name, dim):
    return BOTTLENECKS["levels" if DENSITIES[name].is_discrete else "identity"](dim).prior()


def fit(name, codes):
    small = {
        "second-stage": {"hidden": 4, "depth": 1, "epochs": 1},
        "mixture": {"components": 3},
        "autoregressive": {"width": 16, "depth": 1, "epochs": 1},
    }
    prior = prior_for(name, codes.shape[1])
    if DENSITIES[name].is_discrete:  # of an alphabet only
        codes = prior.nearest(codes)
    return DENSITIES[name].fit(codes, prior, **small.get(name, {}))


TRAINED = ("flow", "second-stage", "autoregressive")  # by gradients
CHEAP = [name for name in DENSITIES if name not in TRAINED]


@pytest.mark.parametrize("name", TRAINED)
@given(codes=samples(dtype=torch.float32), n=st.integers(1, 40), seed=SEEDS)
@settings(max_examples=5)
def test_a_trained_density_draws_finite_codes_and_the_same_after_a_round_trip(
    name, codes, n, seed, tmp_path_factory
):
    check_round_trip(name, codes, n, seed, tmp_path_factory)


@pytest.mark.parametrize("name", CHEAP)
@given(codes=samples(dtype=torch.float32), n=st.integers(1, 40), seed=SEEDS)
def test_a_density_draws_finite_codes_and_the_same_after_a_round_trip(name, codes, n, seed, tmp_path_factory):
    check_round_trip(name, codes, n, seed, tmp_path_factory)


def check_round_trip(name, codes, n, seed, tmp_path_factory):
    density = fit(name, codes)
    drawn = density.sample(n, seed=seed)
    assert drawn.shape == (n, codes.shape[1])
    assert drawn.dtype == torch.float32
    assert drawn.isfinite().all()
    path = tmp_path_factory.getbasetemp() / "density.safetensors"
    write_tensors(path, density.state(), {"of": name})
    state, metadata = read_tensors(path)
    assert metadata == {"of": name}
    prior = prior_for(name, codes.shape[1])
    assert torch.equal(type(density).from_state(state, prior).sample(n, seed=seed), drawn)


@given(codes=samples(dtype=torch.float32), seed=SEEDS)
def test_densities_keep_what_they_model(codes, seed):
    codes64 = codes.double()
    size = codes64.abs().amax(0)
    gaussian = fit("gaussian", codes)
    assert ((gaussian.mean - codes64.mean(0)).abs() <= 1e-9 * size).all()
    assert (torch.linalg.eigvalsh(gaussian.covariance) >= -1e-9 * size.max() ** 2).all()
    mixture = fit("mixture", codes)
    assert mixture.weights.sum().item() == pytest.approx(1)
    assert (mixture.weights >= 0).all()
    constant = codes64.amax(0) == codes64.amin(0)
    for name in ("marginals", "copula"):
        drawn = fit(name, codes).sample(30, seed=seed).double()
        assert (drawn >= codes64.amin(0) - 1e-6 * size).all()
        assert (drawn <= codes64.amax(0) + 1e-6 * size).all()
        assert torch.equal(drawn[:, constant], codes64[:1, constant].expand(30, -1))


@example(n=2, d=1, value=0.0)
@example(n=21, d=3, value=1e6)
@given(n=st.integers(2, 25), d=st.integers(1, 3), value=st.sampled_from([0.0, 1e-6, 5.0, 1e6]))
def test_every_density_of_codes_that_all_coincide_draws_that_code(n, d, value):
    check_coincident(CHEAP, n, d, value)


@example(n=2, d=1, value=0.0)
@example(n=21, d=3, value=1e6)
@given(n=st.integers(2, 25), d=st.integers(1, 3), value=st.sampled_from([1e-6, 5.0]))
@settings(max_examples=3)
def test_a_flow_of_codes_that_all_coincide_draws_that_code(n, d, value):
    check_coincident(["flow"], n, d, value)


def check_coincident(names, n, d, value):
    codes = torch.full((n, d), value)
    for name in names:
        if DENSITIES[name].needs_codes:
            drawn = fit(name, codes).sample(5)
            if name == "radial":  # which keeps the norm and draws the direction
                drawn, expected = drawn.norm(dim=1), codes[0].norm().expand(5)
                torch.testing.assert_close(drawn, expected, rtol=1e-5, atol=1e-9)
                continue
            torch.testing.assert_close(drawn, codes[:1].expand(5, -1), rtol=1e-5, atol=1e-9)
