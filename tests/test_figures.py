"""Figures of the paper on a small budget: panels, captions, resume; the same files from the same runs."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure as Canvas
from PIL import Image

from entropic_ae import RECIPES, InputError
from entropic_ae.experiments import drawing, figures
from entropic_ae.experiments.cells import Cell, read_cells
from entropic_ae.experiments.figures import (
    FIGURES,
    GALLERIES,
    Figure,
    Panel,
    caption,
    draw_all,
    draw_systems,
    paper_cells,
)
from entropic_ae.experiments.sweep import run_cells
from entropic_ae.training import Execution

pytestmark = pytest.mark.usefixtures("brief")
CPU = Execution("cpu")
BASE = Cell("eae", "", 0, {}, {"width": "4", "epochs": "1"}, limit=150, n=60, features="pixels", execution=CPU)
SMALL = Figure(
    "digits",
    "Samples by dimension",
    (
        Panel("2 dimensions", "bn-ae", {"latent_dim": 2}),
        Panel("again", "bn-ae", {"latent_dim": 3}, "reconstructions"),
    ),
    narrow=True,
)


def test_every_figure_of_the_paper_is_there():
    assert sorted([*FIGURES, *GALLERIES], key=int) == [str(number) for number in range(1, 12)]
    weights = [panel.own["entropy"] for panel in FIGURES["3"].panels]
    assert weights == [0.505, 0.707, 0.0505, 0.0707]  # from the top left to the bottom right
    assert [panel.own["latent_dim"] for panel in FIGURES["5"].panels] == [8, 16, 32]
    assert [panel.own["entropy"] for panel in FIGURES["1"].panels] == [0.0516, 1.032, 1.032]
    single = {name: FIGURES[name].panels[0] for name in "26789"}
    assert {name: (FIGURES[name].data, panel.own.get("latent_dim")) for name, panel in single.items()} == {
        "2": ("celeba", None),
        "6": ("celeba", 48),
        "7": ("celeba", 128),
        "8": ("cifar10", 128),
        "9": ("cifar10", 64),
    }


def test_the_systems_beside_each_other_take_what_tuning_found(tmp_path, monkeypatch):
    monkeypatch.setitem(GALLERIES, "11", "digits")
    tries = tmp_path / "tuned" / "digits"
    tries.mkdir(parents=True)
    for recipe in RECIPES:
        distances = {RECIPES[recipe].density: {"frechet": 1.0}}
        found = {"cell": {"recipe": recipe, "own": {"learning_rate": 0.5}}, "metrics": {"distances": distances}}
        (tries / f"{recipe}.json").write_text(json.dumps(found))
    assert all(cell.own == {"learning_rate": 0.5} for cell in paper_cells("11", BASE, tmp_path / "tuned"))
    assert {cell.data for cell in paper_cells("11", BASE)} == {"digits"}
    assert all(cell.own == {} for cell in paper_cells("11", BASE, tmp_path))  # without tries for this data set
    with pytest.raises(InputError, match="unknown figure '12'"):
        paper_cells("12", BASE)


def test_a_figure_is_made_and_remade(tmp_path, monkeypatch):
    monkeypatch.setitem(FIGURES, "5", SMALL)
    told = []
    files = draw_all(["5"], BASE, tmp_path / "out", tmp_path / "runs", tell=told.append)
    assert told[1].startswith("figure 5 (digits): 2 of 2 runs to train, about 0 min")
    assert [file.name for file in files] == ["figure-5.png", "figure-5.pdf", "figure-5.md"]
    cells = read_cells(tmp_path / "out" / "figure-5")
    assert {cell["expanded"]["settings"]["width"] for cell in cells} == {2}  # half of the others'
    page = files[2].read_text()
    by_dim = {cell["cell"]["own"]["latent_dim"]: cell["metrics"]["distances"] for cell in cells}
    assert f"2 dimensions: {by_dim[2]['prior']['frechet']:.2f}" in page
    assert f"again: {by_dim[3]['reconstructions']['frechet']:.2f}" in page
    before = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    told.clear()
    draw_all(["5"], BASE, tmp_path / "out", tmp_path / "runs", tell=told.append)
    assert told[1] == "figure 5 (digits): all measured"
    assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] == before


def test_the_systems_beside_each_other_are_those_of_the_table(tmp_path, monkeypatch):
    monkeypatch.setitem(GALLERIES, "11", "digits")
    monkeypatch.setattr(figures, "compared", lambda: ["ae", "eae"])
    table, runs, told = tmp_path / "tables" / "digits", tmp_path / "runs", []
    run_cells(paper_cells("11", BASE), table, runs)
    files = draw_all(["11"], BASE, tmp_path / "out", runs, tables=tmp_path / "tables", tell=told.append)
    assert told[1] == "figure 11 (digits): all measured"
    assert [file.name for file in files] == ["figure-11.png", "figure-11.pdf", "figure-11.md"]
    prior = next(c for c in read_cells(table) if c["label"] == "eae")["metrics"]["distances"]["prior"]["frechet"]
    assert f"{prior:.2f}" in files[2].read_text()


def test_real_faces_are_neither_shown_nor_promised(tmp_path, monkeypatch):
    shown = {}
    monkeypatch.setattr(figures, "run_cells", lambda *_, **__: None)
    monkeypatch.setattr(figures, "render", lambda *_, **__: "the table")
    monkeypatch.setattr(figures, "draw_gallery", lambda *given, real, **_: shown.update({given[2].name: real}))
    for name in ("4", "10"):
        draw_systems(name, BASE, tmp_path, tmp_path)
    assert shown == {
        "figure-4.png": False,
        "figure-4.pdf": False,
        "figure-10.png": True,
        "figure-10.pdf": True,
    }
    assert (tmp_path / "figure-4.md").read_text() == "**Figure 4.** Samples of each system, celeba.\n\nthe table\n"


@pytest.mark.parametrize("count", [1, 3, 4])
def test_no_title_of_a_panel_is_cut_off(count, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(drawing, "save_canvas", lambda canvas, _: drawn.append(canvas))
    grid = torch.zeros(1, 64, 64, dtype=torch.uint8)
    drawing.draw_panels(
        [(f"{i} dimensions\nFrechet distance 9", grid) for i in range(count)], [tmp_path / "a.png"]
    )
    drawn[0].draw_without_rendering()
    titles = [axes.title for axes in drawn[0].axes if axes.title.get_text()]
    assert len(titles) == count
    assert all(title.get_window_extent().y1 <= drawn[0].bbox.y1 for title in titles)


@pytest.mark.parametrize(("channels", "side"), [(1, 530), (3, 530), (3, 200)])
def test_a_picture_of_panels_has_the_pixels_of_its_grids(channels, side, tmp_path):
    draw = np.random.default_rng(0)  # of few values, as more would take a mebibyte
    grids = [torch.from_numpy(draw.choice(np.uint8([7, 90, 201]), (channels, side, side))) for _ in range(2)]
    drawing.draw_panels([("one", grids[0]), ("two\nlines", grids[1])], [tmp_path / "a.png"])
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == ("L" if channels == 1 else "RGB")
        pixels = np.asarray(image.convert("RGB"))
    times = {530: 1, 200: 3}[side]
    for i, grid in enumerate(grids):
        expected = grid.permute(1, 2, 0).expand(-1, -1, 3).numpy().repeat(times, 0).repeat(times, 1)
        left = drawing._MARGIN + i * (times * side + drawing._MARGIN)
        top = slice(drawing._TITLE, drawing._TITLE + times * side)
        np.testing.assert_array_equal(pixels[top, left : left + times * side], expected)


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_a_picture_is_as_it_is_or_smaller_where_it_would_be_too_large(suffix, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1500, 3), np.uint8)
    small, large = tmp_path / f"small{suffix}", tmp_path / f"large{suffix}"
    drawing.save_picture(Image.fromarray(noise[:300, :400]), small)
    drawing.save_picture(Image.fromarray(noise), large)
    assert small.stat().st_size < large.stat().st_size < 1 << 20
    assert large.stat().st_size > 0.8 * (1 << 20)  # no smaller than it must be
    if suffix == ".png":
        np.testing.assert_array_equal(np.asarray(Image.open(small)), noise[:300, :400])
        width, height = Image.open(large).size
        assert width / height == pytest.approx(1.5, rel=0.01)


@pytest.mark.parametrize("kind", ["lines", "images"])
def test_a_figure_is_the_same_bytes_again_and_below_a_mebibyte(kind, tmp_path):
    files = [tmp_path / f"{turn}.{suffix}" for suffix in ("png", "pdf") for turn in ("once", "again")]
    for file in files:
        canvas = Canvas(figsize=(10, 7))
        if kind == "lines":
            canvas.subplots().plot([0, 1], [1, 0])
        else:  # which a PDF has no way to make smaller
            noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
            canvas.subplots().imshow(noise, interpolation="none")
        drawing.save_canvas(canvas, file)
    png, png_again, pdf, pdf_again = (file.read_bytes() for file in files)
    assert (png, pdf) == (png_again, pdf_again)
    assert max(len(png), len(pdf)) < 1 << 20
    assert pdf.startswith(b"%PDF")
    assert (b"DCTDecode" in pdf) == (kind == "images")  # a picture as a whole


def test_no_figure_that_is_kept_is_a_mebibyte():
    files = [file for file in (Path(__file__).parent.parent / "results" / "figures").rglob("*") if file.is_file()]
    assert len(files) > 30
    assert {file.name for file in files if file.stat().st_size >= 1 << 20} == set()


def test_a_claim_is_tested_by_the_distances(monkeypatch):
    claimed = Figure("digits", "c", (Panel("a", "ae"), Panel("b", "ae")), claim=("a", "b"))
    monkeypatch.setitem(FIGURES, "5", claimed)

    def measured(distance):
        metrics = {"features": "pixels", "distances": {"prior": {"frechet": distance}}}
        return {
            "data": "digits",
            "training_images": 9,
            "expanded": {"settings": {"epochs": 1, "width": 2}},
            "metrics": metrics,
        }

    said = caption("5", [measured(1.0), measured(2.0)])
    assert "Nearest to the data first: a, b: the paper's order, by one training of each." in said
    assert "b, a: not the paper's order, by one training of each." in caption("5", [measured(2.0), measured(1.0)])


def test_a_figure_is_set_beside_the_one_that_it_should_be_behind(tmp_path, monkeypatch):
    for name, dim, behind in (("6", 2, ""), ("7", 3, "6")):
        panels = (Panel(f"{dim}", "bn-ae", {"latent_dim": dim}),)
        monkeypatch.setitem(FIGURES, name, Figure("digits", "c", panels, behind=behind))
    draw_all(["6", "7"], BASE, tmp_path / "out", tmp_path / "runs")
    narrow, wide = (
        read_cells(tmp_path / "out" / f"figure-{name}")[0]["metrics"]["distances"]["prior"]["frechet"]
        for name in ("6", "7")
    )
    holds = f"{'the' if narrow < wide else 'not the'} paper's order, by one training of each"
    page = (tmp_path / "out" / "figure-7.md").read_text()
    assert f"Figure 6 is at {narrow:.2f}, this one at {wide:.2f}: {holds}." in page


def test_expected_seconds_grow_with_the_work():
    one = figures.expected_seconds(Cell("ae", "digits", 0, shared={"width": 2, "epochs": 1}, limit=200))
    many = figures.expected_seconds(Cell("ae", "digits", 0, shared={"width": 2, "epochs": 50}, limit=200))
    assert 5 < many / one < 500  # 50, but for the noise of a timing
