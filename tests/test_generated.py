import pytest
import torch
from torch import nn

import entropic_ae as eae
from entropic_ae import Autoencoder, FrechetLoss, InputError, Objective, SquaredError, Trace, frechet_distance
from entropic_ae.bottlenecks import Code, Identity
from entropic_ae.estimators import gaussian_frechet, square_root_of
from entropic_ae.terms import FEATURE_NETWORKS
from entropic_ae.terms.generated import Moments


class Affine(nn.Module):
    """A decoder whose images are A z + b, so that their pixels are N(b, A A^T) for normal codes."""

    def __init__(self):
        super().__init__()
        source = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(3, 3, generator=source, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor([0.5, -1.0, 0.0], dtype=torch.float64))

    def forward(self, z):
        return (z @ self.weight.T + self.bias)[:, :, None, None]


class Channels(nn.Module):
    """The pixels of images of one pixel: three features."""

    def forward(self, images):
        return [images]


@pytest.fixture
def affine(monkeypatch):
    monkeypatch.setitem(FEATURE_NETWORKS.data, "channels", Channels)
    return Autoencoder(nn.Flatten(), Identity(3), Affine())


def real_images(n, dtype=torch.float64):
    return torch.randn(n, 3, 1, 1, generator=torch.Generator().manual_seed(1), dtype=dtype) + 1


def a_trace(x, state=None):
    code = Code(torch.zeros(len(x), 3, dtype=x.dtype))
    return Trace(x, code, x, state=state)


def test_the_distance_of_gaussians_is_that_of_the_metric_with_a_gradient():
    source = torch.Generator().manual_seed(0)
    x, y = (torch.randn(40, 4, generator=source, dtype=torch.float64) * scale for scale in (1.0, 2.0))
    moments = [(z.mean(0), z.T.cov()) for z in (x, y)]
    (m, s), (n, t) = moments
    root = square_root_of(s)
    assert gaussian_frechet(m, root, n, t).item() == pytest.approx(frechet_distance(x, y), rel=1e-9)
    assert gaussian_frechet(m, root, m, s).item() == pytest.approx(0, abs=1e-9)
    assert torch.autograd.gradcheck(
        lambda n, a: gaussian_frechet(m, root, n, a @ a.T), (n.requires_grad_(), t.requires_grad_())
    )
    flat = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)  # images without variety
    distance = gaussian_frechet(m, root, m, flat)
    distance.backward()
    assert distance.item() == pytest.approx(s.trace().item())
    assert flat.grad.isfinite().all()


def test_of_gaussian_features_the_loss_is_the_closed_form(affine):
    torch.manual_seed(0)
    x = real_images(20_000)
    features = x.flatten(1)
    covariance = features.T.cov(correction=0)
    a, b = affine.decoder.weight, affine.decoder.bias
    expected = 3 / covariance.trace() * gaussian_frechet(features.mean(0), square_root_of(covariance), b, a @ a.T)
    assert FrechetLoss(network="channels")(affine, a_trace(x)).item() == pytest.approx(expected.item(), rel=0.02)
    # 50 draws a step say the same, by their averages
    term = FrechetLoss(network="channels", decay=0.99)
    real, state = term._real(a_trace(x)), Moments(3)
    object.__setattr__(term, "_real", lambda _: real)
    for _ in range(400):
        value = term(affine, a_trace(x[:50], state))
    assert value.item() == pytest.approx(expected.item(), rel=0.05)
    assert state.steps == 400


def test_the_gradient_is_that_at_the_averages_through_the_minibatch(affine):
    x, weight = real_images(30), affine.decoder.weight
    term, state = FrechetLoss(network="channels", decay=0.9), Moments(3).double()
    term(affine, a_trace(x, state))  # which fills the averages
    kept = state.average.clone()

    def moments():
        torch.manual_seed(3)
        images = affine.decode(affine.bottleneck.prior().sample((30,)).double()).flatten(1) - x.flatten(1).mean(0)
        return torch.cat([images.mean(0)[None], images.T @ images / 30])

    first = moments().detach()
    averages = kept * 0.9 + first * 0.1
    covariance = x.flatten(1).T.cov(correction=0)

    def distance():
        mean, *second = averages + moments() - first
        spread = torch.stack(second) - mean[:, None] * mean
        return (
            3
            / covariance.trace()
            * gaussian_frechet(torch.zeros(3).double(), square_root_of(covariance), mean, spread)
        )

    torch.manual_seed(3)
    value = term(affine, a_trace(x, state))
    value.backward()
    assert value.item() == pytest.approx(distance().item(), rel=1e-9)
    for place in ((0, 0), (2, 1)):
        ends = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight[place] += step
                ends.append(distance().item())
                weight[place] -= step
        assert weight.grad[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_averages_move_in_training_alone_and_those_of_the_decoder_never():
    torch.manual_seed(0)
    model = eae.configure(eae.RECIPES["bn-ae"], eae.PRESETS["digits"], {"width": 2}).build((1, 8, 8))[0]
    images = torch.randint(256, (60, 1, 8, 8), dtype=torch.uint8)
    objective = Objective([SquaredError(), FrechetLoss(decay=0.5)], model)
    objective.prepare(lambda _: None, images)
    buffers = {name: buffer.clone() for name, buffer in model.decoder.named_buffers()}
    term, state = objective.terms[1], objective.states["frechet"]
    trace = Trace(images / 255, Code(torch.zeros(60, 8)), images / 255, state=state)
    term(model, trace)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.decoder.named_buffers())
    assert all(module.training for module in model.modules())
    before = state.average.clone()
    model.eval()
    term(model, trace)
    assert torch.equal(state.average, before)
    again = Objective([SquaredError(), FrechetLoss(decay=0.5)], model)
    again.prepare(lambda _: None, images)
    again.load_state_dict(objective.state_dict())
    assert (again.states["frechet"].steps, again.states["frechet"].average.equal(before)) == (1, True)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    out = tmp_path_factory.mktemp("begun") / "run"
    return eae.train("eae", "digits", set={"width": 2}, epochs=1, limit=200, out=out, device="cpu", progress=False)


@pytest.fixture(scope="module")
def train_on(begun, tmp_path_factory):
    folder = tmp_path_factory.mktemp("after")

    def go(name, epochs, **more):
        changes = {"terms": "squared_error+frechet", "encoder_rate": 0, "frechet": 5.0}
        options = {"epochs": epochs, "out": folder / name, "device": "cpu", "progress": False}
        return eae.train(start_from=begun.folder, set=changes, preview_every=0, **options, **more)

    return go


def test_the_encoder_stays_and_a_resumed_run_has_the_same_bits(begun, train_on):
    whole = train_on("whole", 3)
    train_on("parts", 2)
    parts = train_on("parts", 3, resume=True)
    assert whole.weights_sha256() == parts.weights_sha256()
    before, after = begun.model.state_dict(), whole.model.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same >= {name for name in before if name.startswith(("encoder.", "bottleneck."))}
    assert not [name for name in same if name.startswith("decoder.") and name.endswith("weight")]
    images = begun.data.test.images[:20]
    assert torch.equal(begun.encode(images), whole.encode(images))
    first, *_, last = whole.files.read_log()["train_frechet"]
    assert last < first
    assert all(parameter.requires_grad for parameter in whole.model.parameters())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: FrechetLoss(network="nothing"), "unknown feature network 'nothing'"),
        (lambda: FrechetLoss(decay=1.0), "frechet.decay must be at least 0 and below 1, got 1.0"),
        (lambda: eae.Settings(encoder_rate=-1.0), "above 0, or 0 for an encoder that stays as it is, got -1.0"),
        (lambda: eae.Settings(decoder_rate=0.0), "decoder_rate must be a finite number above 0"),
    ],
)
def test_wrong_settings_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
