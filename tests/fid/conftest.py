"""These tests need torch-fidelity: PYTHONPATH=FOLDER pytest tests/fid, where FOLDER holds it."""

import importlib
import importlib.util
import sys

import pytest
import torch

_declared = []  # a library's operators live as long as the object


def _import_torchvision():
    """Import torchvision; beside a CPU build of torch its compiled operators are missing, so declare them."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        importlib.import_module("torchvision")


def _reason():
    """Say why the folder cannot be tested, or return None."""
    if importlib.util.find_spec("torch_fidelity") is None:
        return "torch-fidelity is not installed; pip install 'entropic-ae[fid]'"
    try:
        _import_torchvision()
    except (ImportError, RuntimeError) as error:
        return f"torchvision cannot be imported: {error}"
    return None


@pytest.fixture(scope="session", autouse=True)
def _needs_torch_fidelity():
    reason = _reason()
    if reason is not None:
        pytest.skip(reason)
