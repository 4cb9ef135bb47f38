"""The Frechet distance against torch-fidelity's: of given features, and end to end from images.

It needs the extra ``fid``. Both take the same Inception network with random weights, so the distance means nothing
but is the same. From images each reads the weights from a file first.
"""

from __future__ import annotations

import runpy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.pairs import compared, interleave, timed

# by its path: torch-fidelity brings a package of the name tests
INCEPTION = runpy.run_path(str(Path(__file__).parent.parent / "tests" / "fid" / "inception.py"))
FEATURES, DIM = 10_000, 2048
IMAGES = 200


class _Images(Dataset[Tensor]):
    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def measure(
    rounds: int, *, features: int = FEATURES, dim: int = DIM, images: int = IMAGES
) -> Iterator[dict[str, Any]]:
    """Yield a row for given features and one for images: seconds and paired ratios, the distances being alike."""
    INCEPTION["import_torchvision"]()
    import torch_fidelity
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    from entropic_ae.features.inception import inception_features
    from entropic_ae.metrics import frechet_distance

    source = torch.Generator().manual_seed(0)
    real, fake = (scale * torch.randn(features, dim, generator=source) for scale in (1.0, 1.1))

    def theirs_of_features() -> float:
        statistics = [fid_features_to_statistics(one) for one in (real, fake)]
        return float(fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"])

    yield _row(
        {"features": features, "dimensions": dim}, lambda: frechet_distance(real, fake), theirs_of_features, rounds
    )

    first, second = (
        torch.randint(high, (images, 3, 32, 32), dtype=torch.uint8, generator=source) for high in (256, 200)
    )
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "inception.pth"
        torch.save(INCEPTION["random_inception"]().state_dict(), weights)

        def ours() -> float:
            space = inception_features(None, "cpu", weights)  # type: ignore[arg-type]  # looks at no data
            return frechet_distance(space(first), space(second))

        def theirs() -> float:
            found = torch_fidelity.calculate_metrics(
                input1=_Images(first),
                input2=_Images(second),
                fid=True,
                cuda=False,
                cache=False,
                verbose=False,
                batch_size=64,
                feature_extractor_weights_path=str(weights),
            )
            return float(found["frechet_inception_distance"])

        yield _row({"images": images}, ours, theirs, rounds)


def _row(sizes: dict[str, int], ours: Any, theirs: Any, rounds: int) -> dict[str, Any]:
    distances = ours(), theirs()
    assert abs(distances[0] - distances[1]) < 1e-3 * abs(distances[1]), distances
    contenders = {"entropic-ae": timed(ours), "torch-fidelity": timed(theirs)}
    return {**sizes, **compared(interleave(contenders, rounds), "entropic-ae")}
