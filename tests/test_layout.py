"""The architecture: rooms import from the layers above them only, and every module says what it exports."""

import ast
import doctest
import importlib.util
import pkgutil
import subprocess
import sys
from contextlib import nullcontext
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import entropic_ae
from brief import briefly

ROOT = Path(entropic_ae.__file__).parent
# A room, which is a module or a package, imports from the layers above it in this list only; lazy imports count.
LAYERS = [
    {"errors", "provenance", "version"},
    {"arrays", "randomness"},
    {"distributed", "estimators", "mixtures", "networks", "priors", "registry", "storage"},
    {"transports", "verdict"},
    {"bottlenecks", "data", "metrics", "pictures"},
    {"autoencoder"},
    {"terms"},
    {"training"},
    {"densities", "features"},
    {"export", "generation", "recipes", "scikit"},
    {"evaluation", "sharing"},
    {"report", "runs"},
    {"experiments", "explore"},
    {"cli"},
    {"__main__"},
]
LAYER = {room: number for number, layer in enumerate(LAYERS) for room in layer}
LONGEST = 450  # lines of a module
MODULES = sorted(
    m.name for m in pkgutil.walk_packages([str(ROOT)], "entropic_ae.") if not m.name.endswith("__main__")
)


def imported(path, *, annotations=True):
    """Return the modules of the library that a file imports, each with the line; those for annotations too."""
    found = []
    tree = ast.parse(path.read_text())
    if not annotations:
        checked = [
            node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        ]
        tree.body = [node for node in tree.body if node not in checked]
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            names = modules if node.module == "entropic_ae" else [node.module]
        found += [(name, node.lineno) for name in names if name and name.partition(".")[0] == "entropic_ae"]
    return found


def room(name):
    return name.split(".")[1]


def test_rooms_import_from_the_layers_above_them_only():
    found, wrong = set(), []
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if place == "__init__":
            continue
        found.add(place)
        for name, line in imported(path):
            if room(name) != place and LAYER[room(name)] >= LAYER[place]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong
    assert found == set(LAYER)


def test_modules_of_a_package_import_each_other_in_no_circle():
    for package in sorted(path.parent for path in ROOT.glob("*/__init__.py")):
        start = f"entropic_ae.{package.name}."
        uses = {
            path.stem: {
                name.removeprefix(start).partition(".")[0]
                for name, _ in imported(path, annotations=False)
                if name.startswith(start)
            }
            for path in package.glob("*.py")
            if path.stem != "__init__"
        }
        tuple(TopologicalSorter(uses).static_order())  # CycleError names the circle


def test_no_module_is_long():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_exports_are_explicit():
    for name in MODULES:
        module = importlib.import_module(name)
        assert module.__doc__, name
        assert [export for export in module.__all__ if not hasattr(module, export)] == [], name


def test_every_public_name_can_be_imported_and_has_a_docstring():
    for name in entropic_ae.__all__:
        value = getattr(entropic_ae, name)
        if callable(value):
            assert ">>> " in value.__doc__, f"{name} has no example"
    with pytest.raises(AttributeError, match="no attribute 'knn'"):
        _ = entropic_ae.knn
    assert dir(entropic_ae) == sorted(entropic_ae.__all__)


def test_imports_load_nothing_heavy():
    """The package and its command line, then the data, the recipes and their names, after which torch is there."""
    script = (
        "import sys, entropic_ae, entropic_ae.cli\n"
        "print([m for m in ('torch', 'pytorch_lightning', 'datasets', 'sklearn') if m in sys.modules])\n"
        "import entropic_ae.data, entropic_ae.recipes\n"
        "print([m for m in ('pytorch_lightning', 'torchmetrics', 'datasets', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["[]", "[]", ""]


def has_examples(name):
    return ">>> " in Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [m for m in MODULES if ".cli" not in m and has_examples(m)])
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("entropic_ae.registry._imported", [])  # what an example imports is no part of later runs
    with nullcontext() if ".metrics" in name else briefly():
        failures, _ = doctest.testmod(importlib.import_module(name))
    assert failures == 0


def test_warnings_are_of_the_line_that_called_the_library(tmp_path):
    """Whatever is in between: a notebook shows the user's line, and none of the library's."""
    import numpy as np

    images = np.zeros((20, 8, 8), np.uint8)
    images[:, 0] = 1
    with pytest.warns(UserWarning, match="hold 0 and 1 only") as caught:
        entropic_ae.load_images(images)
    assert {one.filename for one in caught} == {__file__}
