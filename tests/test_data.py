"""Facts about loaded images: pixels, order, splits, and the sentence of every error."""

import io
import os
import shutil
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from entropic_ae.data import (
    DATASETS,
    ImageData,
    RegisteredData,
    Split,
    count_copies,
    decoding,
    images_for,
    load_images,
    named_images_for,
    read_images,
    streaming,
)
from entropic_ae.data.copies import groups_of, hold_out
from entropic_ae.data.decoding import Fit
from entropic_ae.errors import InputError
from entropic_ae.storage.files import read_json

# images are told apart by small numbers as their values
pytestmark = pytest.mark.filterwarnings("ignore:the largest value of the images")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("ENTROPIC_AE_DATA", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "my images"
    path.mkdir()
    return path


def grey(value: int, width: int = 8, height: int = 8) -> Image.Image:
    return Image.new("L", (width, height), value)


def fill(folder: Path, count: int = 12, start: int = 0) -> None:
    """Write ``count`` images, each of one grey level that is its number."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(start, start + count):
        grey(index).save(folder / f"{index:03}.png")


def marks(data: ImageData) -> list[list[int]]:
    return [split.images[:, 0, 0, 0].tolist() for split in (data.train, data.validation, data.test)]


def every(data: ImageData) -> list[int]:
    return sorted(mark for split in marks(data) for mark in split)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def write_parquet(
    path: Path, values: list[int], side: int = 8, image: str = "image", mode: str = "L", **columns: object
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [
        {"bytes": png(Image.new(mode, (side, side), value if mode == "L" else (value,) * 3)), "path": None}
        for value in values
    ]
    rows = datasets.Dataset.from_dict({image: cells, **columns}).cast_column(image, datasets.Image())
    rows.to_parquet(str(path))


# registered sets


@pytest.mark.parametrize("name", [name for name, row in DATASETS.items() if isinstance(row, RegisteredData)])
def test_contract(name, tmp_path, monkeypatch):
    """Every registered set: consistent sizes, and a local copy gives such images, in order, in three splits."""
    row = DATASETS[name]
    side = row.crop or row.size - 2 * row.pad
    assert row.size in range(8, 129, 8)
    assert side > 0
    assert not (row.crop and row.pad)
    assert (row.label is None) == (row.classes is None)
    held_out = {"validation": row.validation, "test": row.test}  # 0 where the set has the split itself
    few = replace(row, **{split: min(count, 2) for split, count in held_out.items()})
    monkeypatch.setitem(DATASETS.data, name, few)
    monkeypatch.setenv("ENTROPIC_AE_DATA", str(tmp_path))
    values = {"train": [1, 2, 3, 4, 5, 6, 7, 8], "validation": [9, 10], "test": [11, 12]}
    expected = dict(values)
    for split in ("test", "validation"):
        if held_out[split]:
            expected[split], expected["train"] = expected["train"][-2:], expected["train"][:-2]
    for split, marks in values.items():
        if row.hub is not None and (split == "train" or not held_out[split]):
            columns = {} if row.label is None else {row.label: [mark % 10 for mark in marks]}
            mode = "L" if row.channels == 1 else "RGB"
            write_parquet(tmp_path / name / f"{split}-0.parquet", marks, side, row.image, mode, **columns)
    data = load_images(name)
    assert data.shape == (row.channels, row.size, row.size)
    assert data.classes == row.classes
    for split, marks in expected.items():
        images, labels = getattr(data, split)
        assert (labels is None) == (row.label is None)
        if row.hub is not None:  # else it is made here, of other images
            assert images[:, 0, row.size // 2, row.size // 2].tolist() == marks
            assert labels is None or labels.tolist() == [mark % 10 for mark in marks]
        else:
            assert split == "train" or len(images) == 2


def test_digits_are_scaled_split_and_disjoint():
    from sklearn.datasets import load_digits

    data = load_images("digits")
    assert (data.name, data.source, data.shape, data.classes) == ("digits", "digits", (1, 8, 8), 10)
    assert [len(s.images) for s in (data.train, data.validation, data.test)] == [1077, 360, 360]
    images = torch.cat([data.train.images, data.validation.images, data.test.images])
    labels = torch.cat([data.train.labels, data.validation.labels, data.test.labels])
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    ours = sorted((*image.flatten().tolist(), label) for image, label in zip(images, labels.tolist(), strict=True))
    digits = load_digits()
    theirs = sorted(
        (*(int(v * 255 / 16 + 0.5) for v in image.flatten()), label)
        for image, label in zip(digits.images, digits.target.tolist(), strict=True)
    )
    assert ours == theirs


def test_the_same_digits_come_every_time():
    first, second = load_images("digits"), load_images("digits")
    assert torch.equal(first.train.images, second.train.images)
    assert torch.equal(first.test.labels, second.test.labels)


def test_a_local_copy_keeps_order_and_gives_up_the_end_of_training(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTROPIC_AE_DATA", str(tmp_path))
    monkeypatch.setitem(DATASETS.data, "mnist", replace(DATASETS["mnist"], validation=5))
    train, test = list(range(1, 21)), list(range(101, 108))
    write_parquet(tmp_path / "mnist/train-00000-of-00001.parquet", train, 28, label=[v % 10 for v in train])
    write_parquet(tmp_path / "mnist/test-00000-of-00001.parquet", test, 28, label=[v % 10 for v in test])
    for _ in range(2):  # the second load reads the cache
        data = load_images("mnist")
        assert data.shape == (1, 32, 32)
        middle = [s.images[:, 0, 16, 16].tolist() for s in (data.train, data.validation, data.test)]
        assert middle == [train[:15], train[15:], test]
        assert data.validation.labels.tolist() == [v % 10 for v in train[15:]]
        assert data.classes == 10
        padded = torch.zeros(32, 32, dtype=torch.uint8)
        padded[2:30, 2:30] = 1
        assert torch.equal(data.train.images[0, 0], padded)


def test_the_second_load_decodes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTROPIC_AE_DATA", str(tmp_path))
    write_parquet(tmp_path / "celeba/train-0.parquet", [1, 2, 3], 64, mode="RGB")
    write_parquet(tmp_path / "celeba/validation-0.parquet", [4], 64, mode="RGB")
    write_parquet(tmp_path / "celeba/test-0.parquet", [5], 64, mode="RGB")
    first = load_images("celeba")
    assert first.shape == (3, 64, 64)
    assert first.classes is None
    monkeypatch.setattr(decoding, "_each", None)
    assert marks(load_images("celeba")) == [[1, 2, 3], [4], [5]] == marks(first)


def test_celeba_crops_the_140_centre_of_the_aligned_images():
    pixels = np.zeros((218, 178, 3), dtype=np.uint8)
    pixels[39:179, 19:159] = 200  # just the 140 x 140 centre
    crop = DATASETS["celeba"].crop
    assert crop == 140
    fitted = decoding.Fit(3, 64, 64, crop=crop)(Image.fromarray(pixels))
    assert fitted.shape == (3, 64, 64)
    assert fitted.min() == 200


def test_celeba_is_resized_once_from_its_source(tmp_path, monkeypatch):
    """Stripes of one pixel, lost at 64, are still there at 128."""
    stripes = np.zeros((218, 178, 3), dtype=np.uint8)
    stripes[:, ::20] = 255
    buffer = io.BytesIO()
    Image.fromarray(stripes).save(buffer, "PNG")
    cells = [{"bytes": buffer.getvalue(), "path": None}] * 2
    rows = datasets.Dataset.from_dict({"image": cells}).cast_column("image", datasets.Image())
    (tmp_path / "celeba").mkdir()
    for name in ("train", "validation", "test"):
        rows.to_parquet(tmp_path / "celeba" / f"{name}-0.parquet")
    monkeypatch.setenv("ENTROPIC_AE_DATA", str(tmp_path))
    small, large = load_images("celeba").train.images, load_images("celeba", image_size=128).train.images
    assert small.shape == (2, 3, 64, 64)
    assert large.shape == (2, 3, 128, 128)
    assert large.max() > 1.5 * small.max()


def test_missing_copy_without_the_hub_names_both_ways(tmp_path, monkeypatch):
    both = r"set ENTROPIC_AE_DATA to a folder that holds mnist/train-\*\.parquet, or go online"
    with pytest.raises(InputError, match=both):
        load_images("mnist")
    monkeypatch.setenv("ENTROPIC_AE_DATA", str(tmp_path))
    with pytest.raises(InputError, match=both):
        load_images("mnist")
    (tmp_path / "mnist").mkdir()
    with pytest.raises(InputError, match=r"holds no parquet files; put mnist/train-\*\.parquet there"):
        load_images("mnist")


def test_a_hub_set_is_asked_by_its_id_and_keeps_only_known_splits(monkeypatch):
    def split(values):
        cells = [{"bytes": png(grey(v)), "path": None} for v in values]
        rows = datasets.Dataset.from_dict({"picture": cells, "label": [v % 2 for v in values]})
        return rows.cast_column("picture", datasets.Image())

    asked = []
    splits = {"train": split(range(9)), "valid": split([50]), "extra": split([90]), "test": split([60, 61])}
    monkeypatch.setattr(datasets, "load_dataset", lambda name: asked.append(name) or splits)
    data = load_images("hf:some/set_1.0")
    assert asked == ["some/set_1.0"]
    assert (data.name, data.source, data.classes) == ("set_1.0", "hf:some/set_1.0", 2)
    assert [sorted(m) for m in marks(data)] == [list(range(9)), [50], [60, 61]]


def test_an_unreachable_or_incomplete_hub_name():
    with pytest.raises(InputError, match=r"some/set is not on this machine and the .* cannot be reached"):
        load_images("hf:some/set")
    with pytest.raises(InputError, match="expected hf:owner/name, got 'hf:set'"):
        load_images("hf:set")
    with pytest.raises(InputError, match=r"expected hf-stream:owner/name, got 'hf-stream:\.\./set'"):
        load_images("hf-stream:../set")


@pytest.mark.parametrize("kind", ["hf", "hf-stream"])
def test_a_folder_of_the_name_of_a_hub_set_is_not_read_in_its_place(kind, tmp_path, monkeypatch):
    (tmp_path / "some" / "set").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"folder some/set, which would be read instead of .* \./some/set"):
        load_images(f"{kind}:some/set")


# streams


class _Hub:
    """A set of two parquet files in place of the Hub; ``read`` counts the images that were asked of it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files = {split: str(folder / f"{split}.parquet") for split in ("train", "test")}
        self.revision: str | None = "one"
        self.read = 0
        self.ends_after = 10**9
        self.load = datasets.load_dataset
        monkeypatch.setattr("entropic_ae.data.hub.hub_revision", lambda _: self.revision)
        monkeypatch.setattr(streaming, "hub_revision", lambda _: self.revision)
        monkeypatch.setattr(datasets, "load_dataset", self.load_dataset)

    def load_dataset(self, name, revision=None, streaming=False):
        if not streaming:
            return self.load("parquet", data_files=self.files)
        assert (name, revision) == ("some/set", self.revision)
        kinds = {"image": datasets.Image(), "label": datasets.Value("int64"), "more": datasets.Image()}
        known = {"train": datasets.Features(kinds), "test": None}  # a stream need not know its columns
        return {
            split: datasets.IterableDataset.from_generator(
                self._rows, features=known[split], gen_kwargs={"file": file}
            )
            for split, file in self.files.items()
        }

    def _rows(self, file):
        for row in pyarrow.parquet.read_table(file).to_pylist():
            self.read += 1
            if self.read > self.ends_after:
                raise ConnectionError("gone")
            yield row


@pytest.fixture
def hub(tmp_path, monkeypatch):
    source = np.random.default_rng(0)
    for split, count in (("train", 23), ("test", 6)):
        images = [Image.fromarray(source.integers(0, 256, (30, 41, 3), dtype=np.uint8)) for _ in range(count)]
        cells = [{"bytes": png(image), "path": f"{i}.png"} for i, image in enumerate(images)]
        cells[4] = {"bytes": cells[4]["bytes"][:70], "path": "broken.png"}
        cells[5] = {"bytes": png(Image.new("L", (50, 30), 9)), "path": None}
        rows = datasets.Dataset.from_dict({"image": cells, "label": [i % 3 for i in range(count)], "more": cells})
        rows.cast_column("image", datasets.Image()).to_parquet(str(tmp_path / f"{split}.parquet"))
    monkeypatch.setattr(streaming, "_PART", 5)
    monkeypatch.setattr(streaming, "_AT_ONCE", 2)
    return _Hub(tmp_path, monkeypatch)


def load_with_one_warning(*arguments, **options):
    with pytest.warns(UserWarning, match=r"2 of 29 images of .* left out: broken.png, broken.png") as seen:
        data = load_images(*arguments, **options)
    assert len(seen) == 1
    return data


def test_a_stream_gives_the_images_of_the_set(hub):
    whole = load_with_one_warning("hf:some/set", image_size=16)
    streamed = load_with_one_warning("hf-stream:some/set", image_size=16)
    assert hub.read == 29 + 5  # the head of one split twice, to learn its columns
    assert (streamed.source, streamed.name, streamed.classes) == ("hf-stream:some/set", "set", 3)
    for split in ("train", "validation", "test"):
        one, other = getattr(whole, split), getattr(streamed, split)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


def test_a_stream_is_read_once_a_revision_and_is_there_without_the_hub(hub):
    first = load_with_one_warning("hf-stream:some/set", image_size=16)
    for revision in ("one", None):
        hub.revision = revision
        again = load_with_one_warning("hf-stream:some/set", image_size=16)
        assert torch.equal(first.train.images, again.train.images)
    assert hub.read == 29 + 5
    with pytest.raises(InputError, match=r"is not completely cached .* cannot be reached; go online"):
        load_images("hf-stream:some/set", image_size=8)
    hub.revision = "two"
    load_with_one_warning("hf-stream:some/set", image_size=16)
    assert hub.read == 2 * (29 + 5)


def test_a_stream_of_which_the_cache_has_lost_a_part_is_read_again_from_there(hub):
    first = load_with_one_warning("hf-stream:some/set", image_size=16)
    index = read_json(next(decoding.cache_folder().glob("*.json")))
    (decoding.cache_folder() / index["parts"]["train"][2]).unlink()
    again = load_with_one_warning("hf-stream:some/set", image_size=16)
    assert torch.equal(first.train.images, again.train.images)
    assert hub.read == 29 + 5 + 23 + 5  # the training images once more, and the heads


def test_a_stream_goes_on_where_it_ended(hub):
    hub.ends_after = 18
    with pytest.raises(InputError, match=r"Hub cannot be reached; try again: an interrupted stream is resumed"):
        load_images("hf-stream:some/set", image_size=16)
    hub.read, hub.ends_after = 0, 10**9
    streamed = load_with_one_warning("hf-stream:some/set", image_size=16)
    assert torch.equal(streamed.train.images, load_with_one_warning("hf:some/set", image_size=16).train.images)


def test_a_stream_opens_no_path_outside_its_set(monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr("datasets.utils.file_utils.xopen", lambda path, _: opened.append(path) or io.BytesIO(b"x"))
    inside = "hf://datasets/some/set@abc/1.png"
    for path in ("/etc/passwd", "hf://datasets/other/set@abc/1.png", inside, f"zip://1.png::{inside}", None):
        streaming._content({"bytes": None, "path": path}, "some/set")
    assert opened == [inside, f"zip://1.png::{inside}"]


def test_decoding_that_was_interrupted_goes_on_with_the_next_part(folder, monkeypatch):
    fill(folder, 30)
    expected = load_images(folder)
    shutil.rmtree(folder.parent / "cache")
    monkeypatch.setattr(decoding, "_PART", 8)
    decoded = []
    original = decoding.Fit.__call__

    def counted(self, image):
        decoded.append(image)
        if len(decoded) == 20:
            raise KeyboardInterrupt
        return original(self, image)

    monkeypatch.setattr(decoding.Fit, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        load_images(folder)
    again = load_images(folder)
    assert len(decoded) == 20 + 30 - 16
    assert marks(again) == marks(expected)


def test_processes_that_start_together_decode_a_set_once(folder, monkeypatch):
    fill(folder, 30)
    monkeypatch.setattr(decoding, "_PART", 8)
    monkeypatch.setattr(decoding, "_LARGE", 0)
    decoded, begun, go_on = [], threading.Event(), threading.Event()
    original = decoding.Fit.__call__

    def counted(self, image):
        decoded.append(image)
        if len(decoded) == 12:  # in the second part
            begun.set()
            go_on.wait(60)
        return original(self, image)

    monkeypatch.setattr(decoding.Fit, "__call__", counted)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(load_images, folder)
        assert begun.wait(60)
        second = pool.submit(load_images, folder)
        assert not wait([second], timeout=0.5).done
        assert len(decoded) == 12
        go_on.set()
        assert marks(first.result()) == marks(second.result())
    assert len(decoded) == 30


# folders of images


def test_a_folder_is_shuffled_once_and_split_without_overlap(folder):
    fill(folder, 30)
    data = load_images(folder)
    train, validation, test = marks(data)
    assert (len(train), len(validation), len(test)) == (25, 2, 3)
    assert sorted(train + validation + test) == list(range(30))
    assert train != sorted(train)
    assert marks(load_images(str(folder))) == [train, validation, test]
    assert (data.name, data.source, data.shape, data.classes) == ("my-images", str(folder), (1, 8, 8), None)
    assert data.train.labels is None


def test_many_pixels_are_mapped_from_a_file_and_are_the_same(folder, monkeypatch):
    for name, start in (("ants", 0), ("bees", 20)):
        (folder / name).mkdir()
        fill(folder / name, 20, start)
    (folder / "ants" / "broken.png").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="1 of 41 images"):
        held = load_images(folder)
    monkeypatch.setattr(decoding, "_LARGE", 0)
    for _ in range(2):  # the second time the file is there
        with pytest.warns(UserWarning, match="1 of 41 images"):
            mapped = load_images(folder)
        for split in ("train", "validation", "test"):
            one, other = getattr(held, split), getattr(mapped, split)
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels)
    (file,) = (folder.parent / "cache" / "entropic_ae").glob("*.pixels")
    assert file.stat().st_size == 40 * 64
    mapped.train.images.zero_()  # a private copy: the file stays as it is
    with pytest.warns(UserWarning, match="1 of 41 images"):
        assert torch.equal(load_images(folder).train.images, held.train.images)
    file.write_bytes(b"too short")
    with pytest.warns(UserWarning, match="1 of 41 images"):
        assert torch.equal(load_images(folder).train.images, held.train.images)


def test_subfolders_are_classes(folder):
    fill(folder / "cat", 10)
    fill(folder / "dog", 10, start=100)
    (folder / "metadata.csv").write_text("file_name,label\n../../etc/passwd,1\n")
    (folder / "cat" / "notes.txt").write_text("not an image")
    (folder / "cat" / ".hidden.png").write_bytes(b"no")
    (folder / ".DS_Store").write_bytes(b"no")
    (folder / "cat" / "000.png").rename(folder / "cat" / "000.PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_images(folder)
    assert data.classes == 2
    assert every(data) == [*range(10), *range(100, 110)]
    for split in (data.train, data.validation, data.test):
        assert split.labels.tolist() == [int(v >= 100) for v in split.images[:, 0, 0, 0].tolist()]


def test_split_folders_are_splits_and_classes_stand_below_them(folder):
    for split, start in (("train", 0), ("val", 50), ("test", 100)):
        fill(folder / split / "a", 4, start)
        fill(folder / split / "b", 4, start + 20)
    data = load_images(folder)
    expected = [[s + k for k in (0, 1, 2, 3, 20, 21, 22, 23)] for s in (0, 50, 100)]
    assert [sorted(m) for m in marks(data)] == expected
    assert data.classes == 2
    assert data.test.labels.tolist() == [int(v >= 120) for v in marks(data)[2]]
    fill(folder / "raw", 1)
    with pytest.raises(InputError, match=r"subfolders test, train, val, but also images outside .*raw.000\.png"):
        load_images(folder)


def test_only_a_test_folder_is_given(folder):
    fill(folder / "train", 20)
    fill(folder / "test", 3, start=100)
    train, validation, test = marks(load_images(folder))
    assert (len(train), len(validation), sorted(test)) == (18, 2, [100, 101, 102])
    assert train != sorted(train)


def test_names_like_splits_do_not_split_plain_files_or_classes(folder):
    fill(folder / "train", 6)
    fill(folder / "plane", 6, start=100)
    for name in ("test_1.png", "val.png"):
        grey(7).save(folder / "train" / name)
    data = load_images(folder)
    assert data.classes == 2
    assert sum(map(len, marks(data))) == 14


def test_pixels_orientation_alpha_and_depth(folder):
    for index in range(12):
        Image.new("RGB", (16, 8), (index, 255, 128)).save(folder / f"{index:02}.png")
    turned = Image.new("RGB", (8, 16), "black")
    turned.paste((255, 0, 0), (0, 0, 8, 8))  # top half; orientation 6 turns the top to the right
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif, quality=95, subsampling=0)
    clear = Image.new("RGBA", (16, 8), (10, 20, 30, 0))
    clear.putpixel((0, 0), (10, 20, 30, 255))
    clear.save(folder / "clear.png")
    deep = np.full((8, 16), 200 * 256 + 255, dtype=np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    Image.new("1", (16, 8), 1).save(folder / "bits.png")
    data = load_images(folder)
    assert data.shape == (3, 8, 16)
    images = torch.cat([s.images for s in (data.train, data.validation, data.test)])
    found = {tuple(image[:, 0, 0].tolist()): image for image in images}
    assert all((index, 255, 128) in found for index in range(12))
    assert found[200, 200, 200].unique().tolist() == [200]
    assert found[10, 20, 30][:, 4, 8].tolist() == [255, 255, 255]
    assert found[255, 255, 255].unique().tolist() == [255]
    jpeg = next(image for image in images if image[2, 0, 12] < 20 and image[1, 0, 12] < 20)
    assert jpeg[0, 4, 3] < 20
    assert jpeg[0, 4, 12] > 235


def test_grey_of_any_depth_stays_grey(folder):
    fill(folder, 8)
    Image.fromarray(np.full((8, 8), 0x40FF, dtype=np.uint16)).save(folder / "deep.png")
    Image.new("LA", (8, 8), (77, 0)).save(folder / "clear.png")
    Image.new("1", (8, 8), 1).save(folder / "bits.png")
    data = load_images(folder)
    assert data.shape == (1, 8, 8)
    assert every(data) == [*range(8), 0x40, 255, 255]


def test_sizes_that_differ_need_image_size(folder):
    fill(folder, 10)
    for index in range(2):
        image = grey(0, 24, 8)
        image.paste(90, (8, 0, 16, 8))  # the centre square
        image.save(folder / f"wide{index}.png")
    side = 64 if torch.cuda.is_available() else 32
    with pytest.raises(InputError, match=rf"differ in size \(for example 8x8 and 24x8\).*--set image_size={side}"):
        load_images(folder)
    data = load_images(folder, image_size=16)
    assert data.shape == (1, 16, 16)
    assert every(data) == [*range(10), 90, 90]


@pytest.mark.parametrize(("side", "nearest"), [(0, 8), (3, 8), (30, 32), (264, 256), (-8, 8)])
def test_image_size_is_a_multiple_of_8(side, nearest):
    with pytest.raises(InputError, match=f"multiple of 8 from 8 to 256, got {side}; {nearest} is the nearest"):
        load_images("digits", image_size=side)


@pytest.mark.parametrize(("width", "height"), [(20, 20), (8, 12), (264, 8)])
def test_images_of_an_odd_size_are_refused(folder, width, height):
    for index in range(10):
        grey(index, width, height).save(folder / f"{index}.png")
    with pytest.raises(InputError, match=rf"are {width}x{height} pixels, .*multiples of 8.*--set image_size=32"):
        load_images(folder)


def test_damaged_images_are_left_out_with_one_warning_each_load(folder):
    fill(folder / "a", 10)
    fill(folder / "b", 10, start=100)
    noise = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "JPEG", quality=95)
    (folder / "a" / "cut.jpg").write_bytes(stream.getvalue()[:-60])
    (folder / "a" / "empty.png").write_bytes(b"")
    (folder / "b" / "other.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    for _ in range(2):
        with pytest.warns(UserWarning) as caught:  # noqa: PT030 - the text is checked below
            data = load_images(folder)
        (text,) = [str(w.message) for w in caught]
        assert text.startswith("3 of 23 images of ")
        assert str(Path("a/cut.jpg")) in text
        assert str(Path("a/empty.png")) in text
        assert every(data) == [*range(10), *range(100, 110)]
        assert data.train.labels.tolist() == [int(v >= 100) for v in marks(data)[0]]


def test_a_png_whose_checksum_is_wrong_is_damaged_even_if_it_decodes(folder):
    fill(folder, count=20)
    path = folder / "005.png"
    content = path.read_bytes()
    end = content.index(b"IEND") - 8  # of the checksum of the pixels before it
    path.write_bytes(content[: end + 3] + bytes([content[end + 3] ^ 1]) + content[end + 4 :])
    assert np.asarray(Image.open(path)).shape == (8, 8)
    with pytest.warns(UserWarning, match=r"1 of 20 images of .* cannot be read and are left out: 005\.png"):
        data = load_images(folder)
    assert len(every(data)) == 19


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_are_not_waited_at(folder):
    fill(folder)
    os.mkfifo(folder / "aa.png")
    assert len(every(load_images(folder))) == 12
    os.mkfifo(folder / "a.npz")
    with pytest.raises(InputError, match=r"a\.npz is neither a file nor a folder"):
        load_images(folder / "a.npz")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system whose names are bytes")
def test_a_name_that_is_no_text_is_refused(folder):
    fill(folder)
    (folder / "000.png").rename(folder / os.fsdecode(b"\xff.png"))
    with pytest.raises(InputError, match=r"an image whose name is not valid UTF-8, '\\udcff\.png'; rename it"):
        load_images(folder)


def test_a_folder_of_damaged_images_is_an_error(folder):
    for index in range(10):
        (folder / f"{index}.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of the 10 images of .* can be read"):
        load_images(folder)


def test_a_changed_folder_is_read_anew(folder):
    fill(folder, 12)
    assert every(load_images(folder)) == list(range(12))
    fill(folder, 1, start=50)
    assert every(load_images(folder)) == [*range(12), 50]
    before = (folder / "050.png").stat()
    grey(99).save(folder / "050.png")
    os.utime(folder / "050.png", ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
    assert every(load_images(folder)) == [*range(12), 99]
    (folder / "050.png").unlink()
    assert every(load_images(folder)) == list(range(12))


def test_limit_caps_training_and_validation_but_never_test(folder):
    fill(folder, 60)
    whole, part = load_images(folder), load_images(folder, limit=3)
    assert marks(part) == [marks(whole)[0][:3], marks(whole)[1][:3], marks(whole)[2]]
    assert [len(m) for m in marks(load_images(folder, limit=1000))] == [len(m) for m in marks(whole)]
    with pytest.raises(InputError, match="limit must be at least 2 images, got 1"):
        load_images(folder, limit=1)


def test_very_small_sets(folder):
    fill(folder, 5)
    with pytest.raises(InputError, match=r"got 5 images in all, .*give at least 10 images"):
        load_images(folder)
    fill(folder, 6)
    assert [len(m) for m in marks(load_images(folder))] == [2, 2, 2]


# copies


def test_copies_stay_in_one_split_with_their_labels(tmp_path):
    """Every digit twice: a plain cut puts copies of 284 of 359 test images into training."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    np.savez(tmp_path / "twice.npz", images=np.tile(images, (2, 1, 1)), labels=np.tile(digits.target, 2))
    data = load_images(tmp_path / "twice.npz")
    assert count_copies(data) == (3594, 1797, 360, 324, 0, 0)
    labels = dict(zip((image.tobytes() for image in images), digits.target, strict=True))
    for split in (data.train, data.validation, data.test):
        found = [image.numpy().tobytes() for image in split.images]
        assert {found.count(one) for one in found[:50]} == {2}
        assert [labels[one] for one in found] == split.labels.tolist()


def test_a_set_without_copies_is_cut_as_it_stands_and_one_with_copies_near_there():
    images = torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1)
    rest, held = hold_out(Split(images, torch.arange(100)), groups_of(images), 10)
    assert rest.images.flatten().tolist() == rest.labels.tolist() == list(range(90))
    assert held.images.flatten().tolist() == held.labels.tolist() == list(range(90, 100))
    assert rest.images.data_ptr() == images.data_ptr()  # a view: a large set stays in its file
    images = torch.tensor([*range(10), *[5] * 80, *range(90, 100)], dtype=torch.uint8).view(100, 1, 1, 1)
    rest, held = hold_out(Split(images, None), groups_of(images), 10)
    assert held.images.flatten().tolist() == list(range(90, 100))
    images = torch.tensor([1] * 20 + [2] * 80, dtype=torch.uint8).view(100, 1, 1, 1)
    rest, held = hold_out(Split(images.clone(), None), groups_of(images), 10)
    assert [len(rest.images), len(held.images)] == [20, 80]
    rest, held = hold_out(Split(images, None), groups_of(images), 10, leave=2)  # too few different ones
    assert [len(rest.images), len(held.images)] == [90, 10]


def test_copies_in_a_folder_stay_in_one_split(folder, monkeypatch):
    fill(folder, 40)
    for index in range(0, 40, 2):
        shutil.copy(folder / f"{index:03}.png", folder / f"copy{index:03}.png")
    held = load_images(folder)
    copies = count_copies(held)
    assert (copies.repeated, copies.test_in_training, copies.validation_in_training) == (20, 0, 0)
    assert [copies.test, copies.validation] == pytest.approx([6, 5], abs=1)
    assert every(held) == sorted([*range(40), *range(0, 40, 2)])
    monkeypatch.setattr(decoding, "_LARGE", 0)
    assert marks(load_images(folder)) == marks(held)


def test_copies_between_given_splits_are_counted():
    levels = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1).expand(50, 1, 8, 8)
    data = ImageData("own", *(Split(levels[part], None) for part in (slice(40), slice(38, 45), slice(44, 50))))
    copies = count_copies(load_images(data))
    assert copies == (53, 3, 6, 7, 0, 2)
    told = "3 of 53 images are exact copies of others; 2 of 7 validation images stand in training too"
    assert str(copies) == told


# paths that lead nowhere


def test_paths_that_lead_nowhere(folder):
    with pytest.raises(InputError, match=r"holds no images .* and no \.parquet files"):
        load_images(folder)
    (folder / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="holds no images"):
        load_images(folder)
    with pytest.raises(InputError, match=r"is a file of type '\.txt', expected a folder of images"):
        load_images(folder / "notes.txt")
    with pytest.raises(InputError, match=r"nothing does not exist; give a folder"):
        load_images(folder / "nothing")
    with pytest.raises(InputError, match="no data set was named; give one of celeba, cifar10"):
        load_images("")
    with pytest.raises(InputError, match="mnist does not exist; give a folder"):
        load_images("./mnist")
    with pytest.raises(
        InputError,
        match=r"no folder or file 'mnits' here; unknown data set 'mnits'; did you mean 'mnist'",
    ):
        load_images("mnits")


# parquet


def test_a_parquet_file_with_labels_and_a_changed_one(tmp_path):
    path = tmp_path / "we[i]rd.parquet"
    values = list(range(20))
    write_parquet(path, values, image="x", labels=[v % 3 for v in values], words=["w"] * 20)
    data = load_images(path)
    assert (data.name, data.shape, data.classes) == ("we-i-rd", (1, 8, 8), 3)
    assert data.train.labels.tolist() == [v % 3 for v in marks(data)[0]]
    assert every(data) == values
    write_parquet(path, [v + 100 for v in values], image="x")
    os.utime(path, (1, 1))
    changed = load_images(path)
    assert every(changed) == [v + 100 for v in values]
    assert changed.train.labels is None


def test_a_folder_of_parquet_files_with_splits(folder):
    write_parquet(folder / "data" / "train-0.parquet", [1, 2, 3, 4], label=["a", "b", "a", "b"])
    write_parquet(folder / "data" / "train-1.parquet", [5, 6], label=["a", "b"])
    write_parquet(folder / "data" / "test-0.parquet", [7], label=["a"])
    write_parquet(folder / "data" / "validation-0.parquet", [8], label=["a"])
    data = load_images(folder)
    assert [sorted(m) for m in marks(data)] == [[1, 2, 3, 4, 5, 6], [8], [7]]
    assert data.train.labels is None


def test_parquet_without_images_or_damaged(tmp_path):
    path = tmp_path / "table.parquet"
    datasets.Dataset.from_dict({"a": [1], "b": ["x"]}).to_parquet(str(path))
    with pytest.raises(InputError, match=r"has no image column, only a, b; expected a column of encoded images"):
        load_images(path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"table\.parquet cannot be read as parquet \(.*\); restore it"):
        load_images(path)


def test_a_path_inside_a_parquet_file_is_not_followed(tmp_path):
    fill(tmp_path / "private", 1, start=42)
    cells = [{"bytes": png(grey(v)), "path": "p.png"} for v in range(11)]
    cells.append({"bytes": None, "path": str(tmp_path / "private" / "042.png")})
    rows = datasets.Dataset.from_dict({"image": cells})
    rows.to_parquet(str(tmp_path / "own.parquet"))
    with pytest.warns(UserWarning, match="1 of 12 images"):
        data = load_images(tmp_path / "own.parquet")
    assert every(data) == list(range(11))


# arrays


@pytest.mark.parametrize("shape", [(8, 16), (1, 8, 16), (8, 16, 1), (3, 8, 16), (8, 16, 3)])
def test_arrays_of_every_layout(tmp_path, shape):
    array = np.zeros((12, *shape), dtype=np.uint8)
    array += np.arange(12, dtype=np.uint8).reshape(-1, *[1] * len(shape))
    np.save(tmp_path / "a.npy", array)
    data = load_images(tmp_path / "a.npy")
    assert data.shape == (3 if 3 in shape else 1, 8, 16)
    assert every(data) == list(range(12))
    assert load_images(tmp_path / "a.npy", image_size=32).shape == (data.shape[0], 32, 32)


def test_npz_with_images_and_labels(tmp_path):
    array = np.zeros((30, 8, 8), dtype=np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None]
    np.savez(tmp_path / "a.npz", images=array, labels=np.arange(30)[:, None] % 4, other=np.zeros(3))
    data = load_images(tmp_path / "a.npz")
    assert data.classes == 4
    assert data.test.labels.tolist() == [v % 4 for v in marks(data)[2]]
    np.savez(tmp_path / "a.npz", images=array, labels=np.arange(29))
    with pytest.raises(InputError, match="29 labels for 30 images"):
        load_images(tmp_path / "a.npz")


def test_npz_of_medmnist(tmp_path):
    arrays = {}
    for name, start, count in (("train", 0, 10), ("val", 50, 3), ("test", 100, 4)):
        values = np.arange(start, start + count, dtype=np.uint8)
        arrays[f"{name}_images"] = np.zeros((count, 28, 28), np.uint8) + values[:, None, None]
        arrays[f"{name}_labels"] = values[:, None] % 7
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays)
    with pytest.raises(InputError, match="are 28x28 pixels"):
        load_images(tmp_path / "pneumoniamnist.npz")
    data = load_images(tmp_path / "pneumoniamnist.npz", image_size=32)
    assert [sorted(m) for m in marks(data)] == [list(range(10)), [50, 51, 52], [100, 101, 102, 103]]
    assert data.train.labels.tolist() == [v % 7 for v in marks(data)[0]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": np.full((9, 8, 8), 0.5)},
            r"values of float64 from 0.5 to 0.5, expected uint8.*value_range=\(0, 1\)",
        ),
        ({"x": np.full((9, 8, 8), np.nan, np.float32)}, "float32 with NaN or infinity, expected uint8"),
        ({"x": np.zeros((9, 8, 8), np.int64)}, "values of int64 from 0 to 0, expected uint8"),
        ({"x": np.zeros((9, 8), np.uint8)}, r"shape \(9, 8\), expected images shaped"),
        ({"x": np.zeros((9, 8, 8, 4), np.uint8)}, r"shape \(9, 8, 8, 4\), expected .* C = 1 or 3"),
        ({"x": np.array([None, 1])}, "holds pickled objects, which are never opened"),
        ({"x": np.zeros(3), "y": np.zeros(3)}, "holds the arrays x, y, expected images"),
        ({"x": np.zeros((0, 8, 8), np.uint8)}, "too small.*got 0 images in all"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load_images(tmp_path / "a.npz")


def test_damaged_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((20, 8, 8), np.uint8))
    whole = (tmp_path / "a.npz").read_bytes()
    for content in (b"", b"hello", whole[:200], whole[:600] + b"?" + whole[601:]):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npz is damaged or not a NumPy file"):
            load_images(tmp_path / "a.npz")


def test_registered_images_are_resized_too():
    data = load_images("digits", image_size=16, limit=4)
    assert data.shape == (1, 16, 16)
    assert data.test.images.shape == (360, 1, 16, 16)


def test_loading_says_nothing(folder, capfd):
    fill(folder, 12, start=100)
    write_parquet(folder.parent / "p" / "a.parquet", list(range(100, 112)))
    capfd.readouterr()  # writing the parquet file says something
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_images(folder)
        load_images(folder.parent / "p")
    with pytest.raises(InputError):
        load_images("mnist")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_moved_folder_is_still_read(folder):
    fill(folder, 12)
    load_images(folder)
    moved = folder.with_name("moved")
    shutil.move(folder, moved)
    assert every(load_images(moved)) == list(range(12))


def test_each_image_of_a_folder_knows_its_file(folder):
    fill(folder / "one", 40)
    for index in range(0, 40, 2):
        shutil.copy(folder / "one" / f"{index:03}.png", folder / f"copy{index:03}.png")
    (folder / "broken.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 of 61 images"):
        data = load_images(folder, limit=30)
    assert [len(data.files[key]) for key in ("train", "validation", "test")] == [
        30,
        len(data.validation.images),
        len(data.test.images),
    ]
    for key, names in data.files.items():
        for name, image in zip(names, getattr(data, key).images, strict=True):
            assert np.array_equal(np.asarray(Image.open(folder / name)), image[0]), name
    assert not load_images("digits").files


def test_a_folder_is_padded_as_its_files_are(tmp_path):
    for i in range(2):
        grey(200, 6, 6).save(tmp_path / f"{i}.png")
    fit = Fit(1, 8, 8, pad=1)
    padded = images_for(fit, str(tmp_path / "0.png"))
    assert padded[0, 0, 0].eq(0).all()
    images, names = named_images_for(fit, [str(tmp_path), str(tmp_path / "1.png")])
    assert torch.equal(images, padded.expand(3, -1, -1, -1))
    assert names == tuple(str(tmp_path / f"{i}.png") for i in (0, 1, 1))
    assert named_images_for(fit, [str(tmp_path)])[1] == ("0.png", "1.png")


def test_read_images_in_order_and_to_the_shape(tmp_path):
    for i, (name, mode) in enumerate([("b", "RGB"), ("a", "L"), ("c", "RGBA")]):
        Image.new(mode, (40 + 8 * i, 64), (60,) * len(mode) if mode != "L" else 200).save(tmp_path / f"{name}.png")
    images = read_images(tmp_path, (1, 16, 16))
    assert images.shape == (3, 1, 16, 16)
    assert images[:2].flatten(1).float().mean(1).tolist() == [200, 60]
    assert read_images(tmp_path, (3, 8, 8)).shape == (3, 3, 8, 8)
    np.save(tmp_path / "one.npy", np.zeros((1, 8, 8), np.uint8))
    assert read_images(tmp_path / "one.npy", (1, 16, 16)).shape == (1, 1, 16, 16)
    with pytest.raises(InputError, match="are 1x8x8, expected 3x8x8"):
        read_images(tmp_path / "one.npy", (3, 8, 8))
    assert torch.equal(read_images("digits", (1, 8, 8)), load_images("digits").test.images)


def test_images_of_a_custom_function_are_read_by_one_call(monkeypatch):
    calls = []
    images = np.zeros((20, 8, 8), np.uint8)
    monkeypatch.setitem(DATASETS.data, "counted", lambda: calls.append(1) or images)
    assert read_images("counted", (1, 8, 8)).shape == (2, 1, 8, 8)
    assert calls == [1]


def test_names_of_classes_are_those_of_folders_and_columns(folder):
    fill(folder / "cats", 10)
    fill(folder / "dogs", 10, start=100)
    data = load_images(folder)
    assert data.class_names == ("cats", "dogs")
    assert load_images(data).class_names == ("cats", "dogs")
    assert load_images("digits").class_names is None
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = {"image": [Image.new("L", (8, 8), 9 * i) for i in range(20)], "label": [i % 2 for i in range(20)]}
    assert load_images(datasets.Dataset.from_dict(rows, features=features)).class_names == ("no", "yes")
    with pytest.raises(InputError, match="1 class_names for 2 classes"):
        load_images(replace(data, class_names=("cats",)))
