#!/usr/bin/env bash
# pytorch-ignite 0.5.5, torch 2.13.0 (CPU), torchvision 0.28.0, scipy 1.17.1, numpy 2.4.6, pillow 13.0.0, Python 3.11.
#
# Input: FID of pytorch-ignite with its default features, for eight images of bright noise and eight of dark noise, of
# 96 x 96 pixels. The Inception network has random weights here, which are put where torchvision would have downloaded
# them; its last layer is scaled, so that logits are as far apart as those of a trained network.
# One would expect: what the docstring says, "an ImageNet pretrained Inception Model" and its "output logits as
# features". The Frechet distance then has no upper bound, and sees all of the logits.
# What happens: the default network is that of the Inception score, which ends with a softmax. So the features are
# 1,000 probabilities, which add up to 1. The distance is at most about 2, that of two sets of which each is certainly
# of one class. Nearly all features are nearly 0, and what moves all logits alike is not seen.
# The numbers cannot be compared with any other Frechet distance.
# Seen: features are not negative and add up to 1. The distance of the two sets is 0.22, that of their logits 13,406;
# with 5 added to all logits of the second set 0.22 and 38,815.
#
# What our library does: its Frechet distance has the 2,048 pool features of torch-fidelity's Inception, no softmax.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1 pillow==13.0.0 packaging==26.4
"$work/env/bin/pip" install --quiet --no-deps pytorch-ignite==0.5.5 torchvision==0.28.0
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
from ignite.metrics import FID
from torchvision import models

torch.manual_seed(0)
torch.set_num_threads(1)
bright, dark = 0.5 + 0.5 * torch.rand(8, 3, 96, 96), 0.5 * torch.rand(8, 3, 96, 96)
network = models.inception_v3(weights=None, init_weights=False, transform_input=True).eval()
normalisations = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
with torch.no_grad():
    for module in normalisations:  # statistics of these images, so that random layers keep their differences
        module.momentum = 1.0
        module.train()
    network(torch.cat([bright, dark]))
    network.eval()
    network.fc.bias.zero_()
    network.fc.weight *= 3 / network(torch.cat([bright, dark])).std()  # about the logits of a trained network
os.makedirs("home/hub/checkpoints")
url = models.Inception_V3_Weights.DEFAULT.url
torch.save(network.state_dict(), os.path.join("home/hub/checkpoints", url.rsplit("/", 1)[-1]))


def distance(metric, features, others):
    metric.reset()
    metric.update((features, others))
    return metric.compute()


metric = FID()
features = metric._feature_extractor(bright)
with torch.no_grad():
    logits = [network(images) for images in (bright, dark)]
print(f"features: least {features.min():.1e}, sums {features.sum(1).min():.4f} to {features.sum(1).max():.4f}")
assert torch.allclose(features, logits[0].softmax(1), atol=1e-5) and not torch.allclose(features, logits[0], atol=1)
given = FID(num_features=1000)  # of given features
seen = distance(metric, bright, dark)
wanted = distance(given, *logits)
probabilities = distance(given, *[one.softmax(1) for one in logits])
print(f"distance by default {seen:.4f}; of probabilities {probabilities:.4f}; of logits {wanted:.1f}")
assert abs(seen - probabilities) < 1e-3 and 0 < seen < 1 and wanted > 1000
raised = [logits[0], logits[1] + 5]
unseen, moved = distance(given, *[one.softmax(1) for one in raised]), distance(given, *raised)
print(f"with 5 added to all logits of the second set: of probabilities {unseen:.4f}; of logits {moved:.1f}")
assert abs(unseen - probabilities) < 1e-3 and moved > wanted + 100
assert "output logits as features" in " ".join(FID.__doc__.split())
classes = torch.eye(1000)[:2].repeat(8, 1)
farthest = distance(given, classes[::2], classes[1::2])
print(f"two sets, each of one class and certain: {farthest:.3f}")
assert abs(farthest - 2) < 1e-6
PY
"$work/env/bin/python" look.py
