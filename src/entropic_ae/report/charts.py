"""Charts as inline SVG, in the colours of the page around them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PALETTE", "Chart", "Key", "Line", "band", "lines", "points", "stack"]

PALETTE = 6  # number of series colours in the page's style sheet, --series-0 to --series-5
_WIDTH = 340  # pixels, the width of a phone: text in a larger chart would be too small there
# Placeholders for the colours of the page, since matplotlib has no CSS variables.
_INK = "#010101"
_SERIES = tuple(f"#0202{i:02x}" for i in range(PALETTE))
_DASHES: dict[str, str | tuple[int, tuple[int, ...]]] = {
    "solid": "-",
    "dashed": (0, (4, 2)),
    "dotted": (0, (1, 2)),
}


@dataclass(frozen=True)
class Key:
    """An entry of a legend: its label, its colour (from 0; None for the text colour) and its style."""

    label: str
    colour: int | None
    style: str = "solid"


@dataclass(frozen=True)
class Line:
    """A line of a chart, with gaps at values that are not finite."""

    key: Key
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """A chart for the page.

    Attributes:
        title: heading above the chart.
        svg: the element, without references to other documents.
        text: alternative text.
        keys: its legend.
    """

    title: str
    svg: str
    text: str
    keys: tuple[Key, ...] = ()


def lines(
    name: str,
    title: str,
    series: Sequence[Line],
    *,
    text: str,
    mark: float | None = None,
    from_zero: bool = False,
) -> Chart:
    """Draw lines over epochs.

    Arguments:
        name: of the chart on its page, as a prefix of its ids.
        title, text: see ``Chart``.
        series: the lines, with their legend.
        mark: the epoch at which to draw a thin vertical line.
        from_zero: whether the vertical axis starts at zero.

    >>> line = Line(Key("training", 0), [1, 2], [5.0, 4.0])
    >>> "stroke: var(--series-0)" in lines("a", "error", [line], text="from 5 to 4").svg
    True
    """
    with _figure(name, 210) as (figure, axes):
        if mark is not None:
            axes.axvline(mark, color=_INK, alpha=0.35, linewidth=1)
        for line in series:
            few = sum(map(math.isfinite, line.y)) < 3  # a line of one point is invisible
            axes.plot(
                line.x,
                [y if math.isfinite(y) else math.nan for y in line.y],
                color=_colour(line.key.colour),
                linestyle=_DASHES[line.key.style],
                marker="o" if few else "",
                markersize=4,
            )
        if from_zero:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("epoch")
        _ticks(axes)
        return Chart(title, _svg(figure, name), text, tuple(line.key for line in series))


def points(name: str, title: str, values: Sequence[float], half: float, *, text: str, xlabel: str) -> Chart:
    """Draw a point for each dimension, over a band of ``half`` on both sides of zero.

    >>> points("a", "skewness", [0.1, -0.4], 0.2, text="two", xlabel="dimension").title
    'skewness'
    """
    with _figure(name, 190) as (figure, axes):
        axes.axhspan(-half, half, color=_INK, alpha=0.1, linewidth=0)
        axes.axhline(0, color=_INK, linewidth=0.8)
        numbers = range(1, len(values) + 1)
        finite = [value if math.isfinite(value) else math.nan for value in values]
        axes.vlines(numbers, 0, finite, color=_SERIES[0], linewidth=1.5, alpha=0.6)
        axes.plot(numbers, finite, "o", color=_SERIES[0], markersize=5 if len(values) <= 32 else 3)
        axes.set_xlabel(xlabel)
        axes.set_xlim(0.4, len(values) + 0.6)
        _ticks(axes)
        return Chart(title, _svg(figure, name), text)


def stack(name: str, title: str, parts: Sequence[tuple[str, float]], *, text: str, xlabel: str) -> Chart:
    """Draw one bar of parts, each at least 0, with a legend.

    >>> chart = stack("a", "parts", [("one", 1.0), ("two", -0.1)], text="two parts", xlabel="nats")
    >>> [key.label for key in chart.keys]
    ['one', 'two']
    """
    with _figure(name, 92) as (figure, axes):
        left = 0.0
        for i, (_, value) in enumerate(parts):
            width = max(value, 0.0) if math.isfinite(value) else 0.0
            axes.barh(0, width, left=left, color=_SERIES[i % PALETTE], height=0.7)
            left += width
        axes.set_xlim(0, max(left * 1.02, 0.01))
        _one_row(axes, xlabel)
        keys = tuple(Key(label, i % PALETTE, "square") for i, (label, _) in enumerate(parts))
        return Chart(title, _svg(figure, name), text, keys)


def band(name: str, title: str, value: float, null: Sequence[float], *, text: str, xlabel: str) -> Chart:
    """Draw a value beside the 5th, 50th and 95th percentile of its null distribution.

    >>> band("a", "distance", 0.5, (0.1, 0.12, 0.2), text="far", xlabel="distance").title
    'distance'
    """
    with _figure(name, 92) as (figure, axes):
        low, middle, high = null
        axes.barh(0, high - low, left=low, color=_INK, alpha=0.18, height=0.55)
        axes.vlines(middle, -0.28, 0.28, color=_INK, linewidth=1.5)
        axes.plot([value], [0], "D", color=_SERIES[1], markersize=8)
        inside = [one for one in (value, low, high) if math.isfinite(one)]
        margin = 0.08 * (max(inside) - min(inside)) or 1.0
        axes.set_xlim(min(inside) - margin, max(inside) + margin)
        _one_row(axes, xlabel)
        keys = (
            Key("the codes", 1, "diamond"),
            Key("samples of the prior, 5th to 95th percentile, and median", None, "band"),
        )
        return Chart(title, _svg(figure, name), text, keys)


def _colour(number: int | None) -> str:
    return _INK if number is None else _SERIES[number % PALETTE]


def _ticks(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def _one_row(axes: Axes, xlabel: str) -> None:
    axes.set_yticks([])
    axes.set_ylim(-0.5, 0.5)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(xlabel)


@contextmanager
def _figure(name: str, height: int) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure of that height in pixels, with the page's style on matplotlib's defaults, not the user's."""
    import matplotlib
    from matplotlib.figure import Figure

    kept = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
    ours: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,
        "font.size": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "grid.alpha": 0.16,
        "grid.linewidth": 0.8,
        "lines.linewidth": 2,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        **dict.fromkeys(
            ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color", "grid.color"), _INK
        ),
    }
    with matplotlib.rc_context(kept | ours):
        figure = Figure(figsize=(_WIDTH / 72, height / 72), layout="constrained")  # SVG has 72 pixels an inch
        yield figure, figure.add_subplot()


def _svg(figure: Figure, name: str) -> str:
    """Return the SVG element: without date and metadata, with unique ids, in the page's colours."""
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):  # a style would apply to the whole page
                parent.remove(child)
    used = set(re.findall(r"#(\w+)", " ".join(value for one in root.iter() for value in one.attrib.values())))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        given = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        element.attrib.clear()
        for key, value in given.items():
            if key != "id" or value in used:
                element.set(key, _own(key, value, name))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("aria-hidden", "true")
    return re.sub(r">\s+<", "><", ElementTree.tostring(root, encoding="unicode")).strip()


def _own(key: str, value: str, name: str) -> str:
    """Return an attribute's value with the page's colours and font, and ids unique to this chart."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value[1:]}"
    value = value.replace("url(#", f"url(#{name}-").replace(_INK, "currentColor")
    for i, colour in enumerate(_SERIES):
        value = value.replace(colour, f"var(--series-{i})")
    return " ".join(re.sub(r"font(-family)?: [^;]*'[^;]*(; |$)", "", value).split())
