"""Features of the FID Inception network, from torch-fidelity."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from entropic_ae.data import ImageData
from entropic_ae.errors import InputError
from entropic_ae.features.space import Features
from entropic_ae.features.states import UNREADABLE, downloaded
from entropic_ae.randomness import seeded

__all__ = ["check_inception", "inception_features"]


class _Inception(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1] not in (1, 3):
            raise InputError(
                f"feature space 'inception' needs 1 or 3 channels, got {images.shape[1]}; "
                "use --features pixels or classifier, or convert the images to RGB."
            )
        return self.network(images.expand(-1, 3, -1, -1))[0]


def check_inception() -> tuple[str, Any]:
    """Return the URL of the weights and the network's class; InputError if the extra is not installed."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import (
            URL_INCEPTION_V3,
            FeatureExtractorInceptionV3,
        )
    except ImportError as error:
        raise InputError(
            f"feature space 'inception' needs torch-fidelity, which cannot be imported ({error}); "
            "run pip install 'entropic-ae[fid]', or use --features classifier or pixels."
        ) from None
    except RuntimeError as error:  # a torchvision of another build: "operator torchvision::nms does not exist"
        raise InputError(
            f"feature space 'inception' needs a torchvision made for this torch, importing it failed with "
            f"'{error}'; reinstall both from one index, or use --features classifier or pixels."
        ) from None
    return URL_INCEPTION_V3, FeatureExtractorInceptionV3


def inception_features(data: ImageData, device: str, weights: Path | None) -> Features:  # noqa: ARG001
    """Return the 2048 pool features; the weights are downloaded, or read from a file."""
    url, network_class = check_inception()
    give = "give {} as --weights FILE"
    state = (
        downloaded(url, "Inception", give.format("it"), give.format(f"the file from {url}"))
        if weights is None
        else _read_weights(weights)
    )
    # torch-fidelity's constructor unpickles its file. So it gets a copy made here, of tensors that were read
    # without executing anything.
    verified = io.BytesIO()
    torch.save(state, verified)
    verified.seek(0)
    try:
        with seeded(0):  # the constructor draws random weights before it loads these
            network = network_class("inception-v3-compat", ["2048"], feature_extractor_weights_path=verified)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{weights or url} does not hold the FID Inception network's weights ({reason}); "
            f"give --weights the file from {url}."
        ) from None
    return Features("inception", _Inception(network), 2048, batch_size=32, device=device, content="inception")


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from safetensors or a PyTorch file, never executing what the file holds."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; --weights must name a .pth or .safetensors file.") from None
    except (SafetensorError, OSError, *UNREADABLE) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} is not a file of plain tensors ({reason}); give --weights a state dict saved by PyTorch "
            "(.pth) or safetensors (.safetensors)."
        ) from None
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise InputError(
            f"{path} must hold a state dict (names to tensors), got {type(state).__name__}; "
            "save network.state_dict()."
        )
    return dict(state)
