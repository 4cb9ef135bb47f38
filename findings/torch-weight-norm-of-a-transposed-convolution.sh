#!/usr/bin/env bash
# torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: weight_norm of torch.nn.utils.parametrizations around a ConvTranspose2d of 3 input and 5 output channels, as
# decoders have it. The docstring says that by default the norm is computed independently per output channel.
# One would expect: five gains, one for each output channel, as a Conv2d of 5 output channels has them.
# What happens: by default the norm is per index of the first dimension, which is the input channel of a transposed
# convolution. There are three gains, one for each input channel; the weights of an output channel have no norm of
# their own, and each gain scales all outputs. spectral_norm of the same module knows the difference and takes the
# second dimension. No warning.
# Seen: gains of shape (5, 1, 1, 1) for Conv2d and (3, 1, 1, 1) for ConvTranspose2d; with all gains 1, norms of the
# output channels are 1 for the first, 0.70 to 0.84 for the second; with dim=1 they are 1.
#
# What our library does: it has no weight normalisation; its spectral normalisation leaves the dimension to PyTorch,
# which takes the output channels as rows.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

assert "computed independently per output" in weight_norm.__doc__


def norms(layer, axis, **settings):
    """Return the shape of the gains, and the norms of the output channels, which are at that axis."""
    weight_norm(layer, **settings)
    gains = layer.parametrizations.weight.original0
    with torch.no_grad():
        gains.fill_(1)
        found = layer.weight.transpose(0, axis).flatten(1).norm(dim=1)
    return tuple(gains.shape), found


torch.manual_seed(0)
plain = norms(nn.Conv2d(3, 5, 4), 0)
transposed = norms(nn.ConvTranspose2d(3, 5, 4), 1)
second = norms(nn.ConvTranspose2d(3, 5, 4), 1, dim=1)
for name, (shape, found) in {"Conv2d": plain, "ConvTranspose2d": transposed, "with dim=1": second}.items():
    print(f"{name}: gains {shape}, norms of output channels", [round(norm, 3) for norm in found.tolist()])
assert plain[0] == (5, 1, 1, 1) and transposed[0] == (3, 1, 1, 1) and second[0] == (1, 5, 1, 1)
assert torch.allclose(plain[1], torch.ones(5)) and torch.allclose(second[1], torch.ones(5))
assert transposed[1].max() < 0.95 and transposed[1].min() > 0.6
assert spectral_norm(nn.ConvTranspose2d(3, 5, 4)).parametrizations.weight[0].dim == 1
PY
"$work/env/bin/python" look.py 2>/dev/null
