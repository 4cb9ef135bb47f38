"""Charts of the log: the terms, the entropy of the codes, the learning rate and the speed."""

from __future__ import annotations

from collections.abc import Sequence

from entropic_ae.report.charts import INK, PALETTE, Chart, Key, Line, lines
from entropic_ae.storage.log import best_epoch

__all__ = ["curves", "terms", "words"]

_TRAINING, _VALIDATION = Key("training", PALETTE[0]), Key("validation", PALETTE[1], "dashed")


def terms(log: dict[str, list[float]]) -> list[str]:
    """Return the names of the terms in a log, in their order.

    >>> terms({"epoch": [1.0], "train_squared_error": [2.0], "train_loss": [2.0]})
    ['squared_error']
    """
    names = [name.removeprefix("train_") for name in log if name.startswith("train_")]
    return [name for name in names if name != "loss"]


def curves(log: dict[str, list[float]]) -> list[Chart]:
    """Draw one chart per term, and one for each other column of the log.

    Arguments:
        log: the columns of log.csv.

    >>> log = {"epoch": [1.0, 2.0], "train_mmd": [2.0, 1.0], "entropy": [3.0, 4.0]}
    >>> [chart.title for chart in curves(log)]
    ['mmd', 'entropy of the validation codes, nats']
    """
    mark = best_epoch(log)
    charts = []
    for term in [*terms(log), "loss"]:
        pairs = ((f"train_{term}", _TRAINING), (f"validation_{term}", _VALIDATION))
        series = [Line(key, log["epoch"], log[column]) for column, key in pairs if column in log]
        if series:
            charts.append(_chart(words(term) if term != "loss" else "total loss", series, mark))
    singles = {
        "entropy": "entropy of the validation codes, nats",
        "learning_rate": "learning rate",
        "images_per_s": "training images per second",
    }
    for column, title in singles.items():
        if column in log:
            series = [Line(Key(words(column), PALETTE[0]), log["epoch"], log[column])]
            if column == "entropy" and "entropy_of_draws" in log:
                draws = Key("the same estimate for as many prior samples", INK, "dotted")
                series.append(Line(draws, log["epoch"], log["entropy_of_draws"]))
            speed, rate = column == "images_per_s", column == "learning_rate"
            charts.append(_chart(title, series, mark, from_zero=speed, logarithmic=rate))
    return charts


def words(name: str) -> str:
    """Return the name of a column as words.

    >>> words("squared_error")
    'squared error'
    """
    return name.replace("_", " ")


def _chart(
    title: str,
    series: Sequence[Line],
    mark: float | None,
    *,
    from_zero: bool = False,
    logarithmic: bool = False,
) -> Chart:
    spans = (f"{one.key.label} from {one.y[0]:.4g} to {one.y[-1]:.4g}" for one in series)
    text = f"{title}, by epoch: {', '.join(spans)}"
    return lines(title, series, text=text, mark=mark, from_zero=from_zero, logarithmic=logarithmic)
