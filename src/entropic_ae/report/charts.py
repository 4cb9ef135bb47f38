"""Charts as SVG images; the style sheet inverts their lightness in dark mode."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "INK",
    "PALETTE",
    "Chart",
    "Group",
    "Key",
    "Line",
    "band",
    "dwarfing",
    "lines",
    "points",
    "scatter",
    "stack",
]

INK = "#1b1e23"
PALETTE = ("#0072b2", "#c65500", "#008762", "#ad4d87", "#8a6d00", "#59616c")
_WIDTH = 340  # pixels, the width of a phone: larger charts would have small letters there
_DECADE = 10  # times the smallest value, above which an axis is logarithmic
_DWARFED = 4  # times what the later values vary by
_MOST_TICKS = 6  # of a logarithmic axis
_APART = 8  # pixels between the labels of two ticks
_DASHES: dict[str, str | tuple[int, tuple[int, ...]]] = {
    "solid": "-",
    "dashed": (0, (4, 2)),
    "dotted": (0, (1, 2)),
}


@dataclass(frozen=True)
class Key:
    """An entry of a legend: what a colour and a style stand for."""

    label: str
    colour: str
    style: str = "solid"


@dataclass(frozen=True)
class Line:
    """A line of a chart, with gaps at values that are not finite."""

    key: Key
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Group:
    """Places in the plane of one colour."""

    label: str
    colour: str
    places: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """A chart for the page.

    Attributes:
        title: above it.
        image: a data URL.
        text: what it shows, for who does not see it.
        keys: its legend.
    """

    title: str
    image: str
    text: str
    keys: tuple[Key, ...] = ()


def lines(
    title: str,
    series: Sequence[Line],
    *,
    text: str,
    mark: float | None = None,
    from_zero: bool = False,
    logarithmic: bool = False,
) -> Chart:
    """Draw lines over epochs.

    The vertical axis is logarithmic where positive values span more than a decade, or the first epochs dwarf the
    others. Where these dwarf values that are not positive, the axis leaves them out and the title says so.

    Arguments:
        title, text: see ``Chart``.
        series: the lines, with their legend.
        mark: the epoch at which to draw a thin vertical line.
        from_zero: whether the vertical axis starts at zero.
        logarithmic: whether it is logarithmic in any case, if the values are positive.

    >>> line = Line(Key("training", PALETTE[0]), [1, 2], [5.0, 4.0])
    >>> lines("error", [line], text="from 5 to 4").image[:26]
    'data:image/svg+xml;base64,'
    """
    with _figure(210) as (figure, axes):
        if mark is not None:
            axes.axvline(mark, color=INK, alpha=0.35, linewidth=1)
        for line in series:
            few = sum(map(math.isfinite, line.y)) < 3  # a line of one point is invisible
            axes.plot(
                line.x,
                [y if math.isfinite(y) else math.nan for y in line.y],
                color=line.key.colour,
                linestyle=_DASHES[line.key.style],
                marker="o" if few else "",
                markersize=4,
            )
        axes.set_xlabel("epoch")
        _ticks(axes)
        title += _scaled(axes, series, from_zero=from_zero, logarithmic=logarithmic)
        return Chart(title, _image(figure), text, tuple(line.key for line in series))


def _scaled(axes: Axes, series: Sequence[Line], *, from_zero: bool, logarithmic: bool) -> str:
    """Scale the vertical axis; return what to add to the title."""
    values = [y for line in series for y in line.y if math.isfinite(y)]
    if from_zero:
        axes.set_ylim(bottom=0)
    if from_zero or not values:
        return ""
    least, most = min(values), max(values)
    left_out = dwarfing(series)
    if least > 0 and (logarithmic or left_out or most > _DECADE * least):
        axes.set_yscale("log")
        if most < 2 * least:  # nearly constant
            axes.set_ylim(least / 2, most * 2)
        _ticks_of_decades(axes)
        return ""
    if not left_out:
        return ""
    kept = [y for line in series for y in line.y[left_out:] if math.isfinite(y)]
    margin = 0.06 * (max(kept) - min(kept)) or 1.0
    axes.set_ylim(min(kept) - margin, max(kept) + margin)
    return f" (from epoch {left_out + 1})"


def dwarfing(series: Sequence[Line]) -> int:
    """Return how many of the first epochs dwarf the others, which vary by less than a quarter of the whole.

    They are at most a fifth of all epochs; of the others none dwarf the rest.

    >>> key = Key("training", PALETTE[0])
    >>> dwarfing([Line(key, range(11), [90.0, *[5.0, 4.0] * 5])]), dwarfing([Line(key, range(9), range(9))])
    (1, 0)
    """

    def span(start: int) -> float:
        kept = [y for line in series for y in line.y[start:] if math.isfinite(y)]
        return max(kept) - min(kept) if kept else 0.0

    most = max((len(line.y) for line in series), default=0) // 5
    first = 0
    for start in range(1, most + 1):
        if span(first) > _DWARFED * span(start):
            first = start
    return first


def points(title: str, values: Sequence[float], half: float, *, text: str, xlabel: str) -> Chart:
    """Draw a point for each dimension, over a band of ``half`` on both sides of zero.

    >>> points("skewness", [0.1, -0.4], 0.2, text="two", xlabel="dimension").title
    'skewness'
    """
    with _figure(190) as (figure, axes):
        axes.axhspan(-half, half, color=INK, alpha=0.1, linewidth=0)
        axes.axhline(0, color=INK, linewidth=0.8)
        numbers = range(1, len(values) + 1)
        finite = [value if math.isfinite(value) else math.nan for value in values]
        axes.vlines(numbers, 0, finite, color=PALETTE[0], linewidth=1.5, alpha=0.6)
        axes.plot(numbers, finite, "o", color=PALETTE[0], markersize=5 if len(values) <= 32 else 3)
        axes.set_xlabel(xlabel)
        axes.set_xlim(0.4, len(values) + 0.6)
        _ticks(axes)
        return Chart(title, _image(figure), text)


def scatter(
    title: str,
    groups: Sequence[Group],
    contours: Sequence[Sequence[Sequence[float]]],
    named: str,
    *,
    text: str,
) -> Chart:
    """Draw places on two principal axes, with one unit, over contours.

    Arguments:
        title, text: see ``Chart``.
        groups: the places by colour.
        contours: lines, each its x and its y.
        named: what the contours are of.

    >>> contours = [([0.0, 1.0], [0.0, 1.0])]
    >>> chart = scatter("map", [Group("1", INK, [(0.0, 1.0)])], contours, "it", text="")
    >>> [key.label for key in chart.keys]
    ['1', 'it']
    """
    with _figure(_WIDTH) as (figure, axes):
        for x, y in contours:
            axes.plot(x, y, color=INK, linewidth=1.1, zorder=3)
        for group in groups:
            x, y = zip(*group.places, strict=True)
            axes.scatter(x, y, s=7, c=group.colour, alpha=0.75, linewidths=0, zorder=2)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel("first principal axis")
        axes.set_ylabel("second principal axis")
        _ticks(axes)
        keys = (*(Key(one.label, one.colour, "dot") for one in groups), Key(named, INK))
        return Chart(title, _image(figure), text, keys)


def stack(title: str, parts: Sequence[tuple[str, float]], *, text: str, xlabel: str) -> Chart:
    """Draw one bar of parts, each at least 0, with a legend.

    >>> chart = stack("parts", [("one", 1.0), ("two", -0.1)], text="two parts", xlabel="nats")
    >>> [key.label for key in chart.keys]
    ['one', 'two']
    """
    with _figure(92) as (figure, axes):
        left = 0.0
        for i, (_, value) in enumerate(parts):
            width = max(value, 0.0) if math.isfinite(value) else 0.0
            axes.barh(0, width, left=left, color=PALETTE[i % len(PALETTE)], height=0.7)
            left += width
        axes.set_xlim(0, max(left * 1.02, 0.01))
        _one_row(axes, xlabel)
        keys = tuple(Key(label, PALETTE[i % len(PALETTE)], "square") for i, (label, _) in enumerate(parts))
        return Chart(title, _image(figure), text, keys)


def band(title: str, value: float, null: Sequence[float], *, text: str, xlabel: str) -> Chart:
    """Draw a value beside the 5th, 50th and 95th percentile of what chance gives.

    >>> band("distance", 0.5, (0.1, 0.12, 0.2), text="far", xlabel="distance").title
    'distance'
    """
    with _figure(92) as (figure, axes):
        low, middle, high = null
        axes.barh(0, high - low, left=low, color=INK, alpha=0.18, height=0.55)
        axes.vlines(middle, -0.28, 0.28, color=INK, linewidth=1.5)
        axes.plot([value], [0], "D", color=PALETTE[1], markersize=8)
        inside = [one for one in (value, low, high) if math.isfinite(one)]
        margin = 0.08 * (max(inside) - min(inside)) or 1.0
        axes.set_xlim(min(inside) - margin, max(inside) + margin)
        _one_row(axes, xlabel)
        keys = (
            Key("the codes", PALETTE[1], "diamond"),
            Key("samples of the prior, 5th to 95th percentile, and median", INK, "band"),
        )
        return Chart(title, _image(figure), text, keys)


def _ticks(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def _one_row(axes: Axes, xlabel: str) -> None:
    axes.set_yticks([])
    axes.set_ylim(-0.5, 0.5)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(xlabel)
    _few_ticks(axes)


def _few_ticks(axes: Axes) -> None:
    """Set as many horizontal ticks as there is room for between their labels."""
    from matplotlib.ticker import MaxNLocator

    figure: Any = axes.figure
    for number in (6, 5, 4, 3, 2, 1):
        axes.xaxis.set_major_locator(MaxNLocator(nbins=number))
        figure.draw_without_rendering()
        low, high = sorted(axes.get_xlim())
        labels = zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)
        boxes = [label.get_window_extent() for label, place in labels if low <= place <= high]
        if all(left.x1 + _APART <= right.x0 for left, right in pairwise(boxes)):
            return


def _ticks_of_decades(axes: Axes) -> None:
    """Set ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, or at powers alone, in plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    low, high = axes.get_ylim()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    places = [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    if len(places) > _MOST_TICKS:
        decades = [10.0**power for power in powers if low <= 10.0**power <= high]
        places = decades[:: -(-len(decades) // _MOST_TICKS)]
    axes.yaxis.set_major_locator(FixedLocator(places) if len(places) > 1 else MaxNLocator(nbins=4))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


@contextmanager
def _figure(height: int) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure of so many pixels, with matplotlib's defaults whatever a person has set, and ours."""
    import matplotlib
    from matplotlib.figure import Figure

    kept = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
    ours: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "entropic-ae",
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
            ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color", "grid.color"), INK
        ),
    }
    with matplotlib.rc_context(kept | ours):
        figure = Figure(figsize=(_WIDTH / 72, height / 72), layout="constrained")  # SVG has 72 pixels an inch
        yield figure, figure.add_subplot()


def _image(figure: Figure) -> str:
    """Return the figure as SVG in a data URL, without the date."""
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
