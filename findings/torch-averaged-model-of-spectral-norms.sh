#!/usr/bin/env bash
# torch 2.13.0 (torch.optim.swa_utils, CPU), numpy 2.4.6, Python 3.11.
#
# Input: AveragedModel with use_buffers=True, which the documentation offers for batch normalisation, and which
# Lightning's WeightAveraging has as its default. It averages an autoencoder of images of 8 x 8 pixels over the last 200
# of 400 steps of Adam, exponentially and with equal weights. The autoencoder has batch normalisation, or
# torch.nn.utils.parametrizations.spectral_norm on every layer.
# One would expect: an average about as good as the network. With spectral norms the largest singular value of each
# weight is about 1, as it is in the network, and as the parametrisation promises.
# What happens: the parametrisation keeps two singular vectors of length 1 as buffers, and in evaluation mode divides
# the weight by u W v with the vectors as they are. In training they turn, so their average is shorter than 1. The
# divisor is too small by about the product of both lengths, in every layer, and all these factors multiply. Batch
# normalisation has no such buffers. update_bn does not help: it does nothing for a network without batch normalisation.
# Seen, for spectral norms: the network has an error of 0.0036 and singular values of 1.02 to 1.11. Its exponential
# average has an error of 240,000,000 and singular values of 10 to 58, that with equal weights 170,000,000 and 7 to 24.
# Without use_buffers, with the vectors of the network, 0.0040 and 1.01 to 1.05. Passes of the averages in training
# mode, which find their own vectors, bring 0.0037 and 1.00 to 1.05. For batch normalisation all averages have errors of
# 0.0011 to 0.0014, and the network 0.0010.
#
# What our library does: `ema` averages parameters only. Before each validation passes over training images find the
# vectors of spectral norms, and the running averages, that belong to the averaged weights. Elsewhere leave
# use_buffers=False, or let the average see some batches in training mode, without gradients, before `eval()`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

torch.set_num_threads(1)
axis = torch.linspace(-1, 1, 8)
centre = torch.rand(2, 256, 1, 1, generator=torch.Generator().manual_seed(1)) - 0.5
images = torch.exp(-((axis - centre[0]) ** 2 + (axis[:, None] - centre[1]) ** 2) / 0.3).flatten(1)


def autoencoder(spectral):
    torch.manual_seed(0)
    parts = []
    for inputs, outputs in ((64, 64), (64, 16), (16, 64)):
        layer = nn.Linear(inputs, outputs)
        parts += [spectral_norm(layer)] if spectral else [layer, nn.BatchNorm1d(outputs)]
        parts.append(nn.LeakyReLU(0.2))
    last = nn.Linear(64, 64)
    return nn.Sequential(*parts, spectral_norm(last) if spectral else last)


@torch.no_grad()
def error(network):
    return ((network.eval()(images) - images) ** 2).mean().item()


@torch.no_grad()
def norms(network):
    network.eval()
    return [torch.linalg.matrix_norm(one.weight, 2).item() for one in network if isinstance(one, nn.Linear)]


def train(spectral):
    network = autoencoder(spectral)
    exponential = get_ema_multi_avg_fn(0.99)
    averages = {
        "exponential": AveragedModel(network, multi_avg_fn=exponential, use_buffers=True),
        "equal weights": AveragedModel(network, use_buffers=True),
        "exponential, without buffers": AveragedModel(network, multi_avg_fn=exponential),
    }
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    batches = torch.Generator().manual_seed(2)
    for step in range(400):
        batch = images[torch.randint(len(images), (32,), generator=batches)]
        optimiser.zero_grad()
        ((network(batch) - batch) ** 2).mean().backward()
        optimiser.step()
        if step >= 200:
            for average in averages.values():
                average.update_parameters(network)
    return network, averages


network, averages = train(spectral=False)
own = error(network)
print(f"batch normalisation: error of the network {own:.4f}")
for name, average in averages.items():
    print(f"  {name}: {error(average):.4f}")
    assert error(average) < 2 * own

network, averages = train(spectral=True)
own = error(network)
print(f"spectral norms: error of the network {own:.4f}, norms", *(f"{one:.2f}" for one in norms(network)))
assert own < 0.02 and max(norms(network)) < 1.3
for name, average in averages.items():
    before, found = error(average), norms(average.module)
    lengths = [part.parametrizations.weight[0]._u.norm().item() for part in average.module[::2]]
    print(f"  {name}: {before:.4g}, norms", *(f"{one:.2f}" for one in found), end="; lengths ")
    print(*(f"{one:.2f}" for one in lengths), end="; ")
    if average.use_buffers:
        assert before > 1e4 * own and min(found) > 3 and max(lengths) < 0.7
        update_bn(images.split(32), average)
        assert error(average) == before
    else:
        assert before < 2 * own and max(found) < 1.3
    average.train()
    with torch.no_grad():
        for _ in range(20):
            average(images[:32])
    print(f"after 20 passes {error(average):.4f}, norms", *(f"{one:.2f}" for one in norms(average.module)))
    assert error(average) < 2 * own and max(norms(average.module)) < 1.2
PY
"$work/env/bin/python" look.py 2>/dev/null
