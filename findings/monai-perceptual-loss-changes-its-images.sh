#!/usr/bin/env bash
# monai 1.6.1, torch 2.13.0 (CPU), torchvision 0.28.0, numpy 2.4.6, pillow 13.0.0, Python 3.11.
#
# Input: PerceptualLoss(spatial_dims=2, network_type="resnet50") of RGB images with values in [0, 1], which is the range
# that its docstring expects, and the mean absolute error of the same two tensors before and after it. The network has
# random weights here, which plays no part in it.
# One would expect: a loss leaves its inputs alone, so the error is the same before and after, and so is the perceptual
# loss of a second call.
# What happens: images are standardised by the mean and the deviation of ImageNet in place. After one call the tensors
# of the caller, reconstruction and target, go from -2.1 to 2.6, and each further call divides by 0.225 again. Whatever
# follows in the training step, a pixel loss, a discriminator, a second view, or in the next epoch of a cached batch,
# has other images. Grey images are copied first, so only colour is harmed. No error, no warning.
# Seen: mean absolute error 0.334 before, 1.48 after one call and 29 after three; the target has values from -52 to 42.
#
# What our library does: its networks of features standardise images into new tensors.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pillow==13.0.0
"$work/env/bin/pip" install --quiet --no-deps monai==1.6.1 torchvision==0.28.0
cd "$work"
cat > look.py <<'PY'
import sys

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:  # beside another build of torch its compiled operators are missing; ResNet needs none
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import torchvision.models.feature_extraction  # noqa: F401
from monai.losses import PerceptualLoss
from torch.nn.functional import l1_loss

torch.manual_seed(0)
torch.set_num_threads(1)
loss = PerceptualLoss(spatial_dims=2, network_type="resnet50", pretrained=False)
for channels in (3, 1):
    reconstruction, target = torch.rand(2, 2, channels, 64, 64)
    copies = reconstruction.clone(), target.clone()
    errors, values = [l1_loss(reconstruction, target).item()], []
    for _ in range(3):
        values.append(loss(reconstruction, target).item())
        errors.append(l1_loss(reconstruction, target).item())
    print(f"{channels} channels: pixel error before and after each of 3 calls", [round(error, 3) for error in errors])
    print(f"  values of the loss {[round(value, 5) for value in values]}", end=", ")
    print(f"target from {target.min():.1f} to {target.max():.1f}")
    if channels == 3:
        mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).reshape(2, 3, 1, 1)
        expected = copies[1]
        for _ in range(3):
            expected = (expected - mean) / deviation
        assert torch.allclose(target, expected, rtol=1e-4, atol=1e-3)
        assert errors[1] > 4 * errors[0] and errors[3] > 80 * errors[0] and values[1] != values[0]
    else:
        assert torch.equal(target, copies[1]) and torch.equal(reconstruction, copies[0])
        assert len(set(errors)) == 1

decoder = torch.nn.Conv2d(4, 3, 3, padding=1)  # in training too
output, target = decoder(torch.rand(2, 4, 64, 64)), torch.rand(2, 3, 64, 64)
before = l1_loss(output, target).item()
total = loss(output, target) + l1_loss(output, target)
total.backward()
print(f"training step: pixel error {before:.3f} before the loss, {l1_loss(output, target).item():.3f} after it")
assert l1_loss(output, target).item() > 4 * before
PY
"$work/env/bin/python" look.py 2>/dev/null
