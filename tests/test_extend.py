"""Parts of one's own: the scripts of docs/extend.md, loaded again elsewhere, and what is told where one lacks."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import entropic_ae as eae
from entropic_ae import InputError, cli
from entropic_ae.data.images import SPLITS
from entropic_ae.experiments import sweep, table1
from entropic_ae.experiments.cells import Cell
from entropic_ae.registry import Registry, import_modules
from entropic_ae.training import Execution

pytestmark = pytest.mark.usefixtures("brief")
CPU = Execution("cpu")

PAGE = (Path(__file__).parent.parent / "docs" / "extend.md").read_text(encoding="utf-8")
SCRIPTS = dict(re.findall(r"<!-- (\w+)\.py -->\n```python\n(.*?)```", PAGE, re.DOTALL))
BLOCKS = re.findall(r"(?<!\.py -->\n)```python\n(.*?)```", PAGE, re.DOTALL)
REGISTRIES = [value for name in dir(eae) if isinstance(value := getattr(eae, name), Registry)]

TRAIN = """
import runpy, sys
for name in sys.argv[1:]:
    runpy.run_path(f"{name}.py", run_name="__main__")
"""


@contextmanager
def forgotten(place):
    """Be in a folder as a process that has registered nothing, and forget what is registered and imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr("entropic_ae.registry._imported", [])
        for registry in REGISTRIES:
            patch.setattr(registry, "data", dict(registry.data))
        yield patch
    for name in SCRIPTS:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page's scripts, run in a process of their own; their runs drawn from here; then its other blocks."""
    folder = tmp_path_factory.mktemp("extend")
    for name, script in SCRIPTS.items():
        (folder / f"{name}.py").write_text(script)
    subprocess.run([sys.executable, "-c", TRAIN, *SCRIPTS], cwd=folder, check=True, capture_output=True)
    with forgotten(folder) as patch:
        for name in SCRIPTS:
            density = ["--density", "kernel"] if name == "kernel" else []
            out = ["--n", "16", "--seed", "0", "--out", f"again/{name}.png"]
            patch.setattr(sys, "argv", ["entropic-ae", "--import", name, "sample", f"runs/{name}", *density, *out])
            with pytest.raises(SystemExit) as end:
                cli.main()
            assert not end.value.code, name
        for block in BLOCKS:
            exec(compile(block, "extend.md", "exec"), {})
    return folder


@pytest.fixture
def here(folder, tmp_path):
    """A copy of it as the current folder, for a process that has registered nothing and forgets what it does."""
    place = Path(shutil.copytree(folder, tmp_path / "here"))
    with forgotten(place):
        yield place


def test_a_script_a_part_of_thirty_lines_at_most():
    names = [
        "patches",
        "painter",
        "variation",
        "mapped",
        "positive",
        "kernel",
        "rings",
        "profiles",
        "lines",
        "white",
    ]
    assert list(SCRIPTS) == names
    assert max(len(script.splitlines()) for script in SCRIPTS.values()) <= 30
    assert len(BLOCKS) == 3


@pytest.mark.parametrize("name", SCRIPTS)
def test_another_process_draws_the_same_from_the_run(folder, name):
    assert (folder / "again" / f"{name}.png").read_bytes() == (folder / f"{name}.png").read_bytes()
    held = {path.suffix or path.name for path in (folder / "runs" / name).rglob("*") if path.is_file()}
    assert held <= {".json", ".safetensors", ".csv", ".png", ".ckpt", ".lock", "drawn"}


def test_parts_and_settings_stand_in_run_json(folder):
    def expanded(name):
        return json.loads((folder / "runs" / name / "run.json").read_text())["expanded"]

    assert (expanded("patches")["encoder"], expanded("patches")["settings"]["hidden"]) == ("Patches", 16)
    assert (expanded("painter")["decoder"], expanded("painter")["settings"]["units"]) == ("Painter", 16)
    assert expanded("variation")["terms"][-1] == "TotalVariation"
    assert expanded("variation")["settings"]["variation"] == 0.2
    assert expanded("variation")["settings"]["variation.power"] == 1
    assert (expanded("positive")["bottleneck"], expanded("positive")["settings"]["bottleneck"]) == (
        "Positive", "positive",
    )  # fmt: skip
    assert json.loads((folder / "runs" / "rings" / "run.json").read_text())["source"] == "rings"


ADVICE = r"; if it is a custom one, register it first \(command line: --import MODULE\)"


def test_what_is_missing_is_told_with_how_to_give_it(here):
    with pytest.raises(InputError, match=rf"unknown recipe 'patches'.*{ADVICE}, or pass it: load"):
        eae.load("runs/patches")
    with pytest.raises(InputError, match=rf"unknown bottleneck 'positive'.*{ADVICE}"):
        eae.load("runs/positive")
    with pytest.raises(InputError, match=rf"unknown density 'kernel'.*{ADVICE}"):
        eae.load("runs/kernel", device="cpu").sample(2, density="kernel")
    rings = eae.load("runs/rings", device="cpu")  # its parts are the library's
    assert rings.sample(2).shape == (2, 1, 16, 16)
    with pytest.raises(InputError, match=rf"unknown data set 'rings'.*{ADVICE}"):
        rings.evaluate(features="pixels", n=20)
    text = Path("runs/patches/run.json").read_text()
    Path("runs/patches/run.json").write_text(text.replace('"preset": "digits"', '"preset": "mine"'))
    import_modules(["patches"])
    with pytest.raises(InputError, match=rf"unknown preset 'mine'.*{ADVICE}"):
        eae.load("runs/patches")


def test_a_recipe_that_is_given_need_not_be_registered(here):
    import_modules(["patches"])
    recipe = eae.RECIPES.pop("patches")
    expected = (here / "patches.png").read_bytes()
    eae.save_images(eae.load("runs/patches", recipe=recipe).sample(16, seed=0), "given.png")
    assert Path("given.png").read_bytes() == expected
    with pytest.raises(InputError, match="expected the recipe of the run, 'patches', got 'other'; pass"):
        eae.load("runs/patches", recipe=replace(recipe, name="other"))
    with pytest.raises(InputError, match="the recipe 'eae' is built in; give yours another name"):
        eae.load("runs/kernel", recipe=replace(recipe, name="eae"))


class Other(nn.Module):
    """An encoder of the right sizes."""

    def __init__(self, shape, features, *, hidden=32):  # noqa: ARG002
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(hidden), nn.ReLU(), nn.LazyLinear(features))

    def forward(self, x):
        return self.layers(x)


def test_a_part_of_another_class_is_refused(here):
    import_modules(["patches"])
    changed = replace(eae.RECIPES["patches"], encoder=partial(Other))
    sentence = "another definition of 'patches' (encoder was 'Patches' and is 'Other'); use the original one"
    with pytest.raises(InputError, match=re.escape(sentence)):
        eae.load("runs/patches", recipe=changed)
    options = {"set": {"hidden": 16, "width": 4}, "out": "runs/patches", "device": "cpu", "progress": False}
    with pytest.raises(InputError, match="other settings: encoder was 'Patches' and is 'Other'"):
        eae.train(changed, "digits", epochs=2, resume=True, **options)
    with pytest.raises(InputError, match="other settings: hidden was 16 and is 32"):
        eae.train("patches", "digits", epochs=2, resume=True, **{**options, "set": {"width": 4}})
    resumed = eae.train("patches", "digits", epochs=2, resume=True, **options)
    assert len(Path("runs/patches/log.csv").read_text().splitlines()) == 3
    assert torch.equal(eae.load("runs/patches").sample(3, seed=1), resumed.sample(3, seed=1))


def test_a_bottleneck_may_be_registered_after_training(here):
    """Before it is told by its class, afterwards by its name."""
    import_modules(["positive"])
    kind = eae.BOTTLENECKS.pop("positive")
    recipe = replace(eae.RECIPES["eae"], name="mine", bottleneck=partial(kind))
    small = {"set": {"width": 2}, "epochs": 1, "limit": 200, "device": "cpu", "progress": False}
    run = eae.train(recipe, "digits", out="runs/another", **small)
    assert run.info["expanded"]["settings"]["bottleneck"] == "Positive"
    eae.BOTTLENECKS["positive"] = kind
    again = eae.load("runs/another", recipe=recipe, device="cpu")
    assert torch.equal(again.sample(3, density="prior"), run.sample(3, density="prior"))


def test_the_constraint_of_the_page_bounds_the_entropy(here):
    """Of positive codes of mean 1 the exponential has the most entropy, 1 nat; the excess energy is exact."""
    import_modules(["positive"])
    bottleneck = eae.BOTTLENECKS["positive"](3)
    z = bottleneck(torch.randn(500, 3)).z
    assert z.mean(0).allclose(torch.ones(3), atol=1e-5)
    assert z.min() > 0
    assert bottleneck.excess_energy(z).item() == pytest.approx(0, abs=1e-4)
    prior = bottleneck.prior()
    assert prior.entropy().item() == pytest.approx(3)
    far = 2 * z
    expected = -prior.log_prob(far).mean() - prior.entropy()
    assert bottleneck.excess_energy(far).item() == pytest.approx(expected.item(), abs=1e-4)


def test_a_density_of_one_s_own_is_kept_by_its_tensors(here):
    import_modules(["kernel"])
    run = eae.load("runs/kernel", device="cpu")
    density, prior = run.density("kernel"), run.model.bottleneck.prior()
    assert set(density.state()) == {"codes", "width"}
    again = type(density).from_state(density.state(), prior)
    assert torch.equal(again.sample(5, seed=2), density.sample(5, seed=2))
    with pytest.raises(KeyError, match="width"):
        type(density).from_state({"codes": density.codes}, prior)
    result = run.evaluate(features="pixels", n=20, densities=["kernel"])
    assert result["distances"]["kernel"]["images"] == 20
    recipe = replace(eae.RECIPES["eae"], name="narrow", densities={"kernel": {"narrow": 0.5}}, density="kernel")
    assert eae.configure(recipe, eae.PRESETS["digits"]).settings()["kernel.narrow"] == 0.5


def test_a_report_needs_no_module_and_names_it(here, call):
    assert call("report", "runs/patches")[0] == 0
    small = ["--set", "width=2", "hidden=4", "--epochs", 1, "--limit", 100, "--device", "cpu", "--out", "runs/two"]
    assert call("--import", "patches", "--import", "rings", "train", "patches", "rings", *small)[0] == 0
    assert json.loads(Path("runs/two/run.json").read_text())["imports"][-2:] == ["patches", "rings"]
    assert call("report", "runs/two")[0] == 0
    page = Path("runs/two/report.html").read_text()
    assert "--import patches --import rings train patches rings --set" in page
    assert "--import rings evaluate" in page


def test_a_folder_never_has_a_module_imported(here, call):
    """Whatever run.json names: the modules of training, or a recipe that looks like one."""
    Path("evil.py").write_text("import pathlib; pathlib.Path('marker').touch()")
    info = json.loads(Path("runs/kernel/run.json").read_text())
    Path("runs/kernel/run.json").write_text(json.dumps({**info, "imports": ["evil"]}))
    assert eae.load("runs/kernel", device="cpu").sample(2).shape == (2, 1, 8, 8)
    assert call("sample", "runs/kernel")[0] == call("report", "runs/kernel")[0] == 0
    for name in ("evil", "evil:Recipe", "evil.Recipe"):
        Path("runs/kernel/run.json").write_text(json.dumps({**info, "recipe": name}))
        assert call("sample", "runs/kernel")[0] == 2
    Path("runs/kernel/run.json").write_text(json.dumps({**info, "source": "evil"}))
    assert call("evaluate", "runs/kernel", "--features", "pixels")[0] == 2
    assert not Path("marker").exists()
    assert call("--import", "evil", "sample", "runs/rings")[0] == 0  # it would have shown
    assert Path("marker").exists()
    sys.modules.pop("evil")


@pytest.mark.parametrize("name", ["nowhere", "patches.py", "runs/patches", "", "rings.nothing"])
def test_a_module_that_is_not_there_is_one_sentence(here, call, name):
    code, out, err = call("--import", name, "recipes")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: there is no module '{name}' in {here}")
    assert err.count("\n") == 1


def test_a_module_that_fails_shows_where(here):
    Path("broken.py").write_text("import not_installed_at_all")
    with pytest.raises(ModuleNotFoundError, match="not_installed_at_all"):
        import_modules(["broken"])
    assert not hasattr(importlib.import_module("sys").modules, "broken")


def test_a_sweep_takes_registered_parts(here, tmp_path):
    """A row for the recipe, a column for the density; the table needs neither afterwards."""
    import_modules(["patches", "kernel"])
    shared = {"width": 2, "hidden": 4, "epochs": 1}
    cells = [
        Cell(name, "digits", 0, {}, shared, 200, 20, "pixels", densities=("prior", "kernel"), execution=CPU)
        for name in ("eae", "patches")
    ]
    assert "hidden" not in cells[0].settings
    sweep.run_cells(cells, tmp_path / "out", tmp_path / "runs")
    for registry in (eae.RECIPES, eae.DENSITIES):
        registry.pop({"recipe": "patches", "density": "kernel"}[registry.kind])
    head, _, *rows = table1.render(tmp_path / "out").splitlines()[:4]
    assert "| prior | kernel |" in head
    assert [row.split(" | ")[0] for row in rows] == ["| eae", "| patches"]


# what is refused when it is built


class Wide(Other):
    def forward(self, x):
        return super().forward(x)[:, :-1]


class Flat(nn.Module):
    """A decoder of codes to rows, not images."""

    def __init__(self, shape, latent_dim):
        super().__init__()
        self.layer = nn.Linear(latent_dim, shape[0] * shape[1] * shape[2])

    def forward(self, z):
        return self.layer(z)


class Bare(eae.Bottleneck):
    def forward(self, h):
        return h


class Patient(Flat):
    def __init__(self, shape, latent_dim, *, patience=3):  # noqa: ARG002
        super().__init__(shape, latent_dim)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"encoder": partial(Wide)}, r"Wide gives shape \(2, 7\) for 2 images, expected \(2, 8\)"),
        ({"decoder": partial(Flat)}, r"Flat gives shape \(2, 64\) for 2 images, expected \(2, 1, 8, 8\)"),
        ({"bottleneck": partial(Bare)}, r"Bare gives Tensor, expected Code\(z\)"),
        (
            {"decoder": partial(Patient)},
            r"patience is a setting of the decoder \(3\) and of the training \(5\), expected of one part",
        ),
        (
            {"encoder": partial(eae.ConvEncoder, width=4), "decoder": partial(eae.ConvDecoder, width=8)},
            r"width is a setting of the encoder \(4\) and of the decoder \(8\)",
        ),
    ],
)
def test_parts_that_do_not_fit_fail_when_the_model_is_built(changes, sentence):
    recipe = replace(eae.RECIPES["ae"], name="mine", **changes)
    with pytest.raises(InputError, match=sentence):
        eae.configure(recipe, eae.PRESETS["digits"]).build((1, 8, 8))


class Nameless(eae.Term):
    def __call__(self, model, trace):  # noqa: ARG002
        return trace.x_hat.sum()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"encoder": Other},
            r"expected a class with its settings as functools\.partial\(Other, \.\.\.\), got Other",
        ),
        ({"encoder": partial(Other, hiden=3)}, r"Other cannot be built with these settings: .*'hiden'"),
        ({"decoder": partial(eae.ConvDecoder, (1, 8, 8))}, "ConvDecoder cannot be built with.*: too many"),
        ({"terms": (eae.SquaredError(), Nameless())}, "Nameless has no name or no setting; give its class both"),
        ({"name": "my recipe"}, "a recipe's name is made of letters, digits, .* got 'my recipe'"),
        ({"name": "../mine"}, r"a recipe's name is made of .* got '\.\./mine'"),
    ],
)
def test_a_recipe_that_cannot_work_fails_when_it_is_made(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        replace(eae.RECIPES["ae"], name=changes.pop("name", "mine"), **changes)


def test_settings_that_no_network_takes_are_told():
    recipe = replace(eae.RECIPES["rae-sn"], name="mine", encoder=partial(Other), decoder=partial(Flat))
    with pytest.raises(
        InputError, match="'mine' sets spectral on 'digits', but no part of it takes that, Other for"
    ):
        eae.configure(recipe, eae.PRESETS["digits"])


def test_a_required_argument_that_is_given_is_a_setting():
    def encoder(shape, features, *, hidden):
        return Other(shape, features, hidden=hidden)

    recipe = replace(eae.RECIPES["ae"], name="mine", encoder=partial(encoder, hidden=5))
    system = eae.configure(recipe, eae.PRESETS["digits"], {"hidden": "7"})
    assert system.settings()["hidden"] == 7
    assert system.build((1, 8, 8))[0].encoder.layers[1].out_features == 7


def test_a_registry_refuses_what_would_be_lost_or_mistaken():
    pieces = Registry("recipe", {"ae": eae.RECIPES["ae"]})
    with pytest.raises(InputError, match="the recipe 'ae' is built in; give yours another name"):
        pieces["ae"] = replace(eae.RECIPES["ae"], density="prior")
    with pytest.raises(InputError, match="the recipe registered as 'mine' is named 'ae'; use one name for both"):
        pieces["mine"] = eae.RECIPES["ae"]
    with pytest.raises(InputError, match="a recipe's name is made of letters"):
        pieces.update({"a/b": replace(eae.RECIPES["ae"], name="ab")})
    mine = replace(eae.RECIPES["ae"], name="mine")
    pieces["mine"] = mine
    pieces["mine"] = mine  # a cell of a notebook is run twice
    assert list(pieces) == ["ae", "mine"]
    assert pieces.builtin == {"ae"}


# images in memory


def noise(n, *shape, seed=0):
    return torch.randint(256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_images_in_memory_are_split_as_a_file_of_them_is(tmp_path):
    images, labels = noise(50, 3, 8, 8).numpy(), torch.arange(50).numpy() % 5
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    from_file, given = eae.load_images(tmp_path / "a.npz"), eae.load_images((images, labels))
    assert (given.name, given.source, given.classes) == ("images", "an array in memory", 5)
    for split in SPLITS:
        for a, b in zip(getattr(from_file, split), getattr(given, split), strict=True):
            assert torch.equal(a, b)
    assert eae.load_images(torch.from_numpy(images), image_size=16).shape == (3, 16, 16)
    assert eae.load_images(images[:, 0]).train.labels is None


def test_splits_of_one_s_own_are_kept():
    mine = eae.ImageData(
        name="my images",
        train=eae.Split(noise(20, 1, 8, 8), torch.arange(20) % 2),
        validation=eae.Split(noise(5, 1, 8, 8), None),
        test=eae.Split(noise(6, 1, 8, 8), None),
    )
    given = eae.load_images(mine, limit=10)
    assert torch.equal(given.train.images, mine.train.images[:10])
    assert torch.equal(given.test.images, mine.test.images)
    assert (given.name, given.classes) == ("my-images", 2)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (noise(50, 8, 8).float(), r"an array in memory holds values of float32 from 0 to 255, expected uint8"),
        (
            [1, 2],
            "expected an array in memory to be images, .* got list",
        ),
        (noise(50, 9, 8), "the images of an array in memory are 8x9 pixels"),
        (noise(5, 8, 8), "an array in memory is too small"),
        ((noise(50, 8, 8), torch.arange(4)), "an array in memory holds 4 labels for 50 images"),
    ],
)
def test_images_that_cannot_be_taken(given, sentence):
    with pytest.raises(InputError, match=sentence):
        eae.load_images(given)


def test_a_function_that_gives_no_images_is_told(monkeypatch):
    monkeypatch.setattr(eae.DATASETS, "data", {**eae.DATASETS.data, "empty": lambda: None})
    with pytest.raises(
        InputError, match=r"expected the result of the data set 'empty' to be images, .* got NoneType"
    ):
        eae.load_images("empty")


def test_a_run_on_images_in_memory_asks_for_them_again(tmp_path):
    images, small = noise(60, 8, 8), {"set": {"width": 2, "batch_size": 20}, "epochs": 1, "device": "cpu"}
    run = eae.train("ae", images, out=tmp_path / "run", progress=False, **small)
    assert run.info["data"] == "images"
    result = run.evaluate(features="pixels", n=20, densities=["prior"])
    alone = eae.load(tmp_path / "run", device="cpu")
    assert alone.sample(2, density="prior").shape == (2, 1, 8, 8)
    with pytest.raises(InputError, match=r"on images in memory, which are needed here; pass them again: load\("):
        alone.evaluate(features="pixels", n=20)
    again = eae.load(tmp_path / "run", data=images, device="cpu")
    assert again.evaluate(features="pixels", n=20, densities=["prior"]) == result
    other = eae.load(tmp_path / "run", data=images.flip(0), device="cpu")
    with pytest.raises(InputError, match="the training images of an array in memory are not those"):
        _ = other.data
