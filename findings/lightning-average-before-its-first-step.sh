#!/usr/bin/env bash
# lightning 2.6.6 (EMAWeightAveraging), torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: a small autoencoder that is trained for 12 epochs of 8 steps, with an average of its weights of decay 0.9 that
# begins late: with update_starting_at_step=1000, early stopping with its default patience of 3, and the best
# checkpoint; and with update_starting_at_epoch=1000. Then an average of decay 0.99 from the first step on, of which the
# best checkpoint is loaded after `fit` with ckpt_path="best", for `validate`, `test` and `predict`.
# One would expect: until the average begins, the network itself is validated, saved and kept. With an epoch to start
# at, nothing is averaged before that epoch. One checkpoint has one result, as the checkpoint holds the average.
# What happens: until its first update the average is a copy of the untrained network, and it replaces the network all
# the same: in each validation, in each checkpoint and at the end of `fit`. So the validation loss does not change,
# early stopping ends the training, and the result is untrained. The epoch to start at does not hold back the updates of
# the steps, which begin with the first one. And where the callback has been through `fit`, loading a checkpoint puts
# the weights of training in the network, and only validation exchanges them for the average. A line of information,
# meant for training that goes on, names the key of the file; nothing else tells.
# Seen: with 1,000 steps to wait for, a loss of 1.22 in 4 epochs, then the end, and the weights of the untrained
# network; without the average 0.05 after 12 epochs. With 1,000 epochs to wait for, the same weights and losses as with
# none. The best checkpoint has a loss of 0.34 in validation and 0.05 in test and prediction, and in a trainer of its
# own 0.34.
#
# What our library does: `ema` is an average of its own that begins with the first step and forgets the first ones
# quickly. With Lightning let an average begin at once, or average epochs alone by update_every_n_steps=0, and load a
# checkpoint with a new trainer.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 lightning==2.6.6
cd "$work"
cat > look.py <<'PY'
import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
codes = torch.randn(256, 8, generator=torch.Generator().manual_seed(1))
images = torch.cat([codes, codes], dim=1)
loader = DataLoader(TensorDataset(images), batch_size=32)


class Autoencoder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 16))
        self.validated = []

    def training_step(self, batch, index):
        return ((self.net(batch[0]) - batch[0]) ** 2).mean()

    def validation_step(self, batch, index):
        self.log("loss", self.training_step(batch, index))

    def test_step(self, batch, index):
        self.log("loss", self.training_step(batch, index))

    def predict_step(self, batch, index):
        return self.net(batch[0])

    def on_validation_epoch_end(self):
        if not self.trainer.sanity_checking:
            self.validated.append(round(self.trainer.callback_metrics["loss"].item(), 2))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def trainer(*callbacks):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    saves = any(isinstance(one, ModelCheckpoint) for one in callbacks)
    return pl.Trainer(
        max_epochs=12, accelerator="cpu", enable_checkpointing=saves, callbacks=list(callbacks), **quiet
    )


def fit(name, *callbacks):
    model, running = Autoencoder(), trainer(*callbacks)
    running.fit(model, loader, loader)
    with torch.no_grad():
        error = ((model.net(images) - images) ** 2).mean().item()
    print(f"{name}: validated {model.validated}, error after fit {error:.2f}")
    return model, running, error


def weights(model):
    return nn.utils.parameters_to_vector(model.net.parameters()).detach()


alone, _, error = fit("no average", EarlyStopping("loss", mode="min"))
assert len(alone.validated) == 12 and error < 0.1
late, running, error = fit(
    "from step 1000",
    EMAWeightAveraging(decay=0.9, update_starting_at_step=1000),
    EarlyStopping("loss", mode="min"),
    ModelCheckpoint("late", monitor="loss"),
)
assert len(set(late.validated)) == 1 and len(late.validated) == 4 and error > 1
assert torch.equal(weights(late), weights(Autoencoder()))
saved = torch.load(running.checkpoint_callback.best_model_path, weights_only=False)["state_dict"]
assert torch.equal(saved["net.0.weight"], Autoencoder().net[0].weight)

always, _, _ = fit("from the first step", EMAWeightAveraging(decay=0.9))
epochs, _, _ = fit("from epoch 1000", EMAWeightAveraging(decay=0.9, update_starting_at_epoch=1000))
assert torch.equal(weights(always), weights(epochs)) and always.validated == epochs.validated
assert not torch.allclose(weights(epochs), weights(alone), atol=0.01)

model, running, _ = fit("decay 0.99", EMAWeightAveraging(decay=0.99), ModelCheckpoint("best", monitor="loss"))
path = running.checkpoint_callback.best_model_path
one = running.validate(model, loader, ckpt_path="best", verbose=False)[0]["loss"]
two = running.test(model, loader, ckpt_path="best", verbose=False)[0]["loss"]
predicted = torch.cat(running.predict(model, loader, ckpt_path="best"))
three = trainer().test(Autoencoder(), loader, ckpt_path=path, verbose=False)[0]["loss"]
print(f"the best checkpoint: validated {one:.2f}, tested {two:.2f}, by a trainer of its own {three:.2f}")
print(f"predicted: {((predicted - images) ** 2).mean():.2f}")
assert abs(one - three) < 1e-6 and two < one / 3
assert abs(((predicted - images) ** 2).mean().item() - two) < 1e-6
PY
"$work/env/bin/python" look.py 2>/dev/null
