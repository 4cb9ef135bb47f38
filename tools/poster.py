"""Draw the picture of the README: the same draws of N(0, I), decoded without and with a run's transport.

    .venv/bin/python tools/poster.py RUN [--out docs/samples-mnist.png]

RUN is a run folder with a transport, such as one of ``t-bn-ae``; its images are not needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from entropic_ae import Run, load
from entropic_ae.densities import Prior
from entropic_ae.generation import sample
from entropic_ae.pictures import image_grid, save_images

ROOT = Path(__file__).parent.parent
COLUMNS, ROWS, GAP = 8, 6, 24


def poster(run: Run, seed: int = 0) -> torch.Tensor:
    """Return the two grids side by side, uint8 (1, C, H, W): without the transport on the left."""
    if run.transport is None:
        raise SystemExit(f"{run.name} has no transport; give a run of t-bn-ae or t-eae.")
    after = sample(run.model, Prior(run.model.bottleneck.prior()), COLUMNS * ROWS, seed=seed)
    run.model.bottleneck = run.model.bottleneck.bottleneck
    before = sample(run.model, Prior(run.model.bottleneck.prior()), COLUMNS * ROWS, seed=seed)
    grids = [image_grid(images, COLUMNS) for images in (before, after)]
    gap = torch.full((*grids[0].shape[:2], GAP), 255, dtype=torch.uint8)
    return torch.cat([grids[0], gap, grids[1]], 2)[None]


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "samples-mnist.png")
    options = parser.parse_args()
    save_images(poster(load(options.run, device="cpu")), options.out, columns=1, overwrite=True)
    print(options.out)


if __name__ == "__main__":
    main()
