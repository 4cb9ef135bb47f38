import numpy as np
import pytest
import torch
from PIL import Image

from entropic_ae import InputError, image_grid, save_images


def test_grid_places_images_row_by_row():
    images = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 3, 64, 64) * 10
    grid = image_grid(images, columns=3)
    assert grid.shape == (3, 8 + 2 * 72, 8 + 3 * 72)
    for i in range(5):
        top, left = 8 + i // 3 * 72, 8 + i % 3 * 72
        assert grid[:, top : top + 64, left : left + 64].unique().tolist() == [10 * i]
    assert grid[:, 80:144, 152:216].unique().tolist() == [255]  # the empty sixth place
    assert grid[:, :8].unique().tolist() == [255]


def test_small_images_are_enlarged_by_whole_pixels():
    image = torch.randint(255, (1, 1, 8, 8), dtype=torch.uint8)
    grid = image_grid(image)
    assert grid.shape == (1, 80, 80)
    assert torch.equal(grid[:, 8:72:8, 8:72:8], image[0])


def test_grid_of_none_is_refused():
    with pytest.raises(InputError, match="at least one image, got none"):
        image_grid(torch.zeros(0, 1, 8, 8, dtype=torch.uint8))


def test_one_image_and_rows_of_images_are_drawn_too():
    images = torch.randint(256, (2, 3, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(image_grid(images), image_grid(images.flatten(0, 1), columns=3))
    assert torch.equal(image_grid(images[0, 0]), image_grid(images[0, :1]))
    assert torch.equal(image_grid(images.numpy()), image_grid(images))


@pytest.mark.parametrize("wrong", [torch.zeros(2, 1, 8, 8), torch.zeros(8, 8, dtype=torch.uint8)])
def test_pixels_of_another_kind_are_refused(tmp_path, wrong):
    with pytest.raises(InputError, match="expected uint8 images"):
        save_images(wrong, tmp_path / "out.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [1, 3])
def test_saved_images_are_read_back(tmp_path, channels):
    images = torch.randint(256, (11, channels, 8, 16), dtype=torch.uint8)
    folder = save_images(images, tmp_path / "folder")
    names = sorted(p.name for p in folder.iterdir())
    assert names == [f"{i:02}.png" for i in range(11)]
    third = np.asarray(Image.open(folder / "03.png"))
    assert np.array_equal(third, images[3, 0] if channels == 1 else images[3].permute(1, 2, 0))
    assert np.array_equal(np.load(save_images(images, tmp_path / "a.npz"))["images"], images)


def test_nothing_is_overwritten_unless_asked(tmp_path):
    images = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    for name in ("a.png", "a.npz", "a"):
        save_images(images, tmp_path / name)
        with pytest.raises(InputError, match="exists and is not overwritten"):
            save_images(images, tmp_path / name)
    save_images(images + 9, tmp_path / "a.npz", overwrite=True)
    assert np.load(tmp_path / "a.npz")["images"].max() == 9
    (tmp_path / "empty").mkdir()
    save_images(images, tmp_path / "empty")
    with pytest.raises(InputError, match=r"cannot write '\.gif' files"):
        save_images(images, tmp_path / "a.gif")
