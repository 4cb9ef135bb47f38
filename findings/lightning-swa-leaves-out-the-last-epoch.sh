#!/usr/bin/env bash
# lightning 2.6.6 (StochasticWeightAveraging), torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: a small autoencoder that is trained for 10 epochs with a learning rate of 1, and of 0.5 from the epoch on at
# which stochastic weight averaging begins. Its weights after each epoch are kept. swa_epoch_start is 0.8, the default;
# 10, the last epoch; and 1, the first. The last checkpoint is saved. Then the same with batch normalisation.
# One would expect: the average of the weights after epochs 8 to 10, which the learning rate of the averaging made, as
# the paper and torch.optim.swa_utils have it. From 10 on the weights after the last epoch, from 1 on those of all ten.
# And the last checkpoint has what `fit` returns.
# What happens: the callback averages at the start of each epoch, so that all weights are one epoch older: those before
# the averaging are in, those after the last epoch are not. And the average becomes the network's after the last
# checkpoint was saved, so that no checkpoint has it. With batch normalisation one more epoch follows, without backward
# passes, for the running averages. At its end the optimiser steps all the same. Validation has cleared the gradients by
# then. Without validation those of the last minibatch of training are still there, and move the average, after the
# running averages were made.
# Seen: with 0.8 the average of epochs 7 to 9. From 10 on the weights after epoch 9: the last epoch was for nothing.
# From 1 on the average of the untrained network and epochs 1 to 9, with an error of 0.28, where the average of all ten
# has 0.22. The last checkpoint has epoch 10. With batch normalisation the average of epochs 7 to 9 is in the last
# checkpoint too, but without validation a weight is off by up to 0.03: 0.5 times the old gradient.
#
# What our library does: `ema` averages after each optimiser step, and what is validated is what is saved. With
# Lightning use WeightAveraging, with a should_update that is true for the epochs that are wanted.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 lightning==2.6.6
cd "$work"
cat > look.py <<'PY'
import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging, WeightAveraging
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
codes = torch.randn(256, 8, generator=torch.Generator().manual_seed(1))
images = torch.cat([codes, codes], dim=1)
loader = DataLoader(TensorDataset(images), batch_size=32)


class Autoencoder(pl.LightningModule):
    def __init__(self, norm):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(16, 8), nn.BatchNorm1d(8) if norm else nn.Identity(), nn.Tanh(), nn.Linear(8, 16)
        )
        self.kept = [self.weights()]

    def weights(self):
        return nn.utils.parameters_to_vector(self.net.parameters()).detach()

    def training_step(self, batch, index):
        return ((self.net(batch[0]) - batch[0]) ** 2).mean()

    def validation_step(self, batch, index):
        pass

    def on_train_epoch_end(self):
        self.kept.append(self.weights())
        gradients = [one.grad for one in self.net.parameters() if one.grad is not None]
        self.gradient = nn.utils.parameters_to_vector(gradients) if gradients else torch.zeros(())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


class Wanted(WeightAveraging):
    def should_update(self, step_idx=None, epoch_idx=None):
        return epoch_idx is not None and epoch_idx >= 7


def fit(folder, averaging, norm=False, validated=True):
    model = Autoencoder(norm)
    saving = ModelCheckpoint(folder, save_last=True)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    pl.Trainer(max_epochs=10, accelerator="cpu", callbacks=[averaging, saving], **quiet).fit(
        model, loader, loader if validated else None
    )
    saved = torch.load(saving.last_model_path, weights_only=False)["state_dict"]
    other = Autoencoder(norm)
    other.load_state_dict(saved)
    return model, other.weights()


def of(model, first, last):
    return torch.stack(model.kept[first : last + 1]).mean(0)


def same(one, other):
    return torch.allclose(one, other, atol=1e-5)


@torch.no_grad()
def error(model, weights):
    nn.utils.vector_to_parameters(weights, model.net.parameters())
    return ((model.net(images) - images) ** 2).mean().item()


for start in (0.8, 10, 1):
    averaging = StochasticWeightAveraging(0.5, start, annealing_epochs=1, annealing_strategy="linear")
    model, saved = fit(f"from{start}", averaging)
    first = 8 if start == 0.8 else start
    found = model.weights()
    spans = [(a, b) for a in range(11) for b in range(a, 11) if same(found, of(model, a, b))]
    assert len(model.kept) == 11 and spans == [(first - 1, 9)]
    assert same(saved, model.kept[10]) and not same(saved, found)
    errors = error(model, found), error(model, of(model, first, 10))
    assert errors[0] > errors[1]
    print(f"from {start}: average of epochs {first - 1} to 9; last checkpoint is epoch 10", end="; ")
    print(f"error {errors[0]:.3f}, of epochs {first} to 10 {errors[1]:.3f}")

for validated in (True, False):
    averaging = StochasticWeightAveraging(0.5, 0.8, annealing_epochs=1, annealing_strategy="linear")
    model, saved = fit(f"norm{validated}", averaging, norm=True, validated=validated)
    moved = model.weights() - of(model, 7, 9)
    print(f"batch normalisation, validation {validated}: off from epochs 7 to 9 by {moved.abs().max():.4f}")
    assert len(model.kept) == 12 and same(saved, model.weights())
    assert same(moved, torch.zeros_like(moved)) if validated else same(moved, -0.5 * model.gradient)
    assert validated or moved.abs().max() > 0.01

model, saved = fit("wanted", Wanted())
assert same(model.weights(), of(model, 8, 10)) and same(saved, model.weights())
print("WeightAveraging: average of epochs 8 to 10; the last checkpoint is the average")
PY
"$work/env/bin/python" look.py 2>/dev/null
