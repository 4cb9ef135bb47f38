"""Images for the model and for the page."""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from entropic_ae.data import DATASETS, RegisteredData
from entropic_ae.data.decoding import Fit
from entropic_ae.data.depth import ONES, are_ones, check_readable, white_of
from entropic_ae.data.formats import DAMAGE, header, opened_image
from entropic_ae.errors import InputError
from entropic_ae.storage.run_info import RunInfo

__all__ = ["figure", "figures", "fit_image", "fit_of", "pairs"]


def fit_of(info: RunInfo) -> Fit:
    """Return how an image is fitted to a run, from its run.json: padded like the run's images, else resized.

    An image of more than 8 bits is scaled by the factor of the run's images; for a run of images of 0 and 1, so is
    one of 0 and 1.

    >>> info = {"recipe": "eae", "preset": "mnist", "data": "mnist", "source": "mnist", "shape": [1, 32, 32]}
    >>> fit_of(RunInfo.of(info))
    Fit(channels=1, height=32, width=32, pad=2, crop=None, white=None, ones=False)
    """
    row = DATASETS.get(info.source)
    channels, height, width = info.shape
    # without the crop of CelebA, whose 140 pixels suit only its own images
    return Fit(
        channels,
        height,
        width,
        pad=row.pad if isinstance(row, RegisteredData) and info.image_size is None else 0,
        white=info.white if info.white != ONES else None,
        ones=info.white == ONES,
    )


def fit_image(content: bytes, fit: Fit) -> Tensor:
    """Decode an image file and fit it to a shape, as the data layer does: uint8 (C, H, W).

    Of an image of another size the largest centre part of the shape's aspect is resized. Colours become grey, or
    grey RGB, as the shape asks.

    Arguments:
        content: of a file of a format in ``FORMATS``.
        fit: the target shape; see ``fit_of``.

    Raises: InputError if the file has none of these formats, is damaged, or has values that the run's images lack.

    >>> file = io.BytesIO()
    >>> Image.new("RGB", (40, 30), "white").save(file, "PNG")
    >>> fit_image(file.getvalue(), Fit(1, 8, 8)).shape
    torch.Size([1, 8, 8])
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about unusual files
            found = {key: np.array([value]) for key, value in header(io.BytesIO(content))._asdict().items()}
            check_readable(found, "the upload")
            fit = replace(fit, white=white_of(found, "the upload", fit.white))
            pixels = _pixels(content, replace(fit, ones=False))
            return _pixels(content, fit) if fit.ones and are_ones([pixels]) else pixels
    except InputError:
        raise
    except DAMAGE:
        raise InputError("the file cannot be read as an image; give a valid PNG, JPEG or WEBP file.") from None


def _pixels(content: bytes, fit: Fit) -> Tensor:
    with opened_image(io.BytesIO(content)) as image:
        return torch.from_numpy(fit(image).copy())


def figure(image: Tensor, caption: str = "", *, alt: str = "") -> str:
    """Return HTML that shows one uint8 image, (C, H, W), with a caption below it.

    >>> figure(torch.zeros(1, 8, 8, dtype=torch.uint8), "black")[:38]
    '<figure><img src="data:image/png;base6'
    """
    pixels = image.permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)).save(file, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{source}" alt="{html.escape(alt or caption, quote=True)}">{below}</figure>'


def figures(images: Tensor, captions: Sequence[str] = (), *, alt: str = "image") -> str:
    """Return HTML that shows uint8 images, (N, C, H, W), side by side.

    Arguments:
        images: grey (C = 1) or RGB (C = 3).
        captions: one for each image, or none.
        alt: alternative text of the images; their numbers are appended.

    >>> figures(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), alt="sample").count('alt="sample')
    3
    """
    captions = captions or [""] * len(images)
    shown = zip(images, captions, strict=True)
    return "".join(figure(image, caption, alt=f"{alt} {i}") for i, (image, caption) in enumerate(shown))


def pairs(images: Tensor, others: Tensor, captions: Sequence[str]) -> str:
    """Return HTML that shows each image above another, both uint8 (N, C, H, W), with a caption below.

    >>> black = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    >>> pairs(black, black, ["a", "b", "c"]).count("<figure>")
    6
    """
    rows = enumerate(zip(images, others, captions, strict=True))
    return "".join(
        f"<div>{figure(image, alt=f'sample {i}')}{figure(other, caption, alt=f'nearest training image {i}')}</div>"
        for i, (image, other, caption) in rows
    )
