import json
import runpy
import sys
from pathlib import Path

import torch

from entropic_ae.storage.files import write_json

TOOL = Path(__file__).parent.parent / "tools" / "networks.py"


def test_cases_are_measured_once_and_rendered(tmp_path, monkeypatch, capsys):
    """At equal seconds of the processor; a file of some cases is continued, and shows those that it holds."""
    tool = runpy.run_path(str(TOOL))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # of the tests that follow
    cases = {"digits": ({"network": "paper"}, {"network": "residual"}), "mnist": ({"network": "paper"},)}
    for name, own in (
        ("CASES", cases),
        ("SHARED", {"width": 2, "batch_size": 20}),
        ("LIMITS", {"digits": 60}),
        ("SPACES", {"digits": "pixels"}),
        ("TITLES", {"digits": "digits"}),
        ("TESTED", 30),
    ):
        monkeypatch.setitem(tool["main"].__globals__, name, own)
    out = tmp_path / "networks.json"
    command = ["networks.py", "--out", str(out), "--data", "digits", "--seconds", "0.2"]
    monkeypatch.setattr(sys, "argv", [*command, "--pictures", str(tmp_path / "pictures")])
    tool["main"]()
    content = json.loads(out.read_text())
    assert [case["settings"]["network"] for case in content["cases"]] == ["paper", "residual"]
    for case in content["cases"]:
        assert case["steps"] >= 1
        assert 0 < case["error"] < 64
        assert case["frechet"].keys() == {"random", "pixels"}
    assert len(list((tmp_path / "pictures").iterdir())) == 6
    before = out.read_bytes()
    monkeypatch.setattr(sys, "argv", command)
    tool["main"]()
    assert out.read_bytes() == before
    write_json(out, {**content, "cases": content["cases"][:1]})
    assert tool["render_networks"](out).count("| digits |") == 1
    capsys.readouterr()
