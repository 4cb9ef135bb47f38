"""The page of `explore` in a real browser; skipped where NiceGUI, Playwright or chromium is missing."""

import http.client
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import entropic_ae as eae

pytest.importorskip("nicegui", reason="needs NiceGUI: pip install '.[explore]'")
playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install '.[browser]'")
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
if not Path(CHROMIUM).exists():
    pytest.skip("needs chromium: apt-get install chromium", allow_module_level=True)

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 60_000  # milliseconds, on a busy machine
# the command line, telling of each address that the server itself turns to
SERVER = """
import sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        address = arguments[0] if event.startswith("socket.get") else arguments[1]
        host = address[0] if isinstance(address, tuple) else address
        if host not in ("127.0.0.1", None):
            print("turns to", host, file=sys.stderr, flush=True)
sys.addaudithook(watch)
from entropic_ae.cli import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("explore") / "run"
    settings = {"width": 2, "batch_size": 20, "learning_rate": 0.01}
    eae.train("eae", "digits", set=settings, epochs=1, out=out, device="cpu", progress=False)
    return out


@pytest.fixture(scope="module")
def address(folder, tmp_path_factory):
    """Where the page is; in the end Ctrl-C must end the server with code 0, and nothing may have been said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    log = home / "log"
    command = [sys.executable, "-c", SERVER, "explore", str(folder), "--port", str(port), "--device", "cpu"]
    with log.open("w") as errors:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=home)
    lines = iter(server.stdout.readline, "")
    assert any("Open http://127.0.0.1" in line for line in lines), log.read_text()
    yield f"127.0.0.1:{port}"
    server.send_signal(signal.SIGINT)
    assert server.wait(30) == 0
    assert log.read_text() == ""
    assert list(home.iterdir()) == [log]  # it leaves nothing where it was started


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(request, browser, address):
    """The page, opened; afterwards nothing may have been said on the console or asked of elsewhere."""
    width = getattr(request, "param", 1100)
    context = browser.new_context(viewport={"width": width, "height": 800})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    said, asked = [], set()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda one: asked.add(urlsplit(one.url)[:2]))
    page.on("websocket", lambda one: asked.add(urlsplit(one.url)[:2]))
    page.goto(f"http://{address}")
    yield page
    context.close()
    assert said == []
    assert {place for scheme, place in asked if scheme not in ("data", "blob")} == {address}


@pytest.fixture
def photo(tmp_path):
    """A colour image of another size, black above and white below."""
    pixels = np.zeros((90, 60, 3), dtype=np.uint8)
    pixels[45:] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def pictures(page, place):
    """Return the sources of the pictures of one place, once there are any."""
    page.locator(f"{place} img").first.wait_for()
    return page.locator(f"{place} img").evaluate_all("all => all.map(one => one.src)")


def until_changed(page, place, before):
    """Wait until the pictures of a place are others and at rest, and return them."""
    page.wait_for_function(
        "([images, before]) => [...document.querySelectorAll(images)].map(i => i.src).join() !== before.join()",
        arg=[f"{place} img", before],
    )
    page.locator(f"{place}:not(.busy)").wait_for()
    return pictures(page, place)


def tab(page, name):
    page.get_by_role("tab", name=name).click()
    return page.get_by_role("tabpanel").last


def test_samples_change_with_density_count_and_seed(opened):
    first = pictures(opened, ".samples")
    assert len(first) == 32
    opened.get_by_label("Images").fill("5")
    fewer = until_changed(opened, ".samples", first)
    assert len(fewer) == 5
    opened.get_by_label("Seed").fill("7")
    seventh = until_changed(opened, ".samples", fewer)
    opened.get_by_role("button", name="Next seed").click()
    eighth = until_changed(opened, ".samples", seventh)
    assert opened.get_by_label("Seed").input_value() == "8"
    opened.get_by_label("Density").click()
    opened.get_by_role("option", name="gaussian").click()
    fitted = until_changed(opened, ".samples", eighth)
    opened.get_by_label("Seed").fill("7")
    until_changed(opened, ".samples", fitted)
    opened.get_by_label("Images").fill("0")
    opened.get_by_text("From 1 to 256 images are shown, got 0.").wait_for()


def test_nearest_training_images_stand_below_the_samples(opened):
    alone = pictures(opened, ".samples")
    opened.get_by_role("switch", name="Nearest training images").click()
    both = until_changed(opened, ".samples", alone)
    assert both[::2] == alone
    assert len(both) == 64
    captions = opened.locator(".samples figcaption").all_inner_texts()
    assert all(float(one) > 0 for one in captions)
    opened.get_by_text("Test images are ").wait_for()
    opened.get_by_role("switch", name="Nearest training images").click()
    assert until_changed(opened, ".samples", both) == alone


def test_a_point_of_the_map_shows_its_image(opened):
    tab(opened, "Map")
    points = opened.locator(".map circle")
    points.first.wait_for()
    assert points.count() == 360
    opened.get_by_text("Codes of 360 test images on their first two principal axes").wait_for()
    points.nth(12).dispatch_event("mouseover")
    first = pictures(opened, ".pointed")
    assert len(first) == 2
    assert opened.locator(".pointed figcaption").first.inner_text().startswith("test image 12, label ")
    opened.locator('.map .chosen[data-i="12"]').wait_for()
    opened.get_by_label("Test image", exact=True).fill("7")
    seventh = until_changed(opened, ".pointed", first)
    opened.locator('.map .chosen[data-i="7"]').wait_for()
    opened.locator('.map [data-i="12"]').dispatch_event("click")
    assert until_changed(opened, ".pointed", seventh) == first
    assert opened.locator(".map .chosen").count() == 1


def test_every_slider_changes_the_picture(opened):
    tab(opened, "Directions")
    first = shown = pictures(opened, ".walked")
    opened.get_by_text("Principal axes of 1,077 training codes").wait_for()
    sliders = opened.get_by_role("slider")
    assert sliders.count() == 9  # of eight axes, and toward a class
    for i in range(9):
        box = sliders.nth(i).bounding_box()
        opened.mouse.click(box["x"] + 0.95 * box["width"], box["y"] + box["height"] / 2)
        shown = until_changed(opened, ".walked", shown)
    assert opened.locator(".axis .value").all_inner_texts() == [*["2.7"] * 8, "1.8"]
    opened.locator(".q-slider__track-container").first.press("ArrowLeft")
    shown = until_changed(opened, ".walked", shown)
    assert opened.locator(".axis .value").first.inner_text() == "2.6"
    opened.get_by_role("button", name="All to 0").click()
    opened.locator(".walked figcaption", has_text="moved").wait_for(state="detached")
    assert pictures(opened, ".walked") == first


def test_walks_start_from_an_image(opened, photo):
    panel = tab(opened, "Directions")
    mean = pictures(opened, ".walked")
    panel.get_by_label("Test image", exact=True).fill("3")
    third = until_changed(opened, ".walked", mean)
    panel.locator("input[type=file]").set_input_files(photo)
    until_changed(opened, ".walked", third)
    assert opened.locator(".walked figcaption").inner_text() == "photo.png, fitted"
    opened.get_by_role("button", name="Start from the mean code").click()
    opened.locator(".walked figcaption", has_text="the mean code").wait_for()
    assert pictures(opened, ".walked") == mean


def test_reconstructions_of_test_images_and_files(opened, photo, tmp_path):
    panel = tab(opened, "Reconstruct")
    first = pictures(opened, ".reconstructed")
    assert len(first) == 3
    described = opened.locator(".described")
    assert described.inner_text().startswith("Squared error: ")
    assert "% of draws from it" in described.inner_text()
    panel.get_by_label("Test image", exact=True).fill("12")
    twelfth = until_changed(opened, ".reconstructed", first)
    opened.get_by_text("original: test image 12").wait_for()
    panel.get_by_role("button", name="A random test image").click()
    other = until_changed(opened, ".reconstructed", twelfth)
    panel.locator("input[type=file]").set_input_files(photo)
    until_changed(opened, ".reconstructed", other)
    opened.get_by_text("original: photo.png, fitted").wait_for()
    (tmp_path / "broken.png").write_bytes(photo.read_bytes()[:60])
    panel.locator("input[type=file]").set_input_files(tmp_path / "broken.png")
    opened.get_by_text("The file cannot be read as an image").wait_for()
    opened.get_by_text("original: photo.png, fitted").wait_for()


def test_an_image_can_be_dropped(opened, photo):
    panel = tab(opened, "Reconstruct")
    first = pictures(opened, ".reconstructed")
    content = list(photo.read_bytes())
    dropped = opened.evaluate_handle(
        """content => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(content)], "dropped.png", {type: "image/png"}));
            return data;
        }""",
        content,
    )
    panel.locator(".q-uploader").dispatch_event("dragover", {"dataTransfer": dropped})
    panel.locator(".q-uploader__dnd").dispatch_event("drop", {"dataTransfer": dropped})
    until_changed(opened, ".reconstructed", first)
    opened.get_by_text("original: dropped.png, fitted").wait_for()


def test_interpolations_change_with_ends_kind_and_steps(opened, photo):
    panel = tab(opened, "Interpolate")
    first = pictures(opened, ".interpolated")
    assert len(first) == 8
    panel.get_by_role("button", name="linear").click()
    line = until_changed(opened, ".interpolated", first)
    assert (line[0], line[-1]) == (first[0], first[-1])
    panel.get_by_label("Steps").fill("4")
    fewer = until_changed(opened, ".interpolated", line)
    assert (len(fewer), fewer[0], fewer[-1]) == (4, line[0], line[-1])
    panel.get_by_label("Test image", exact=True).last.fill("9")
    other = until_changed(opened, ".interpolated", fewer)
    assert other[0] == fewer[0]
    panel.locator("input[type=file]").first.set_input_files(photo)
    assert until_changed(opened, ".interpolated", other)[-1] == other[-1]


@pytest.mark.parametrize("opened", [390], indirect=True)
def test_a_phone_shows_every_tab_in_its_width(opened):
    tab(opened, "Map")
    box = opened.locator(".map svg").bounding_box()
    assert box["width"] >= 300
    assert opened.evaluate("document.documentElement.scrollWidth") == 390
    for name, place in (
        ("Samples", ".samples"),
        ("Directions", ".walked"),
        ("Reconstruct", ".reconstructed"),
        ("Interpolate", ".interpolated"),
    ):
        tab(opened, name)
        pictures(opened, place)
        assert opened.evaluate("document.documentElement.scrollWidth") == 390
        assert opened.locator(f"{place} img").first.bounding_box()["width"] >= 60
    tab(opened, "Directions")
    opened.locator(".walked img").wait_for()
    opened.evaluate("scrollTo(0, 500)")  # the picture stays in sight while the last slider is moved
    assert opened.evaluate("scrollY") > 200
    assert 0 <= opened.locator(".walked img").bounding_box()["y"] < 100


def test_other_sites_cannot_use_the_page(address):
    """Neither by a name of theirs that points here, nor may the page load anything of theirs."""
    for host, status in ((address, 200), ("localhost", 200), ("elsewhere.example", 400)):
        connection = http.client.HTTPConnection(address)
        connection.request("GET", "/", headers={"Host": host})
        answer = connection.getresponse()
        assert answer.status == status
        assert "connect-src 'self'" in answer.headers["Content-Security-Policy"]
        connection.close()
