"""The map of codes as HTML: a picture whose points know the number of their image."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from entropic_ae.report.plane import COLOURS

__all__ = ["drawn_map"]

_SIDE = 1000  # of the picture, in its own unit
_MARGIN = 0.05
_RADIUS = 7


def drawn_map(found: Mapping[str, Any], numbers: Sequence[int], labels: Sequence[int] | None) -> str:
    """Return HTML of a map of codes, with a legend of the labels.

    Arguments:
        found: the result of ``evaluation.map_codes``.
        numbers: of the images, which each point has as ``data-i``.
        labels: of the images; they have colours where there are 2 to 10.

    >>> found = {"x": [0.0, 1.0], "y": [0.0, 1.0], "contours": {"1": [[[0.0, 1.0], [1.0, 0.0]]]}}
    >>> drawn_map(found, [7, 9], None).count("<circle")
    2
    """
    lines = [line for contour in found["contours"].values() for line in contour]
    every_x = [*found["x"], *(x for line in lines for x in line[0])]
    every_y = [*found["y"], *(y for line in lines for y in line[1])]
    middle = [(min(one) + max(one)) / 2 for one in (every_x, every_y)]
    width = max(max(one) - min(one) for one in (every_x, every_y)) * (1 + 2 * _MARGIN) or 1.0

    def place(x: float, y: float) -> tuple[str, str]:
        across, down = (x - middle[0]) / width, (middle[1] - y) / width
        return f"{_SIDE * (0.5 + across):.1f}", f"{_SIDE * (0.5 + down):.1f}"

    names = sorted(set(labels or ()))
    if not 2 <= len(names) <= len(COLOURS):
        names, labels = [], None
    colours = dict(zip(names, COLOURS, strict=False))
    chosen = [COLOURS[0]] * len(numbers) if labels is None else [colours[label] for label in labels]
    paths = "".join(
        f'<polyline points="{" ".join(",".join(place(*pair)) for pair in zip(*line, strict=True))}"/>'
        for line in lines
    )
    points = "".join(
        '<circle data-i="{}" cx="{}" cy="{}" r="{}" fill="{}"/>'.format(number, *place(x, y), _RADIUS, colour)
        for number, x, y, colour in zip(numbers, found["x"], found["y"], chosen, strict=True)
    )
    keys = "".join(
        f'<li><i style="background: {colours[name]}"></i>{html.escape(str(name))}</li>' for name in names
    )
    legend = f'<ul class="keys" aria-label="labels">{keys}</ul>' if keys else ""
    about = f"{len(numbers):,} codes in two dimensions, over contours of the prior"
    return (
        f'<svg viewBox="0 0 {_SIDE} {_SIDE}" role="img" aria-label="{about}">{points}'
        f'<g class="prior">{paths}</g></svg>{legend}'
    )
