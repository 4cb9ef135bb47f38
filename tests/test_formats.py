"""Facts about image files of every depth, and about what a folder holds besides: right, or refused."""

import io
import re
import warnings
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import entropic_ae as eae
from entropic_ae import explore
from entropic_ae.data import formats, load_images, read_images, streaming
from entropic_ae.data.decoding import Fit
from entropic_ae.errors import InputError
from entropic_ae.storage.run_info import RunInfo

PAGE = Path(__file__).parent.parent / "docs" / "data.md"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def ramp(most, shift=0, dtype=np.uint16):
    """Return an image of 16 x 16 pixels with 17 levels from 0 to ``most``."""
    levels = np.rint(np.arange(256) * 17 // 256 * (most / 16)).reshape(16, 16)
    return np.roll(levels, shift, axis=0).astype(dtype)


def write(folder, arrays, suffix="png", **options):
    folder.mkdir(exist_ok=True)
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{i:02}.{suffix}", **options)
    return folder


def pixels(data):
    return torch.cat([data.train.images, data.validation.images, data.test.images])


# the table


def test_the_table_of_formats_says_right_or_refused():
    """``tools/update_docs.py`` makes the rows of files that it writes; ``test_readme`` makes them again."""
    table = re.search(r"<!-- formats: .*? -->\n(.*?)<!-- end", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    rows = [line.strip("|").split("|") for line in table.replace("\\|", "/").splitlines()[2:]]
    rows = [[cell.strip() for cell in row] for row in rows]
    assert len(rows) >= 60
    dark = {("PNG", "0 to 16"), ("array", "0 to 16")}  # of 255, as the files say
    for kind, mode, bits, values, largest, levels, outcome in rows:
        if outcome.startswith("refused"):
            assert not largest
            assert ";" in outcome or "?" in outcome, outcome  # a remedy or a question
        elif (kind, values) in dark:
            assert largest == "16"
        else:
            assert largest in ("255", "about 255"), (kind, mode, bits, values)
            expected = "2" if values == "0 and 1" else "16" if "transparent" in values else "17"  # black as white
            assert levels in ("", expected), (kind, mode, bits, values)


# depth


def test_12_bits_in_16_bit_files_use_all_levels(tmp_path):
    """CT, MR and X-ray: 255 and 17 levels instead of 15 and 16."""
    from sklearn.datasets import load_digits

    digits = load_digits().images[:120].repeat(2, 1).repeat(2, 2) / 16
    write(tmp_path / "twelve", [(x * 4095).round().astype(np.uint16) for x in digits])
    with pytest.warns(
        UserWarning, match=r"values up to 4,095: 4,095 becomes white \(255\), for the whole set"
    ) as seen:
        data = load_images(tmp_path / "twelve")
    assert len(seen) == 1
    assert (int(pixels(data).max()), len(pixels(data).unique()), data.white) == (255, 17, 4095)
    expected = {np.rint(x * 255).astype(np.uint8).tobytes() for x in digits}
    found = {image.numpy().tobytes() for image in pixels(data)}
    assert len(found & expected) > 0.9 * len(expected)  # 4,095 steps round otherwise than 16


@pytest.mark.parametrize(
    ("most", "white"), [(255, 255), (256, 1023), (1023, 1023), (4000, 4095), (4096, 16383), (16384, 65535)]
)
def test_the_white_is_that_of_the_fewest_bits(tmp_path, most, white):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        data = load_images(write(tmp_path / "set", [ramp(most, i) for i in range(12)]))
    assert data.white == white
    assert int(pixels(data).max()) == (most >> 8 if white == 65535 else round(most * 255 / white))


def test_a_set_of_16_bits_and_single_dark_images_stay_as_they_are(tmp_path):
    dark = [ramp(512, i) for i in range(11)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        data = load_images(write(tmp_path / "set", [*dark, ramp(65535)]))
    assert data.white == 65535
    assert sorted(pixels(data).flatten(1).amax(1).tolist()) == [2] * 11 + [255]


def test_a_few_bright_pixels_that_make_the_rest_black_are_told(tmp_path):
    images = [ramp(4095, shift) for shift in range(12)]
    images[3][0, 0] = 65535
    sentence = r"only 1 of 3,072 pixels of .* are brighter than 8,224 of 65,535, .* the rest is nearly black"
    with pytest.warns(UserWarning, match=sentence) as told:
        data = load_images(write(tmp_path / "hot", images))
    assert told[0].filename == __file__
    assert pixels(data).max() == 255
    images[3][0, 0] = 4095  # the remedy
    with pytest.warns(UserWarning, match="4,095 becomes white") as told:
        assert len(pixels(load_images(write(tmp_path / "limited", images))).unique()) == 17
    assert [one.filename for one in told] == [__file__]


def test_8_bit_files_have_no_white(tmp_path):
    data = load_images(write(tmp_path / "set", [ramp(255, i, np.uint8) for i in range(12)]))
    assert data.white is None


def test_a_run_keeps_the_white_of_its_images(tmp_path):
    folder = write(tmp_path / "set", [ramp(4095, i) for i in range(16)])
    small = {"width": 2, "latent_dim": 2, "batch_size": 8}
    with pytest.warns(UserWarning, match="4,095 becomes white"):
        run = eae.train("ae", folder, set=small, epochs=1, out=tmp_path / "run", device="cpu", progress=False)
    run = eae.load(tmp_path / "run", device="cpu")
    assert (run.info.white, run.info["white"]) == (4095, 4095)
    dark, bright = write(tmp_path / "dark", [ramp(160)]), write(tmp_path / "bright", [ramp(5000)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert pixels(run.data).max() == 255
        assert read_images(dark, run.shape, white=run.info.white).max() == round(160 * 255 / 4095)
    with pytest.raises(InputError, match=r"values up to 5,000, expected at most 4,095 as in the run's set"):
        read_images(bright, run.shape, white=run.info.white)
    stream = io.BytesIO()
    Image.fromarray(ramp(160)).save(stream, "PNG")
    assert explore.fit_image(stream.getvalue(), explore.fit_of(run.info)).max() == round(160 * 255 / 4095)


def test_a_given_white_takes_a_detector_of_32_bits(tmp_path):
    folder = write(tmp_path / "set", [ramp(1_000_000, i, np.int32) for i in range(12)], "tif")
    with pytest.raises(InputError, match=r"hold values up to 1,000,000, expected at most 65,535; rescale"):
        load_images(folder)
    data = load_images(folder, white=1_000_000)
    assert (int(pixels(data).max()), len(pixels(data).unique()), data.white) == (255, 17, 1_000_000)


def test_a_tiff_whose_zero_is_white_is_no_negative(tmp_path):
    arrays = [ramp(4095, i) for i in range(12)]
    write(tmp_path / "black", arrays, "tif")
    write(tmp_path / "white", [4095 - array for array in arrays], "tif", tiffinfo={262: 0})
    with pytest.warns(UserWarning, match="4,095 becomes white"):
        one, other = load_images(tmp_path / "black"), load_images(tmp_path / "white")
    assert torch.equal(pixels(one), pixels(other))


def test_a_stream_refuses_more_than_8_bits():
    stream = io.BytesIO()
    Image.fromarray(ramp(65535)).save(stream, "PNG")
    with pytest.raises(InputError, match="need a look at the whole set; give hf:owner/name"):
        streaming._small(stream.getvalue(), 8)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_turned_oblong_tiff_is_upright(tmp_path, compression):
    """Pillow 13 mixes up the pixels of an uncompressed one that it opens by its path."""
    arrays = [np.random.default_rng(i).integers(256, size=(8, 16), dtype=np.uint8) for i in range(12)]
    options = {"compression": compression} if compression else {}
    data = load_images(write(tmp_path / "set", arrays, "tif", tiffinfo={274: 6}, **options))
    assert data.shape == (1, 16, 8)
    turned = {np.rot90(array, -1).tobytes() for array in arrays}
    assert {image.numpy().tobytes() for image in pixels(data)} == turned


# 0 and 1


@pytest.mark.parametrize("dtype", [np.uint8, bool])
def test_arrays_of_0_and_1_become_0_and_255(tmp_path, dtype):
    """As the array imgs of dSprites."""
    array = np.stack([ramp(1, i, np.uint8) for i in range(12)]).astype(dtype)
    np.save(tmp_path / "imgs.npy", array)
    for source in (tmp_path / "imgs.npy", array):
        with pytest.warns(UserWarning, match=r"hold 0 and 1 only: 1 becomes white \(255\)"):
            data = load_images(source)
        assert (pixels(data).unique().tolist(), data.white) == ([0, 255], 1)
        with pytest.warns(UserWarning, match="0 and 1 only"):
            assert load_images(source, image_size=8).train.images.float().mean() > 50
    with pytest.warns(UserWarning, match="0 and 1 only"):
        assert read_images(tmp_path / "imgs.npy", (1, 16, 16)).unique().tolist() == [0, 255]


def test_arrays_of_a_given_range_stay_as_they_are():
    array = np.stack([ramp(1, i, np.uint8) for i in range(12)])
    data = load_images(array, value_range=(0, 255))
    assert (pixels(data).unique().tolist(), data.white) == ([0, 1], None)


def test_masks_of_0_and_1_in_files_become_0_and_255(tmp_path):
    for name, dtype in (("eight", np.uint8), ("sixteen", np.uint16)):
        folder = write(tmp_path / name, [ramp(1, i, dtype) for i in range(12)])
        with pytest.warns(UserWarning, match="0 and 1 only"):
            data = load_images(folder)
        assert (pixels(data).unique().tolist(), data.white) == ([0, 255], 1)


def test_one_picture_as_an_array_is_asked_about(tmp_path):
    for shape in ((64, 64, 3), (64, 48, 1)):
        with pytest.raises(
            InputError, match=rf"one image of {shape[1]}x64 pixels with {shape[2]} channels?, or 64 "
        ):
            load_images(np.zeros(shape, np.uint8))
    np.save(tmp_path / "one.npy", np.full((64, 64, 3), 9, np.uint8)[None])
    assert read_images(tmp_path / "one.npy", (3, 32, 32)).shape == (1, 3, 32, 32)


def test_images_that_are_nearly_black_are_told(tmp_path):
    with pytest.warns(
        UserWarning, match="the largest value of the images of .* is 16 of 255: they are nearly black"
    ):
        load_images(np.stack([ramp(16, i, np.uint8) for i in range(12)]))
    with pytest.warns(UserWarning, match="the images of .* are all black: every value is 0; look at the files"):
        load_images(np.zeros((12, 16, 16), np.uint8))
    folder = write(tmp_path / "black", [np.zeros((16, 16), np.int32) for _ in range(12)], suffix="tif")
    with pytest.warns(UserWarning, match="are all black"):
        load_images(folder)


# what a folder holds besides


def test_files_that_are_passed_over_are_counted_by_suffix(tmp_path):
    folder = write(tmp_path / "set", [ramp(255, i, np.uint8) for i in range(12)])
    for name in ("a.pdf", "b.PDF", "c.dcm", "notes.csv", "d"):
        (folder / name).touch()
    with pytest.warns(UserWarning) as seen:  # noqa: PT030 - the text is compared below
        load_images(folder)
    (text,) = [str(one.message) for one in seen]
    assert text.endswith("set that are no images here are passed over: 1 without a suffix, 1 .dcm, 2 .pdf.")


def test_heic_is_named_with_what_reads_it(monkeypatch, tmp_path):
    monkeypatch.setattr(formats, "FORMATS", ("PNG",))
    line = formats.passed_over({"heic": 3})
    assert line == '3 .heic; pillow-heif reads .heic (pip install "entropic-ae[heic]")'
    (tmp_path / "a.pdf").touch()
    with pytest.raises(InputError, match=r"holds no images .*, but 1 \.pdf; give a folder that does"):
        load_images(tmp_path)


@pytest.mark.parametrize("suffix", ["avif", "jp2", "heic"])
def test_newer_formats_are_read(tmp_path, suffix):
    if suffix not in formats.SUFFIXES:
        pytest.skip("this Pillow does not read it")
    arrays = [ramp(255, i, np.uint8)[:, :, None].repeat(3, 2) for i in range(12)]
    data = load_images(write(tmp_path / "set", arrays, suffix, quality=95))
    assert data.shape == (3, 16, 16)
    found = sorted(image[0].float().mean(1).argmax().item() for image in pixels(data))
    assert found == sorted(array[:, :, 0].mean(1).argmax() for array in arrays)  # where the brightest row is


def test_pages_of_a_tiff_are_told_or_read(tmp_path):
    pages = [Image.new("L", (8, 8), 10 * k) for k in range(20)]
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(10):
        pages[i].save(folder / f"{i}.tif", save_all=True, append_images=pages[10 : 11 + i % 2])
    with pytest.warns(
        UserWarning, match=r"15 further pages of 10 TIFF files .*; give pages:.* to read every page"
    ):
        assert len(pixels(load_images(folder))) == 10
    assert len(pixels(load_images(f"pages:{folder}"))) == 25
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    data = load_images(f"pages:{tmp_path / 'stack.tif'}")
    assert sorted(pixels(data)[:, 0, 0, 0].tolist()) == [10 * k for k in range(20)]
    read = read_images(f"pages:{tmp_path / 'stack.tif'}", (1, 8, 8))
    assert read[:, 0, 0, 0].tolist() == [10 * k for k in range(20)]  # in order
    assert data.source == f"pages:{tmp_path / 'stack.tif'}"
    with pytest.raises(InputError, match="put pages: before it to read its pages"):
        load_images(tmp_path / "stack.tif")
    with pytest.raises(InputError, match=r"is no TIFF file and no folder of images; give pages:FILE\.tif"):
        load_images(f"pages:{tmp_path / 'nothing.tif'}")


def test_a_shared_run_names_no_path_of_pages():
    from entropic_ae.sharing.names import check_shared, shareable

    info = {"recipe": "eae", "preset": "mlp", "data": "stack", "source": "pages:/me/stack.tif", "shape": [1, 8, 8]}
    shared = shareable(RunInfo.of({**info, "expanded": {"settings": {"features": "pixels"}}}))
    assert shared.source == "pages:./stack.tif"
    check_shared(shared, "hf:a/b")


# oblong images


def test_an_oblong_model_is_shown_larger_images(tmp_path):
    """A disc that moves from left to right, at 80 x 32 and at twice the size."""
    for name, k in (("small", 1), ("large", 2)):
        (tmp_path / name).mkdir()
        for i in range(60):
            image = Image.new("L", (80 * k, 32 * k))
            x, y = (10 + i) * k, 16 * k
            ImageDraw.Draw(image).ellipse([x - 8 * k, y - 8 * k, x + 8 * k, y + 8 * k], fill=255)
            image.save(tmp_path / name / f"{i:02}.png")
    small, large = (read_images(tmp_path / name, (1, 32, 80)) for name in ("small", "large"))
    assert (small.float() - large.float()).abs().mean() < 4  # 33 for a squashed square
    assert large.flatten(1).amax(1).min() == 255  # none is blank
    np.save(
        tmp_path / "large.npy",
        np.stack([np.asarray(Image.open(f)) for f in sorted((tmp_path / "large").iterdir())]),
    )
    array = read_images(tmp_path / "large.npy", (1, 32, 80))
    assert (array.float() - large.float()).abs().mean() < 1


def test_the_part_has_the_aspect_and_lies_in_the_centre():
    """Of 64 x 64 for 80 x 40, the middle half."""
    image = Image.new("L", (64, 64))
    image.paste(255, (0, 16, 64, 48))
    assert Fit(1, 40, 80)(image).min() == 255
    assert Fit(1, 40, 80)(Image.new("L", (100, 50), 255)).min() == 255
