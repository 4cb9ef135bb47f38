"""Widgets that several tabs of the page share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import randrange
from threading import Thread
from typing import Any

from torch import Tensor

from entropic_ae.errors import InputError
from entropic_ae.explore.explorer import Explorer
from entropic_ae.explore.images import figure

__all__ = ["ASIDE", "ImagePicker", "Latest", "aside", "whole"]

ASIDE = "entropic-ae-explore"  # name of the worker threads
_LARGEST = 64 * 2**20  # bytes of an image file
_DROP = """
<q-btn type="a" flat icon="add_photo_alternate" label="Drop or choose an image" class="full-width">
  <q-uploader-add-trigger />
</q-btn>
"""


def whole(value: float | None) -> int | None:
    """Return the integer in a number field, or None if it is empty or not an integer.

    >>> whole(3.0), whole(None), whole(2.5)
    (3, None, None)
    """
    return int(value) if value is not None and float(value).is_integer() else None


async def aside(work: Callable[[], Any]) -> Any:
    """Return the result of ``work``, called in a new thread that does not outlive the server.

    A density can take minutes to train: in a thread pool, other work would queue behind it, and Ctrl-C would wait
    for it.

    >>> asyncio.run(aside(lambda: 1 + 1))
    2
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def finish(settle: Callable[[Any], None], outcome: Any) -> None:
        if not done.done():  # else cancelled, for example because the page was closed
            settle(outcome)

    def run() -> None:
        try:
            settle, outcome = done.set_result, work()
        except Exception as error:
            settle, outcome = done.set_exception, error
        with suppress(RuntimeError):  # the server has ended
            loop.call_soon_threadsafe(finish, settle, outcome)

    Thread(target=run, name=ASIDE, daemon=True).start()
    return await done


class Latest:
    """Update one element of the page; a call while an update is running leads to one more update afterwards.

    So if a slider moves faster than the model decodes, the page ends with its last position, never an older one.

    Arguments:
        work: computes the result, in a thread.
        show: puts the result on the page.
        place: the element that is dimmed meanwhile.

    >>> places, shown = iter("ab"), []
    >>> asyncio.run(Latest(lambda: next(places), shown.append, None)())
    >>> shown
    ['a']
    """

    def __init__(self, work: Callable[[], Any], show: Callable[[Any], Any], place: Any) -> None:
        self.work = work
        self.show = show
        self.place = place
        self._asked = self._running = False

    async def __call__(self) -> None:
        """Compute the result and show it."""
        self._asked = True
        if self._running:
            return
        self._running = True
        try:
            while self._asked:
                self._asked = False
                await self._once()
        finally:
            self._running = False

    async def _once(self) -> None:
        if self.place is not None:
            self.place.classes(add="busy")
        try:
            self.show(await aside(self.work))
        except (InputError, OSError) as error:
            _complain(error)
        finally:
            if self.place is not None:
                self.place.classes(remove="busy")


class ImagePicker:
    """Choose an image: a test image by number, or a file that is dropped or selected.

    Arguments:
        explorer: source of the images.
        heading: the purpose of the image.
        number: of the initial test image; None for no initial image.
        preview: show the chosen image.

    Attributes:
        image: the chosen image, uint8 (C, H, W), or None.
        name: its name.
        label: its class, for a conditional run: that of the test image, or as selected; else None.
    """

    def __init__(
        self, explorer: Explorer, heading: str, *, number: int | None = None, preview: bool = True
    ) -> None:
        from nicegui import ui

        self.explorer = explorer
        self._shown = preview
        self._changed: Callable[[], Awaitable[None]] | None = None
        self.image: Tensor | None = None
        self.name = ""
        self._label: Any = None
        count = explorer.test_images
        with ui.element("section").classes("picker"):
            with ui.element("div").classes("choices"):
                ui.html(heading, tag="h2", sanitize=False)
                if count:
                    self._number_field(count, number)
                if explorer.conditional:
                    self._label = ui.select(explorer.classes(), value=0, label="Its label").props("outlined dense")
                    self._label.on_value_change(self._relabelled)
                upload = ui.upload(
                    auto_upload=True,
                    max_file_size=_LARGEST,
                    on_upload=self._by_file,
                    on_rejected=lambda: _complain("the file is not an image, or is larger than 64 MB."),
                ).props('flat accept="image/*"')
                upload.add_slot("header", _DROP)
            self.preview = ui.html("", sanitize=False).classes("preview")
            self.preview.set_visibility(False)
        if count and number is not None:
            number = min(number, count - 1)
            self._take(explorer.test_image(number), f"test image {number}", explorer.label_of(number))

    @property
    def label(self) -> int | None:
        """The class of the image, for a conditional run; else None."""
        return None if self._label is None else int(self._label.value)

    def _number_field(self, count: int, number: int | None) -> None:
        from nicegui import ui

        last = count - 1
        with ui.element("div").classes("controls"):
            self.number = ui.number(
                "Test image", value=number, min=0, max=last, step=1, suffix=f"of 0 to {last:,}"
            )
            self.number.props("outlined dense").on_value_change(self._by_number)
            random = ui.button(icon="shuffle", on_click=self._any).props('flat aria-label="A random test image"')
            random.tooltip("a random test image")

    def _take(self, image: Tensor, name: str, label: int | None = None) -> None:
        self.image, self.name = image, name
        if self._label is not None and label is not None:
            self._label.set_value(label)
        self.preview.set_content(figure(image, name))
        self.preview.set_visibility(self._shown)

    async def _relabelled(self) -> None:
        if self.image is not None and self._changed is not None:
            await self._changed()

    async def _choose(self, image: Tensor, name: str, label: int | None = None) -> None:
        self._take(image, name, label)
        if self._changed is not None:
            await self._changed()

    def on_change(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Call ``changed`` after each choice."""
        self._changed = changed

    def clear(self) -> None:
        """Reset the choice to no image."""
        self.image, self.name = None, ""
        self.preview.set_visibility(False)
        if self.explorer.test_images:
            self.number.set_value(None)

    async def _by_number(self, event: Any) -> None:
        number = whole(event.value)
        if number is None:
            return
        try:
            image = self.explorer.test_image(number)
        except InputError as error:
            _complain(error)
        else:
            await self._choose(image, f"test image {number}", self.explorer.label_of(number))

    def _any(self) -> None:
        self.number.set_value(randrange(self.explorer.test_images))  # triggers _by_number

    async def _by_file(self, event: Any) -> None:
        event.sender.reset()
        try:
            image = self.explorer.fit(await event.file.read())
        except InputError as error:
            _complain(error)
            return
        if self.explorer.test_images:
            self.number.set_value(None)
        await self._choose(image, f"{event.file.name}, fitted")


def _complain(error: object) -> None:
    from nicegui import ui

    text = str(error)
    ui.notify(text[:1].upper() + text[1:], type="warning", position="top", multi_line=True, timeout=6000)
