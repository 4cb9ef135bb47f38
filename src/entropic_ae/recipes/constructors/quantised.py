"""Constructors of the systems of binary codes, with and without the entropy."""

from __future__ import annotations

from entropic_ae.networks import Shape
from entropic_ae.recipes import systems
from entropic_ae.recipes.constructors.building import Built, build

__all__ = ["QAE", "QEAE"]


def QAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build an autoencoder of binary codes.

    Arguments, results and errors are those of ``AE``.

    Reference: "Language Model Beats Diffusion: Tokenizer is Key to Visual Generation", Yu et al. (2023),
    https://arxiv.org/abs/2310.05737, for the codes.

    >>> model, objective = QAE((1, 8, 8), latent_dim=16, width=4)
    >>> model.bottleneck.prior().title, [term.name for term in objective.terms]
    ('uniform signs', ['squared_error'])
    """
    return build(systems.QUANTISED_AE, shape, latent_dim, width, depth, {}, preset, seed)


def QEAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    entropy: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build the entropic autoencoder of binary codes: maximised entropy of their usage.

    Arguments, results and errors are those of ``AE``; ``entropy`` is the weight of ``NegativeDiscreteEntropy``.

    Reference: section 6 of "Batch Norm with Entropic Regularization Turns Deterministic Autoencoders into
    Generative Models", Ghose, Rashwan and Poupart (2020), https://arxiv.org/abs/2002.10631.

    >>> _, objective = QEAE((1, 8, 8), latent_dim=16, width=4, entropy=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "entropy"]
    [0.5]
    """
    return build(systems.QUANTISED_EAE, shape, latent_dim, width, depth, {"entropy": entropy}, preset, seed)
