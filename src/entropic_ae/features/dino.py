"""Features of the self-supervised vision transformer DINOv2, by transformers."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from entropic_ae.data import ImageData
from entropic_ae.errors import InputError
from entropic_ae.features.space import Features
from entropic_ae.storage.json_schema import check
from entropic_ae.storage.tensors import unpack_tensors

__all__ = ["check_dino", "dino_features"]

_REPOSITORY = "facebook/dinov2-small"
_REVISION = "ed25f3a31f01632728cabb09d1542f84ab7b0056"  # of main since 2023-09; Apache-2.0
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_LAYERS = 4  # whose activations FeatureError compares
_SIDE = 224  # of the crops that it was trained on
# The statistics of ImageNet's pixels that its training normalised by.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ELSEWHERE = (
    f"fetch {_CONFIG} and {_WEIGHTS} of https://huggingface.co/{_REPOSITORY}/tree/{_REVISION} on another machine "
    "and give their folder as --weights FOLDER"
)
# What of a configuration says how the features are computed. The rest is ignored: some of it names code to fetch.
_ARCHITECTURE: dict[str, Any] = {
    "hidden_size": int,
    "num_hidden_layers": int,
    "num_attention_heads": int,
    "mlp_ratio": int,
    "hidden_act": str,
    "layer_norm_eps": float,
    "image_size": int,
    "patch_size": int,
    "qkv_bias": bool,
    "layerscale_value": float,
    "use_swiglu_ffn": bool,
}


class _Dino(nn.Module):
    """The last layer's class token, of images resized to the size of training."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name, values in (("mean", _MEAN), ("std", _STD)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, F) of uint8 images of any size (N, C, H, W)."""
        if images.shape[1] not in (1, 3):
            raise InputError(
                f"feature space 'dino' needs 1 or 3 channels, got {images.shape[1]}; "
                "use --features pixels or random, or convert the images to RGB."
            )
        features: Tensor = self.network(pixel_values=self.normalised(images.float() / 255)).pooler_output
        return features

    def normalised(self, images: Tensor) -> Tensor:
        """Return images in [0, 1] as the network takes them."""
        return (_resized(images).expand(-1, 3, -1, -1) - self.mean) / self.std


class _Layers(_Dino):
    """The patches of some layers, spread over the depth."""

    def forward(self, images: Tensor) -> list[Tensor]:  # type: ignore[override]
        """Return the activations, each (N, F, H', W'), for images in [0, 1], (N, C, H, W) of any size."""
        every = self.network(pixel_values=self.normalised(images), output_hidden_states=True).hidden_states
        depth = len(every) - 1  # the first are the embeddings
        chosen = sorted({-(-depth * part // _LAYERS) for part in range(1, _LAYERS + 1)})
        side = math.isqrt(every[0].shape[1] - 1)
        return [every[layer][:, 1:].transpose(1, 2).unflatten(2, (side, side)) for layer in chosen]


def _resized(images: Tensor) -> Tensor:
    """Return images in [0, 1] in the size of training, by Pillow's bicubic filter without its rounding."""
    return nn.functional.interpolate(images, (_SIDE, _SIDE), mode="bicubic", antialias=True).clamp(0, 1)


def dino_layers(data: ImageData) -> nn.Module:
    """Return layers of DINOv2 as a network of ``FeatureError``; the weights are in the Hub's cache or downloaded.

    Raises: InputError without transformers, without the weights, or for other than grey and colour images.
    """
    channels = data.shape[0]
    if channels not in (1, 3):
        raise InputError(
            f"feature_error.network=dino takes images of 1 or 3 channels, got {channels}; use random."
        )
    check_dino()
    folder = _download(
        "copy the Hub's cache (HF_HOME) of a machine that has them, or use feature_error.network=random"
    )
    return _Layers(_load(folder, _architecture(folder)))


def check_dino() -> tuple[Any, Any]:
    """Return the classes of the configuration and of the network; InputError if the extra is not installed."""
    try:
        from transformers import Dinov2Config, Dinov2Model
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"feature space 'dino' needs transformers, which cannot be imported ({error}); "
            "run pip install 'entropic-ae[dino]', or use --features random or pixels."
        ) from None
    return Dinov2Config, Dinov2Model


def dino_features(data: ImageData, device: str, weights: Path | None) -> Features:  # noqa: ARG001
    """Return the features of the class token; the weights are downloaded, or read from a folder.

    Images are resized to 224 x 224, bicubic with antialiasing, and normalised by ImageNet's statistics. ViT-S/14,
    which is downloaded, has 384 features; a folder may hold a DINOv2 of another size.

    Arguments:
        data: not looked at.
        device: where the network runs.
        weights: folder of ``config.json`` and ``model.safetensors``; nothing else in it is read. None: the files
            of ``facebook/dinov2-small`` at a fixed commit, downloaded once.

    Raises: InputError: no transformers, no network, or files that are absent, damaged or of another network.

    References:
        Oquab et al., "DINOv2: Learning robust visual features without supervision", 2023,
        https://arxiv.org/abs/2304.07193.
        Stein et al., "Exposing flaws of generative model evaluation metrics and their unfair treatment of
        diffusion models", 2023, https://arxiv.org/abs/2306.04675, for its distances.
    """
    check_dino()
    folder = _download(_ELSEWHERE) if weights is None else weights
    architecture = _architecture(folder)
    network = _load(folder, architecture)
    content = f"dino {json.dumps(architecture, sort_keys=True)}"
    dim = int(architecture["hidden_size"])
    return Features("dino", _Dino(network), dim, batch_size=32, device=device, content=content)


def _download(otherwise: str) -> Path:
    """Return the folder of the downloaded files, in the Hub's cache; an error says what to do ``otherwise``."""
    from huggingface_hub import hf_hub_download

    endpoint = (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None
    try:
        with _quiet(bars=sys.stderr.isatty()):
            files = [
                Path(hf_hub_download(_REPOSITORY, name, revision=_REVISION, endpoint=endpoint))
                for name in (_CONFIG, _WEIGHTS)
            ]
    except Exception as error:  # the class for being offline depends on the version of the Hub's client
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"the DINOv2 weights could not be downloaded ({lines[0].rstrip('.:')}); go online, or {otherwise}."
        ) from None
    return files[0].parent


def _architecture(folder: Path) -> dict[str, Any]:
    """Return what the configuration says of the network; InputError if it is absent or of another kind."""
    path = folder / _CONFIG
    try:
        config = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); --weights must name a folder of {_CONFIG} and {_WEIGHTS}."
        ) from None
    except (ValueError, RecursionError):
        raise InputError(
            f"{path} is not JSON; fetch it again from https://huggingface.co/{_REPOSITORY}."
        ) from None
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "dinov2":
        raise InputError(f"{path} must be of the model_type 'dinov2', got {kind!r}; give a DINOv2's folder.")
    check(config, _ARCHITECTURE, str(path))
    return {name: config[name] for name in _ARCHITECTURE}


def _load(folder: Path, architecture: dict[str, Any]) -> nn.Module:
    """Return the network with the folder's weights, all of them."""
    config_class, network_class = check_dino()
    path = folder / _WEIGHTS
    try:
        state, _ = unpack_tensors(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); --weights must name a folder of {_CONFIG} and {_WEIGHTS}."
        ) from None
    except InputError as error:
        raise InputError(f"{path} is damaged ({error}); fetch it again.") from None
    try:
        with _quiet():  # names of weights differ between versions of transformers: it renames them itself
            network, found = network_class.from_pretrained(
                None, config=config_class(**architecture), state_dict=state, output_loading_info=True
            )
        wrong = sorted({*found["missing_keys"], *found["unexpected_keys"]})
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        wrong = [" ".join(str(error).split())[:200]]
    if wrong:
        raise InputError(
            f"{path} does not hold the weights of the network in {_CONFIG} ({wrong[0]}); "
            "give both files of one DINOv2."
        )
    model: nn.Module = network.float()
    return model


@contextmanager
def _quiet(*, bars: bool = False) -> Iterator[None]:
    """Silence what transformers prints while it loads, and its and the Hub's progress bars unless wanted."""
    from transformers.utils import logging

    verbosity, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()
