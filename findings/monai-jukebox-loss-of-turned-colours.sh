#!/usr/bin/env bash
# monai 1.6.1, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: JukeboxLoss(spatial_dims=2), a loss of spectra for reconstructions, of an RGB image and the same image with its
# channels moved on by one, so that red is green, green is blue and blue is red. Then the gradient at a black image.
# One would expect: a loss well above 0. It compares amplitudes in the frequencies of the two spatial dimensions, each
# channel with its own, as the argument spatial_dims says. A gradient is a number, as at any other image.
# What happens: the Fourier transform is taken over the channels too. An amplitude does not change when a signal is
# moved around, so colours can be turned at no cost; channels as they are have no loss of their own. And the root
# of an amplitude of 0 has no derivative, so one black reconstruction, or any other flat one, makes the gradient NaN.
# Seen: 0 but for rounding for turned colours, 0.085 for another image; with the two dimensions alone 0.162 and 0.099.
# The gradient at black images is NaN in all pixels.
#
# What our library does: it has no loss of spectra; its reconstruction terms compare pixels or features.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps monai==1.6.1
cd "$work"
cat > look.py <<'PY'
import torch
from monai.losses import JukeboxLoss

generator = torch.Generator().manual_seed(0)
images, others = torch.rand(2, 4, 3, 32, 32, generator=generator)
images[:, 0] *= 0.2  # little red, much blue
turned = images.roll(1, dims=1)
loss = JukeboxLoss(spatial_dims=2)


def spatial(x, y):
    """The loss of the amplitudes in the two spatial dimensions."""
    x, y = (torch.fft.fft2(part, norm="ortho").abs() for part in (x, y))
    return (x - y).square().mean().item()


found = {"turned colours": turned, "another image": others, "itself": images}
for name, given in found.items():
    found[name] = loss(given, images).item(), spatial(given, images)
    print("{}: loss {:.4f}; with the spatial dimensions alone {:.4f}".format(name, *found[name]))
assert found["turned colours"][0] < 1e-6 < 0.1 < found["turned colours"][1]
assert found["another image"][0] > 0.05
assert found["itself"] == (0, 0)
black = torch.zeros(4, 3, 32, 32, requires_grad=True)
loss(black, images).backward()
share = black.grad.isnan().float().mean().item()
print(f"gradient at black images: {share:.0%} NaN")
assert share == 1
PY
"$work/env/bin/python" look.py 2>/dev/null
