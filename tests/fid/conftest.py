"""These tests need torch-fidelity: PYTHONPATH=FOLDER pytest tests/fid, where FOLDER holds it."""

import importlib.util

import pytest
from inception import import_torchvision


def _reason():
    """Say why the folder cannot be tested, or return None."""
    if importlib.util.find_spec("torch_fidelity") is None:
        return "torch-fidelity is not installed; pip install 'entropic-ae[fid]'"
    try:
        import_torchvision()
    except (ImportError, RuntimeError) as error:
        return f"torchvision cannot be imported: {error}"
    return None


@pytest.fixture(scope="session", autouse=True)
def _needs_torch_fidelity():
    reason = _reason()
    if reason is not None:
        pytest.skip(reason)
