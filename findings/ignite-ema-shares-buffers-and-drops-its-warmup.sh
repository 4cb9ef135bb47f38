#!/usr/bin/env bash
# pytorch-ignite 0.5.5, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: EMAHandler, the average of weights of ignite, with its default handle_buffers="copy", for a network with batch
# normalisation. After training an earlier checkpoint is loaded into the network. Then the handler with a warm-up of its
# momentum, 0.2 to 0.002 in 100 steps, attached under its default name and under another name, as its documentation
# does for a generator and a discriminator. The weight is t / 200 at step t, so that the average says when it is from.
# One would expect: buffers are copied, as the docstring says, so the average is what it was when training ended. The
# warm-up is the same under any name; the name is where the momentum can be read.
# What happens: "copy" makes both networks share the memory of their buffers. Whatever is done to the one is done to the
# other: a checkpoint loaded, statistics estimated anew, one more batch in training mode. And the warm-up writes to the
# state named "ema_momentum" in any case, while the average reads the name that was given, so the momentum is constant.
# Python warns that the attribute is new, not that the warm-up is lost.
# Seen: after the checkpoint the average has its weights and the other's running statistics; the first output for one
# input goes from 0.87 to 3.32. With the default name the average of 200 steps is from 0.44, and its momentum begins at
# 0.2; with another name it is from 0.18, and the momentum is 0.002 throughout.
#
# What our library does: `ema` averages parameters into tensors of its own, and running averages are estimated anew for
# them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 packaging
"$work/env/bin/pip" install --quiet --no-deps pytorch-ignite==0.5.5
cd "$work"
cat > look.py <<'PY'
import copy

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from torch import nn

STEPS = 200
torch.manual_seed(0)

# the buffers
network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
optimiser = torch.optim.SGD(network.parameters(), lr=0.1)


def train(engine, batch):
    optimiser.zero_grad()
    (network(batch) - batch).square().mean().backward()
    optimiser.step()


engine = Engine(train)
handler = EMAHandler(network, momentum=0.1)
handler.attach(engine)
checkpoint = copy.deepcopy(network.state_dict())
engine.run([3 + torch.randn(64, 4) for _ in range(50)])
average, probe = handler.ema_model, torch.ones(1, 4)
weights = [one.clone() for one in average.parameters()]
statistics, output = average[1].running_mean.clone(), average(probe)
network.load_state_dict(checkpoint)
print("running means of the average:", statistics.tolist(), "then", average[1].running_mean.tolist())
print("its output:", output[0].tolist(), "then", average(probe)[0].tolist())
assert all(torch.equal(one, other) for one, other in zip(weights, average.parameters(), strict=True))
assert torch.equal(average[1].running_mean, checkpoint["1.running_mean"])
assert not torch.allclose(statistics, average[1].running_mean, atol=0.1)
assert not torch.allclose(output, average(probe), atol=0.1)
assert average[1].running_mean.data_ptr() == network[1].running_mean.data_ptr()


# the warm-up
def warmed(**name):
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    read, momenta = name.get("name", "ema_momentum"), []

    def train(engine, _):
        network.weight.data.fill_(engine.state.iteration / STEPS)

    engine = Engine(train)
    handler = EMAHandler(network, momentum=0.002, momentum_warmup=0.2, warmup_iters=100)
    handler.attach(engine, **name)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: momenta.append(getattr(engine.state, read)))
    engine.run(range(STEPS))
    return handler.ema_model.weight.item(), momenta


def by_hand(momenta):
    average = 0.0
    for step, momentum in enumerate(momenta, 1):
        average += momentum * (step / STEPS - average)
    return average


found, momenta = warmed()
print(f"default name: momentum {momenta[0]:.3f}, {momenta[49]:.3f}, {momenta[-1]:.3f}; average from {found:.3f}")
assert abs(found - by_hand(momenta)) < 1e-4 and abs(momenta[0] - 0.2) < 1e-9
other, momenta = warmed(name="generator_momentum")
print(f"another name: momentum {momenta[0]:.3f}, {momenta[49]:.3f}, {momenta[-1]:.3f}; average from {other:.3f}")
assert abs(other - by_hand([0.002] * STEPS)) < 1e-4 and found > 0.4 > 0.2 > other
PY
"$work/env/bin/python" look.py 2>/dev/null
