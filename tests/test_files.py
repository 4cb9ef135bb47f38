import os
import stat

import pytest
import torch

from entropic_ae import InputError
from entropic_ae.files import atomic, read_json, read_tensors, write_json, write_tensors


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
