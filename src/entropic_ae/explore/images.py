"""Images for the page."""

from __future__ import annotations

import html
from collections.abc import Sequence

from torch import Tensor

from entropic_ae.pictures import as_picture, data_url

__all__ = ["figure", "figures", "pairs"]


def figure(image: Tensor, caption: str = "", *, alt: str = "") -> str:
    """Return HTML that shows one uint8 image, (C, H, W), with a caption below it.

    >>> import torch
    >>> figure(torch.zeros(1, 8, 8, dtype=torch.uint8), "black")[:38]
    '<figure><img src="data:image/png;base6'
    """
    source = data_url(as_picture(image))
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{source}" alt="{html.escape(alt or caption, quote=True)}">{below}</figure>'


def figures(images: Tensor, captions: Sequence[str] = (), *, alt: str = "image") -> str:
    """Return HTML that shows uint8 images, (N, C, H, W), side by side.

    Arguments:
        images: grey (C = 1) or RGB (C = 3).
        captions: one for each image, or none.
        alt: alternative text of the images; their numbers are appended.

    >>> import torch
    >>> figures(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), alt="sample").count('alt="sample')
    3
    """
    captions = captions or [""] * len(images)
    shown = zip(images, captions, strict=True)
    return "".join(figure(image, caption, alt=f"{alt} {i}") for i, (image, caption) in enumerate(shown))


def pairs(images: Tensor, others: Tensor, captions: Sequence[str]) -> str:
    """Return HTML that shows each image above another, both uint8 (N, C, H, W), with a caption below.

    >>> import torch
    >>> black = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    >>> pairs(black, black, ["a", "b", "c"]).count("<figure>")
    6
    """
    rows = enumerate(zip(images, others, captions, strict=True))
    return "".join(
        f"<div>{figure(image, alt=f'sample {i}')}{figure(other, caption, alt=f'nearest training image {i}')}</div>"
        for i, (image, other, caption) in rows
    )
