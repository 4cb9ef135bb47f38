"""LPIPS as the network of ``FeatureError`` against the authors' package, on the same weights and images.

    pip install --no-deps --target .venv/lpips lpips==0.1.4 torchvision
    PYTHONPATH=src:.venv/lpips python tests/peers/compare_lpips.py

The convolutions are random, so nothing is downloaded; the learned weights are those of the package. It prints both
values and the largest difference of their gradients, and ends with status 1 if they differ. With the weights of
``tests/test_reconstruction_terms.py`` it prints the answers that are frozen there. pytest does not collect it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "fid")]

from inception import import_torchvision

from entropic_ae import FeatureError, Trace
from entropic_ae.features.lpips import BACKBONES, Lpips
from test_reconstruction_terms import drawn, waves

TOLERANCE = 1e-7  # the roots of the learned weights are of float32


def main() -> int:
    """Compare, and print."""
    import_torchvision()
    import lpips

    differ = False
    for name, net in {"lpips-alex": "alex", "lpips-vgg": "vgg"}.items():
        kind = BACKBONES[name]
        for waved in (False, True):
            theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
            state = theirs.state_dict()
            given = {f"features.{key}": value for key, value in kind.build().state_dict().items()}
            learnt = {key: value for key, value in state.items() if key.startswith("lin") and key[3].isdigit()}
            if waved:
                given, learnt = waves(kind)
            own = {key: given[f"features.{key.split('.', 2)[2]}"] for key in state if key.startswith("net.")}
            lins = {f"lins.{key[3:]}": value for key, value in learnt.items()}
            theirs.load_state_dict({**state, **own, **learnt, **lins})
            theirs, network = theirs.double(), Lpips(kind, given, learnt).double()
            x, y = drawn(2, 3, 40, 32, dtype=torch.float64)
            y.requires_grad_()
            expected = theirs(x, y, normalize=True).mean()
            term = FeatureError(network=name).prepared(lambda _, network=network: network)
            value = term(None, Trace(x, None, y)) / x[0].numel()
            (wanted,), (found,) = torch.autograd.grad(expected, y), torch.autograd.grad(value, y)
            apart = ((wanted - found).abs().max() / wanted.abs().max()).item()
            weights = "waves" if waved else "random"
            print(f"{name}, {weights}: {value.item():.10g}, theirs {expected.item():.10g}, gradients {apart:.1e}")
            differ |= not (abs(value - expected) <= TOLERANCE * expected and apart <= TOLERANCE)
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
