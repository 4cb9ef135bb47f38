"""The report in a real browser: Debian's chromium, driven by Playwright; skipped where one of them is missing."""

import json
import shutil
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image

import entropic_ae as eae

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install '.[browser]'")
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
if not Path(CHROMIUM).exists():
    pytest.skip("needs chromium: apt-get install chromium", allow_module_level=True)

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def pages(tmp_path_factory, brief):
    """A page of one run, and one of two."""
    root = tmp_path_factory.mktemp("browser")
    for seed in (0, 1):
        options = {"epochs": 2, "limit": 200, "seed": seed, "device": "cpu", "progress": False}
        run = eae.train("eae", "digits", set={"width": 2}, out=root / f"a-rather-long-name-{seed}", **options)
        run.evaluate(features="pixels", n=60)
        run.draw()
        for i, density in enumerate(run.system.recipe.densities):  # all different
            noise = torch.randint(256, (4, 1, 8, 8), generator=torch.Generator().manual_seed(10 * seed + i))
            eae.save_images(noise.byte(), run.folder / f"samples-{density}.png", overwrite=True)
        metrics = json.loads((run.folder / "metrics.json").read_text())
        metrics["classifier"] = metrics["pixels"] | {"features": "classifier"}
        (run.folder / "metrics.json").write_text(json.dumps(metrics))
    folders = sorted(root.iterdir())
    return {
        "one": eae.write_report(folders[0], root / "one.html"),
        "two": eae.write_report(folders, root / "two.html"),
    }


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(params=["one", "two"])
def opened(request, browser, pages):
    """The page, opened; afterwards nothing may have been said on the console or asked of elsewhere."""
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked_for: asked.append(asked_for.url))
    page.goto(pages[request.param].as_uri())
    yield page
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [pages[request.param].as_uri()]


def test_charts_and_pictures_are_there(opened):
    charts = opened.locator("figure.chart img")
    assert charts.count() >= 10
    for i in range(charts.count()):
        box = charts.nth(i).bounding_box()
        assert box["width"] > 100
        assert box["height"] > 50
    # decoded, whether shown or not
    sizes = opened.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth, i.naturalHeight])")
    assert len(sizes) >= 5
    assert all(complete and width > 0 and height > 0 for complete, width, height in sizes)
    assert opened.locator("figure.picture img:visible").count() >= 3
    names = charts.evaluate_all("all => all.map(one => one.alt)")
    assert all(names)


def test_the_control_changes_the_pictures(opened):
    group = opened.locator("[data-switch]").filter(has=opened.locator("figure.picture")).first
    assert group.count() == 1

    def shown():
        return group.locator("[data-choice] img:visible").evaluate_all("all => all.map(one => one.src)")

    first = shown()
    group.get_by_role("radio", name="mixture").check()
    second = shown()
    assert len(first) == len(second) >= 1
    assert not set(first) & set(second)
    opened.keyboard.press("ArrowLeft")
    third = shown()
    assert not set(third) & set(first + second)
    assert group.locator("input:checked").input_value() == "gaussian"


def test_without_scripts_every_picture_is_shown(browser, pages):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["one"].as_uri())
    assert page.locator("figure.picture img:visible").count() == 9
    assert page.locator("button:visible, input:visible").count() == 0
    context.close()


def test_the_command_can_be_copied(opened):
    box = opened.locator(".command").first
    box.locator("button").click()
    opened.wait_for_function("document.querySelector('.command button').textContent !== 'Copy'")
    assert opened.evaluate("getSelection().toString()").strip() == box.locator("code").text_content()


def test_no_horizontal_scroll(opened):
    for width in (360, 768, 1600):
        opened.set_viewport_size({"width": width, "height": 800})
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        body = opened.evaluate("Math.max(...[...document.querySelectorAll('section')].map(s => s.scrollWidth))")
        assert body <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_what_is_seen_without_scrolling_sideways(opened, width, scheme):
    """No table is cut at 1280 pixels; on a phone the distances are seen, and less matters are left out."""
    opened.set_viewport_size({"width": width, "height": 844})
    opened.emulate_media(color_scheme=scheme)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    for box in opened.locator(".scroll:has(table):visible").all():
        seen = box.bounding_box()
        if width == 1280:
            assert box.evaluate("one => one.scrollWidth <= one.clientWidth"), box.get_attribute("aria-label")
        for cell in box.locator("tr > :nth-child(2):not(.long)").all():
            place = cell.bounding_box()
            assert place["x"] + place["width"] <= seen["x"] + seen["width"]
    minor = opened.locator(".minor")
    assert minor.count() > 0
    assert minor.first.is_visible() == (width == 1280)
    first = opened.locator("figure.picture img").first.bounding_box()
    assert first["y"] < 400  # images are on the first screen
    ground = Image.open(BytesIO(opened.screenshot())).convert("L").getpixel((2, 2))
    assert (ground < 50) == (scheme == "dark")


def test_real_images_stand_beside_new_ones(browser, pages):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    for name in ("one", "two"):
        page.goto(pages[name].as_uri())
        real, new = (page.locator("figure.picture img:visible").nth(i).bounding_box() for i in (0, 1))
        assert real["y"] == pytest.approx(new["y"], abs=2)
        assert new["x"] > real["x"] + real["width"]
    page.close()


def test_settings_are_folded_until_asked_for(opened):
    settings = opened.locator("details").last
    line = settings.get_by_text("learning_rate")
    assert not line.is_visible()
    settings.locator("summary").click()
    assert line.is_visible()
    assert settings.locator(".command").is_visible()


def test_dark_mode(opened):
    def colours():
        script = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        return [sum(map(int, one[4:-1].split(","))) / 3 for one in opened.evaluate(script)]

    ground, ink = colours()
    assert ground > 200
    assert ink < 80
    opened.emulate_media(color_scheme="dark")
    ground, ink = colours()
    assert ground < 50
    assert ink > 200
    chart = Image.open(BytesIO(opened.locator("figure.chart img").first.screenshot())).convert("L")
    least, most = chart.getextrema()
    assert least < 50  # the ground
    assert most > 150  # letters, thin as they are
