"""One epoch of a model of pythae on this library's networks, timed by pythae's own callbacks.

Run in pythae's environment, which tests/peers/compare_pythae.py says how to make:
``python -m benchmarks.pythae_epoch MODEL IMAGES WIDTH`` prints the seconds of the last epoch.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from typing import Any

import pythae.models
import torch
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig, CoupledOptimizerTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor

from entropic_ae.networks import ConvDecoder, ConvEncoder

SHAPE, DIM, BATCH, EPOCHS = (3, 32, 32), 64, 100, 2


class Encoder(BaseEncoder):
    """An encoder of this library as pythae wants it."""

    def __init__(self, variational: bool, width: int) -> None:
        super().__init__()
        self.variational = variational
        self.network = ConvEncoder(SHAPE, 2 * DIM if variational else DIM, width=width)

    def forward(self, x: Tensor) -> ModelOutput:
        h = self.network(x)
        if not self.variational:
            return ModelOutput(embedding=h)
        mean, raw = h.chunk(2, 1)
        return ModelOutput(embedding=mean, log_covariance=10 * torch.tanh(raw))


class Decoder(BaseDecoder):
    """A decoder of this library as pythae wants it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.network = ConvDecoder(SHAPE, DIM, width=width)

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(z))


class Clock(TrainingCallback):
    """The time of each epoch's training steps."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self.started)


def main(name: str, count: int, width: int) -> float:
    """Train for two epochs; return the seconds of the second."""
    logging.disable(logging.CRITICAL)
    images = torch.randint(256, (count, *SHAPE), generator=torch.Generator().manual_seed(0)).float() / 255
    config = getattr(pythae.models, name + ("_Config" if "_" in name else "Config"))(
        input_dim=SHAPE, latent_dim=DIM
    )
    model = getattr(pythae.models, name)(config, encoder=Encoder(name == "VAE", width), decoder=Decoder(width))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        common = {
            "output_dir": folder,
            "num_epochs": EPOCHS,
            "per_device_train_batch_size": BATCH,
            "no_cuda": True,
        }
        kind = CoupledOptimizerTrainerConfig if name.startswith("RAE") else BaseTrainerConfig
        pipeline = TrainingPipeline(model=model, training_config=kind(**common))
        pipeline(train_data=images, callbacks=[clock])
    return clock.seconds[-1]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
