"""Constructors of the systems whose networks get the label of each image."""

from __future__ import annotations

from entropic_ae.networks import Shape
from entropic_ae.recipes import systems
from entropic_ae.recipes.constructors.building import Built, build

__all__ = ["CBNAE", "CEAE", "CVAE"]


def CBNAE(
    shape: Shape,
    *,
    classes: int,
    latent_dim: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build ``BNAE`` whose encoder and decoder get the label of each image: ``model(images, labels)``.

    Arguments, results, errors and reference are those of ``BNAE``, and

        classes: number of classes, whose labels the model takes beside images and codes.

    Reference: "Learning structured output representation using deep conditional generative models", Sohn, Lee and
    Yan (2015), https://papers.nips.cc/paper/5775.

    >>> import torch
    >>> model, objective = CBNAE((1, 8, 8), classes=10, latent_dim=4, width=4)
    >>> images, labels = torch.rand(20, 1, 8, 8), torch.arange(20) % 10
    >>> loss, _ = objective(model, model(images, labels))
    >>> model.decode(torch.zeros(3, 4), torch.tensor([0, 1, 2])).shape
    torch.Size([3, 1, 8, 8])
    """
    return build(systems.CONDITIONAL_BN_AE, shape, latent_dim, width, depth, {}, preset, seed, classes)


def CEAE(
    shape: Shape,
    *,
    classes: int,
    latent_dim: int | None = None,
    entropy: float | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build ``EAE`` whose encoder and decoder get the label of each image: ``model(images, labels)``.

    Arguments, results, errors and reference are those of ``EAE``, and

        classes: number of classes, whose labels the model takes beside images and codes.

    Reference: "Learning structured output representation using deep conditional generative models", Sohn, Lee and
    Yan (2015), https://papers.nips.cc/paper/5775.

    >>> import torch
    >>> model, objective = CEAE((1, 8, 8), classes=10, latent_dim=4, width=4)
    >>> images, labels = torch.rand(20, 1, 8, 8), torch.arange(20) % 10
    >>> loss, _ = objective(model, model(images, labels))
    >>> model.decode(torch.zeros(3, 4), torch.tensor([0, 1, 2])).shape
    torch.Size([3, 1, 8, 8])
    """
    weights = {"entropy": entropy, "decoder_decay": decoder_decay}
    return build(systems.CONDITIONAL_EAE, shape, latent_dim, width, depth, weights, preset, seed, classes)


def CVAE(
    shape: Shape,
    *,
    classes: int,
    latent_dim: int | None = None,
    kl: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build ``VAE`` whose encoder and decoder get the label of each image: ``model(images, labels)``.

    Arguments, results, errors and reference are those of ``VAE``, and

        classes: number of classes, whose labels the model takes beside images and codes.

    Reference: "Learning structured output representation using deep conditional generative models", Sohn, Lee and
    Yan (2015), https://papers.nips.cc/paper/5775.

    >>> import torch
    >>> model, objective = CVAE((1, 8, 8), classes=10, latent_dim=4, width=4)
    >>> images, labels = torch.rand(20, 1, 8, 8), torch.arange(20) % 10
    >>> loss, _ = objective(model, model(images, labels))
    >>> model.decode(torch.zeros(3, 4), torch.tensor([0, 1, 2])).shape
    torch.Size([3, 1, 8, 8])
    """
    return build(systems.CONDITIONAL_VAE, shape, latent_dim, width, depth, {"kl": kl}, preset, seed, classes)
