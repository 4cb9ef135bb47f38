"""What people have: files of arrays, archives, lists and data sets; the right pixels and labels, or a sentence."""

import gzip
import io
import re
import struct
import tarfile

import datasets
import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import entropic_ae as eae
from entropic_ae.data import IN_MEMORY, load_images, read_images
from entropic_ae.errors import InputError
from entropic_ae.sharing.names import check_shared, shareable
from entropic_ae.storage.run_info import RunInfo

COUNT = 40
LEVELS = np.arange(COUNT, dtype=np.uint8)
IMAGES = np.zeros((COUNT, 8, 16), np.uint8) + LEVELS[:, None, None]  # the level of an image is its number
LABELS = LEVELS.astype(np.int64) % 4


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def check(data, *, labelled=True, levels=LEVELS, shape=(1, 8, 16)):
    """All images are there once, whole, and each has its label."""
    assert data.shape == shape
    assert data.classes == (4 if labelled else None)
    splits = (data.train, data.validation, data.test)
    found = [split.images[:, 0, 0, 0].tolist() for split in splits]
    assert sorted(mark for marks in found for mark in marks) == levels.tolist()
    for split, marks in zip(splits, found, strict=True):
        assert torch.equal(split.images, split.images[:, :1, :1, :1].expand(split.images.shape))
        assert split.labels is None if not labelled else split.labels.tolist() == [mark % 4 for mark in marks]


def pictures(mode="L"):
    return [Image.fromarray(image).convert(mode) for image in IMAGES]


def png(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


# files of arrays


def idx(path, array, kind=8):
    content = struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def test_npz_of_keras_and_a_named_array(tmp_path):
    path = tmp_path / "mnist.npz"
    parts = {"x_train": IMAGES[:30], "y_train": LABELS[:30], "x_test": IMAGES[30:], "y_test": LABELS[30:]}
    np.savez(path, **parts, names=np.array([None]))
    check(load_images(path))
    assert sorted(load_images(path).test.labels.tolist()) == sorted(LABELS[30:].tolist())
    data = load_images(f"{path}:x_train")
    check(data, levels=LEVELS[:30])
    assert (data.name, data.source) == ("mnist", f"{path}:x_train")
    assert read_images(f"{path}:x_test", (1, 8, 16))[:, 0, 0, 0].tolist() == LEVELS[30:].tolist()
    with pytest.raises(InputError, match=r"has no array 'x', only x_train, y_train, x_test, y_test, names; name"):
        load_images(f"{path}:x")
    np.savez(path, a=IMAGES, b=LABELS)
    with pytest.raises(InputError, match=rf"holds the arrays a, b, expected .*; name the images: {path}:NAME\."):
        load_images(path)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_files(tmp_path, end):
    for name, part in (("train", slice(30)), ("t10k", slice(30, None))):
        images = idx(tmp_path / f"{name}-images-idx3-ubyte{end}", IMAGES[part])
        idx(tmp_path / f"{name}-labels-idx1-ubyte{end}", LABELS[part].astype(np.uint8))
    data = load_images(tmp_path)
    check(data)
    assert sorted(data.test.images[:, 0, 0, 0].tolist()) == LEVELS[30:].tolist()
    assert load_images(images).train.labels is not None
    assert read_images(images, (1, 8, 16))[:, 0, 0, 0].tolist() == LEVELS[30:].tolist()
    whole = images.read_bytes()
    bad = bytes([whole[-5] ^ 1]) + whole[-4:] if end else b"more"  # a wrong checksum
    for content in (b"", b"\0\0", whole[:-3], b"\1" + whole[1:], whole[:-5] + bad):
        images.write_bytes(content)
        with pytest.raises(InputError, match=f"{images.name} is damaged or not an IDX file"):
            load_images(images)


def test_idx_of_floats_and_big_integers(tmp_path):
    path = idx(tmp_path / "a.idx", (IMAGES / 39).astype(">f8"), kind=14)
    scaled = np.rint(LEVELS / 39 * 255).astype(np.uint8)
    assert read_images(path, (1, 8, 16), value_range=(0, 1))[:, 0, 0, 0].tolist() == scaled.tolist()
    idx(path, IMAGES.astype(">i2"), kind=11)
    assert read_images(path, (1, 8, 16), value_range=(0, 255))[:, 0, 0, 0].tolist() == LEVELS.tolist()


def test_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["group/images"], file["group/labels"], file["other"] = IMAGES, LABELS, np.zeros(3)
        outside = tmp_path / "private.bin"
        outside.write_bytes(IMAGES.tobytes())
        file.create_dataset("private", IMAGES.shape, "u1", external=[(str(outside), 0, IMAGES.nbytes)])
    check(load_images(f"{path}:group/images"))
    with pytest.raises(InputError, match=rf"arrays group/images, .*other, private, .* {path}:NAME\."):
        load_images(path)
    with pytest.raises(InputError, match="'private' is stored in other files, which are not opened"):
        load_images(f"{path}:private")
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = IMAGES, LABELS
    check(load_images(path))
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"a\.h5 is damaged or not an HDF5 file"):
        load_images(path)


def test_hdf5_without_its_reader(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "a.hdf5").write_bytes(b"")
    with pytest.raises(InputError, match=r"needs h5py; pip install 'entropic-ae\[hdf5\]'"):
        load_images(tmp_path / "a.hdf5")


def test_safetensors(tmp_path):
    path = tmp_path / "a.safetensors"
    half = torch.from_numpy(IMAGES / 64 - 0.25).bfloat16()  # exact
    save_file({"images": torch.from_numpy(IMAGES), "labels": torch.from_numpy(LABELS), "half": half}, path)
    check(load_images(path))
    found = read_images(f"{path}:half", (1, 8, 16), value_range=(-0.25, 0.75))[:, 0, 0, 0]
    assert found.tolist() == np.rint(LEVELS / 64 * 255).tolist()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match=r"a\.safetensors is damaged or not a safetensors file"):
        load_images(path)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.pt", "safetensors.torch.save_file"),
        ("a.pkl", r"np\.save\('images\.npy', images\), as no pickle is opened"),
        ("cifar-10-python.tar.gz", "unpack it and give the folder"),
        ("a.mat", "loadmat"),
        ("a.tfrecord", "write the images into a folder as PNG"),
    ],
)
def test_other_files_are_refused_with_the_line_that_converts(tmp_path, name, how):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=rf"is a file of type '\.\w+', expected .*; .*{how}"):
        load_images(tmp_path / name)


# values


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, torch.float32])
@pytest.mark.parametrize("low", [0, -1])
def test_floats_need_their_range(kind, low):
    values = LEVELS / 64 * (1 - low) + low  # exact
    images = np.zeros((COUNT, 1, 8, 16)) + values[:, None, None, None]
    images = torch.from_numpy(images).to(kind) if kind is torch.float32 else images.astype(kind)
    with pytest.raises(InputError, match=rf"float\d\d from {low} to .*: value_range=\(0, 1\), \(-1, 1\)"):
        load_images(images)
    data = load_images((images, LABELS), value_range=(low, 1))
    levels = np.rint(LEVELS / 64 * 255).astype(np.uint8)
    found = torch.cat([split.images[:, 0, 0, 0] for split in (data.train, data.validation, data.test)])
    assert sorted(found.tolist()) == levels.tolist()


def test_a_range_that_does_not_fit():
    images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        InputError, match=r"values from -0\.99\d* to 0\.99\d*, expected those of value_range, 0 to 1"
    ):
        load_images(2 * images - 1, value_range=(0, 1))
    with pytest.warns(UserWarning, match=r"no value below .* darkest pixel is 128 of 255; should it be \(0, 1\)"):
        load_images(images, value_range=(-1, 1))
    with pytest.raises(InputError, match="holds NaN or infinity, expected values from 0 to 1"):
        load_images(images.clone().fill_(torch.nan), value_range=(0, 1))
    with pytest.raises(InputError, match=r"value_range must be \(black, white\), two numbers, .*got \(1, 0\)"):
        load_images(images, value_range=(1, 0))
    with pytest.raises(InputError, match="value_range is for arrays, got the encoded images of digits"):
        load_images("digits", value_range=(0, 1))


def test_flat_rows_are_refused_with_their_shape():
    with pytest.raises(InputError, match=r"shape \(20, 784\), .*images\.reshape\(-1, 28, 28\), or"):
        load_images(np.zeros((20, 784), np.uint8))


# lists and data sets


class Items(torch.utils.data.Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def pairs(images, labels=LABELS):
    return Items(list(zip(images, labels, strict=True)))


@pytest.mark.parametrize(
    "content",
    [
        (list(IMAGES), list(LABELS.tolist())),
        (pictures(), LABELS),
        pairs(IMAGES),
        pairs(torch.from_numpy(IMAGES)[:, None], torch.from_numpy(LABELS)),
        pairs(pictures(), LABELS.tolist()),
        TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS)),
    ],
    ids=["arrays", "pictures", "array items", "tensor items", "picture items", "tensors"],
)
def test_lists_and_data_sets_of_pytorch(content):
    data = load_images(content)
    check(data)
    assert (data.name, data.source) == ("images", IN_MEMORY)


def test_a_list_of_pictures_is_read_as_its_files_would_be(tmp_path):
    check(load_images(pictures()), labelled=False)
    check(load_images(Items(pictures("RGB"))), labelled=False, shape=(3, 8, 16))
    odd = [Image.new("L", (16, 8), level) for level in range(20)]
    clear = Image.new("RGBA", (16, 8), (9, 9, 9, 0))
    palette = Image.new("P", (16, 8), 1)
    palette.putpalette([0, 0, 0, 90, 100, 110])
    turned = Image.new("L", (8, 16), 200)
    turned.getexif()[0x0112] = 6
    odd += [clear, palette, turned, Image.new("LA", (16, 8), (7, 0)), Image.new("CMYK", (16, 8), (0, 0, 0, 55))]
    data = load_images(odd)
    found = torch.cat([split.images[:, :, 0, 0] for split in (data.train, data.validation, data.test)])
    expected = [[level] * 3 for level in [*range(20), 255, 200, 255, 200]] + [[90, 100, 110]]
    assert sorted(found.tolist()) == sorted(expected)


def test_a_list_of_paths(tmp_path):
    paths = [tmp_path / f"{level}.png" for level in LEVELS]
    for path, image in zip(paths, pictures(), strict=True):
        image.save(path)
    check(load_images((list(map(str, paths)), LABELS)))
    check(load_images(paths), labelled=False)
    with pytest.raises(InputError, match=r"gone\.png of the list of images is not a file"):
        load_images([*paths, tmp_path / "gone.png"])
    with pytest.raises(InputError, match="holds 3 labels for 40 images"):
        load_images((paths, LABELS[:3]))


class _Stream(IterableDataset):
    def __iter__(self):
        return iter(IMAGES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (DataLoader(pairs(IMAGES)), r"got DataLoader; give its data set, loader\.dataset"),
        (_Stream(), r"got _Stream; give its items in a list, list\(data\)"),
        ({"images": IMAGES}, r"got dict; give the pair \(images, labels\)"),
        (pictures()[0], "got Image; give a list of many images"),
        ([], "got list; give an array"),
        ([IMAGES[0], pictures()[0]], "got list; give an array"),
        ([IMAGES[0], IMAGES[0][:4]], r"arrays that differ, such as uint8 of shape \(4, 16\) and uint8 of shape"),
        (Items([{"image": IMAGES[0]}]), "item 0 of .* is a dict, expected an image or a pair"),
        (Items([]), "is a data set without items"),
        ([Image.new("HSV", (8, 8))] * 20, "image 0 has the mode HSV, expected .*; convert it"),
    ],
)
def test_what_is_no_list_of_images(content, message):
    with pytest.raises(InputError, match=message):
        load_images(content)


# datasets


def rows(labels=LABELS):
    cells = [{"bytes": png(image), "path": None} for image in pictures()]
    return datasets.Dataset.from_dict({"image": cells, "label": labels}).cast_column("image", datasets.Image())


def test_a_data_set_of_datasets_with_its_selection():
    whole = rows()
    check(load_images(whole))
    parts = whole.shuffle(seed=1).train_test_split(test_size=10, seed=2)
    data = load_images(parts)
    check(data)
    held = sorted(np.array(image)[0, 0] for image in parts["test"]["image"])
    assert sorted(data.test.images[:, 0, 0, 0].tolist()) == held
    check(load_images(whole.select(range(20, 40)).with_format("torch")), levels=LEVELS[20:])
    with pytest.raises(InputError, match=r"has a transform \(set_transform\), which would not be applied"):
        load_images(whole.with_transform(lambda batch: batch))
    with pytest.raises(InputError, match=r"got IterableDataset; give its items in a list"):
        load_images(whole.to_iterable_dataset())


def test_a_changed_file_of_a_data_set_is_read_anew(tmp_path):
    paths = [str(tmp_path / f"{level}.png") for level in LEVELS]
    for path, image in zip(paths, pictures(), strict=True):
        image.save(path)

    def made():
        return datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())

    check(load_images(made()), labelled=False)
    Image.new("L", (16, 8), 99).save(paths[0])
    check(load_images(made()), labelled=False, levels=np.array([*range(1, 40), 99]))


def test_a_folder_of_save_to_disk(tmp_path):
    rows().save_to_disk(tmp_path / "one")
    data = load_images(tmp_path / "one")
    check(data)
    assert (data.name, data.source) == ("one", str(tmp_path / "one"))
    rows().train_test_split(test_size=10, seed=0).save_to_disk(tmp_path / "two")
    data = load_images(str(tmp_path / "two"))
    check(data)
    assert len(data.test.images) == 10
    (arrow,) = (tmp_path / "one").glob("*.arrow")
    arrow.rename(tmp_path / "one" / "kept")
    arrow.mkdir()  # as a pipe, whose opening would wait
    with pytest.raises(InputError, match=rf"save_to_disk \(no file {arrow.name}\); restore it"):
        load_images(tmp_path / "one")
    (tmp_path / "one" / "state.json").write_text('{"_data_files": [{"filename": "../two/train/x.arrow"}]}')
    with pytest.raises(InputError, match=r"cannot be read as a folder of save_to_disk \(a file outside of"):
        load_images(tmp_path / "one")
    (tmp_path / "one" / "state.json").write_text("{")
    with pytest.raises(InputError, match=r"cannot be read as a folder of save_to_disk \(.*\); restore it"):
        load_images(tmp_path / "one")


# tars


def tar(path, names):
    with tarfile.open(path, "w") as file:
        for name, content in names:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def test_webdataset_tars(tmp_path):
    members = []
    for level, image in zip(LEVELS, pictures(), strict=True):
        name = f"data/{level:03}"
        members += [
            (f"{name}.PNG", png(image)),
            (f"{name}.seg.png", b"mask"),
            (f"{name}.cls", b"%d\n" % (level % 4)),
        ]
        members += [(f"{name}.json", b"{}"), (f"data/._{level}.png", b"no")]
    tar(tmp_path / "all.tar", members)
    for _ in range(2):  # the second time the copy is there
        check(load_images(tmp_path / "all.tar"))
    for name, part in (("train-0", slice(80)), ("train-1", slice(80, 150)), ("test-0", slice(150, None))):
        (tmp_path / "shards").mkdir(exist_ok=True)
        tar(tmp_path / "shards" / f"{name}.tar", members[part])
    data = load_images(tmp_path / "shards")
    check(data)
    assert sorted(data.test.images[:, 0, 0, 0].tolist()) == LEVELS[30:].tolist()
    whole = (tmp_path / "all.tar").read_bytes()
    for content in (whole[:5000], whole[:5120], whole[:5120] + b"?" + whole[5121:], whole + whole, b""):
        (tmp_path / "all.tar").write_bytes(content)
        with pytest.raises(InputError, match=r"all\.tar is damaged or not a tar file"):
            load_images(tmp_path / "all.tar")
    tar(tmp_path / "all.tar", [("a.png", b""), ("a.jpg", b"")])
    with pytest.raises(InputError, match=r"has a\.png and a\.jpg in one sample, expected one image"):
        load_images(tmp_path / "all.tar")


# a run


def test_a_shared_run_names_the_file_and_the_array_without_their_folder():
    info = {"recipe": "ae", "preset": "mlp", "data": "a", "source": "/me/a.h5:left/images", "shape": [1, 8, 8]}
    shared = shareable(RunInfo.of({**info, "expanded": {"settings": {}}}))
    assert shared.source == "./a.h5:left/images"
    check_shared(shared, "x")
    for source in ("./a.h5:../../images", "./../a.h5:images", "./a.h5:/etc/x"):
        with pytest.raises(InputError, match="names its data by a path"):
            check_shared(RunInfo.of({**shared, "source": source}), "x")


def test_a_run_of_a_data_set_in_memory_asks_for_it_and_knows_its_range(tmp_path):
    images = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    options = {"epochs": 1, "set": {"width": 2}, "out": tmp_path / "run", "device": "cpu", "progress": False}
    given = TensorDataset(images, torch.arange(60) % 3)
    run = eae.train("ae", given, value_range=(0, 1), **options)
    assert (run.info.source, run.info["value_range"]) == (IN_MEMORY, [0.0, 1.0])
    with pytest.raises(InputError, match=re.escape("pass them again: load(folder, data=images)")):
        _ = eae.load(tmp_path / "run").data
    again = eae.load(tmp_path / "run", data=given).data
    assert torch.equal(again.train.images, run.data.train.images)
    np.save(tmp_path / "floats.npy", images.numpy())
    seen = read_images(tmp_path / "floats.npy", run.shape, value_range=run.info.value_range)
    assert torch.equal(seen, (images * 255).round().byte())
