"""Measures of normality and of the difference of samples, against formulas by loops and known answers."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from entropic_ae import (
    PRESETS,
    RECIPES,
    TERMS,
    Autoencoder,
    BatchNorm,
    Code,
    CodeLoss,
    CramerWold,
    Cube,
    EnergyDistance,
    InputError,
    KNNDivergence,
    KoLeo,
    MatricialFreeEnergy,
    MaximumMeanDiscrepancy,
    MLPDecoder,
    MLPEncoder,
    NormTransport,
    Objective,
    SIGReg,
    SlicedWasserstein,
    SquaredError,
    Trace,
    Whitening,
    configure,
    cramer_wold,
    energy_distance,
    epps_pulley,
    knn_divergence,
    load,
    matricial_free_energy,
    norm_transport,
    sliced_transport,
    train,
)

ON_CODES = ("energy_distance", "knn_divergence", "sliced_wasserstein", "sigreg", "cramer_wold", "free_energy")
ON_CODES = (*ON_CODES, "norm_transport", "koleo", "mmd", "negative_entropy")


def normal(n, dim, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(bottleneck, dim=4):
    return Autoencoder(MLPEncoder((1, 8, 8), dim), bottleneck(dim), MLPDecoder((1, 8, 8), dim))


def test_energy_distance_is_that_of_a_double_loop():
    x, y = normal(7, 3), normal(5, 3, 1) + 0.5
    pairs = [np.linalg.norm(a - b) for a in x.numpy() for b in y.numpy()]
    within = [[np.linalg.norm(a - b) for i, a in enumerate(s.numpy()) for b in s.numpy()[:i]] for s in (x, y)]
    expected = 2 * np.mean(pairs) - np.mean(within[0]) - np.mean(within[1])
    assert energy_distance(x, y).item() == pytest.approx(expected, rel=1e-9)


def test_energy_distance_in_one_dimension_is_the_square_of_scipys():
    """Twice the integral of the squared difference of the distribution functions; SciPy counts pairs of itself."""
    x, y = normal(1000, 1), 1.5 * normal(1000, 1, 1) + 1
    expected = stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy()) ** 2
    assert energy_distance(x, y).item() == pytest.approx(expected, abs=6e-3)


@pytest.mark.parametrize("k", [1, 3])
def test_knn_divergence_is_that_of_a_double_loop(k):
    x, y = normal(20, 3), 1.3 * normal(15, 3, 1)
    total = 0.0
    for i, a in enumerate(x.numpy()):
        rho = sorted(np.linalg.norm(a - b) for j, b in enumerate(x.numpy()) if j != i)[k - 1]
        nu = sorted(np.linalg.norm(a - b) for b in y.numpy())[k - 1]
        total += 3 * math.log(nu / rho) / 20
    assert knn_divergence(x, y, k).item() == pytest.approx(total + math.log(15 / 19), abs=1e-9)


def test_knn_divergence_of_gaussians():
    """KL(N(m, s^2) || N(0, 1)) = (s^2 + m^2 - 1 - log s^2) / 2 a dimension."""
    value = knn_divergence(0.5 * normal(2000, 2) + 0.3, normal(2000, 2, 1)).item()
    assert value == pytest.approx(0.25 + 0.09 - 1 - math.log(0.25), abs=0.2)


def test_epps_pulley_is_that_of_the_closed_form():
    """With the whole line in place of +-3: sums over pairs, of one dimension, where every direction is +-1."""
    x = 1.2 * normal(30, 1) + 0.3
    value = epps_pulley(x, slices=3, nodes=2000, reach=40).item()
    one = x[:, 0]
    pairs = ((one[:, None] - one).square() / -2).exp().mean()
    across = (one.square() / -4).exp().mean() / math.sqrt(2)
    expected = math.sqrt(2 * math.pi) * (pairs - 2 * across + 1 / math.sqrt(3)).item()
    assert value == pytest.approx(expected, rel=1e-6)


def test_epps_pulley_of_normal_codes_falls_with_their_number():
    for n in (64, 512):
        values = [epps_pulley(normal(n, 8, seed), slices=64).item() * n for seed in range(40)]
        assert np.mean(values) == pytest.approx(1.0527, abs=4 * np.std(values) / math.sqrt(40))


@pytest.mark.parametrize("dim", [1, 2, 3, 16])
def test_cramer_wold_is_the_mean_over_directions(dim):
    """Of the squared L2 distance of the smoothed projections, by products of Gaussians."""
    z = normal(50, dim) * 0.8 + 0.2
    gamma = (4 / 150) ** 0.4
    directions = torch.nn.functional.normalize(normal(1500, dim, 1), dim=1)
    x = z @ directions.T  # (N, S)
    within = ((x[:, None] - x).square() / (-4 * gamma)).exp().mean((0, 1)) / math.sqrt(4 * math.pi * gamma)
    across = (x.square() / (-2 - 4 * gamma)).exp().mean(0) / math.sqrt(2 * math.pi * (1 + 2 * gamma))
    by_direction = within + 1 / math.sqrt(4 * math.pi * (1 + gamma)) - 2 * across
    error = by_direction.std().item() / math.sqrt(1500) + 1e-9
    assert cramer_wold(z).item() == pytest.approx(by_direction.mean().item(), abs=5 * error)


def test_free_energy_is_that_of_a_double_loop():
    z = normal(12, 4)
    values = np.linalg.svd(z.numpy(), compute_uv=False) ** 2
    potential = np.mean(values / 4 - (12 / 4 - 1) * np.log(values))
    pairs = [math.log(abs(a - b)) for i, a in enumerate(values) for j, b in enumerate(values) if i != j]
    assert matricial_free_energy(z).item() == pytest.approx(potential - np.mean(pairs), rel=1e-9)


def test_free_energy_is_blind_to_the_shape_of_codes():
    """Codes of +-1 score as normal ones do, within their spread over batches."""
    signs = torch.tensor([matricial_free_energy(normal(200, 8, s).sign()).item() for s in range(20)])
    codes = torch.tensor([matricial_free_energy(normal(200, 8, s)).item() for s in range(20)])
    assert abs(signs.mean() - codes.mean()) < 2 * codes.std()
    whitened, _ = torch.linalg.qr(normal(200, 8))
    whitened.requires_grad_()
    value = matricial_free_energy(whitened)  # equal singular values
    value.backward()
    assert value.isfinite()
    assert whitened.grad.isfinite().all()


def test_transport_of_norms_and_slices():
    z = normal(2000, 16)
    shell = z / z.norm(dim=1, keepdim=True) * 4
    law = stats.chi(16)
    expected = law.var() + (law.mean() - 4) ** 2  # from a point to the law of the norms
    assert norm_transport(shell).item() == pytest.approx(expected, rel=0.01)
    assert norm_transport(z).item() < 0.01
    assert sliced_transport(z, slices=50).item() < 0.01
    assert sliced_transport(3 * z[:, :1]).item() == pytest.approx(4, rel=0.1)  # (3 - 1)^2


def test_koleo_is_that_of_a_double_loop():
    z = normal(9, 4)
    unit = (z / z.norm(dim=1, keepdim=True)).numpy()
    nearest = [min(np.linalg.norm(a - b) for j, b in enumerate(unit) if j != i) for i, a in enumerate(unit)]
    assert CodeLoss(KoLeo())(z).item() == pytest.approx(-np.mean(np.log(nearest)), rel=1e-9)
    assert CodeLoss(KoLeo(2.0))(5 * z).item() == pytest.approx(2 * CodeLoss(KoLeo())(z).item())


@pytest.mark.parametrize("name", ON_CODES)
def test_coincident_and_constant_codes_are_finite(name):
    loss = CodeLoss(TERMS[name]())
    for z in (torch.zeros(20, 4), normal(10, 4).float().repeat(2, 1), normal(20, 4).float() + 1e4):
        z.requires_grad_()
        value = loss(z)
        value.backward()
        assert value.isfinite(), z
        assert z.grad.isfinite().all(), z


@pytest.mark.parametrize("name", ON_CODES)
def test_a_term_alone_is_a_module_of_one_input(name):
    z, term, model = normal(40, 4).float(), TERMS[name](0.5), make(BatchNorm)
    torch.manual_seed(1)
    alone = CodeLoss(term)(z)
    torch.manual_seed(1)
    assert alone.item() == pytest.approx(0.5 * term(model, Trace(None, Code(z), None)).item())
    assert f"{type(term).__name__}(weight=0.5" in str(CodeLoss(term))


def test_cramer_wold_of_codes_far_from_the_origin_is_that_of_float64():
    z = normal(200, 16) + 1e4
    assert cramer_wold(z.float()).item() == pytest.approx(cramer_wold(z).item(), rel=1e-3)


def test_norms_hold_what_the_estimate_of_the_entropy_loses():
    """At 16 dimensions a shell has a higher estimate than normal codes; with the norms it has not."""
    z = normal(400, 16)
    shell = z / z.norm(dim=1, keepdim=True) * 4
    entropy, norms = CodeLoss(TERMS["negative_entropy"]()), CodeLoss(NormTransport(20.0))
    assert entropy(shell) < entropy(z)
    assert entropy(shell) + norms(shell) > entropy(z) + norms(z)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: epps_pulley(torch.zeros(5, 2), nodes=1), "at least 2 nodes and a reach above 0, got 1 and 3.0"),
        (lambda: epps_pulley(torch.zeros(5, 2), slices=0), "epps_pulley expects at least 1 slice, got 0"),
        (
            lambda: cramer_wold(torch.zeros(1, 2)),
            r"floating-point codes \(N, D\), N at least 2, got torch.float32",
        ),
        (lambda: matricial_free_energy(torch.zeros(4, 4)), "more codes than dimensions, got 4 of 4; raise the"),
        (lambda: energy_distance(torch.zeros(4, 2), torch.zeros(4, 3)), "one width, got widths 2 and 3"),
        (lambda: knn_divergence(torch.zeros(4, 2), torch.zeros(4, 2), 4), "k of at least 1, got 4 and 4 and k=4"),
        (lambda: CodeLoss(SIGReg), "CodeLoss expects a term on codes, such as SIGReg"),
        (
            lambda: CodeLoss(KoLeo())(torch.ones(1, 8)),
            r"floats of shape \(N, D\), N at least 2, got \(1, 8\) of float",
        ),
        (lambda: CodeLoss(KoLeo())(torch.ones(4, 5, 8)), r"of shape \(N, D\), N at least 2, got \(4, 5, 8\)"),
        (lambda: CodeLoss(KoLeo())(torch.ones(4, 8).long()), r"got \(4, 8\) of int64"),
        (lambda: CodeLoss(TERMS["squared_error"]())(torch.ones(4, 8)), "a term that reads codes alone, got Squ"),
        (lambda: CodeLoss(TERMS["kl_divergence"]())(torch.ones(4, 8)), "a term that reads codes alone, got Kul"),
        (lambda: CodeLoss(TERMS["frechet"]())(torch.ones(4, 8)), "a term that reads codes alone, got FrechetLoss"),
        (lambda: CodeLoss(TERMS["negative_entropy"](memory=50)), "CodeLoss sees one minibatch, .* set memory=0"),
        (lambda: SIGReg(slices=0), "sigreg.slices must be at least 1, got 0"),
        (lambda: SlicedWasserstein(slices=-1), "sliced_wasserstein.slices must be at least 1, got -1"),
        (lambda: KNNDivergence(k=0), "knn_divergence.k must be at least 1, got 0"),
        (
            lambda: Objective([SquaredError(), SIGReg()], make(Cube)),
            r"SIGReg compares codes with N\(0, I\), and Cube has another prior; use BatchNorm",
        ),
        (
            lambda: Objective([SquaredError(), MatricialFreeEnergy()], make(Whitening)),
            "the covariance of the codes alone, which Whitening fixes",
        ),
    ],
)
def test_what_cannot_work_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("name", sorted({*ON_CODES, "norm_transport", "koleo", "mmd"} - {"free_energy"}))
def test_a_code_that_is_no_number_makes_no_number_of_the_loss(name):
    z = normal(10, 4)
    z[3, 2] = math.nan
    assert CodeLoss(TERMS[name]())(z).isnan()


@pytest.mark.parametrize(
    "term",
    [
        CramerWold(),
        EnergyDistance(),
        KNNDivergence(symmetric=True),
        MaximumMeanDiscrepancy(),
        SIGReg(slices=64),
        SlicedWasserstein(slices=64),
    ],
    ids=lambda term: term.name,
)
def test_normal_codes_have_no_better_scale_in_minibatches_than_their_own(term):
    """Not so for a Sinkhorn divergence; see findings/geomloss-sinkhorn-shrinks-codes.sh."""
    torch.manual_seed(0)
    loss = CodeLoss(term)
    draws = torch.randn(60, 100, 16)
    means = {
        scale: torch.stack([loss(scale * z) for z in draws]).mean().item() for scale in (0.01, 0.5, 0.9, 1.0, 1.1)
    }
    assert min(means, key=means.get) == 1.0
    assert means[0.01] > means[0.5] > means[0.9]


def test_terms_that_draw_take_the_prior_of_the_bottleneck():
    torch.manual_seed(0)
    model = make(Cube)
    for term in (EnergyDistance(), KNNDivergence()):
        inside = term(model, Trace(None, Code(2 * torch.rand(300, 4) - 1), None))
        assert inside < term(model, Trace(None, Code(torch.randn(300, 4)), None))


def test_terms_are_chosen_by_a_setting():
    system = configure(RECIPES["eae"], PRESETS["digits"], {"terms": "squared_error+sigreg", "sigreg": "3"})
    assert system.recipe.terms == (SquaredError(), SIGReg(3.0))
    settings = system.settings()
    assert (settings["terms"], settings["sigreg.slices"]) == ("squared_error+sigreg", 256)
    both = configure(
        RECIPES["eae"],
        PRESETS["digits"],
        {"terms": "squared_error+negative_entropy+norm_transport", "entropy": 0.2},
    )
    assert [term.weight for term in both.recipe.terms] == [1.0, 0.2, 1.0]
    with pytest.raises(InputError, match="unknown term 'sigregg'; did you mean 'sigreg'"):
        configure(RECIPES["eae"], PRESETS["digits"], {"terms": "squared_error+sigregg"})
    for wrong in ("", "squared_error+", "squared_error+squared_error"):
        with pytest.raises(InputError, match="names of different terms joined by"):
            configure(RECIPES["eae"], PRESETS["digits"], {"terms": wrong})
    with pytest.raises(InputError, match="unknown setting 'entropy'"):
        configure(RECIPES["bn-ae"], PRESETS["digits"], {"terms": "squared_error+sigreg", "entropy": 1})


@pytest.mark.parametrize("name", [name for name in ON_CODES if name != "negative_entropy"])
def test_a_run_with_any_of_the_terms_is_loaded_again(name, tmp_path):
    settings = {"terms": f"squared_error+{name}", "width": 2, "batch_size": 50}
    options = {"epochs": 1, "limit": 100, "device": "cpu", "progress": False}
    run = train("bn-ae", "digits", set=settings, out=tmp_path / "run", **options)
    assert torch.equal(load(run.folder, device="cpu").sample(2, density="prior"), run.sample(2, density="prior"))
    if name != "sigreg":
        return
    plain = train(start_from=run.folder, set={"terms": "squared_error"}, out=tmp_path / "plain", **options)
    assert plain.info.overrides == {"width": 2, "batch_size": 50, "epochs": 1, "terms": "squared_error"}
    other = train("eae", start_from=run.folder, out=tmp_path / "other", **options)
    assert [term.name for term in other.system.recipe.terms] == [
        "squared_error",
        "negative_entropy",
        "decoder_decay",
    ]
