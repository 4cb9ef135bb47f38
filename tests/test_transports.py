"""Transports: exact inverses, known maps, exact likelihoods, gradients, files, and the exported graph."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import entropic_ae as eae
from entropic_ae import BatchNorm, InputError, Mixture, Sphere, Transported
from entropic_ae.mixtures import GaussianMixture, fit_mixture
from entropic_ae.priors import Laplace, Normal, Uniform, UniformSphere, normal_quantile, rational
from entropic_ae.storage.files import read_json, write_json
from entropic_ae.transports import TRANSPORTS, GaussianTransport, MixtureTransport, Transport

QUICK = {"flow": {"epochs": 2, "hidden": 16, "transforms": 2}, "mixture": {"components": 4}}


def rings(n, dim, seed=0):
    """Return codes of three clusters with a skewed dimension, standardised: (n, dim) float64."""
    source = torch.Generator().manual_seed(seed)
    z = torch.randn(n, dim, generator=source, dtype=torch.float64)
    z[:, 0] = 0.3 * z[:, 0].exp() + torch.randint(3, (n,), generator=source) * 2
    z[:, 1] = 0.4 * z[:, 1] + 0.5 * z[:, 0].square()
    return (z - z.mean(0)) / z.std(0)


def fitted(name, codes, prior):
    return TRANSPORTS[name].fit(codes, prior, seed=0, **QUICK.get(name, {}))


@pytest.fixture(scope="module")
def mixture():
    return fitted("mixture", rings(2000, 3), Normal.standard(3))


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_mixture_of_codes_that_all_coincide_is_fitted(value):
    codes = torch.full((50, 3), value)
    transport = MixtureTransport.fit(codes, Normal.standard(3))
    drawn = transport.inverse(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)))
    assert drawn.isfinite().all()
    assert (drawn - value).abs().max() < 1e-3


@pytest.mark.parametrize("name", list(TRANSPORTS))
def test_the_inverse_undoes_the_map_and_files_keep_it(name):
    z, prior = rings(400, 3), Normal.standard(3)
    transport = fitted(name, z, prior)
    u = transport(z)
    tolerance = 1e-5 if name == "flow" else 1e-9
    assert (transport.inverse(u) - z).abs().max() < tolerance
    draws = torch.randn(300, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert (transport(transport.inverse(draws)) - draws).abs().max() < 10 * tolerance
    again = type(transport).from_state(transport.state(), prior)
    assert torch.equal(again(z), u)
    assert again(z.float()).dtype == torch.float32


@pytest.mark.parametrize("name", list(TRANSPORTS))
def test_the_likelihood_integrates_to_one(name):
    transport = fitted(name, rings(400, 2), Normal.standard(2))
    axis = torch.linspace(-9, 9, 301 if name in QUICK else 1501, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = transport.log_prob(grid).exp().sum().item() * (axis[1] - axis[0]).item() ** 2
    assert mass == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", list(TRANSPORTS))
def test_parameters_from_a_file_are_checked(name):
    prior = Normal.standard(2)
    kind, state = TRANSPORTS[name], fitted(name, rings(100, 2), Normal.standard(2)).state()
    for key, value in state.items():
        with pytest.raises(KeyError):
            kind.from_state({k: v for k, v in state.items() if k != key}, prior)
        if value.is_floating_point():
            with pytest.raises(KeyError):
                kind.from_state(state | {key: value * math.nan}, prior)
        with pytest.raises(KeyError):
            kind.from_state(state | {key: torch.cat([value, value])}, Normal.standard(3))


@pytest.mark.parametrize("name", list(TRANSPORTS))
def test_codes_that_cannot_be_fitted_are_refused(name):
    with pytest.raises(InputError, match=f"the transport '{name}' expects at least 2 codes"):
        TRANSPORTS[name].fit(torch.zeros(1, 2), Normal.standard(2))
    with pytest.raises(InputError, match=f"the transport '{name}' expects finite codes"):
        TRANSPORTS[name].fit(torch.full((9, 2), math.nan), Normal.standard(2))


def test_one_gaussian_is_whitened_by_its_cholesky_factor():
    covariance = torch.tensor([[4.0, 1.2], [1.2, 1.0]], dtype=torch.float64)
    mean = torch.tensor([1.0, -2.0], dtype=torch.float64)
    transport = MixtureTransport(Normal.standard(2), torch.ones(1).double(), mean[None], covariance[None])
    z = torch.randn(50, 2, dtype=torch.float64) * 3
    expected = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (z - mean).T, upper=False).T
    assert torch.allclose(transport(z), expected, atol=1e-12)
    assert torch.allclose(transport.inverse(expected), z, atol=1e-12)


def test_in_one_dimension_the_map_is_the_quantile_of_the_distribution_function():
    weights, means, deviations = np.array([0.3, 0.7]), np.array([-2.0, 1.0]), np.array([0.5, 1.5])
    transport = MixtureTransport(
        Normal.standard(1),
        torch.from_numpy(weights),
        torch.from_numpy(means)[:, None],
        torch.from_numpy(deviations)[:, None, None] ** 2,
    )
    z = np.linspace(-12, 12, 101)
    below = (weights * stats.norm.cdf((z[:, None] - means) / deviations)).sum(1)
    above = (weights * stats.norm.sf((z[:, None] - means) / deviations)).sum(1)
    expected = np.where(below < above, stats.norm.ppf(below), stats.norm.isf(above))
    u = transport(torch.from_numpy(z)[:, None]).squeeze(1).numpy()
    np.testing.assert_allclose(u, expected, atol=1e-9)


def test_draws_of_the_mixture_become_standard_normal():
    transport = fitted("mixture", rings(2000, 3), Normal.standard(3))
    codes = Mixture(*transport.mixture).sample(3000, seed=1).double()
    u = transport(codes)
    for column in u.T:
        assert stats.kstest(column.numpy(), "norm").pvalue > 1e-3
    assert torch.allclose(torch.cov(u.T), torch.eye(3).double(), atol=0.1)
    z = torch.randn(20, 3, dtype=torch.float64)
    assert torch.allclose(transport.log_prob(z), transport.mixture.log_prob(z), atol=1e-9)


def test_codes_far_out_and_between_components_come_back(mixture):
    source = torch.Generator().manual_seed(0)
    far = torch.randn(2000, 3, generator=source, dtype=torch.float64)
    far = 6 * far / far.norm(dim=1, keepdim=True)
    axes = torch.cat([6 * torch.eye(3), -6 * torch.eye(3)]).double()
    first, second = torch.triu_indices(len(mixture.means), len(mixture.means), 1)
    middle = (mixture.means[first] + mixture.means[second]) / 2
    for z in (far, axes, middle):
        assert (mixture.inverse(mixture(z)) - z).abs().max() < 1e-6
    edge = torch.tensor([[40.0, -40.0, 40.0]]).double()  # beyond the tail that float64 has
    assert (mixture(mixture.inverse(edge)) - edge).abs().max() < 1e-6


def test_gradients_pass_in_both_directions(mixture):
    z = rings(4, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(mixture, z, atol=1e-5, rtol=1e-4)
    u = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(mixture.inverse, u, atol=1e-5, rtol=1e-4)
    _, log_det = mixture.transform(z)
    jacobian = torch.autograd.functional.jacobian(lambda one: mixture(one[None])[0], z[0].detach())
    assert torch.linalg.slogdet(jacobian).logabsdet.item() == pytest.approx(log_det[0].item(), abs=1e-9)


@pytest.mark.parametrize("prior", [Normal.standard(2), Laplace.standard(2), Uniform.standard(2)])
def test_gradients_at_the_middle_of_the_prior(prior):
    codes = prior.from_noise(torch.randn(500, 2, generator=torch.Generator().manual_seed(0))).double()
    transport = MixtureTransport.fit(codes, prior, components=3)
    middle = torch.zeros(1, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(transport.inverse, middle)
    assert torch.autograd.gradcheck(transport, middle)


@pytest.mark.parametrize("prior", [Normal.standard(2), Laplace.standard(2), Uniform.standard(2)])
@pytest.mark.parametrize("name", ["gaussian", "mixture", "flow"])
def test_second_derivatives_are_right_in_both_directions(name, prior):
    transport = fitted(name, prior.from_normal(rings(400, 2)), prior)
    z = prior.from_normal(rings(3, 2, seed=2)).requires_grad_()
    u = transport(z).detach().requires_grad_()
    for function, point in ((transport, z), (transport.inverse, u), (transport.log_prob, z)):
        assert torch.autograd.gradcheck(function, point, atol=1e-5, rtol=1e-4)
        assert torch.autograd.gradgradcheck(function, point, atol=1e-4, rtol=1e-3)


def test_derivatives_on_the_sphere():
    prior = UniformSphere(4)
    scores = rings(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(prior.from_normal, scores)
    assert torch.autograd.gradgradcheck(prior.from_normal, scores, atol=1e-4)

    def of_direction(x):
        return prior.to_normal(x / x.norm(dim=1, keepdim=True))

    # a code whose last value is exactly 0 has derivatives too
    codes = torch.tensor([[0.6, 0.0, 0.8, 0.0], [0.1, 0.5, 0.7, -0.5]]).double().requires_grad_()
    assert torch.autograd.gradcheck(of_direction, codes)
    assert torch.autograd.gradgradcheck(of_direction, codes, atol=1e-4)
    point = torch.tensor([[1.0, 0.0]]).double().requires_grad_()
    (gradient,) = torch.autograd.grad(UniformSphere(2).to_normal(point).sum(), point)
    assert gradient[0].tolist() == pytest.approx([0, 1 / math.sqrt(2 * math.pi)])  # sqrt(pi / 2) / pi
    for pole in ([0.6, 0.8, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]):  # where an angle has none
        point = torch.tensor([pole]).double().requires_grad_()
        (gradient,) = torch.autograd.grad(prior.to_normal(point).sum(), point)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("prior", [Laplace.standard(3), Uniform.standard(3), UniformSphere(3), UniformSphere(6)])
def test_scores_of_six_deviations_come_back(prior):
    scores = torch.cat([6 * torch.eye(5), -6 * torch.eye(5), torch.full((1, 5), 6.0)]).double()
    scores = scores[:, : Transport.scores_of(prior)]
    assert prior.to_normal(prior.from_normal(scores)) == pytest.approx(scores, abs=1e-6)


def test_codes_on_a_face_of_the_cube_have_a_likelihood():
    transport = fitted("mixture", Uniform.standard(2).from_normal(rings(400, 2)), Uniform.standard(2))
    for face in (1.0, -1.0):
        for dtype in (torch.float32, torch.float64):
            codes = torch.full((1, 2), face, dtype=dtype)
            assert transport.log_prob(codes).isfinite().all()
            assert transport(codes).isfinite().all()


def test_the_gaussian_whitens_dimensions_of_any_scale():
    codes = rings(2000, 2) * torch.tensor([1.0, 1e6])
    transport = fitted("gaussian", codes, Normal.standard(2))
    assert torch.cov(transport(codes).T) == pytest.approx(torch.eye(2).double(), abs=1e-4)
    covariance = fitted("mixture", codes, Normal.standard(2)).covariances[-1]
    assert covariance == pytest.approx(4 * torch.cov(codes.T), rel=1e-5)


@pytest.mark.parametrize("name", ["marginals", "copula"])
@pytest.mark.parametrize("share", [0.01, 0.5])
def test_draws_stay_by_a_value_that_many_codes_share(name, share):
    """Codes of a rectifier: a share of them is 0, the least value."""
    codes = rings(2000, 2)
    codes = (codes - codes.quantile(share, dim=0)).clamp_min(0)
    transport = fitted(name, codes, Normal.standard(2))
    drawn = transport.inverse(torch.randn(5000, 2, generator=torch.Generator().manual_seed(0)).double())
    assert drawn.min() > -0.5
    assert drawn.std(0) == pytest.approx(codes.std(0), rel=0.15)
    assert transport.inverse(transport(codes)) == pytest.approx(codes, abs=1e-9)


def test_a_loaded_state_is_used(mixture):
    other = fitted("mixture", rings(500, 3) * 5 + 7, Normal.standard(3))
    other.load_state_dict(mixture.state_dict())
    z = rings(20, 3)
    assert torch.equal(other(z), mixture(z))
    assert torch.equal(other.log_prob(z), mixture.log_prob(z))


@pytest.mark.parametrize("name", list(TRANSPORTS))
def test_codes_of_another_length_are_refused(name):
    prior = Normal.standard(2)
    with pytest.raises(InputError, match=r"expects codes \(N, 2\), got shape \(400, 3\)"):
        fitted(name, rings(400, 3), prior)
    transport = fitted(name, rings(400, 2), prior)
    for function in (transport, transport.inverse, transport.log_prob):
        with pytest.raises(InputError, match=r"expects codes \(N, 2\), got shape \(5, 3\)"):
            function(torch.zeros(5, 3))


@pytest.mark.parametrize(("scale", "offset"), [(1e-8, 0.0), ([1.0, 1e-6, 1.0], 0.0), (1.0, 1e6)])
def test_codes_of_any_scale_and_place_come_back(scale, offset):
    source = torch.Generator().manual_seed(0)
    codes = torch.randn(2000, 3, generator=source).double()
    codes[:1000] += 3
    transport = MixtureTransport.fit(codes * torch.tensor(scale) + offset, Normal.standard(3), components=3)
    u = torch.randn(1000, 3, generator=source).double()
    assert transport(transport.inverse(u)) == pytest.approx(u, abs=1e-8)


@pytest.mark.parametrize("name", list(TRANSPORTS))
def test_no_codes_are_mapped_to_none(name):
    settings = {"epochs": 1} if name == "flow" else {}
    transport = TRANSPORTS[name].fit(torch.randn(50, 2), Normal.standard(2), **settings)
    none = torch.zeros(0, 2)
    assert transport(none).shape == transport.inverse(none).shape == (0, 2)
    assert transport.log_prob(none).shape == (0,)


@pytest.mark.parametrize("prior", [Laplace.standard(3), Uniform.standard(3), UniformSphere(3), UniformSphere(2)])
def test_other_priors_have_normal_scores_with_an_inverse(prior):
    torch.manual_seed(0)
    z = prior.sample((3000,)).double()
    scores = prior.to_normal(z)
    for column in scores.T:
        assert stats.kstest(column.numpy(), "norm").pvalue > 1e-3
    assert (prior.from_normal(scores) - z).abs().max() < 1e-6
    some = scores[:3].clone().requires_grad_()
    assert torch.autograd.gradcheck(prior.from_normal, some, atol=1e-5)
    transport = fitted("mixture", prior.sample((500,)).double(), prior)
    assert (transport.inverse(transport(z)) - z).abs().max() < 1e-6
    # fitted to draws of the prior, the map is near the identity, and so is the likelihood
    assert (transport.log_prob(z) - prior.log_prob(z)).mean().abs() < 0.1


def test_normal_quantile_agrees_with_scipy_and_holds_far_out():
    log_tail = torch.tensor([-math.log(2), -1.0, -50.0, -79.0, -81.0, -700.0], dtype=torch.float64)
    expected = torch.from_numpy(stats.norm.ppf(log_tail.exp().numpy()))
    assert torch.allclose(normal_quantile(log_tail), expected, atol=1e-12)
    deep = normal_quantile(torch.tensor(-1e5, dtype=torch.float64))
    assert torch.special.log_ndtr(deep).item() == pytest.approx(-1e5)


def test_scores_need_no_function_that_torch_2_6_lacks(monkeypatch):
    codes = torch.tensor([[-0.5, 0.25]]).double()
    expected = [
        (prior.to_normal(codes), prior.from_normal(codes)) for prior in (Laplace.standard(2), Uniform.standard(2))
    ]
    monkeypatch.delattr(torch.compiler, "is_exporting")
    found = [
        (prior.to_normal(codes), prior.from_normal(codes)) for prior in (Laplace.standard(2), Uniform.standard(2))
    ]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_graphs_quantile_is_that_of_the_library():
    log_tail = -torch.cat([torch.linspace(math.log(2), 701, 5000), torch.logspace(2.8, 6, 100)]).double()
    expected = normal_quantile(log_tail)
    torch.testing.assert_close(rational.normal_quantile(log_tail), expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", list(TRANSPORTS))
def test_moving_or_narrowing_the_model_keeps_float64(name):
    transport = fitted(name, rings(400, 3), Normal.standard(3))
    bottleneck = Transported(BatchNorm(3), transport).eval()
    z = rings(5, 3)
    before = transport(z)
    for narrow in (bottleneck.half, bottleneck.bfloat16, bottleneck.float):
        narrow()
        assert torch.equal(transport(z), before)
    assert {value.dtype for value in transport.state().values() if value.is_floating_point()} == {torch.float64}
    assert not any(parameter.requires_grad for parameter in transport.parameters())


def test_a_transported_bottleneck_maps_in_evaluation_only(mixture):
    bottleneck = Transported(BatchNorm(3), mixture)
    h = torch.randn(64, 3)
    assert torch.equal(bottleneck.train()(h).z, BatchNorm(3)(h).z)
    assert torch.equal(bottleneck.inverse(h), h)
    bottleneck.eval()
    inner = bottleneck.bottleneck(h).z
    assert torch.allclose(bottleneck(h).z, mixture(inner))
    assert torch.allclose(bottleneck.inverse(bottleneck(h).z), inner, atol=1e-4)
    assert bottleneck.prior().event_shape == (3,)
    assert bottleneck.bounds_entropy
    assert not Transported(Sphere(3), mixture).has_posterior


def test_a_resumed_run_keeps_its_transport_only_with_its_weights(tmp_path):
    options = {"set": {"width": 2, "batch_size": 20}, "limit": 100, "device": "cpu", "progress": False}
    options["out"] = tmp_path / "run"
    run = eae.train("bn-ae", "digits", epochs=1, **options)
    run.fit_transport("gaussian")
    same = eae.train("bn-ae", "digits", epochs=1, resume=True, **options)
    assert same.transport is not None
    assert torch.equal(same.sample(3, density="prior"), run.sample(3, density="prior"))
    with pytest.warns(UserWarning, match=r"transport\.safetensors in .* belonged to earlier weights"):
        more = eae.train("bn-ae", "digits", epochs=3, resume=True, **options)
    assert more.transport is None
    assert not more.files.transport.exists()


def test_training_tells_that_it_fits_a_transport_which_takes_minutes_on_many_images(tmp_path, capsys):
    small = {"width": 2, "batch_size": 20, "transport.components": 1}
    eae.train("t-bn-ae", "digits", epochs=1, set=small, limit=100, device="cpu", out=tmp_path / "run")
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "fitting the transport 'mixture' to the codes of 100 training images"


def test_a_run_of_before_scales_and_shrinkage_is_resumed_without_them(tmp_path):
    options = {"limit": 100, "device": "cpu", "progress": False, "out": tmp_path / "run"}
    small, plain = {"width": 2, "batch_size": 20}, {"transport.scales": 1, "transport.shrinkage": 0.0}
    run = eae.train("t-bn-ae", "digits", epochs=1, set=small | plain, **options)
    info = read_json(run.folder / "run.json")
    for name in plain:
        del info["expanded"]["settings"][name], info["overrides"][name]
    write_json(run.folder / "run.json", info)
    with pytest.raises(
        InputError, match=r"transport\.scales was 1 and is 2; transport\.shrinkage was 0\.0 and is 1"
    ):
        eae.train("t-bn-ae", "digits", epochs=2, set=small, resume=True, **options)
    again = eae.train("t-bn-ae", "digits", epochs=2, set=small | plain, resume=True, **options)
    assert again.transport is not None


def test_a_prior_without_normal_scores_is_refused():
    prior = torch.distributions.Independent(torch.distributions.Exponential(torch.ones(2)), 1)
    with pytest.raises(InputError, match="cannot be transported to the prior Exponential without its methods"):
        GaussianTransport.fit(torch.rand(9, 2), prior)


def test_a_transport_without_a_graph_is_refused_with_the_method_that_lacks():
    with pytest.raises(InputError, match="without a method traced"):
        Transport(Normal.standard(2)).traced()


@pytest.mark.parametrize("name", ["mixture", "gaussian", "copula", "marginals"])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_the_graph_equals_the_map(name, scale):
    transport = fitted(name, rings(2000, 3) * scale, Normal.standard(3))
    traced = transport.traced()
    u = 2 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = transport.inverse(u.double())
        assert torch.allclose(traced.restore(u), z, rtol=0, atol=1e-9 * scale)
        assert torch.allclose(traced.transform(z), u.double(), rtol=0, atol=1e-9)


def test_the_broad_component_keeps_a_narrow_mixture_invertible():
    """Two clusters a hundred of their deviations apart: the middle between them has no weight in either."""
    source = torch.Generator().manual_seed(0)
    z = 0.02 * torch.randn(1000, 2, generator=source, dtype=torch.float64)
    z[::2] += 1
    z[1::2] -= 1
    fit = fit_mixture(z, 2)
    assert isinstance(fit, GaussianMixture)
    middle = torch.zeros(1, 2, dtype=torch.float64)
    bare = MixtureTransport(Normal.standard(2), *fit)
    assert (bare.inverse(bare(middle)) - middle).abs().max() > 1e-3
    kept = MixtureTransport.fit(z, Normal.standard(2), components=2)
    assert (kept.inverse(kept(middle)) - middle).abs().max() < 1e-6


def heavy(n, dim=8, seed=0):
    """Codes of unit variance with the tails of Student's t with 5 degrees of freedom, (n, dim) float64."""
    source = torch.Generator().manual_seed(seed)
    square = torch.randn(n, 5, generator=source, dtype=torch.float64).square().mean(1, keepdim=True)
    return torch.randn(n, dim, generator=source, dtype=torch.float64) * (0.6 / square).sqrt()


def test_scales_bring_the_norms_of_heavy_tailed_codes_to_those_of_the_prior():
    z, others = heavy(4000), heavy(4000, seed=1)
    expected = torch.randn(4000, 8, generator=torch.Generator().manual_seed(2)).norm(dim=1).std().item()
    spread = {}
    for scales in (1, 2, 3):
        transport = MixtureTransport.fit(z, Normal.standard(8), components=1, scales=scales)
        spread[scales] = transport(others).norm(dim=1).std().item() / expected
        assert transport.components == 1
        assert len(transport.weights) == scales + 1
        assert transport.summary == "transport 'mixture' to N(0, I), 1 component"
    assert spread[1] > 1.3
    assert abs(spread[2] - 1) < 0.15, spread
    assert abs(spread[3] - 1) < 0.08, spread


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"components": -1}, "components must be at least 1, or 0"),
        ({"scales": 0}, "scales must be a whole number of at least 1, got 0"),
        ({"shrinkage": -0.5}, "shrinkage must be a number of at least 0, got -0.5"),
        ({"shrinkage": math.nan}, "shrinkage must be a number of at least 0, got nan"),
    ],
)
def test_invalid_settings_of_the_mixture_are_refused(setting, message):
    with pytest.raises(InputError, match=f"transport.{message}"):
        MixtureTransport.fit(rings(50, 2), Normal.standard(2), **setting)
