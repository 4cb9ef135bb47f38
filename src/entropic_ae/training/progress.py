"""Progress of a training: a line in place on a terminal or in a notebook, a line per epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

from pytorch_lightning import Callback, Trainer

from entropic_ae.training.keeper import Keeper
from entropic_ae.training.line import State, duration, in_notebook, progress_line

__all__ = ["Progress"]

_LONG = 600  # seconds of a training on a CPU, from which on it is announced with a shorter one
_TIMED = 2  # steps, besides the first, until the time left is told
_RECENT, _EPOCHS = 200, 5  # steps, and epochs, by which the time left is judged
_PAUSE = 0.2  # seconds between two updates of the line
_VALIDATION = 1 / 3  # time of a minibatch without gradients by that of a step, until it is known


class Progress(Callback):
    """Shows the progress of a training.

    Arguments:
        keeper: of the log, which comes before this among the callbacks.
        advise: called once with the seconds that a long training on a CPU takes; returns what to say, or None.
    """

    def __init__(self, keeper: Keeper, advise: Callable[[float], str | None] | None = None) -> None:
        self.keeper, self.advise = keeper, advise
        self.show: Callable[[str], None] | None = None  # the line in place
        self.width = 1000
        self.warm = False  # the first call allocates memory, and may compile
        self.steps, self.seconds = 0.0, 0.0  # timed
        self.rests: list[float] = []  # seconds of each epoch besides its steps
        self.shown = -float("inf")

    @contextmanager
    def shown_in_place(self) -> Iterator[None]:
        """Keep the line within the block, where there is a terminal or a notebook; print lines elsewhere."""
        if in_notebook():
            self.show = _NotebookLine().update
            yield
        elif sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live
            from rich.text import Text

            console = Console(stderr=True)
            with Live(console=console, auto_refresh=False) as live:  # others' lines are printed above it
                self.width = console.width - 1
                self.show = lambda line: live.update(Text(line, no_wrap=True), refresh=True)
                yield
        else:
            yield

    def on_fit_start(self, trainer: Trainer, task: Any) -> None:  # noqa: ARG002
        """Tell after which epoch training resumes."""
        if self.keeper.rows:
            self._print(f"resuming after epoch {len(self.keeper.rows)}/{trainer.max_epochs}")

    def on_train_epoch_start(self, trainer: Trainer, task: Any) -> None:  # noqa: ARG002
        """Start the clock."""
        self.latest = time.perf_counter()
        self.done = 0  # steps of this epoch

    def on_train_batch_end(self, trainer: Trainer, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Time the steps of a call, and update the line."""
        now, batches = time.perf_counter(), task.batches
        before, self.done = self.done, min((batch_idx + 1) * batches.steps, batches.per_epoch)
        if self.warm:
            self.steps, self.seconds = self.steps + self.done - before, self.seconds + now - self.latest
            if self.steps > _RECENT:  # what other programs slowed down long ago counts less and less
                self.steps, self.seconds = self.steps / 2, self.seconds / 2
        self.latest, self.warm = now, True
        if self.advise is not None and self.steps >= _TIMED:
            left = self._left(trainer, task)
            if left is not None and left > _LONG and task.device.type == "cpu" and (said := self.advise(left)):
                self._print(said)
            self.advise = None
        if self.show is not None and (now - self.shown > _PAUSE or self.done == batches.per_epoch):
            self._update(trainer, task)

    def on_train_epoch_end(self, trainer: Trainer, task: Any) -> None:
        """Tell about the epoch."""
        self.rests.append(time.perf_counter() - self.latest)
        row, stopped = self.keeper.rows[-1], self.keeper.stopped
        if self.show is None:
            told = "  ".join(f"{name} {value:.5g}" for name, value in task.summary().items())
            left = None if stopped is not None else self._left(trainer, task)
            until = f"  {'up to ' * self._may_stop}{duration(left)} left" if left else ""
            self._print(
                f"epoch {row['epoch']}/{trainer.max_epochs}  {told}  {row['images_per_s']:.0f} images/s{until}"
            )
        else:
            self._update(trainer, task)
        if stopped is not None:
            self._print(str(stopped))

    @property
    def _may_stop(self) -> bool:
        """Whether a rule may end the training before its last epoch."""
        return bool(self.keeper.settings.stop_after or self.keeper.settings.stop_rate)

    def _left(self, trainer: Trainer, task: Any) -> float | None:
        """Return the seconds that all other steps and validations take; None before enough steps are timed."""
        if self.steps < _TIMED:
            return None
        a_step = self.seconds / self.steps
        epochs = (trainer.max_epochs or 0) - len(self.keeper.rows)
        done = 0 if len(self.keeper.rows) > trainer.current_epoch else self.done
        if self.rests:
            rest = median(self.rests[-_EPOCHS:])
        else:
            estimating = self.keeper.settings.estimating(task.batches.per_epoch)
            rest = _VALIDATION * a_step * (sum(trainer.num_val_batches) + estimating)
        return (epochs * task.batches.per_epoch - done) * a_step + epochs * rest

    def _update(self, trainer: Trainer, task: Any) -> None:
        assert self.show is not None
        rows = self.keeper.rows
        row: Mapping[str, float] = rows[-1] if rows else {}
        over = len(rows) > trainer.current_epoch  # the epoch is in the log
        if task.device.type == "cpu" and not over and task.count:  # elsewhere this would wait for the device
            error: float | None = (task.sums[0] / task.count).item()
        else:
            error = row.get(f"train_{task.names[0]}")
        per_epoch, epochs = task.batches.per_epoch, trainer.max_epochs or 1
        state = State(
            epoch=trainer.current_epoch + 1,
            epochs=epochs,
            share=(len(rows) * per_epoch + (0 if over else self.done)) / (epochs * per_epoch),
            left=self._left(trainer, task),
            early=self._may_stop,
            term=task.names[0],
            error=error,
            validation=row.get("validation_loss"),
            best=row.get("validation_loss") == self.keeper.best,
            entropy=row.get("entropy"),
            of_draws=row.get("entropy_of_draws"),
        )
        self.show(progress_line(state, self.width))
        self.shown = time.perf_counter()

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class _NotebookLine:
    """A line of text in the output of a notebook's cell, replaced in place."""

    def __init__(self) -> None:
        self.handle: Any = None

    def update(self, line: str) -> None:
        from IPython.display import display

        text = {"text/plain": line}
        if self.handle is None:
            self.handle = display(text, raw=True, display_id=True)
        else:
            self.handle.update(text, raw=True)
