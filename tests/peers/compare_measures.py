"""This library's measures against those of other libraries, on the same features and images.

The others are no dependencies, except torchmetrics, and are installed into a folder of their own:

    pip install --no-deps --target .venv/measures prdc==0.2 torch-fidelity==0.4.0 torchvision clean-fid==0.1.35 \\
        POT scikit-image tifffile imageio
    PYTHONPATH=src:.venv/measures python tests/peers/compare_measures.py --write results/measures/agreement.json

It prints each measure and by how much the other's differs; a difference that it does not expect ends it with
status 1. ``--write`` keeps what was found, from which ``tools/update_docs.py`` makes the table of
docs/evaluation.md. torch-fidelity 0.4.0 has no MIND, so the sliced distance is compared with POT's, given the same
directions. pytest does not collect this file.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ot
import torch
from prdc import compute_prdc
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn

from entropic_ae.data import load_images
from entropic_ae.evaluation.scale import blurred
from entropic_ae.features import load_features
from entropic_ae.metrics import fidelity_coverage, frechet_distance, kernel_distance, psnr, sliced_distance, ssim
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import write_json

PEERS = ("prdc", "torch-fidelity", "torchmetrics", "clean-fid", "POT", "scikit-image")


class Comparison(NamedTuple):
    """One measure by both.

    Attributes:
        measure: its name.
        peer: the library, and what is particular to it.
        subject: what was measured.
        ours, theirs: the values.
        tolerance: of their difference, relative to the larger one.
    """

    measure: str
    peer: str
    subject: str
    ours: float
    theirs: float
    tolerance: float = 1e-9

    @property
    def difference(self) -> float:
        """The relative difference."""
        return abs(self.ours - self.theirs) / max(abs(self.ours), abs(self.theirs), 1e-300)

    def __str__(self) -> str:
        return f"{self.ours:.5g} ({self.difference:.0e})" if self.difference else f"{self.ours:.5g} (0)"


class Given(nn.Module):
    """Features in the place of the network that torchmetrics asks for."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


def sets() -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield real and generated features by name, (N, F) float64 each."""
    source = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 1000, 64, generator=source, dtype=torch.float64)
    yield "1,000 normal rows of 64", real, 0.8 * fake + 0.1
    data = load_images("digits")
    images = torch.cat([data.train.images, data.validation.images, data.test.images])
    features = load_features("random", data)
    yield (
        "800 digits, as many blurred; `random`",
        features(images[:800]).double(),
        features(blurred(images[-800:])).double(),
    )
    yield "100 digits, 100 others; `random`", features(images[:100]).double(), features(images[-100:]).double()


def of_features(name: str, real: Tensor, fake: Tensor) -> Iterator[Comparison]:
    """Yield the comparisons of one pair of sets."""
    from cleanfid import fid as cleanfid
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    x, y = real.numpy(), fake.numpy()
    size = min(len(real), len(fake))
    ours = fidelity_coverage(real, fake)
    for measure, value in compute_prdc(x, y, nearest_k=5).items():
        yield Comparison(measure, "prdc", name, ours[measure], float(value))
    ours = fidelity_coverage(real, fake, k=3)
    theirs = prc_features_to_metric(fake, real, prc_neighborhood=3, save_cpu_ram=False, verbose=False)
    for measure in ("precision", "recall"):
        yield Comparison(f"{measure}, k = 3", "torch-fidelity", name, ours[measure], theirs[measure], 1e-6)

    distance = frechet_distance(real, fake)
    moments = [fid_features_to_statistics(features) for features in (real, fake)]
    found = fid_statistics_to_metric(*moments, verbose=False)
    yield Comparison("Frechet", "torch-fidelity", name, distance, next(iter(found.values())), 1e-5)
    means = [value for z in (x, y) for value in (z.mean(0), np.cov(z, rowvar=False))]
    yield Comparison(
        "Frechet", "clean-fid", name, distance, float(np.real(cleanfid.frechet_distance(*means))), 1e-5
    )
    metric: Any = FrechetInceptionDistance(Given(real.shape[1])).set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    yield Comparison("Frechet", "torchmetrics", name, distance, float(metric.compute()), 1e-5)

    # one subset of all rows is what kernel_distance takes by default
    whole = kernel_distance(real, fake)[0]
    kid = kid_features_to_metric(real, fake, kid_subsets=1, kid_subset_size=size, verbose=False)
    yield Comparison("kernel", "torch-fidelity", name, whole, kid["kernel_inception_distance_mean"], 1e-7)
    found = cleanfid.kernel_distance(y, x, num_subsets=1, max_subset_size=size)
    yield Comparison("kernel", "clean-fid", name, whole, found, 1e-7)
    metric = KernelInceptionDistance(Given(real.shape[1]), subsets=1, subset_size=size)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    yield Comparison("kernel", "torchmetrics", name, whole, float(metric.compute()[0]), 1e-7)

    dim = real.shape[1]
    directions = torch.randn(1000, dim, generator=torch.Generator().manual_seed(0)).double()
    directions /= directions.norm(dim=1, keepdim=True)
    root = ot.sliced_wasserstein_distance(x, y, projections=directions.T.numpy())
    yield Comparison("sliced", "POT, squared, times 3 F", name, sliced_distance(real, fake), 3 * dim * root**2)


def pictures() -> Iterator[Comparison]:
    """Yield the comparisons of images with blurred ones."""
    from torchmetrics.functional import image as of_images

    images = load_images("digits").train.images[:100].repeat_interleave(4, 2).repeat_interleave(4, 3)
    others = blurred(images)
    name = "100 digits at 32 x 32, blurred"
    x, y = images.double(), others.double()
    pairs = list(zip(images[:, 0].numpy(), others[:, 0].numpy(), strict=True))
    theirs = of_images.peak_signal_noise_ratio(y, x, data_range=255.0, dim=(1, 2, 3))
    yield Comparison("PSNR", "torchmetrics", name, psnr(images, others), float(theirs), 1e-6)
    each = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in pairs]
    yield Comparison("PSNR", "scikit-image", name, psnr(images, others), float(np.mean(each)), 1e-6)
    theirs = of_images.structural_similarity_index_measure(y, x, data_range=255.0)
    yield Comparison("SSIM", "torchmetrics", name, ssim(images, others), float(theirs), 1e-6)
    options = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    each = [structural_similarity(a, b, **options) for a, b in pairs]
    yield Comparison(
        "SSIM", "scikit-image, whole windows only", name, ssim(images, others), float(np.mean(each)), 0.1
    )


def comparisons() -> Iterator[Comparison]:
    """Yield all of them."""
    for name, real, fake in sets():
        yield from of_features(name, real, fake)
    yield from pictures()


def main() -> int:
    """Compare, print, and write the results if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE", help="write what was found as JSON")
    out = parser.parse_args().write
    warnings.filterwarnings("ignore", message=".*will save all extracted features", category=UserWarning)
    sys.path.append(str(Path(__file__).parents[1] / "fid"))
    from inception import import_torchvision

    import_torchvision()  # which three of them import, whatever torch it was compiled for
    found = list(comparisons())
    unexpected = [one for one in found if not one.difference <= one.tolerance]  # also for NaN
    subjects = list(dict.fromkeys(one.subject for one in found))
    head = ["measure", "peer", *subjects]
    by_peer: dict[tuple[str, str], dict[str, Comparison]] = {}
    for one in found:
        by_peer.setdefault((one.measure, one.peer), {})[one.subject] = one
    rows = [[*pair, *(str(of.get(subject, "-")) for subject in subjects)] for pair, of in by_peer.items()]
    print("\n".join(" | ".join(row) for row in (head, *rows)))
    print("\n".join(f"\nnot expected: {one!r}" for one in unexpected) or "\nAll as expected.")
    if out is not None and not unexpected:
        libraries = {**versions(), **{name: version(name) for name in PEERS}}
        kept = {"agreement": [head, *rows], "peers": ", ".join(f"{name} {version(name)}" for name in PEERS)}
        kept |= {"versions": libraries, "machine": machine(), "git_commit": git_commit()}
        write_json(out, kept)
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
