"""The architecture: imports go only upward, and every module says what it exports."""

import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import entropic_ae

ROOT = Path(entropic_ae.__file__).parent
# Each may import those before it only.
ORDER = [
    "errors", "registry", "randomness", "files", "schema", "epoch_log", "provenance", "distributed", "estimators",
    "data_decoding", "data_sources", "data_streaming", "data", "networks", "distributions", "bottlenecks",
    "autoencoder", "terms",
    "training", "densities", "recipes", "generation", "pictures", "tracking", "features", "metrics", "evaluation",
    "scikit", "export", "sharing", "runs", "report", "experiments", "explore", "cli", "__main__",
]  # fmt: skip
MODULES = sorted(
    m.name for m in pkgutil.walk_packages([str(ROOT)], "entropic_ae.") if not m.name.endswith("__main__")
)


def test_every_module_has_its_place():
    found = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert found - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_upward(path):
    place = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if place == "__init__":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            names = modules if node.module == "entropic_ae" else [node.module]
        for name in names:
            if name and name.startswith("entropic_ae."):
                used = name.split(".")[1]
                if used == "__version__":
                    continue
                assert ORDER.index(used) <= ORDER.index(place), f"{place} imports {used}"


@pytest.mark.parametrize("name", MODULES)
def test_exports_are_explicit(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert all(hasattr(module, export) for export in module.__all__)


def test_every_public_name_can_be_imported_and_has_a_docstring():
    for name in entropic_ae.__all__:
        value = getattr(entropic_ae, name)
        if callable(value):
            assert ">>> " in value.__doc__, f"{name} has no example"
    with pytest.raises(AttributeError, match="no attribute 'knn'"):
        _ = entropic_ae.knn
    assert dir(entropic_ae) == sorted(entropic_ae.__all__)


def test_import_and_help_load_nothing_heavy():
    script = (
        "import sys, entropic_ae, entropic_ae.cli\n"
        "print([m for m in ('torch', 'pytorch_lightning', 'datasets', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_recipes_and_their_names_load_no_lightning():
    script = (
        "import sys, entropic_ae.recipes\n"
        "print([m for m in ('pytorch_lightning', 'torchmetrics', 'datasets', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [m for m in MODULES if not m.endswith(".cli")])
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("entropic_ae.registry._imported", [])  # what an example imports is no part of later runs
    failures, _ = doctest.testmod(importlib.import_module(name))
    assert failures == 0
