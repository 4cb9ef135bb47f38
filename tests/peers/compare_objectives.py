"""This library's losses on codes against those of other libraries, on the same codes.

The other libraries are no dependencies. Put them beside the versions of constraints.txt, without what they would
bring:

    pip install --no-deps --target peers POT==0.9.7 geomloss==0.3.1 freegaussianizer==0.1.0
    pip install --no-deps --target peers stable-pretraining==0.1.8
    PYTHONPATH=src:peers python tests/peers/compare_objectives.py --write results/peers/objectives.json

It prints the differences and what one may fall into. It exits with status 1 if a difference is larger than
accepted or a peer's value has changed. ``--write`` keeps what was found, from which ``tools/update_docs.py`` makes
the tables of docs/objectives.md. pytest does not collect this file.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from importlib import util
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock, patch

import freegaussianizer
import geomloss
import ot
import torch
from torch import Tensor

from entropic_ae import (
    CodeLoss,
    EnergyDistance,
    KoLeo,
    MatricialFreeEnergy,
    SIGReg,
    __version__,
    energy_distance,
    epps_pulley,
    matricial_free_energy,
    sliced_transport,
)
from entropic_ae.metrics.diagnostics import _directions, sliced_wasserstein
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import write_json

PEERS = ("POT", "geomloss", "freegaussianizer", "stable-pretraining")
TOLERANCE = 1e-5  # relative, of values in float32


def sliced_epps_pulley() -> type[torch.nn.Module]:
    """Return stable-pretraining's class from its file alone: the package imports timm and transformers."""
    (file,) = (
        Path(path) / "methods" / "lejepa.py"
        for path in util.find_spec("stable_pretraining").submodule_search_locations
    )
    spec = util.spec_from_file_location("lejepa", file)
    module = util.module_from_spec(spec)
    empty = {name: MagicMock() for name in ("timm", "transformers", "stable_pretraining")}
    utils, backbone = ModuleType("utils"), MagicMock()
    utils.ModelOutput = dict
    empty["stable_pretraining"].Module = torch.nn.Module
    others = {"transformers.utils": utils, "stable_pretraining.backbone": backbone}
    with patch.dict(sys.modules, {**empty, **others, "lejepa": module}):
        spec.loader.exec_module(module)
    return module.SlicedEppsPulley


def normal(n: int, dim: int, seed: int) -> Tensor:
    """Return draws of N(0, I) in float32, as in training."""
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def agreement(theirs: type[torch.nn.Module]) -> Iterator[tuple[str, str, float, float]]:
    """Yield what a peer calls it, how it is converted here, its value and that of this library."""
    x, y = normal(200, 16, 0), 1.2 * normal(200, 16, 1) + 0.3
    yield (
        '`SamplesLoss("energy")` of geomloss',
        "half of the energy distance with pairs of a point with itself",
        geomloss.SamplesLoss("energy")(x.double(), y.double()).item(),
        energy_distance(x.double(), y.double()).item() / 2 + sum(within(z).item() for z in (x, y)),
    )
    yield (
        "`sliced_wasserstein_distance` of POT, the same projections",
        "`sliced_wasserstein`",
        ot.sliced_wasserstein_distance(x, y, projections=_directions(16, 50, 0)).item(),
        sliced_wasserstein(x, y, projections=50, seed=0),
    )
    quantiles = torch.special.ndtri((torch.arange(200) + 0.5) / 200)
    yield (
        "`wasserstein_1d` of POT from the quantiles of N(0, 1), p = 2",
        "`sliced_transport` of one dimension",
        ot.wasserstein_1d(y[:, 0], quantiles, p=2).item(),
        sliced_transport(y[:, :1]).item(),
    )
    for n, dim in ((256, 16), (100, 64)):
        z = normal(n, dim, 3)
        yield (
            f"`free_loss` of freegaussianizer, {n} x {dim}",
            "`matricial_free_energy`",
            freegaussianizer.free_loss(z.double()).item(),
            matricial_free_energy(z.double()).item(),
        )
    for n in (64, 512):
        z = 1.1 * normal(n, 16, 4) + 0.1
        loss = theirs(num_slices=1024)
        first = torch.Generator().manual_seed(0)
        yield (
            f"`SlicedEppsPulley` of stable-pretraining, {n} x 16, its first directions",
            "`epps_pulley` times N",
            loss(z).item(),
            n * epps_pulley(z, slices=1024, generator=first).item(),
        )


def within(z: Tensor) -> Tensor:
    """Return what counting pairs of a point with itself takes from a mean distance, halved."""
    return torch.cdist(z.double(), z.double()).sum() / len(z) ** 2 / (len(z) - 1) / 2


def surprises(theirs: type[torch.nn.Module]) -> Iterator[tuple[str, str, bool]]:
    """Yield what one may fall into, what was found, and whether it is as it was."""
    z = normal(256, 16, 0)
    whitened = torch.linalg.qr(z - z.mean(0)).Q * 16
    free = freegaussianizer.free_loss(whitened).item()
    mine = CodeLoss(MatricialFreeEnergy())(whitened).item()
    yield (
        "freegaussianizer: codes with equal singular values, as whitening makes them",
        f"loss {free:.3g} in float32; here {mine:.3g}, and the term is refused behind whitening",
        not abs(free) < 1e3,
    )
    signs, codes = (
        torch.tensor(
            [
                freegaussianizer.free_loss(normal(256, 16, s).sign() if sign else normal(256, 16, s)).item()
                for s in range(20)
            ]
        )
        for sign in (True, False)
    )
    yield (
        "freegaussianizer: codes of +1 and -1 beside normal ones",
        f"{signs.mean():.2f} and {codes.mean():.2f} (batches vary by {codes.std():.2f}): blind to marginals",
        bool((signs.mean() - codes.mean()).abs() < codes.std()),
    )
    values = {
        n: torch.tensor([theirs()(0.9 * normal(n, 16, s)).item() for s in range(5)]).mean().item()
        for n in (64, 256, 1024)
    }
    yield (
        "stable-pretraining: normal codes of scale 0.9, in batches of 64, 256 and 1,024",
        f"{values[64]:.2f}, {values[256]:.2f}, {values[1024]:.2f}: a misfit weighs more in larger batches; "
        "`SIGReg` is the same without the factor N",
        values[1024] > 2 * values[256] - 1.5 > values[64],
    )
    same = theirs()
    twice = [same(z).item() for _ in range(2)]
    yield (
        "stable-pretraining: the same codes twice",
        f"{twice[0]:.3f} and {twice[1]:.3f}: a counter in a buffer seeds the directions, not `torch.manual_seed`",
        twice[0] != twice[1],
    )
    one, other = (
        ot.sliced_wasserstein_distance(normal(100, 16, seed), normal(100, 16, seed + 9), seed=0) for seed in (0, 1)
    )
    draws = sliced_wasserstein(normal(100, 16, 0), normal(100, 16, 9))
    yield (
        "POT: `sliced_wasserstein_distance` of two samples of 100 from N(0, I), D = 16",
        f"{one.item():.2f} and {other.item():.2f}, and {draws:.2f} by `sliced_wasserstein`: a root, not near 0",
        0.15 < one.item() < 0.35,
    )
    gaussian = geomloss.SamplesLoss("gaussian")(normal(100, 16, 0), normal(100, 16, 1) + 5).item()
    yield (
        'geomloss: `SamplesLoss("gaussian")`, its default blur, of samples 20 apart, 16 columns',
        f"{gaussian:.4f} = (1 / N + 1 / M) / 2: no pair is near enough, so there is no gradient",
        abs(gaussian - 0.01) < 1e-4,
    )
    sinkhorn = geomloss.SamplesLoss("sinkhorn")
    least = {
        factor: statistics.mean(
            sinkhorn(factor * normal(100, 16, seed), normal(100, 16, seed + 99)).item() for seed in range(20)
        )
        for factor in (0.01, 0.5, 1.0)
    }
    yield (
        'geomloss: `SamplesLoss("sinkhorn")`, its default blur, of normal codes times 1, 0.5 and 0.01, 16 columns',
        f"{least[1.0]:.1f}, {least[0.5]:.1f}, {least[0.01]:.1f}: least at half the spread, almost a point "
        "hardly worse than draws; six losses here, which a test names, are least at 1",
        least[0.5] < least[1.0] and least[0.01] < 1.15 * least[1.0],
    )
    doubled = normal(10, 4, 0).repeat(2, 1)
    unit = torch.nn.functional.normalize(doubled, dim=1)
    nearest = (2 - 2 * unit @ unit.T + 9 * torch.eye(20)).min(1).values.clamp_min(0).sqrt()
    dino = -(nearest + 1e-8).log().mean().item()
    yield (
        "KoLeo by its published formula: each code twice",
        f"{dino:.1f}, set by its constant 1e-8; here {CodeLoss(KoLeo())(doubled).item():.1f}, by the precision "
        "of the codes; neither has a gradient for such pairs",
        dino > 5,
    )
    energies = torch.tensor([CodeLoss(EnergyDistance())(normal(100, 16, s)).item() for s in range(50)])
    sig = torch.tensor([CodeLoss(SIGReg())(normal(100, 16, s)).item() for s in range(50)])
    yield (
        "this library: normal codes, 100 x 16",
        f"`EnergyDistance` {energies.mean():.3f} (varies by {energies.std():.3f}) is centred on 0; `SIGReg` "
        f"{sig.mean():.4f} is not, and neither is `SlicedWasserstein` ({sliced_transport(z[:100]).item():.3f})",
        abs(energies.mean().item()) < 0.01,
    )


def main() -> int:
    """Compare, print, and write the results if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE", help="write what was found as JSON")
    out = parser.parse_args().write
    torch.manual_seed(0)
    theirs = sliced_epps_pulley()
    rows, failures = [], []
    for peer, here, value, mine in agreement(theirs):
        difference = abs(value - mine) / abs(value)
        rows.append([peer, here, f"{value:.5g}", f"{difference:.0e}"])
        failures += [f"{peer}: {value} and {mine}"] * (not difference <= TOLERANCE)
    found = []
    for what, seen, as_before in surprises(theirs):
        found.append([what, seen])
        failures += [f"{what}: {seen}"] * (not as_before)
    record = {
        "versions": {**versions(), "entropic-ae": __version__, **{name: version(name) for name in PEERS}},
        "peers": ", ".join(f"{name} {version(name)}" for name in PEERS),
        "machine": machine(),
        "git_commit": git_commit(),
        "agreement": [["peer", "here", "value", "relative difference"], *rows],
        "deviations": [["what", "found"], *found],
    }
    print("\n".join(" | ".join(row) for name in ("agreement", "deviations") for row in record[name]))
    print("\n" + ("\n".join(failures) if failures else "All as expected."))
    if out is not None and not failures:
        write_json(out, record)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
