import math

import numpy as np
import pytest
import torch
from torch import nn

import entropic_ae as eae
from entropic_ae import (
    Autoencoder,
    CodeConsistency,
    ImageConsistency,
    InputError,
    NoisyBatchNorm,
    NoisySphere,
    Objective,
    Trace,
)
from entropic_ae.bottlenecks import BatchNorm, Code, Identity
from entropic_ae.bottlenecks.noisy import turned
from entropic_ae.densities import Prior
from entropic_ae.generation import reconstruct, sample
from entropic_ae.networks import MLPDecoder, MLPEncoder


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_turned_code_has_the_angle_and_normal_codes_stay_normal():
    z, e = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])  # orthogonal, of one norm
    for degrees in (0, 30, 90):
        found = turned(z, e, torch.tensor([[math.radians(degrees)]]))
        assert found[0].tolist() == pytest.approx(
            [2 * math.cos(math.radians(degrees)), 2 * math.sin(math.radians(degrees))], abs=1e-6
        )
    torch.manual_seed(7)
    bottleneck = NoisyBatchNorm(3, noise_angle=80.0)
    z = draws(40_000, 3)
    found = bottleneck.for_decoder(z)
    assert torch.allclose(found.T.cov(), torch.eye(3).double(), atol=0.03)
    assert found.pow(4).mean(0).tolist() == pytest.approx([3] * 3, rel=0.05)
    # the mean cosine of a uniform angle is sin(a) / a, with the largest angle a
    largest = math.radians(80)
    assert (z * found).mean().item() == pytest.approx(math.sin(largest) / largest, abs=0.01)


def test_on_the_sphere_codes_stay_uniform():
    torch.manual_seed(7)
    z = nn.functional.normalize(draws(40_000, 3), dim=1)
    found = NoisySphere(3, noise_angle=90.0).for_decoder(z)
    assert found.norm(dim=1).tolist()[:5] == pytest.approx([1] * 5)
    assert found.mean(0).tolist() == pytest.approx([0] * 3, abs=0.01)
    assert found.square().mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.01)
    assert 0.3 < (z * found).sum(1).mean() < 0.9


@pytest.mark.parametrize("kind", [NoisyBatchNorm, NoisySphere])
def test_there_is_no_noise_in_evaluation_nor_at_angle_0(kind):
    z = kind(4)(draws(20, 4)).z
    assert torch.equal(kind(4).eval().for_decoder(z), z)
    assert torch.allclose(kind(4, noise_angle=0.0).for_decoder(z), z)
    for wrong in (-1.0, 91.0, math.nan):
        with pytest.raises(InputError, match="noise_angle must be from 0 to 90 degrees, got"):
            kind(4, noise_angle=wrong)


def test_terms_see_the_codes_and_the_decoder_the_noise():
    torch.manual_seed(0)
    model = Autoencoder(MLPEncoder((1, 8, 8), 4), NoisyBatchNorm(4), MLPDecoder((1, 8, 8), 4))
    x = torch.rand(20, 1, 8, 8)
    trace = model(x)
    assert torch.allclose(trace.code.z, BatchNorm(4)(trace.hidden).z, atol=1e-6)
    assert not torch.allclose(trace.x_hat, model.decode(trace.code.z), atol=1e-3)
    model.eval()
    trace = model(x)
    assert torch.equal(trace.x_hat, model.decode(trace.code.z))
    assert ImageConsistency()(model, trace).item() == 0


def test_consistency_of_linear_maps_is_known():
    """Of a decoder A and an encoder B the code of A z is B A z, and images differ as their codes do, times A."""
    a, b = draws(3, 2, seed=1), draws(2, 3, seed=2)
    model = Autoencoder(nn.Linear(3, 2, bias=False), Identity(2), nn.Linear(2, 3, bias=False)).double()
    with torch.no_grad():
        model.encoder.weight.copy_(b)
        model.decoder.weight.copy_(a)
    z = draws(50, 2, seed=3)
    expected = (z @ (b @ a).T - z).square().sum(1).mean()
    trace = Trace(None, Code(z), z @ a.T)
    assert CodeConsistency()(model, trace).item() == pytest.approx(expected.item())
    model.bottleneck = NoisyBatchNorm(2, noise_angle=90.0)
    torch.manual_seed(5)
    again = model.bottleneck.for_decoder(z)
    torch.manual_seed(5)
    expected = ((z - again) @ a.T).square().sum(1).mean()
    assert ImageConsistency()(model, trace).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("bottleneck", [BatchNorm(4), NoisyBatchNorm(4, noise_angle=0.0)])
def test_images_of_two_noises_need_noise(bottleneck):
    model = Autoencoder(MLPEncoder((1, 8, 8), 4), bottleneck, MLPDecoder((1, 8, 8), 4))
    with pytest.raises(InputError, match="ImageConsistency needs a bottleneck that turns codes for the decoder"):
        Objective([ImageConsistency()], model)


def test_rounds_encode_and_decode_samples():
    torch.manual_seed(0)
    model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    prior = Prior(model.bottleneck.prior())
    once = sample(model, prior, 5)
    assert torch.equal(sample(model, prior, 5, rounds=0), once)
    assert torch.equal(sample(model, prior, 5, rounds=2), reconstruct(model, reconstruct(model, once)))
    for wrong in (-1, 1.5):
        with pytest.raises(InputError, match="rounds must be a whole number of at least 0"):
            sample(model, prior, 5, rounds=wrong)


def test_a_resumed_run_has_the_same_bits_and_is_sampled_in_rounds(tmp_path, call):
    changes = {
        "width": 2,
        "bottleneck": "noisy-batch-norm",
        "noise_angle": 45,
        "terms": "squared_error+image_consistency+code_consistency",
    }
    options = {"set": changes, "limit": 100, "device": "cpu", "progress": False, "preview_every": 0}
    whole = eae.train("bn-ae", "digits", epochs=2, out=tmp_path / "whole", **options)
    eae.train("bn-ae", "digits", epochs=1, out=tmp_path / "parts", **options)
    parts = eae.train("bn-ae", "digits", epochs=2, out=tmp_path / "parts", resume=True, **options)
    assert whole.weights_sha256() == parts.weights_sha256()
    assert torch.equal(whole.sample(3, density="prior", rounds=2), parts.sample(3, density="prior", rounds=2))
    command = ("sample", tmp_path / "whole", "--density", "prior", "--n", 3, "--device", "cpu", "--out")
    for name, rounds in (("once.npz", 0), ("again.npz", 2)):
        assert call(*command, tmp_path / name, "--rounds", rounds)[0] == 0
        images = np.load(tmp_path / name)["images"]
        assert (images == whole.sample(3, density="prior", rounds=rounds).numpy()).all()
    call(*command[:-1], "--rounds", 2)
    assert (tmp_path / "whole" / "samples-prior-rounds-2.png").is_file()
