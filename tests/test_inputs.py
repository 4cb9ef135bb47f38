"""Images given to a trained model: every form of the same pixels is one, and what is no image is refused."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import entropic_ae as eae
from entropic_ae import InputError
from entropic_ae.data import images_for
from entropic_ae.data.decoding import Fit

GREY, RGB = Fit(1, 8, 16), Fit(3, 8, 16)


def pixels(channels, n=3):
    return torch.randint(
        2, 256, (n, channels, 8, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


def forms(images, folder):
    """Return images, uint8 (N, C, H, W), in every form that holds the same pixels."""
    last = images.permute(0, 2, 3, 1)
    pil = [Image.fromarray(one.squeeze(2).numpy()) for one in last]
    for number, one in enumerate(pil):
        one.save(folder / f"{number}.png")
    np.save(folder / "images.npy", images)
    paths = sorted(folder.glob("*.png"))
    labels = torch.arange(len(images))
    return {
        "tensor": images,
        "array": images.numpy(),
        "floats": images.float() / 255,
        "doubles that need a gradient": (images.double() / 255).requires_grad_(),
        "channels last": last,
        "floats, channels last": last.numpy() / np.float32(255),
        "list of arrays": [one.numpy() for one in images],
        "split": eae.Split(images, labels),
        "pair": (images, labels),
        "PIL images": pil,
        "paths": paths,
        "texts": [str(path) for path in paths],
        "paths and PIL images": [paths[0], *pil[1:]],
        "file of arrays": folder / "images.npy",
        "data set of tensors": TensorDataset(images.float() / 255, labels),
        "data set of PIL images": torch.utils.data.StackDataset(pil, labels.tolist()),
        "Hugging Face": datasets.Dataset.from_dict({"image": pil}, datasets.Features({"image": datasets.Image()})),
    }


@pytest.mark.parametrize("fit", [GREY, RGB], ids=["grey", "rgb"])
def test_every_form_gives_the_same_images(fit, tmp_path):
    images = pixels(fit.channels)
    given = forms(images, tmp_path)
    if fit.channels == 1:
        given["no channel"] = images[:, 0]
    for name, form in given.items():
        assert torch.equal(images_for(fit, form), images), name
    one = {
        "image": images[0],
        "channel last": images[0].permute(1, 2, 0),
        "PIL": given["PIL images"][0],
        "path": tmp_path / "0.png",
        "text": str(tmp_path / "0.png"),
        **({"no channel": images[0, 0]} if fit.channels == 1 else {}),
    }
    for name, form in one.items():
        assert torch.equal(images_for(fit, form), images[:1]), name


def test_photographs_of_any_size_are_fitted_as_in_training(tmp_path):
    photo = Image.new("RGB", (60, 20), "red")
    photo.paste("white", (10, 0, 50, 20))
    assert images_for(RGB, [photo, photo.resize((32, 16))]).shape == (2, 3, 8, 16)
    assert (images_for(RGB, photo) == 255).all()  # the largest centre part of this aspect
    photo.save(tmp_path / "a.png")
    assert torch.equal(images_for(GREY, tmp_path / "a.png"), images_for(GREY, photo))


def test_values_follow_the_range_of_the_run():
    assert images_for(GREY, np.full((8, 16), -1.0), (-1, 1)).unique().tolist() == [0]
    assert images_for(GREY, np.full((8, 16), 4095, np.uint16), (0, 4095)).unique().tolist() == [255]
    assert images_for(GREY, np.ones((8, 16), bool)).unique().tolist() == [255]
    ones = Fit(1, 8, 16, ones=True)
    with pytest.warns(UserWarning, match="hold 0 and 1 only: 1 becomes white"):
        assert images_for(ones, np.eye(8, 16, dtype=np.uint8)).unique().tolist() == [0, 255]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.full((8, 16), 200.0), "expected floats in .0, 1., got values from 200 to 200; divide by 255"),
        (np.linspace(-1, 1, 128).reshape(8, 16), r"from -1 to 1; if black is -1, give \(images \+ 1\) / 2"),
        (np.full((8, 16), -2.1), "undo the normalisation of a transform first"),
        (np.full((8, 16), 1 / 255), "all would be black: divide by 255 once only"),
        (np.full((8, 16), np.nan), "hold NaN or infinity"),
        (np.full((8, 16), 7, np.int64), "expected uint8 images, or floats in .0, 1., got int64"),
        (
            np.zeros((3, 8, 8), np.uint8),
            r"expected uint8 images \(N, 1, 8, 16\), got uint8 of shape \(3, 8, 8\); resize",
        ),
        (np.zeros((2, 3, 8, 16), np.uint8), r"got uint8 of shape \(2, 3, 8, 16\)"),
        ([np.zeros((8, 16)), np.zeros((8, 8))], "a list of arrays that differ, such as float64 of shape"),
        ([[1, 2], [3]], "expected images to be images"),
        (["missing.png"], "missing.png of the list of images is not a file"),
        ("nothing-of-that-name", "nothing-of-that-name"),
        ([], "expected images to be images"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        images_for(GREY, given)


def test_damaged_images_are_named_and_not_left_out(tmp_path):
    Image.new("L", (16, 8), 9).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:40])
    with pytest.raises(InputError, match=r"cut\.png cannot be read as an image"):
        images_for(GREY, [tmp_path / "whole.png", tmp_path / "cut.png"])
    with pytest.raises(InputError, match=r"cut\.png cannot be read as an image"):
        images_for(GREY, tmp_path / "cut.png")
    with pytest.raises(InputError, match="all splits of a data set; give those of one"):
        images_for(GREY, eae.load_images("digits"))
