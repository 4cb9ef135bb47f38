import pytest
import torch

from entropic_ae import (
    Autoencoder,
    BatchNorm,
    InputError,
    MLPDecoder,
    MLPEncoder,
    Prior,
    decode,
    encode,
    interpolate,
    reconstruct,
    sample,
)
from entropic_ae.generation import mix_codes, to_uint8

SHAPE = (1, 8, 8)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Autoencoder(MLPEncoder(SHAPE, 3, hidden=16), BatchNorm(3), MLPDecoder(SHAPE, 3, hidden=16))
    for _ in range(3):
        model(torch.rand(50, *SHAPE))  # running averages
    return model


@pytest.fixture
def images():
    return torch.randint(256, (1203, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_encode_in_evaluation_mode_whatever_the_batch(model, images):
    codes = encode(model, images)
    assert model.training  # left as it was
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(codes, model.encode(images.float() / 255))
    torch.testing.assert_close(encode(model, images[700:701]), codes[700:701])


def test_only_bytes_are_images(model, images):
    for use in (encode, reconstruct):
        with pytest.raises(InputError, match=rf"{use.__name__} expects uint8 images .* got torch.float32"):
            use(model, images[:3] / 255)


def test_parts_that_are_frozen_stay_in_their_mode(model, images):
    model.train()
    model.encoder.eval()
    encode(model, images[:3])
    assert (model.encoder.training, model.bottleneck.training, model.decoder.training) == (False, True, True)


def test_a_float64_model_encodes(model, images):
    single = encode(model, images[:50])
    model.double()
    torch.testing.assert_close(encode(model, images[:50]), single)
    assert reconstruct(model, images[:3]).dtype == torch.uint8


def test_reconstruct_is_decode_of_encode(model, images):
    difference = reconstruct(model, images).int() - decode(model, encode(model, images)).int()
    assert difference.abs().max() <= 1


def test_rounding():
    assert to_uint8(torch.tensor([-0.1, 0.0, 0.5 / 255 + 1e-4, 1.0, 1.2])).tolist() == [0, 0, 1, 255, 255]
    bytes_ = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(bytes_.float() / 255), bytes_)


def test_sample_decodes_the_density(model):
    prior = Prior(model.bottleneck.prior())
    assert torch.equal(sample(model, prior, 5, seed=3), decode(model, prior.sample(5, seed=3)))
    for number in (0, 2.5, "many"):
        with pytest.raises(InputError, match=f"must be a whole number of at least 1, got {number!r}"):
            sample(model, prior, number)
    with pytest.raises(InputError, match="seed must be a whole number from 0 to 4294967295, got 'a'"):
        sample(model, prior, 2, seed="a")


def test_linear_and_spherical_mixes():
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    t = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(mix_codes(a, b, t, "linear")[0], torch.tensor([[2.0, 0], [1, 2], [0, 4]]))
    half = 3 * 0.5**0.5  # the mean length, in the middle direction
    torch.testing.assert_close(mix_codes(a, b, t)[0], torch.tensor([[2.0, 0], [half, half], [0, 4]]))


@pytest.mark.parametrize("b", [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
def test_spherical_falls_back_to_the_line(b):
    mixed = mix_codes(torch.tensor([[1.0, 0.0]]), torch.tensor([b]), torch.tensor([0.5]))
    torch.testing.assert_close(mixed[0, 0], (torch.tensor([1.0, 0.0]) + torch.tensor(b)) / 2)


def test_interpolation_starts_and_ends_at_the_reconstructions(model, images):
    rows = interpolate(model, images[:4], images[4:8], steps=5)
    assert rows.shape == (4, 5, *SHAPE)
    ends = torch.stack([reconstruct(model, images[:4]), reconstruct(model, images[4:8])], 1)
    assert (rows[:, [0, -1]].int() - ends.int()).abs().max() <= 1


def test_interpolate_refuses(model, images):
    with pytest.raises(InputError, match="at least 2 steps, the two ends, got 1"):
        interpolate(model, images[:2], images[:2], steps=1)
    with pytest.raises(InputError, match="equally many start and end images, got 2 and 3"):
        interpolate(model, images[:2], images[:3])
    with pytest.raises(InputError, match="one of linear, spherical, got 'cubic'"):
        interpolate(model, images[:2], images[:2], kind="cubic")
