"""One epoch of a model of pythae on this library's networks, timed by pythae's own callbacks.

Run in pythae's environment, which tests/peers/compare_pythae.py says how to make:
``python -m benchmarks.pythae_epoch MODEL IMAGES WIDTH DEVICE PRECISION`` prints the seconds of the last epoch.
The device is cpu or cuda; the precision float32 or mixed, which is pythae's own, float16 on a GPU.
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
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig, CoupledOptimizerTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from tests.peers.compare_pythae import Decoder, Encoder

from benchmarks.sizes import BATCH, DIM, EPOCHS, SHAPE
from entropic_ae.bottlenecks import GaussianPosterior, Identity
from entropic_ae.networks import ConvDecoder, ConvEncoder


class Clock(TrainingCallback):
    """The time from the beginning of the latest epoch to its latest step, which has waited for its loss."""

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.perf_counter()

    def on_train_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds = time.perf_counter() - self.started


def main(name: str, count: int, width: int, device: str, precision: str) -> float:
    """Train for two epochs; return the seconds of the second."""
    logging.disable(logging.CRITICAL)
    images = torch.randint(256, (count, *SHAPE), generator=torch.Generator().manual_seed(0)).float() / 255
    config = getattr(pythae.models, name + ("_Config" if "_" in name else "Config"))(
        input_dim=SHAPE, latent_dim=DIM
    )
    bottleneck = GaussianPosterior(DIM) if name == "VAE" else Identity(DIM)
    encoder = Encoder(ConvEncoder(SHAPE, bottleneck.in_features, width=width), bottleneck)
    decoder = Decoder(ConvDecoder(SHAPE, DIM, width=width))
    model = getattr(pythae.models, name)(config, encoder=encoder, decoder=decoder)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        common = {
            "output_dir": folder,
            "num_epochs": EPOCHS,
            "per_device_train_batch_size": BATCH,
            "no_cuda": device == "cpu",
            "amp": precision == "mixed",
        }
        kind = CoupledOptimizerTrainerConfig if name == "RAE_L2" else BaseTrainerConfig
        pipeline = TrainingPipeline(model=model, training_config=kind(**common))
        pipeline(train_data=images, callbacks=[clock])
    return clock.seconds


if __name__ == "__main__":
    model, images, width, *where = sys.argv[1:]
    print(json.dumps(main(model, int(images), int(width), *where)))
