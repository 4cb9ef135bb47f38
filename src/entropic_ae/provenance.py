"""Provenance of a result: versions, commit and machine, as recorded in run.json and results."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

__all__ = ["git_commit", "machine", "versions"]

_PACKAGES = (
    "entropic-ae", "torch", "pytorch-lightning", "torchmetrics", "torch-fidelity", "datasets", "scikit-learn",
    "numpy", "safetensors",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that results depend on."""
    return {"python": platform.python_version(), **_installed()}


@cache  # the metadata of each package is a text to parse, 0.1 s together
def _installed() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Return the commit of the library's source, with ``+changes`` if it was edited; None outside git."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    try:
        # a copy installed inside another repository must not report that repository's commit
        subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=True)
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=True, text=True).stdout
        edited = subprocess.run([*git, "diff", "HEAD", "--quiet", "--", str(here)], check=False).returncode
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + ("+changes" if edited else "")


def machine() -> dict[str, str | int]:
    """Return the processor's architecture, cores and vector instructions, and the GPU's name.

    The instructions are those that PyTorch uses, such as AVX2 or AVX512: with them speed and rounding change.
    """
    kind: dict[str, str | int] = {"processor": platform.machine(), "cores": os.cpu_count() or 1}
    kind["instructions"] = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_available():
        kind["gpu"] = torch.cuda.get_device_name()
    return kind
