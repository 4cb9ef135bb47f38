"""A picture of what a model can do while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from entropic_ae.pictures import save_images
from entropic_ae.randomness import seeded
from entropic_ae.training.line import in_notebook

__all__ = ["Preview"]

_PICTURES = 10  # of a training, by default


class Preview(Callback):
    """Writes a grid of images after the first epoch, every few epochs and after the last one.

    The model is in evaluation mode, with its average if it has one, and the global generators are left as they
    were: training goes on with the same bits. In a notebook the picture is shown too, in place.

    Arguments:
        file: a PNG file, replaced atomically.
        draw: returns the images, uint8 (N, C, H, W), of the current model.
        columns: images per row.
        every: epochs between two pictures; None for about a tenth of the training.
    """

    def __init__(self, file: Path, draw: Callable[[], Tensor], columns: int, every: int | None) -> None:
        self.file, self.draw, self.columns, self.every = file, draw, columns, every
        self.handle: Any = None  # of the picture in a notebook

    def on_validation_end(self, trainer: Trainer, task: LightningModule) -> None:  # noqa: ARG002
        """Write the picture if one is due."""
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 1
        every = self.every or max(1, round(epochs / _PICTURES))
        if not trainer.is_global_zero or not (epoch in (1, epochs) or epoch % every == 0):
            return
        self.write()

    def write(self) -> None:
        """Write the picture."""
        with seeded(0):
            images = self.draw()
        save_images(images, self.file, columns=self.columns, overwrite=True)
        if in_notebook():
            self._display()

    def _display(self) -> None:
        from IPython.display import Image, display

        picture = Image(data=self.file.read_bytes())
        if self.handle is None:
            self.handle = display(picture, display_id=True)
        else:
            self.handle.update(picture)
