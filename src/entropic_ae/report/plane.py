"""The map of the codes as a chart, in the colours of their labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entropic_ae.report.charts import Chart, Group, scatter

__all__ = ["COLOURS", "code_map"]

# Okabe and Ito's colours, darkened where they are faint on white, and two more
COLOURS = (
    *(
        "#0072b2",
        "#d55e00",
        "#008762",
        "#ad4d87",
        "#8a6d00",
        "#33bbee",
        "#59616c",
        "#7a3fb0",
        "#b3282d",
        "#5a8f00",
    ),
)


def code_map(found: Mapping[str, Any]) -> tuple[Chart, str]:
    """Return the map of the codes as a chart, and sentences on it.

    Arguments:
        found: the content of map.json.
    """
    labels = found["labels"]
    names = sorted(set(labels or ()))
    coloured = 2 <= len(names) <= len(COLOURS)
    said = (
        f"{len(found['images']):,} codes of test images on their first two principal axes, which have "
        f"{100 * found['variance']:.0f} % of their variance. The lines hold 39, 86 and 99 % of the prior: where "
        "it is normal, they are at 1, 2 and 3 standard deviations. Of codes that follow the prior the same shares "
        "are inside."
    )
    if labels and not coloured:
        said += f" Labels are not coloured: there are {len(names)}, and at most {len(COLOURS)} colours."
    places = list(zip(found["x"], found["y"], strict=True))
    if coloured:
        pairs = list(zip(labels, places, strict=True))
        groups = [
            Group(str(name), COLOURS[i], [place for label, place in pairs if label == name])
            for i, name in enumerate(names)
        ]
    else:
        groups = [Group("codes", COLOURS[0], places)]
    lines = [line for contour in found["contours"].values() for line in contour]
    by = f" of {len(groups)} labels" if coloured else ""
    text = f"{len(places)} codes{by} on two principal axes, over contours of {found['prior']}"
    return scatter("principal axes", groups, lines, f"the prior, {found['prior']}", text=text), said
