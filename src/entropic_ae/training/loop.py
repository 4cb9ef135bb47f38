"""The loop: one LightningModule for every system; Lightning owns epochs, devices and precision."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from entropic_ae.arrays import has_double
from entropic_ae.autoencoder import Autoencoder
from entropic_ae.distributed import alone, gather, is_first, local_rank, processes, synchronise
from entropic_ae.errors import DivergenceError
from entropic_ae.estimators import distinct_codes
from entropic_ae.randomness import seeded
from entropic_ae.storage.run_folder import CHECKPOINT
from entropic_ae.terms import Objective
from entropic_ae.training.allocator import memory_kept
from entropic_ae.training.augment import Augmentation, augmentations
from entropic_ae.training.averaging import Average, Validated
from entropic_ae.training.batches import EqualBatches, ShuffledBatches, length, loader, mix, place
from entropic_ae.training.checkpoint import check_checkpoint
from entropic_ae.training.checks import check_training
from entropic_ae.training.execution import Execution, compiled, quiet_lightning
from entropic_ae.training.keeper import Keeper
from entropic_ae.training.progress import Progress
from entropic_ae.training.settings import Settings
from entropic_ae.training.stopping import Stopped

__all__ = ["Fitted", "fit", "fit_model"]

_ENTROPY_CODES = 2000  # validation codes whose entropy is logged
# optimiser steps per call; with one per call, a GPU would wait for Lightning's overhead
_STEPS = {"cuda": 25}


class Fitted(NamedTuple):
    """What a training leaves besides the weights: the rows of log.csv, and why it stopped early if it did."""

    rows: list[dict[str, float]]
    stopped: Stopped | None


def fit(
    model: Autoencoder,
    objective: Objective,
    train: Tensor | Dataset[Tensor],
    validation: Tensor | Dataset[Tensor],
    settings: Settings,
    *,
    seed: int = 0,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    precision: str = "32",
    compile: bool = False,
    folder: Path | None = None,
    resume: bool = False,
    progress: bool = False,
    logger: Logger | None = None,
    callbacks: Sequence[Callback] = (),
    labels: tuple[Tensor, Tensor] | None = None,
) -> list[dict[str, float]]:
    """Train a model in place and leave it with the weights of the lowest validation loss.

    The validation loss is the objective in evaluation mode, over near-equal batches of about the training batch
    size: terms that depend on the batch size stay comparable. A variational system is validated at the means of
    its posteriors. The data stay one tensor, on the GPU if they take less than half of its free memory; a batch
    is an index selection.

    Data that are drawn again each epoch are a ``Dataset`` with a length, whose ``__getitem__`` maps a tensor of
    indices to a float batch. Its draws from PyTorch's global generators follow the seed and the epoch.

    With several devices, each has a process, started by Lightning (which runs the same command once more for
    each), torchrun or SLURM. Each process takes an equal part of every minibatch. Batch norms, terms that compare
    codes and random draws use the full minibatch, so the loss and its gradient equal those of one process.
    Validation images beyond a multiple of the number of processes are left out.

    Arguments:
        model, objective: the model to train, and the objective to minimise.
        train, validation: uint8 images, (N, C, H, W), converted to floats in [0, 1]; or floats, (N, ...), tensors
            or data sets, used unchanged. At least 2 of each.
        settings: epochs, batch size, learning rate and its schedule.
        seed: of the order of the images and of every random draw in the model.
        device: auto, cpu, cuda or mps.
        devices: processes on each machine.
        nodes: machines.
        precision: 32; bf16 for mixed precision with float32 codes, terms and statistics; or 64, for checks. The
            model is float32 again after training in 64.
        compile: compile the encoder and the decoder with torch.compile, which takes a minute at first. If a term
            needs a second derivative, which compiled networks lack, nothing is compiled and a warning is issued.
        folder: where log.csv, weights.safetensors (at each new best) and a checkpoint (each epoch) are written.
        resume: resume from the folder's checkpoint, if it has one. On the CPU a run that was killed at any moment
            ends with the same bits as an uninterrupted one.
        progress: show a line in place on a terminal or in a notebook, one line per epoch elsewhere.
        logger: a Lightning logger, which gets the row of log.csv after each epoch.
        callbacks: further Lightning callbacks.
        labels: of training and validation images, whole numbers (N,) each, for a conditional model, which learns
            their frequencies, and for terms, which find them in the ``Trace``.

    Returns: the rows of log.csv, one per epoch; fewer than ``settings.epochs`` if training stopped early.

    Raises: InputError for too few or mixed data, an unknown device or an unknown precision. DivergenceError, an
        InputError, if a term is not finite: its message names the term and the epoch, and the best weights so far
        are kept.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> from entropic_ae.terms import NegativeEntropy, SquaredError
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> objective = Objective([SquaredError(), NegativeEntropy(0.05)], model)
    >>> images = torch.randint(256, (60, 1, 8, 8), dtype=torch.uint8)
    >>> rows = fit(model, objective, images[:40], images[40:], Settings(epochs=2), device="cpu")
    >>> [row["epoch"] for row in rows]
    [1, 2]
    """
    execution = Execution(device, devices, nodes, precision, compile)
    check_training(model, objective, train, validation, settings, execution, labels)
    return fit_model(
        model,
        objective,
        train,
        validation,
        settings,
        execution,
        seed=seed,
        folder=folder,
        resume=resume,
        progress=progress,
        logger=logger,
        callbacks=callbacks,
        labels=labels,
    ).rows


def fit_model(
    model: Autoencoder,
    objective: Objective,
    train: Tensor | Dataset[Tensor],
    validation: Tensor | Dataset[Tensor],
    settings: Settings,
    execution: Execution,
    *,
    seed: int,
    folder: Path | None,
    resume: bool,
    progress: bool,
    logger: Logger | None,
    callbacks: Sequence[Callback],
    labels: tuple[Tensor, Tensor] | None = None,
    advise: Callable[[float], str | None] | None = None,
) -> Fitted:
    """Train as ``fit`` does, with the same arguments, once ``check_training`` has passed.

    ``advise`` is called once with the seconds that a long training on a CPU takes; what it returns is shown.
    """
    target, count = execution.target, execution.processes
    if count > 1:
        synchronise(model)
    if model.labels is not None and labels is not None:
        model.labels.count(labels[0])
    train_data, validation_data = place(train, validation, target, local_rank() if count > 1 else 0)
    steps = _STEPS.get(target.type, 1) if count == 1 else 1
    batches = ShuffledBatches(length(train), settings.batch_size, seed, count, steps)
    task = _Task(model, objective, settings, seed, batches)
    keeper = Keeper(folder, settings)
    shown = Progress(keeper, advise) if progress and is_first(count) else None
    checkpoint = folder / CHECKPOINT if resume and folder is not None else None
    compiling = compiled(model, objective) if execution.compile else nullcontext()
    with ExitStack() as during:
        during.enter_context(_as_trained(model, objective, settings, execution.precision))
        for context in (quiet_lightning(), seeded(seed), memory_kept(), compiling):
            during.enter_context(context)
        if count == 1:
            during.enter_context(alone())
        trainer = Trainer(
            accelerator={"cuda": "gpu"}.get(target.type, target.type),
            devices=execution.devices,
            num_nodes=execution.nodes,
            plugins=LightningEnvironment() if count == 1 else None,  # one process, even within a job of many tasks
            strategy="auto" if count == 1 else DDPStrategy(broadcast_buffers=False),  # buffers are equal already
            precision=execution.lightning_precision,
            max_epochs=settings.epochs,
            callbacks=[keeper, *([] if shown is None else [shown]), *callbacks],
            logger=logger or False,
            enable_checkpointing=False,  # the keeper does: Lightning's own writing is not atomic across disks
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            inference_mode=False,  # no_grad instead: a term may compute a gradient in validation
        )
        loaders = (
            loader(train_data, batches, labels and labels[0]),
            loader(
                validation_data,
                EqualBatches(settings.validated(length(validation)), settings.batch_size, count),
                labels and labels[1],
            ),
        )
        try:
            with nullcontext() if shown is None else shown.shown_in_place():
                _run(trainer, task, *loaders, checkpoint if checkpoint and checkpoint.is_file() else None)
        finally:  # also after Ctrl-C or a loss that is not finite
            keeper.restore(model)
            keeper.finish()
    return Fitted(keeper.rows, keeper.stopped)


@contextmanager
def _as_trained(model: Autoencoder, objective: Objective, settings: Settings, precision: str) -> Iterator[None]:
    """Within the block, weights that are not trained need no gradients, and all have the precision of training."""
    fixed = [] if settings.encoder_rate else [*model.encoder.parameters(), *model.bottleneck.parameters()]
    fixed = [parameter for parameter in fixed if parameter.requires_grad]
    for parameter in fixed:
        parameter.requires_grad_(False)
    if precision == "64":  # before Lightning does: it would read a checkpoint into float32 first
        model.double()
        objective.double()
    try:
        yield
    finally:
        for parameter in fixed:
            parameter.requires_grad_()
        if precision == "64":
            model.float()


def _run(
    trainer: Trainer,
    task: LightningModule,
    train: DataLoader,
    validation: DataLoader,
    checkpoint: Path | None,
) -> None:
    on_interrupt = signal.getsignal(signal.SIGINT)
    if checkpoint is not None:
        check_checkpoint(checkpoint, trainer.max_epochs or 0, task)
    try:
        trainer.fit(task, train, validation, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        if trainer.interrupted:  # Lightning turns Ctrl-C into an exit and ignores any further Ctrl-C
            signal.signal(signal.SIGINT, on_interrupt)
            raise KeyboardInterrupt from None
        raise


class _Task(LightningModule):
    """Training and validation steps; sums stay on the device and are read once per epoch."""

    def __init__(
        self, model: Autoencoder, objective: Objective, settings: Settings, seed: int, batches: ShuffledBatches
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # several optimiser steps per call
        self.batches = batches
        self.model = model
        self.objective = objective
        self.settings = settings
        self.seed = seed
        self.augment = Augmentation(augmentations(settings.augment), batches.n, seed)
        self.estimating = settings.estimating(batches.per_epoch)
        self.average: Average | None = None
        self.validated: Validated | None = None
        self.saved_average: dict[str, Any] | None = None
        self.fixed = [] if settings.encoder_rate else [model.encoder, model.bottleneck]
        self.names = [term.name for term in objective.terms]
        self.row: dict[str, float] = {}
        # by number of draws, same estimator: below the maximum in many dimensions
        self.entropy_of_draws: dict[int, float] = {}

    def configure_optimizers(self) -> Any:
        fused = self.device.type == "cuda"
        betas = (0.9, float(self.settings.beta2))
        optimizer = torch.optim.Adam(self._groups(), self.settings.learning_rate, betas, fused=fused)
        patience = self.settings.patience_of(self.batches.per_epoch)
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer,
            factor=self.settings.factor,
            patience=patience - 1,  # PyTorch acts on the epoch after its patience is spent
            threshold=0,
            eps=0,  # of less, PyTorch ignores a reduction without a word
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.schedule, "monitor": "validation_loss"},
        }

    def _groups(self) -> list[dict[str, Any]]:
        """Return the parameters, in a group for each factor on the learning rate."""
        factors = {"encoder": self.settings.encoder_rate, "decoder": self.settings.decoder_rate}
        if self.fixed:
            factors["bottleneck"] = 0.0
        groups: dict[float, list[torch.nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if factor := factors.get(name.split(".")[0], 1.0):
                groups.setdefault(factor, []).append(parameter)
        self.first_factor = next(iter(groups))
        return [{"params": found, "lr": self.settings.learning_rate * factor} for factor, found in groups.items()]

    @property
    def learning_rate(self) -> float:
        """The current learning rate, without the factors of encoder and decoder."""
        rate: float = self.trainer.optimizers[0].param_groups[0]["lr"]
        return rate / self.first_factor

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.average is not None:
            checkpoint["average"] = self.average.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.saved_average = checkpoint.get("average")
        Average.check(self.saved_average, self.settings.ema)

    def on_train_start(self) -> None:
        if self.settings.ema:
            self.average = Average(self.model, self.settings.ema, self.saved_average)
        if self.estimating:
            self.validated = Validated(self.model, self.average)

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(mix(self.seed, self.current_epoch))  # a resumed run makes the same draws
        self.row = {"epoch": self.current_epoch + 1, "learning_rate": self.learning_rate}
        if self.objective.memory is not None:
            self.objective.memory.clear()
        self.augment.start(self.current_epoch)
        for part in self.fixed:
            part.eval()
        self.modes = {module: module.training for module in self.model.modules()}
        self.started, self.images = time.perf_counter(), 0
        self._start_sums()

    def training_step(self, given: tuple[Tensor, ...], index: int) -> None:
        optimizer = self.trainer.optimizers[0]
        parts = zip(*(part.split(self.batches.own_size) for part in given), strict=True)
        for step, (batch, rows, *labels) in enumerate(parts, start=index * self.batches.steps):
            given_labels = labels[0] if labels else None
            loss, values = self._measure(self.augment(batch, rows), given_labels, rows, step)[:2]
            with torch.autocast(self.device.type, enabled=False):
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
                if self.average is not None:
                    self.average.update()
            torch.clear_autocast_cache()  # it holds casts of the weights from before the step
            self._add(step, len(batch), loss, values)
        self.images += len(given[0])

    def on_validation_epoch_start(self) -> None:
        self._finish("train")
        self.row["images_per_s"] = processes() * self.images / (time.perf_counter() - self.started)
        self._start_sums()
        self.codes: list[Tensor] = []
        if self.validated is not None:  # until the keeper has taken the weights
            with seeded(self.seed):  # draws of bottlenecks and data, which change none of the training's
                self.validated.enter(islice(self._minibatches(), self.estimating), self.modes)

    def _minibatches(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield what the model takes of each minibatch of the epoch, without augmentation."""
        data, like = self.trainer.train_dataloader.dataset, next(self.model.parameters())  # type: ignore[union-attr]
        for item in self.batches:
            for rows in item.split(self.batches.own_size):
                images, _, *others = data[rows]
                yield images.to(like), *(one.to(like.device) for one in others)

    def validation_step(self, given: tuple[Tensor, ...], batch_index: int) -> None:
        images, _, *labels = given
        loss, values, z = self._measure(images, labels[0] if labels else None)
        self._add(batch_index, len(images), loss, values)
        if sum(map(len, self.codes)) < _ENTROPY_CODES:
            self.codes.append(gather(z))

    def on_validation_epoch_end(self) -> None:
        self._finish("validation")
        bottleneck, codes = self.model.bottleneck, torch.cat(self.codes)[:_ENTROPY_CODES]
        if not bottleneck.is_discrete:
            codes = distinct_codes(codes)
        self.row["entropy"] = bottleneck.entropy(codes).item()
        if bottleneck.bounds_entropy:
            self.row["entropy_maximum"] = bottleneck.prior().entropy().item()
            if len(codes) not in self.entropy_of_draws:
                with seeded(self.seed):
                    draws = bottleneck.prior().sample((len(codes),))
                self.entropy_of_draws[len(codes)] = bottleneck.entropy(draws).item()
            self.row["entropy_of_draws"] = self.entropy_of_draws[len(codes)]
        self.log_dict(self.summary(), logger=False)  # for callbacks
        # Lightning would do this after the checkpoint is written, and a resumed run would lose the step
        self.schedule.step(self.row["validation_loss"])

    def summary(self) -> dict[str, float]:
        """Return the values shown as progress: every training term, the validation loss, the entropy."""
        terms = {name: self.row[f"train_{name}"] for name in self.names}
        return terms | {"validation_loss": self.row["validation_loss"], "validation_entropy": self.row["entropy"]}

    def _measure(
        self, images: Tensor, labels: Tensor | None = None, rows: Tensor | None = None, step: int | None = None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return loss, terms and codes; without a step, of validation, after all steps of the epoch."""
        epoch = self.current_epoch + (step is None)
        step = epoch * self.batches.per_epoch + (step or 0)
        progress = step / (self.batches.per_epoch * self.settings.epochs)
        trace = self.model(images, labels)._replace(rows=rows, step=step, epoch=epoch, progress=progress)
        loss, values = self.objective(self.model, trace)
        return loss, values, trace.code.z.detach()

    def _start_sums(self) -> None:
        size = len(self.names) + 1
        place = self.device if has_double(self.device) else torch.device("cpu")
        self.sums = torch.zeros(size, dtype=torch.float64, device=place)
        self.first_bad = torch.full((size,), torch.inf, device=self.device)
        self.count = 0

    def _add(self, step: int, n: int, loss: Tensor, values: dict[str, Tensor]) -> None:
        stacked = torch.stack([values[name] for name in self.names] + [loss.detach()])
        self.sums += n * stacked.to(self.sums.device)
        self.first_bad = torch.where(stacked.isfinite(), self.first_bad, self.first_bad.clamp_max(step))
        self.count += n

    def _finish(self, phase: str) -> None:
        """Read the sums of an epoch (the only synchronisation with the device); stop if one is not finite."""
        if processes() > 1:
            dist.all_reduce(self.sums)
            dist.all_reduce(self.first_bad, dist.ReduceOp.MIN)
            self.count *= processes()
        first_bad = self.first_bad.tolist()
        if min(first_bad) < math.inf:
            culprits = [n for n, step in zip(self.names, first_bad, strict=False) if step == min(first_bad)]
            was = "were" if len(culprits) > 1 else "was"
            raise DivergenceError(
                f"{' and '.join(culprits) or 'the loss'} {was} not finite in epoch {self.current_epoch + 1} "
                f"({phase}, batch {int(min(first_bad)) + 1}); training stops and keeps the best weights of the "
                "earlier epochs, if any: lower learning_rate or the weight of the term."
            )
        for name, total in zip([*self.names, "loss"], (self.sums / self.count).tolist(), strict=True):
            self.row[f"{phase}_{name}"] = total
