#!/usr/bin/env bash
# torcheval 0.0.7, torch 2.13.0 (CPU), torchvision 0.28.0, numpy 2.4.6, pillow 13.0.0, Python 3.11.
#
# Input: FrechetInceptionDistance of torcheval with its default network, for images with values in [0, 1], which it
# demands and checks: black and white ones, and noise. The network has random weights here, which are put where
# torchvision would have downloaded them; only its first layers play a part.
# One would expect: the network gets pixels as it was trained: standardised by the mean and deviation of ImageNet, or,
# what is the same with these weights, from -1 to 1. torchvision's own transforms of the weights do so.
# What happens: torcheval hands images over as they are. With pretrained weights torchvision's Inception expects
# standardised images and turns them to the range from -1 to 1 by itself; images of the range 0 to 1 become -0.03 to
# 0.43 in red and -0.19 to 0.26 in blue. So the network sees faint images in a tint, less than a quarter of the
# contrast. Distances are of those, and cannot be compared with any other.
# Seen: the first convolution gets -0.03 to 0.43, -0.09 to 0.36 and -0.19 to 0.26 in red, green and blue; with the
# transforms of the weights -1 to 1 in each.
#
# What our library does: it takes the Inception network of torch-fidelity, which scales bytes from -1 to 1 by itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pillow==13.0.0 typing-extensions==4.16.0
"$work/env/bin/pip" install --quiet --no-deps torcheval==0.0.7 torchvision==0.28.0
cd "$work"
cat > look.py <<'PY'
import os
import sys

import torch

os.environ["TORCH_HOME"] = os.path.abspath("home")
try:
    import torchvision  # noqa: F401
except RuntimeError:  # beside another build of torch its compiled operators are missing; Inception needs none
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from torcheval.metrics import FrechetInceptionDistance
from torchvision import models

torch.manual_seed(0)
torch.set_num_threads(1)
weights = models.Inception_V3_Weights.DEFAULT
network = models.inception_v3(weights=None, init_weights=False)
os.makedirs("home/hub/checkpoints")
torch.save(network.state_dict(), os.path.join("home/hub/checkpoints", weights.url.rsplit("/", 1)[-1]))

metric = FrechetInceptionDistance()
inputs = []
first = metric.model.model.Conv2d_1a_3x3
first.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
images = torch.stack([torch.zeros(3, 299, 299), torch.ones(3, 299, 299), torch.rand(3, 299, 299)])
metric.update(images, is_real=True)
with torch.no_grad():
    metric.model(weights.transforms()(images))
ranges = []
for name, seen in zip(("torcheval", "with the transforms of the weights"), inputs):
    ranges.append((seen.amin((0, 2, 3)), seen.amax((0, 2, 3))))
    print(name, "first layer gets", [(round(a, 2), round(b, 2)) for a, b in zip(*(one.tolist() for one in ranges[-1]))])
assert torch.allclose(ranges[0][0], torch.tensor([-0.03, -0.088, -0.188]), atol=1e-3)
assert torch.allclose(ranges[0][1] - ranges[0][0], torch.tensor([0.458, 0.448, 0.45]), atol=1e-3)
assert torch.allclose(ranges[1][0], -torch.ones(3), atol=1e-2)
assert torch.allclose(ranges[1][1], torch.ones(3), atol=1e-2)
for wrong in (2 * images - 1, (images - 0.45) / 0.225):  # and what the network wants is refused
    try:
        metric.update(wrong, is_real=True)
    except ValueError as error:
        print("other ranges:", error)
    else:
        raise AssertionError("taken")
PY
"$work/env/bin/python" look.py
