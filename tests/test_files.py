import os
import stat
import time

import pytest
import torch
from safetensors.torch import save

from entropic_ae import InputError
from entropic_ae.storage.files import atomic, atomic_folder, claimed, read_json, remove_unfinished, write_json
from entropic_ae.storage.tensors import read_tensors, unpack_tensors, write_tensors


def test_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": [1, 2]})
    assert read_json(path) == {"a": [1, 2]}

    def fail_half_way():
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert read_json(path) == {"a": [1, 2]}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_what_is_written_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "a.json", []

    def sync(descriptor):
        synced.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))
        assert not path.exists()

    monkeypatch.setattr(os, "fsync", sync)
    write_json(path, {"a": 1})
    assert synced == [(path.stat().st_ino, path.stat().st_size)]


def test_tensors_there_and_back(tmp_path):
    path = tmp_path / "a.safetensors"
    assert read_tensors(path) == ({}, {})
    write_tensors(path, {"x": torch.arange(6.0).reshape(2, 3).T}, {"of": "test"})
    tensors, metadata = read_tensors(path)
    assert tensors["x"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert metadata == {"of": "test"}
    path.write_bytes(path.read_bytes()[:40])
    assert read_tensors(path) == ({}, {})


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(InputError, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"b\.json does not exist"):
        read_json(tmp_path / "b.json")
    (tmp_path / "c.json").write_text('{"a": "\\ud800"}')  # half a character, which no page can show
    with pytest.raises(InputError, match=r"c\.json is damaged \(.*surrogates not allowed"):
        read_json(tmp_path / "c.json")
    (tmp_path / "d.json").write_text('["\\u00e9", "\\ud83d\\ude00"]')
    assert read_json(tmp_path / "d.json") == ["\u00e9", "\U0001f600"]


def test_tensors_that_are_not_those_written_are_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": torch.arange(6.0), "y": torch.ones(6)}, {"of": "test"})
    assert path.read_bytes() == write_again(path)
    content = path.read_bytes()
    for damaged in (
        content[:-1] + bytes([content[-1] ^ 1]),  # a value
        content.replace(b'"x"', b'"z"'),  # a name
        content.replace(b'"F32"', b'"I32"', 1),  # a type
        content.replace(b"[0,24]", b"[9,99]").replace(b"[24,48]", b"[0,24]").replace(b"[9,99]", b"[24,48]"),
    ):
        assert damaged != content
        with pytest.raises(InputError, match="its values do not match its digest"):
            unpack_tensors(damaged)
    foreign = save({"x": torch.zeros(2)}, {"of": "another library"})  # without a digest
    assert unpack_tensors(foreign)[1] == {"of": "another library"}


def write_again(path):
    tensors, metadata = unpack_tensors(path.read_bytes())
    write_tensors(path, tensors, metadata)
    return path.read_bytes()


def make_old(path):
    for one in (*path.rglob("*"), path):
        os.utime(one, (time.time() - 2 * 24 * 3600,) * 2)


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    kept = ["run.json", ".lock", ".a-b", ".hidden-folder/x", "log-12345678.csv", ".gitignore", ".vim-settings/x"]
    names = ["run.json", "drawn", "second-stage.safetensors", "onnx/a.onnx"]
    left = [f".unfinished-ab12_cd3-{name}" for name in names]
    fill(tmp_path, *kept, *left)
    make_old(tmp_path)
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {name.split("/")[0] for name in kept}
    remove_unfinished(tmp_path / "missing")


def test_what_a_live_process_may_be_writing_is_left(tmp_path):
    live = [".unfinished-abcdefgh-metrics.json", ".unfinished-abcdefgh-onnx"]
    fill(tmp_path, ".unfinished-ab12_cd3-run.json", live[0], f"{live[1]}/encoder.onnx")
    make_old(tmp_path / live[1])
    (tmp_path / live[1] / "decoder.onnx").touch()
    remove_unfinished(tmp_path, ["run.json"])
    assert sorted(path.name for path in tmp_path.iterdir()) == live


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    def fail_half_way():
        with atomic_folder(tmp_path / "out") as folder:
            fill(folder, "a", "deep/b")
            assert list(tmp_path.glob("out")) == []
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []
    before = os.umask(0o027)
    try:
        with atomic_folder(tmp_path / "out") as folder:
            fill(folder, "a", "deep/b")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750
    with atomic_folder(tmp_path / "out", overwrite=True) as folder:
        (folder / "a").write_text("new")
    assert (tmp_path / "out" / "a").read_text() == "new"
    assert (tmp_path / "out" / "deep" / "b").is_file()

    def write_where_another_has():
        with atomic_folder(tmp_path / "out"):
            pass

    with pytest.raises(OSError, match="not empty"):
        write_where_another_has()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_process_left_of_a_folder_goes_when_it_is_written_again(tmp_path):
    fill(tmp_path, ".unfinished-abcdefgh-out/a", ".out-settings/mine", ".out-12345678.png")
    make_old(tmp_path)
    fill(tmp_path, ".unfinished-ijklmnop-out/a")  # of now
    with atomic_folder(tmp_path / "out"):
        pass
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"out", ".out-settings", ".out-12345678.png", ".unfinished-ijklmnop-out"}


def test_a_folder_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    synced = set()

    def sync(descriptor):
        synced.add((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))
        assert not (tmp_path / "out").exists()

    monkeypatch.setattr(os, "fsync", sync)
    with atomic_folder(tmp_path / "out") as folder:
        fill(folder, "deep/b")
        (folder / "a").write_text("1")
    written = {path.stat() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert synced == {(stat.st_ino, stat.st_size) for stat in written}


def test_a_claim_is_held_by_one_and_given_back(tmp_path):
    place = tmp_path / "deep" / ".lock"
    with claimed(place, "taken."), pytest.raises(InputError, match=r"^taken\.$"), claimed(place, "taken."):
        pytest.fail("held twice")
    with claimed(place, "taken."):
        pass
