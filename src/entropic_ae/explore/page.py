"""The page: a heading, and a tab for each of its five uses. Each visitor has a separate page."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entropic_ae.errors import InputError
from entropic_ae.evaluation import map_methods
from entropic_ae.explore.codes import PrincipalAxes
from entropic_ae.explore.explorer import CodeMap, Explorer, Nearest, Reconstruction
from entropic_ae.explore.images import figure, figures, pairs
from entropic_ae.explore.plane import drawn_map
from entropic_ae.explore.widgets import ImagePicker, Latest, aside, whole
from entropic_ae.generation import INTERPOLATIONS

__all__ = ["build", "describe", "describe_map", "describe_nearest"]

_MOST = 256  # samples at once
_STEPS = 16  # of an interpolation, at most


def build(explorer: Explorer) -> None:
    """Build the page of a run, inside NiceGUI's page function."""
    from nicegui import ui

    ui.add_css(Path(__file__).with_name("page.css"))
    ui.colors(primary="#3b5bdb")
    ui.html(html.escape(explorer.title), tag="h1", sanitize=False)
    ui.html(html.escape(explorer.subtitle), tag="p", sanitize=False).classes("about")
    if explorer.missing:
        ui.label(
            f"The run's images are missing, so test images, and densities that were not saved, are unavailable: "
            f"{explorer.missing}"
        ).classes("warning")
    parts = {
        "Samples": _samples,
        "Map": _map,
        "Directions": _directions,
        "Reconstruct": _reconstruct,
        "Interpolate": _interpolate,
    }
    with ui.tabs().props("align=left inline-label narrow-indicator") as tabs:
        for name in parts:
            ui.tab(name)
    with ui.tab_panels(tabs, value="Samples", animated=False, keep_alive=True):
        for name, part in parts.items():
            with ui.tab_panel(name), ui.element("div").classes("panel"):
                part(explorer)


def _samples(explorer: Explorer) -> None:
    """Images drawn from a density."""
    from nicegui import ui

    def names() -> dict[str, str]:
        return {name: f"{name} ({work})" if work else name for name, work in explorer.densities().items()}

    with ui.element("div").classes("controls"):
        density = ui.select(names(), label="Density").props("outlined dense").classes("wide")
        density.set_value(next(iter(density.options)))
        n = ui.number("Images", value=32, min=1, max=_MOST, step=1, format="%d").props("outlined dense")
        seed = ui.number("Seed", value=0, min=0, max=2**32 - 1, step=1, format="%d").props("outlined dense")
        label = ui.select({-1: "drawn", **explorer.classes()}, value=-1, label="Label").props("outlined dense")
        label.set_visibility(explorer.conditional)
        following = ui.button("Next seed", icon="casino").props("unelevated")
        beneath = ui.switch("Nearest training images", value=False)
        beneath.set_enabled(explorer.missing is None)
    says = ui.label().classes("says")
    place = ui.html("", sanitize=False).classes("grid samples")

    def work() -> tuple[Tensor, Nearest | None] | None:
        count, number = whole(n.value), whole(seed.value)
        if count is None or number is None:
            return None
        if not 1 <= count <= _MOST:
            raise InputError(f"from 1 to {_MOST} images are shown, got {count}.")
        chosen = None if label.value < 0 else label.value
        images = explorer.sample(density.value, count, seed=number, label=chosen)
        return images, explorer.nearest(images) if beneath.value else None

    def show(found: tuple[Tensor, Nearest | None] | None) -> None:
        if found is None:
            return
        images, nearest = found
        density.set_options(names())
        if nearest is None:
            place.set_content(figures(images, alt="sample"))
            says.set_text("")
        else:
            place.set_content(pairs(images, nearest.images, [f"{one:.2f}" for one in nearest.distances]))
            says.set_text(describe_nearest(nearest))

    draw = Latest(work, show, place)

    async def redraw() -> None:
        if explorer.densities().get(density.value):
            says.set_text(f"The density {density.value} is fitted to the training codes, once …")
        await draw()

    for control in (density, n, seed, label, beneath):
        control.on_value_change(redraw)
    following.on_click(lambda: seed.set_value((whole(seed.value) or 0) + 1))
    ui.timer(0, redraw, once=True)


def describe_nearest(nearest: Nearest) -> str:
    """Describe the distances of samples from training images beside those of test images.

    >>> print(describe_nearest(Nearest(torch.zeros(1, 1, 8, 8).byte(), [1.5], (0.5, 2.0, 3.0))))
    Below each sample: its nearest training image, and the distance of their pixels in [0, 1].
    Test images are 0.50 to 3.00 from theirs, half of them less than 2.00. Copies would be nearer.
    """
    low, middle, high = nearest.held_out
    return (
        "Below each sample: its nearest training image, and the distance of their pixels in [0, 1].\n"
        f"Test images are {low:.2f} to {high:.2f} from theirs, half of them less than {middle:.2f}. Copies would "
        "be nearer."
    )


def _map(explorer: Explorer) -> None:
    """The codes of test images in two dimensions; a point shows its image."""
    from nicegui import ui

    says = ui.label("Encoding test images for the map …").classes("says")
    chosen: list[int] = []
    with ui.element("div").classes("beside mapped"):
        with ui.element("div").classes("panel"):
            method = ui.toggle(map_methods(), value="pca").props("unelevated")
            method.set_visibility(len(map_methods()) > 1)
            place = ui.html("", sanitize=False).classes("map")
        with ui.element("div").classes("panel shown"):
            if explorer.test_images:
                last = explorer.test_images - 1
                number = ui.number("Test image", min=0, max=last, step=1, suffix=f"of 0 to {last:,}")
                number.props("outlined dense")
            picture = ui.html("", sanitize=False).classes("two pointed")

    def work() -> tuple[Tensor, str] | None:
        if not chosen:
            return None
        image = explorer.test_image(chosen[0])
        x_hat = explorer.reconstruct(image, explorer.label_of(chosen[0])).x_hat
        return torch.stack([image, x_hat]), explorer.named(chosen[0])

    def show(found: tuple[Tensor, str] | None) -> None:
        if found is not None:
            picture.set_content(figures(found[0], (found[1], "reconstruction"), alt="point"))
            ui.run_javascript(
                "document.querySelectorAll('.map .chosen').forEach(one => one.classList.remove('chosen'));"
                f"const point = document.querySelector('.map [data-i=\"{chosen[0]}\"]');"
                "point?.classList.add('chosen');"
                "point?.parentNode.insertBefore(point, point.parentNode.querySelector('.prior'));"  # on top
            )

    latest = Latest(work, show, None)

    async def choose(image: int | None) -> None:
        if image is not None and [image] != chosen:
            chosen[:] = [image]
            await latest()

    async def fill() -> None:
        try:
            found = await aside(lambda: explorer.map(method.value))
        except (InputError, OSError) as error:
            says.set_text(f"Unavailable: {error}")
            return
        place.set_content(drawn_map(found.found, found.numbers, found.labels))
        says.set_text(describe_map(found))

    point = "(event) => { const i = event.target.dataset.i; if (i !== undefined) emit(Number(i)); }"
    for kind in ("click", "mouseover"):
        place.on(kind, lambda event: choose(int(event.args)), js_handler=point)
    if explorer.test_images:
        number.on_value_change(lambda event: choose(whole(event.value)))
    method.on_value_change(fill)
    ui.timer(0, fill, once=True)


def describe_map(found: CodeMap) -> str:
    """Describe a map of codes.

    >>> print(describe_map(CodeMap([3, 7, 9], None, {"variance": 0.25})))
    Codes of 3 test images on their first two principal axes, with 25 % of their variance. A point shows its image.
    The lines hold 39, 86 and 99 % of the prior: if it is normal, they are at 1, 2 and 3 standard deviations.
    """
    share = found.found["variance"]
    axes = "by UMAP: neighbours stay neighbours, distances mean little"
    if share is not None:
        axes = f"on their first two principal axes, with {100 * share:.0f} % of their variance"
    return (
        f"Codes of {len(found.numbers):,} test images {axes}. A point shows its image.\n"
        "The lines hold 39, 86 and 99 % of the prior: if it is normal, they are at 1, 2 and 3 standard deviations."
    )


def _directions(explorer: Explorer) -> None:
    """Sliders along the principal axes of the codes."""
    from nicegui import ui

    says = ui.label("Encoding training images for the axes …").classes("says")
    content = ui.element("div").classes("panel")

    async def fill() -> None:
        try:
            axes, source = await aside(explorer.axes)
        except (InputError, OSError) as error:
            says.set_text(f"Unavailable: {error}")
            return
        says.set_text(
            f"Principal axes of {source}, most variance first. A slider moves the code, in standard deviations."
        )
        with content:
            _sliders(explorer, axes)

    ui.timer(0, fill, once=True)


def _sliders(explorer: Explorer, axes: PrincipalAxes) -> None:
    from nicegui import ui

    with ui.element("div").classes("beside directions"):
        with ui.element("div").classes("shown"):
            place = ui.html("", sanitize=False).classes("big walked")
        with ui.element("div").classes("panel"):
            sliders = [
                _slider(f"Axis {i} · {100 * share:.1f} % of variance", f"Axis {i}, in standard deviations", 3)
                for i, share in enumerate(axes.shares.tolist(), start=1)
            ]
            label, strength = _toward(explorer)
            with ui.element("div").classes("controls"):
                back = ui.button("All to 0", icon="restart_alt").props("outline")
                mean = ui.button("Start from the mean code", icon="filter_center_focus").props("outline")

            def work() -> tuple[Tensor, str]:
                steps, picked = [slider.value for slider in sliders], start.image
                origin = "the mean code" if picked is None else start.name
                about: dict[str, Any] = {}
                if explorer.conditional:
                    about = {"start_label": start.label, "label": label.value}
                elif label is not None:
                    about = {"toward": (label.value, strength.value)}
                moved = any(steps) or bool(about.get("toward", (0, 0))[1])
                return explorer.walk(steps, picked, **about), f"{'moved from ' * moved}{origin}"

            start = ImagePicker(explorer, "Start from an image instead")
    show = Latest(work, lambda shown: place.set_content(figure(*shown)), place)
    start.on_change(show)
    for control in (*sliders, *([] if label is None else [label]), *([] if strength is None else [strength])):
        control.on_value_change(show)

    def to_zero() -> None:
        for slider in (*sliders, *([] if strength is None else [strength])):
            slider.set_value(0)

    async def to_mean() -> None:
        start.clear()
        await show()

    back.on_click(to_zero)
    mean.on_click(to_mean)
    ui.timer(0, show, once=True)


def _toward(explorer: Explorer) -> tuple[Any, Any]:
    """Return a selection of a class, and a slider toward it unless the run is conditional; None without labels."""
    from nicegui import ui

    classes = explorer.classes()
    if len(classes) < 2:
        return None, None
    with ui.element("div").classes("controls"):
        name = "Decode as" if explorer.conditional else "Toward the class"
        label = ui.select(classes, value=0, label=name).props("outlined dense")
    if explorer.conditional:
        return label, None
    return label, _slider("From the mean of the others to its own", "Toward the class", 2)


def _slider(name: str, says: str, end: float) -> Any:
    """Return a slider from ``-end`` to ``end``, with its name before it and its value after it."""
    from nicegui import ui

    with ui.element("div").classes("axis"):
        ui.label(name).classes("name")
        slider = ui.slider(min=-end, max=end, step=0.1, value=0)
        slider.props(f'aria-label="{says}" :markers="1" selection-color=transparent')
        ui.label().classes("value").bind_text_from(slider, "value", lambda value: f"{value or 0:.1f}")
    return slider


def _reconstruct(explorer: Explorer) -> None:
    """An image, encoded and decoded."""
    from nicegui import ui

    with ui.element("div").classes("beside"):
        picker = ImagePicker(explorer, "Image", number=0, preview=False)
        with ui.element("div").classes("panel"):
            place = ui.html("", sanitize=False).classes("row-of-three reconstructed")
            says = ui.label().classes("says described")

    def work() -> Reconstruction | None:
        return None if picker.image is None else explorer.reconstruct(picker.image, picker.label)

    def show(result: Reconstruction | None) -> None:
        if result is not None:
            images = torch.stack([result.image, result.x_hat, result.difference])
            captions = (f"original: {picker.name}", "reconstruction", "difference")
            place.set_content(figures(images, captions, alt="reconstruct"))
            says.set_text(describe(result))

    latest = Latest(work, show, place)
    picker.on_change(latest)
    ui.timer(0, latest, once=True)


def describe(result: Reconstruction) -> str:
    """Describe the error of a reconstruction, and whether its code is unusual: outside the prior's middle 95 %.

    >>> black = torch.zeros(1, 8, 8, dtype=torch.uint8)
    >>> print(describe(Reconstruction(black, black, black, 1.234, 4.75, 99.2, 98.9)))
    Squared error: 1.23, summed over the image, pixels in [0, 1].
    Norm of the code: 4.75, unusual under the prior: larger than 99 % of draws from it, and 99 % of training codes.
    """
    usual = "usual" if 2.5 <= result.prior <= 97.5 else "unusual"
    trained = "" if result.training is None else f", and {result.training:.0f} % of training codes"
    return (
        f"Squared error: {result.error:.2f}, summed over the image, pixels in [0, 1].\n"
        f"Norm of the code: {result.norm:.2f}, {usual} under the prior: larger than {result.prior:.0f} % of draws "
        f"from it{trained}."
    )


def _interpolate(explorer: Explorer) -> None:
    """Interpolation between two images."""
    from nicegui import ui

    with ui.element("div").classes("two"):
        start = ImagePicker(explorer, "Start", number=0)
        end = ImagePicker(explorer, "End", number=1)
    with ui.element("div").classes("controls"):
        kind = ui.toggle(sorted(INTERPOLATIONS, reverse=True), value="spherical").props("unelevated")
        steps = ui.number("Steps", value=8, min=2, max=_STEPS, step=1, format="%d").props("outlined dense")
    says = ui.label().classes("says")
    place = ui.html("", sanitize=False).classes("grid interpolated")

    def work() -> Tensor | None:
        count = whole(steps.value)
        if start.image is None or end.image is None or count is None:
            return None
        if not 2 <= count <= _STEPS:
            raise InputError(f"from 2 to {_STEPS} steps are shown, got {count}.")
        labels = start.label, end.label
        return explorer.interpolate(start.image, end.image, steps=count, kind=kind.value, labels=labels)

    def show(images: Tensor | None) -> None:
        says.set_text("Choose two images." if start.image is None or end.image is None else "")
        if images is not None:
            place.set_content(figures(images, alt="step"))

    latest = Latest(work, show, place)
    for picker in (start, end):
        picker.on_change(latest)
    for control in (kind, steps):
        control.on_value_change(latest)
    ui.timer(0, latest, once=True)
