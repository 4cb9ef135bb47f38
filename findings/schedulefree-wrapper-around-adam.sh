#!/usr/bin/env bash
# schedulefree 1.4.1, torch 2.13.0 (CPU), Python 3.11.
#
# Input: an autoencoder of two linear layers, and ScheduleFreeWrapper around an optimiser of PyTorch, in training mode,
# as its documentation offers it for any base optimiser; one step with each.
# One would expect: a step.
# What happens: around the Adam family and RMSprop, which is the base optimiser of its own example, the step raises a
# KeyError: they fill an empty state before their first step, and the wrapper has put its entry there first. SGD and
# Adagrad step.
# Seen: KeyError 'exp_avg' for Adam, AdamW, RAdam, NAdam and Adamax, KeyError 'square_avg' for RMSprop.
#
# What our library does: it has Adam and no wrapper of optimisers; averages of the weights are `ema`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy
"$work/env/bin/pip" install --quiet --no-deps schedulefree==1.4.1
cd "$work"
cat > look.py <<'PY'
import torch
from schedulefree import ScheduleFreeWrapper

found = {}
for name in ("SGD", "Adam", "AdamW", "RAdam", "NAdam", "Adamax", "RMSprop", "Adagrad"):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 2), torch.nn.Linear(2, 8))
    optimiser = ScheduleFreeWrapper(getattr(torch.optim, name)(model.parameters(), lr=0.01), momentum=0.9)
    optimiser.train()
    images = torch.randn(4, 8)
    (model(images) - images).square().sum().backward()
    try:
        optimiser.step()
        found[name] = "steps"
    except KeyError as error:
        found[name] = f"KeyError {error}"
print(found)
assert found["SGD"] == found["Adagrad"] == "steps"
assert found["Adam"] == found["AdamW"] == "KeyError 'exp_avg'"
assert found["RMSprop"] == "KeyError 'square_avg'"
PY
"$work/env/bin/python" look.py 2>/dev/null
