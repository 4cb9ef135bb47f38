"""The Inception features against torch-fidelity's own, on randomly initialised weights."""

import pickle
import urllib.error
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from inception import random_inception
from torch import nn

from entropic_ae.errors import InputError
from entropic_ae.features import load_features
from entropic_ae.metrics import frechet_distance

DATA = SimpleNamespace(name="noise")


def noise(n, seed, channels=3, top=256):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, top, (n, channels, 16, 16), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def network(_needs_torch_fidelity):
    return random_inception()


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.save(network.state_dict(), folder / "inception.pth")
    safetensors.torch.save_file(network.state_dict(), folder / "inception.safetensors")
    return folder


@pytest.fixture(scope="module")
def features(folder):
    return load_features("inception", DATA, weights=folder / "inception.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_features_equal_torch_fidelitys(network, folder, suffix):
    state = torch.get_rng_state()
    features = load_features("inception", DATA, weights=folder / f"inception{suffix}")
    assert torch.equal(torch.get_rng_state(), state)
    images = noise(3, 0)
    with torch.no_grad():
        (expected,) = network(images)
    assert (features.name, features.dim) == ("inception", 2048)
    assert expected.std() > 0
    torch.testing.assert_close(features(images), expected)


def test_features_do_not_depend_on_batches(features, monkeypatch):
    monkeypatch.setattr(features, "_batch_size", 3)
    images = noise(5, 1)  # more than one internal batch
    together = features(images)
    apart = torch.cat([features(part) for part in images.split(2)])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_grey_is_repeated(features):
    grey = noise(2, 2, channels=1)
    torch.testing.assert_close(features(grey), features(grey.repeat(1, 3, 1, 1)))


def test_other_channels_are_refused(features):
    with pytest.raises(InputError, match="1 or 3 channels, got 4"):
        features(noise(1, 0, channels=4))


def without_a_key(state):
    del state["Mixed_5b.branch1x1.conv.weight"]
    return state


def with_another_shape(state):
    state["fc.weight"] = state["fc.weight"][:1000].clone()
    return state


@pytest.mark.parametrize("change", [without_a_key, with_another_shape, lambda _: nn.Linear(2, 2).state_dict()])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_another_network_are_refused(network, tmp_path, change, suffix):
    path = tmp_path / f"other{suffix}"
    state = change(dict(network.state_dict()))
    if suffix == ".pth":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path)
    with pytest.raises(InputError, match="does not hold the FID Inception network's weights"):
        load_features("inception", DATA, weights=path)


class Payload:
    """Unpickled without care, this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_a_pickle_is_refused_and_not_executed(tmp_path, save):
    mark, path = tmp_path / "executed", tmp_path / "evil.pth"
    save({"fc.weight": Payload(mark)}, path)
    with pytest.raises(InputError, match="not a file of plain tensors"):
        load_features("inception", DATA, weights=path)
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["damaged.pth", "damaged.safetensors", "empty.pth"])
def test_damaged_files_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"\x80garbage" * 50)
    with pytest.raises(InputError, match="not a file of plain tensors"):
        load_features("inception", DATA, weights=tmp_path / name)


def test_files_that_are_absent_or_hold_no_state_dict_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_features("inception", DATA, weights=tmp_path / "absent.pth")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(InputError, match="must hold a state dict"):
        load_features("inception", DATA, weights=tmp_path / "tensor.pth")


def test_a_failed_download_names_both_ways_out(monkeypatch):
    def offline(*_args, **options):
        assert options["check_hash"]
        assert options["weights_only"]
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(InputError, match=r"no route to host.*go online.*--weights FILE"):
        load_features("inception", DATA)


def test_a_damaged_download_says_what_to_delete(monkeypatch):
    def damaged(*_args, **_options):
        raise pickle.UnpicklingError("invalid load key")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", damaged)
    with pytest.raises(InputError, match=r"invalid load key.*delete them and try again.*--weights FILE"):
        load_features("inception", DATA)


def test_frechet_distance_equals_torch_fidelitys(features, folder):
    import torch_fidelity

    class Images(torch.utils.data.Dataset):
        def __init__(self, images):
            self.images = images

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return self.images[index]

    real, fake = noise(6, 3), noise(6, 4, top=128)
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(real),
        input2=Images(fake),
        fid=True,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
        feature_extractor_weights_path=str(folder / "inception.pth"),
    )["frechet_inception_distance"]
    assert theirs > 0
    assert frechet_distance(features(real), features(fake)) == pytest.approx(theirs, rel=1e-4)
