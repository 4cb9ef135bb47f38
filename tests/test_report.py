import base64
import json
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from scipy.stats import binomtest

import entropic_ae as eae
from entropic_ae import InputError, cli, report
from entropic_ae.metrics import diagnostics
from entropic_ae.report import accuracy_text, charts, comparison, curves, diagnosis, plane
from entropic_ae.storage.json_schema import check
from entropic_ae.storage.results import RESULT
from entropic_ae.storage.run_info import RunInfo
from entropic_ae.verdict.command import train_command

pytestmark = pytest.mark.usefixtures("brief")
SMALL = {"width": 2, "entropy.k": 2, "decoder_decay.linear": False, "batch_size": 30}


class Page(HTMLParser):
    """What a browser would make of a page: tables by rows of cells, texts, tags with attributes."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tables, self.tags, self.texts, self.open = [], [], [], []
        self.feed(self.source)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("style", "script"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.open.append("cell")

    def handle_endtag(self, tag):
        if tag in ("td", "th", "style", "script"):
            self.open.pop()
        if tag in ("td", "th"):
            self.tables[-1][-1][-1] = " ".join(self.tables[-1][-1][-1].split())

    def handle_data(self, text):
        if not {"style", "script"} & set(self.open):
            self.texts.append(text)
        if "cell" in self.open:
            self.tables[-1][-1][-1] += text

    def all(self, tag, key):
        return [attributes.get(key) for name, attributes in self.tags if name == tag]


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch):
    """Let a chart that was drawn before be kept: most of a page's time. Yield what was kept, to be forgotten."""
    for module in (comparison, curves, diagnosis, plane):
        for name in {"lines", "points", "scatter", "stack", "band"} & set(vars(module)):
            monkeypatch.setattr(module, name, partial(drawn, getattr(module, name)))
    return DRAWN


DRAWN = {}


def drawn(draw, *arguments, **options):
    key = repr((draw.__name__, arguments, sorted(options.items())))
    if key not in DRAWN:
        DRAWN[key] = draw(*arguments, **options)
    return DRAWN[key]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    options = {"epochs": 1, "limit": 200, "seed": 3, "device": "cpu", "progress": False}
    run = eae.train("eae", "digits", set=SMALL, out=folder, **options)
    run.evaluate(features="pixels", n=60)
    run.draw(*run.system.recipe.densities)
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def change(folder):
    """Change a JSON file of the folder by a function."""

    def change(name, function):
        content = json.loads((folder / name).read_text())
        function(content)
        (folder / name).write_text(json.dumps(content))

    return change


def page_of(*folders, out=None):
    return Page(eae.write_report(folders, out))


@pytest.mark.parametrize(("right", "n"), [(6, 6), (0, 9), (7, 10), (171, 180)])
def test_an_accuracy_has_the_interval_of_wilson(right, n):
    low, high = binomtest(right, n).proportion_ci(method="wilson")
    assert accuracy_text(right / n, n) == f"{100 * right / n:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def test_the_command_repeats_the_run(trained, tmp_path, monkeypatch):
    page = Page(eae.write_report(trained, tmp_path / "a.html"))
    command = next(text for text in page.texts if text.startswith("entropic-ae train") and "--resume" not in text)
    out = str(tmp_path / "again")
    monkeypatch.setattr(sys, "argv", [*shlex.split(command), "--out", out, "--device", "cpu"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    then, now = (json.loads(Path(one, "run.json").read_text()) for one in (trained, out))
    for name in ("recipe", "preset", "source", "limit", "seed", "precision", "expanded", "training_images_sha256"):
        assert now[name] == then[name], name
    assert Path(out, "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()


def test_the_command_of_data_and_precision_of_ones_own():
    info = {
        "recipe": "vae", "data": "my cat's", "source": "/photos/my cat's", "shape": [1, 64, 64],
        "preset": "mnist", "image_size": 64, "limit": 500,
        "seed": 2, "precision": "bf16",
        "overrides": {"features": "pixels", "kl": 1e-05, "spectral": True, "epochs": "7"},
    }  # fmt: skip
    assert shlex.split(train_command(RunInfo.of(info)))[1:] == [
        "train", "vae", "/photos/my cat's", "--preset", "mnist", "--set", "image_size=64", "features=pixels",
        "kl=1e-05", "spectral=true", "--epochs", "7", "--seed", "2", "--limit", "500", "--precision", "bf16",
    ]  # fmt: skip


def test_every_number_is_that_of_metrics_json(trained, tmp_path):
    page = page_of(trained, out=tmp_path / "a.html")
    result = json.loads((trained / "metrics.json").read_text())["pixels"]
    distances, rebuilt, labels, closer, *near, parts = page.tables
    spread = result["collapse"]["spread"]
    floor = result["distances"]["held-out images"]["frechet"]
    assert distances[1:] == [
        [
            f"{name} the floor" if name == "held-out images" else name,
            f"{row['frechet']:.2f} ± {1.96 * row['frechet_error']:.2f}",
            f"{times:.1f}" if (times := row["frechet"] / floor) < 9.95 else f"{times:.0f}",
            "-"  # of 60 images, which do not tell blurred digits from real ones
            if "kernel_withheld" in result
            else f"{row['kernel']:.4f}" + f" ± {1.96 * row['kernel_std']:.4f}" * (row["kernel_std"] > 0),
            f"{row['images']}",
            f"{spread[name]:.2f}" if name in spread else "-",
        ]
        for name, row in result["distances"].items()
    ]
    assert rebuilt[1:] == [
        ["squared error", f"{result['reconstruction_error']:.3f}"],
        ["share of the images' variance", f"{100 * result['reconstruction_error'] / result['variance']:.0f} %"],
        [
            "as a multiple of that of images at 8 pixels across",
            f"{result['reconstruction_error'] / result['blurred_error']:.1f}",
        ],
        ["PSNR", f"{result['psnr']:.1f} dB"],
        ["SSIM", f"{result['ssim']:.2f}"],
    ]
    assert [row[1] for row in labels[1:]] == [
        accuracy_text(result[name], result["real_images"]) for name in ("knn_accuracy", "probe_accuracy")
    ]
    for name, *cells in closer[1:]:
        row = result["distances"][name.removesuffix(" the floor")]
        copies = f"{100 * row['near_copies']:.1f} %" if "near_copies" in row else "-"
        kinds = ("precision", "recall", "density", "coverage")
        assert cells == [copies, *(f"{row[kind]:.2f}" for kind in kinds)]
    assert len(near) == 3
    for table, name in zip(near, ("prior", "gaussian", "mixture"), strict=True):
        row = result["distances"][name]["neighbours"]
        pairs = zip(row["distances"], row["held_out"], strict=True)
        assert [line[1:] for line in table[1:]] == [[f"{one:.2f}", f"{other:.2f}"] for one, other in pairs]
    found, codes = result["diagnostics"], result["codes"]
    for row in parts[1:]:
        nats = found["parts"].get(row[0])
        p_value = found["p_values"][row[0]]
        assert row[1] == ("-" if nats is None else f"{nats:.2f}".replace("-0.00", "0.00"))
        assert row[2] == ("< 0.001" if p_value < 0.001 else f"{p_value:.3f}")
        assert row[3] == ("rejects" if p_value <= 0.01 else "does not reject")
    assert [row[0] for row in parts[1:]] == [*found["parts"], "distance"]
    quoted = [
        found["verdict"][1:],
        f"error {result['reconstruction_error']:.3f} squared, summed over an image",
        f"prior {found['divergence']:.2f} nats N(0, I)",
        f"Frechet distance, prior {result['distances']['prior']['frechet']:.2f}",
        f"pixels features; real {result['distances']['held-out images']['frechet']:.2f}",
        f"entropy of {codes['n']} held-out codes {codes['entropy']:.2f} nats",
        f"constraints {codes['maximum']:.2f} nats",
        f"gap {codes['gap']:.2f} nats",
        f"gap to the estimate for as many prior samples {codes['corrected_gap']:.2f} nats",
        f"of two dimensions, rms {found['correlation']['rms']:.3f}",
        f"largest correlation {found['correlation']['largest']:.3f}",
        f"running statistics, rms {found['minibatch']['rms_change']:.3f}",
        f"smallest and largest {found['minibatch']['least_std']:.3f} and {found['minibatch']['largest_std']:.3f}",
        f"from own codes {found['error_from_own_codes']:.3f}",
        f"from other images' codes {found['error_from_others_codes']:.3f}",
        f"{result['collapse']['active_codes']} of 8 dimensions of the code are active",
    ]
    for sentence in quoted:
        assert sentence in page.text


def test_the_page_begins_with_images_and_ends_with_settings(trained, tmp_path):
    page = page_of(trained, out=tmp_path / "a.html")
    headings = ["Images", "Verdict", "Distances to real images", "Reconstructions, fidelity and copying"]
    headings += ["Codes", "Training", "What was trained"]
    places = [page.source.index(f"<h2>{one}</h2>") for one in headings]
    assert places == sorted(places)
    assert page.source.count("<h2>") == len(headings)
    real = base64.b64encode((trained / "real.png").read_bytes()).decode()
    samples = base64.b64encode((trained / "samples-prior.png").read_bytes()).decode()
    assert places[0] < page.source.index(real) < page.source.index(samples) < places[1]


def test_every_setting_is_there_and_folded(trained, tmp_path):
    page = page_of(trained, out=tmp_path / "a.html")
    folded = re.search(r"<details>(.*)</details>", page.source, re.DOTALL)[1]
    lines = set(re.findall(r"<dt>([^<]*?) ?(?:<span.*?</span>)?</dt><dd>(.*?)</dd>", folded))
    info = json.loads((trained / "run.json").read_text())
    for name, value in {**info["expanded"]["settings"], **info["machine"], **info["versions"]}.items():
        shown = str(value).lower() if value is None or isinstance(value, bool) else str(value)
        assert (name, shown) in lines
    assert set(info) - {"expanded", "overrides", "machine", "versions"} <= {
        name.partition(",")[0] for name, _ in lines
    }
    changed = re.findall(r"<dt>([^<]*?) <span class=\"tag\">changed</span>", folded)
    assert set(changed) == set(info["overrides"])
    assert "entropic-ae train eae digits" in folded


def test_what_a_classifier_learns_from_samples_is_on_the_page(folder, change):
    assert "trained on" not in [table[0][0] for table in page_of(folder).tables]
    score = {"density": "gaussian", "images": 60, "samples": 0.5, "real": 0.75}
    change("metrics.json", lambda metrics: metrics["pixels"].update(classification_accuracy=score))
    page = page_of(folder)
    (rows,) = [table[1:] for table in page.tables if table[0][0] == "trained on"]
    assert rows == [["samples", "50.0 %"], ["as many real images", "75.0 %"]]
    assert "60 samples, drawn label by label from the density gaussian" in page.text


def test_the_map_of_the_codes_is_that_of_the_current_weights(folder, change):
    def alts():
        return [label for label in page_of(folder).all("img", "alt") if "codes of 10 labels" in label]

    assert alts() == ["360 codes of 10 labels on two principal axes, over contours of N(0, I)"]
    found = json.loads((folder / "map.json").read_text())
    assert f"have {100 * found['variance']:.0f} % of their variance" in page_of(folder).text
    change("map.json", lambda content: content.update(labels=[*range(180)] * 2))
    assert "Labels are not coloured: there are 180" in page_of(folder).text
    change("map.json", lambda content: content.update(weights_sha256="of earlier weights"))
    assert not alts()
    change("map.json", lambda content: content["x"].pop())
    with pytest.raises(InputError, match=r"map\.json is damaged: its lists have different lengths"):
        page_of(folder)


def test_cautions_are_on_the_page(folder, change):
    text = page_of(folder).text
    assert "Take care: Training was too short: 6 minibatches" in text
    assert "Take care: 60 images of each kind are few for pixels features of 64 dimensions" in text
    withheld = {"like_real": ["blurred images"], "needed": 700}
    change("metrics.json", lambda metrics: metrics["pixels"].update(withheld=withheld))
    page = page_of(folder)
    why = "60 images of each kind are too few: in pixels features, real images are no nearer than blurred images"
    assert f"Take care: {why}; about 700 held-out and test images would do." in page.text
    assert {row[1] for row in page.tables[0][1:]} == {"-"}
    both = page_of(folder, folder, out=folder / "two.html")
    assert f"Take care: {why}" in both.text
    assert both.tables[1][1][1:] == ["-"] * 4


def test_several_spaces_have_the_mean_of_their_multiples(folder, change):
    def add(metrics):
        other = json.loads(json.dumps(metrics["pixels"]))
        for name, row in other["distances"].items():
            row["frechet"] *= 1 if name == "held-out images" else 3
        metrics["other"] = other | {"features": "other"}

    change("metrics.json", add)
    rows = json.loads((folder / "metrics.json").read_text())["pixels"]["distances"]
    means = page_of(folder).tables[0]
    assert means[0] == ["images", "mean", "pixels", "other"]
    for name, *cells in means[2:]:
        once = rows[name]["frechet"] / rows["held-out images"]["frechet"]
        expected = (2 * once, once, 3 * once)
        assert [float(cell.replace(",", "")) for cell in cells] == pytest.approx(expected, rel=0.05, abs=0.05)


def test_no_path_of_this_machine_is_on_the_page(folder, change, tmp_path, monkeypatch):
    place = str(tmp_path / "private" / "photos")
    start = {"run": str(tmp_path / "private" / "first"), "weights_sha256": "0"}
    change("run.json", lambda info: info.update(source=place, data="photos", start_from=start))
    for values in ("overrides", "settings"):
        name = f"classifier:{place}"
        change("run.json", lambda info, v=values: (info | info["expanded"])[v].update(features=name))  # noqa: B023
    change("metrics.json", lambda metrics: metrics["pixels"].update(features=f"{place}/net.pt"))
    change("metrics.json", lambda metrics: metrics.update({f"{place}/net.pt": metrics.pop("pixels")}))
    (folder / "samples-mixture.png").unlink()
    for folders in ([folder], [folder, folder]):
        page = page_of(*folders, out=tmp_path / "a.html")
        assert str(tmp_path) not in page.source
        assert "entropic-ae train eae ./photos" in page.text
        assert "--from first" in page.text
        assert "features=classifier:./photos" in page.text
        assert "in ./net.pt features" in page.text
        assert "entropic-ae sample run --density mixture" in page.text
    monkeypatch.chdir(tmp_path.parent)
    source = page_of(folder, out=tmp_path / "a.html").source
    assert f"entropic-ae sample {tmp_path.name}/run --density mixture" in source
    assert f"entropic-ae train eae ./{tmp_path.name}/private/photos" in source
    assert str(tmp_path) not in source


def test_charts_tell_their_numbers_in_words(trained, tmp_path):
    page = page_of(trained, out=tmp_path / "a.html")
    labels = page.all("img", "alt")
    header, row = (line.split(",") for line in (trained / "log.csv").read_text().splitlines())
    log = {name: float(value) for name, value in zip(header, row, strict=True)}
    for term in ("squared_error", "negative_entropy", "loss"):
        ends = f"training from {log[f'train_{term}']:.4g} to {log[f'train_{term}']:.4g}"
        assert any(ends in label for label in labels), term
    assert any(f"entropy from {log['entropy']:.4g}" in label for label in labels)
    found = json.loads((trained / "metrics.json").read_text())["pixels"]["diagnostics"]
    distance = found["distance"]
    ends = f"{distance['value']:.4f} for the codes; samples of the prior {distance['null'][0]:.4f} to"
    assert any(label.startswith(ends) for label in labels)
    half = 2.576 * (6 / found["n"]) ** 0.5
    outside = sum(abs(value) > half for value in found["skewness"])
    assert f"skewness of each dimension: {outside} of 8 outside of ±{half:.2f}" in labels


def test_one_file_that_needs_no_other(trained, tmp_path):
    source = page_of(trained, trained, out=tmp_path / "a.html").source
    assert "http:" not in source
    assert "https:" not in source
    assert not re.search(r"@import|url\((?!#)", source)
    for reference in re.findall(r"\b(?:src|href)=\"([^\"]*)", source):
        assert reference.startswith(("#", "data:")), reference


def test_a_page_is_sound(trained, tmp_path):
    for folders in ([trained], [trained, trained]):
        page = page_of(*folders, out=tmp_path / "a.html")
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        for reference in re.findall(r"(?:href=\"|url\()#([^\")]+)", page.source):
            assert reference in ids
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b <= a + 1 for a, b in pairwise(levels))
        assert all(page.all("img", "alt"))
        assert page.all("html", "lang") == ["en"]
        pictures = [source for source in page.all("img", "src") if source.startswith("data:image/png")]
        assert len(pictures) == (6 + 3 if len(folders) == 1 else 1 + 2 * 3 + 2 * 2 + 2 * 3)


def test_same_folders_same_bytes(trained, tmp_path, drawn_once):
    first = eae.write_report([trained, trained], tmp_path / "a.html")
    drawn_once.clear()
    second = eae.write_report([trained, trained], tmp_path / "b.html")
    assert first.read_bytes() == second.read_bytes()


def test_no_torch_and_no_state_of_matplotlib(trained, tmp_path):
    script = (
        "import sys, matplotlib\n"
        "matplotlib.rcParams['font.size'] = 40\n"
        "def state(): return {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'}\n"
        "before = state()\n"
        "from entropic_ae.report import write_report\n"
        f"path = write_report({str(trained)!r}, {str(tmp_path / 'b.html')!r})\n"
        "assert state() == before\n"
        "print([m for m in ('torch', 'scipy', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    eae.write_report(trained, tmp_path / "a.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_names_and_values_are_data(folder, change):
    evil = "<script>alert(1)<b>"
    change("run.json", lambda info: info.update(data=evil, recipe=evil, git_commit=evil, summary=evil))
    change("run.json", lambda info: info["overrides"].update({evil: evil}))
    change("metrics.json", lambda metrics: metrics["pixels"]["diagnostics"].update(verdict=evil))
    log = (folder / "log.csv").read_text()
    (folder / "log.csv").write_text(log.replace("squared_error", f"{evil}$x"))
    (folder / "samples-prior.png").rename(folder / f"samples-{evil}.png")
    named = folder.rename(folder.with_name(evil))
    for folders in ([named], [named, named]):
        page = page_of(*folders, out=named.with_name("a.html"))
        assert "script>alert" not in page.source.replace("&lt;script&gt;alert", "")
        assert [tag for tag, _ in page.tags].count("script") == 1
        assert f"{evil} on {evil}" in page.text


@pytest.mark.parametrize(
    ("missing", "sentence", "command"),
    [
        ("metrics.json", "has not been measured yet", "entropic-ae evaluate {}"),
        ("log.csv", "There is no log.csv", "--seed 3 --limit 200 --out {} --resume"),
        ("samples-mixture.png", "no images yet", "entropic-ae sample {} --density mixture"),
        ("real.png", "no held-out images yet", "entropic-ae evaluate {}"),
        ("reconstructions.png", "no reconstructions yet", "entropic-ae reconstruct {}"),
        ("interpolations.png", "no interpolations yet", "entropic-ae interpolate {}"),
        ("neighbours-*.png", "nearest training images of samples are not in", "entropic-ae evaluate {}"),
    ],
)
def test_what_is_missing_is_told_with_the_command_that_makes_it(folder, missing, sentence, command):
    whole = page_of(folder).text
    assert sentence not in whole
    for path in folder.glob(missing):
        path.unlink()
    text = page_of(folder).text
    assert sentence in text
    assert command.format("run") in text
    assert command.format("run") in page_of(folder, folder, out=folder / "two.html").text


def test_a_folder_with_nothing_but_run_json(folder):
    for path in folder.iterdir():
        if path.name != "run.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = page_of(folder)
    assert "eae on digits" in page.text
    assert not page.tables
    assert not page.all("img", "src")
    assert page_of(folder, folder, out=folder / "two.html").tables


def test_results_without_diagnostics(folder, change):
    change("metrics.json", lambda metrics: metrics["pixels"].pop("diagnostics"))
    page = page_of(folder)
    assert "come from a version without diagnostics. To add them: entropic-ae evaluate" in page.text
    assert "part" not in [table[0][0] for table in page.tables]
    few = {"error_from_own_codes": 1.0, "error_from_others_codes": 2.5, "minibatch": None}
    change("metrics.json", lambda metrics: metrics["pixels"].update(diagnostics=few))
    text = page_of(folder).text
    assert "too few test images" in text
    assert "from other images' codes 2.500" in text


def test_a_picture_of_neighbours_stands_beside_its_own_distances_only(folder, change):
    def other(metrics):
        metrics["random"] = json.loads(json.dumps(metrics["pixels"])) | {"features": "random"}
        near = metrics["random"]["distances"]["prior"]["neighbours"]
        near["distances"] = [0.0625] * len(near["distances"])
        metrics["pixels"]["distances"]["prior"]["neighbours"]["picture_sha256"] = "of an earlier picture"

    change("metrics.json", other)
    page = page_of(folder)
    assert "training images in random features. Of 60 samples" in page.text
    assert [row[1] for table in page.tables for row in table[1:] if row[0] == "1, nearest"].count("0.06") == 1


def test_results_of_other_weights_are_left_out(folder):
    (folder / "weights.safetensors").write_bytes(b"more training")
    page = page_of(folder)
    assert "metrics.json holds results of earlier weights" in page.text
    assert not page.tables


def test_collapse_is_told(folder, change):
    def collapse(metrics):
        metrics["pixels"]["collapse"] |= {"collapsed": ["prior", "codes"], "active_codes": 0}
        metrics["pixels"]["collapse"]["spread"]["prior"] = 0.0123

    change("metrics.json", collapse)
    assert "Collapsed: prior (spread 0.01), codes. 0 of 8 dimensions" in page_of(folder).text


def test_several_feature_spaces_and_splits(folder, change):
    change("metrics.json", lambda m: m.update({"inception (validation)": m["pixels"] | {"split": "validation"}}))
    change("metrics.json", lambda m: m["pixels"].update(classifier_accuracy=0.9876))
    page = page_of(folder)
    assert [table[0][1] for table in page.tables].count("Frechet distance") == 2
    assert "mean" not in [table[0][1] for table in page.tables]  # over other images
    assert "validation images, in pixels features" in page.text
    assert "The classifier's accuracy is 98.8 % on the validation images." in page.text


DAMAGES = {
    "run.json": ["[]", "{", '{"recipe": "eae"}'],
    "log.csv": ["", "epoch,a\n", "epoch,a\n1\n", "epoch,a\n1,x\n", "a\n1\n", 'epoch\n"1\n', "\x00"],
    "metrics.json": ["[]", '{"pixels": 1}', '{"pixels": {}}', "{"],
    "samples-prior.png": ["", "no picture"],
}


@pytest.mark.parametrize(("name", "content"), [(name, one) for name, all_ in DAMAGES.items() for one in all_])
def test_damaged_files_are_named(folder, name, content):
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=rf"{re.escape(name)} is damaged"):
        eae.write_report(folder)
    assert not (folder / "report.html").exists()


def test_a_picture_that_is_cut_off(folder):
    whole = (folder / "samples-prior.png").read_bytes()
    (folder / "samples-prior.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"samples-prior\.png is damaged: it is not a complete PNG"):
        eae.write_report(folder)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda one: one["distances"]["prior"].pop("frechet"), r"pixels\.distances\.prior\.frechet is missing"),
        (lambda one: one["codes"].update(gap="x"), r"pixels\.codes\.gap is 'x', expected a number"),
        (lambda one: one["diagnostics"]["distance"].update(null=[1.0]), r"null is \[1\.0\], expected a list of 3"),
        (lambda one: one["diagnostics"].update(skewness=[True]), r"skewness\[0\] is True, expected a number"),
        (lambda one: one["diagnostics"].update(parts=3), r"diagnostics\.parts is 3, expected a dictionary"),
    ],
)
def test_damage_within_results_is_told_by_its_place(folder, change, damage, sentence):
    change("metrics.json", lambda metrics: damage(metrics["pixels"]))
    with pytest.raises(InputError, match=rf"metrics\.json is damaged: {'.*' * (sentence[0] != 'p')}{sentence}"):
        eae.write_report(folder)


def test_numbers_that_are_not_finite(folder, change):
    def spoil(metrics):
        metrics["pixels"]["diagnostics"]["parts"]["correlation"] = float("nan")
        metrics["pixels"]["diagnostics"]["skewness"][0] = float("inf")
        metrics["pixels"]["distances"]["prior"]["frechet"] = float("nan")

    change("metrics.json", spoil)
    check(json.loads((folder / "metrics.json").read_text()), {"*": RESULT}, "metrics.json")
    (folder / "log.csv").write_text("epoch,train_loss,validation_loss\n1,nan,nan\n2,1.0,inf\n")
    assert "not finite" in page_of(folder).text


def test_several_runs_side_by_side(folder, change, tmp_path):
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    change("run.json", lambda info: info["expanded"]["settings"].update(width=16, spectral=True))
    change("run.json", lambda info: info.update(seed=4))
    change("metrics.json", lambda metrics: metrics["pixels"]["distances"]["mixture"].update(frechet=123.456))
    page = page_of(other, folder, out=tmp_path / "two.html")
    (_, first, verdict, *_), ((_, *groups), own, others) = page.tables[:2]
    assert groups == ["held-out images", "prior", "gaussian", "mixture"]
    result = json.loads((other / "metrics.json").read_text())["pixels"]
    error, nats = f"{result['reconstruction_error']:.3f}", f"{result['diagnostics']['divergence']:.2f}"
    assert first == ["other", error, nats, "eae", "digits", "3"]
    rows = [result["distances"][name] for name in groups]
    assert own == ["other", *(f"{row['frechet']:.2f} ± {1.96 * row['frechet_error']:.2f}" for row in rows)]
    (cell,) = verdict
    assert cell.startswith("Data poor, training poor, reconstructions poor")
    assert cell.endswith(f"{result['diagnostics']['verdict'][1:]}width=2, spectral=false")
    assert others[0] == "run"
    assert others[-1].startswith("123.46")
    assert "width=16, spectral=true" in page.source
    assert {"#run-1", "#run-2", "#top"} <= set(page.all("a", "href"))
    assert page.source.partition("<article")[0].count("Take care") == ("kernel_withheld" in result)
    assert [label for label in page.all("img", "alt") if "other ends at" in label]


def test_what_does_not_compare_is_told(folder, change, tmp_path):
    other = Path(shutil.copytree(folder, tmp_path / "other"))

    def notes():
        return page_of(other, folder, out=tmp_path / "two.html").text

    change("metrics.json", lambda metrics: metrics["pixels"].update(number=61))
    assert "numbers of images, which differ (60 against 360, 61 against 360)" in notes()
    change("metrics.json", lambda metrics: metrics["pixels"].update(features_sha256="of another"))
    assert "pixels features are not the same network: distances in them are not comparable" in notes()
    change("metrics.json", lambda metrics: metrics.update(classifier=metrics.pop("pixels")))
    assert "measured in different features: compare distances only within a column" in notes()
    change("run.json", lambda info: info.update(data="mnist", shape=[1, 32, 32]))
    assert "on different data, digits (1 x 8 x 8), mnist (1 x 32 x 32)" in notes()


def test_runs_of_one_name_are_told_apart_by_their_paths(folder, tmp_path):
    other = Path(shutil.copytree(folder, tmp_path / "deep" / "run"))
    page = page_of(other, folder, out=tmp_path / "two.html")
    assert [row[0] for row in page.tables[0][1::2]] == ["deep/run", f"{tmp_path.name}/run"]


def test_the_command_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["entropic-ae", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, capsys.readouterr()

    assert call(folder)[1].out == f"{folder / 'report.html'}\n"
    assert call(folder)[0] == 0  # replaced
    assert call("run", "run")[1].out == "report.html\n"
    assert call("run", "--out", "deep/a.html")[1].out == "deep/a.html\n"
    for arguments, sentence in (
        (["nowhere"], "nowhere does not exist; give the folder that train made"),
        (["run", "--out", "run"], "a report is written to FILE.html, got run"),
        (["run", "--out", "run/run.json"], "a report is written to FILE.html, got run/run.json"),
    ):
        code, captured = call(*arguments)
        assert code == 2
        assert sentence in captured.err
    with pytest.raises(InputError, match="at least one run folder"):
        eae.write_report([])


def test_the_level_is_that_of_the_diagnostics():
    assert diagnosis.LEVEL == diagnostics.LEVEL


def test_a_chart_is_an_image_that_needs_no_other_and_runs_nothing():
    key = charts.Key("$x_1$", charts.PALETTE[0])
    image = charts.lines("t", [charts.Line(key, [1, 2, 3], [1.0, float("nan"), 3.0])], text="").image
    svg = base64.b64decode(image.removeprefix("data:image/svg+xml;base64,"), validate=True).decode()
    root = ElementTree.fromstring(svg)
    assert {charts.INK, charts.PALETTE[0]} <= set(re.findall(r"#\w{6}", svg))
    assert not [one.tag for one in root.iter() if one.tag.endswith(("}script", "}image"))]
    for element in root.iter():
        references = [value for key, value in element.attrib.items() if key.endswith("href")]
        assert all(one.startswith("#") for one in references)


def texts_of(chart):
    """The texts of a chart, with their places from the left and from the top."""
    svg = base64.b64decode(chart.image.removeprefix("data:image/svg+xml;base64,")).decode()
    found = [one for one in ElementTree.fromstring(svg).iter() if one.tag.endswith("}text")]
    return [(one.text, float(one.get("x")), float(one.get("y"))) for one in found]


def test_ticks_do_not_overlap():
    chart = charts.band("d", 0.1231, (0.1219, 0.1243, 0.1279), text="", xlabel="units")
    ticks = [(text, x) for text, x, _ in texts_of(chart) if text != "units"]
    assert len(ticks) >= 3
    for (text, left), (_, right) in pairwise(ticks):
        assert right - left > 6 * len(text)  # pixels of a digit


def curve(values, **options):
    return charts.lines("t", [charts.Line(charts.Key("a", charts.INK), range(1, 31), values)], text="", **options)


def test_axes_are_logarithmic_where_they_need_it():
    falling = [100 / (1 + i) for i in range(30)]
    numbers = {text for text, *_ in texts_of(curve(falling))}
    assert {"5", "10", "20", "50", "100"} <= numbers
    assert "75" not in numbers
    rates = curve([1e-3 * 0.5**i for i in range(30)], logarithmic=True)
    assert {"0.0001", "1e-06", "1e-08"} <= {text for text, *_ in texts_of(rates)}
    found = texts_of(curve([6 - i / 10 for i in range(30)]))
    ticks = sorted(float(text) for text, x, y in found if text != "epoch" and x < 40 and y < 180)
    assert [b - a for a, b in pairwise(ticks)] == pytest.approx([ticks[1] - ticks[0]] * (len(ticks) - 1))


def test_first_epochs_that_dwarf_values_of_both_signs_are_left_out_and_it_is_said():
    settled = [-10 - i / 30 for i in range(27)]
    chart = curve([900.0, 40.0, 0.0, *settled])
    assert chart.title == "t (from epoch 4)"
    assert not {"0", "200", "900"} & {text for text, x, _ in texts_of(chart) if x < 30}
    assert curve([-10.0, *settled, -11.0, -11.0]).title == "t"
    half = [1000.0 - i for i in range(15)] + [-1.0] * 15  # no first epochs, but half of them
    assert curve(half).title == "t"


def test_colours_of_the_style_sheet_are_told_apart_from_what_they_lie_on():
    """WCAG 2.2: text at least 4.5 to 1, lines at least 3 to 1, in both schemes."""
    css = Path(report.__file__).with_name("templates").joinpath("style.css").read_text()
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in css.split("@media")[:2])
    assert set(light) == set(dark)
    assert ".chart img, .swatch { filter: invert(1) hue-rotate(180deg); }" in css.split("@media")[1]

    def turned(colour):
        """Return what the dark scheme's filter makes of a colour, by the matrix of Filter Effects."""
        r, g, b = (255 - int(colour[i : i + 2], 16) for i in (1, 3, 5))
        weighted = 2 * (0.213 * r + 0.715 * g + 0.072 * b)
        return "#" + "".join(f"{min(max(round(weighted - one), 0), 255):02x}" for one in (r, g, b))

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(a, b):
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for scheme in (light, dark):
        for ground in ("page", "card", "wash", "warn"):
            for text in ("ink", "muted") if ground != "warn" else ("ink",):
                assert contrast(scheme[text], scheme[ground]) >= 4.5, (text, ground)
        assert contrast(scheme["accent"], scheme["card"]) >= 4.5
        assert contrast(scheme["accent"], scheme["page"]) >= 4.5
        drawn = str if scheme is light else turned
        assert contrast(drawn(charts.INK), scheme["card"]) >= 4.5
        for colour in charts.PALETTE:
            assert contrast(drawn(colour), scheme["card"]) >= 3
