"""Constructors of the systems with batch norm at the bottleneck, with and without the entropy."""

from __future__ import annotations

from entropic_ae.networks import Shape
from entropic_ae.recipes import systems
from entropic_ae.recipes.constructors.building import Built, build

__all__ = ["BNAE", "EAE", "TBNAE", "TEAE", "EAELinear", "TwoStageEAE"]


def BNAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build an autoencoder with batch norm without affine shift at the bottleneck.

    Arguments, results and errors are those of ``AE``.

    Reference: section 5.2 of "Batch Norm with Entropic Regularization Turns Deterministic Autoencoders into
    Generative Models", Ghose, Rashwan and Poupart (2020), https://arxiv.org/abs/2002.10631.

    >>> model, objective = BNAE((1, 8, 8), latent_dim=4, width=4)
    >>> model.bottleneck.latent_dim, [term.name for term in objective.terms]
    (4, ['squared_error'])
    """
    return build(systems.BN_AE, shape, latent_dim, width, depth, {}, preset, seed)


def EAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    entropy: float | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build the entropic autoencoder: batch norm at the bottleneck, maximised entropy of the codes.

    Arguments, results and errors are those of ``AE``; ``entropy`` is the weight of ``NegativeEntropy``,
    ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: equation (2) and section 5.1 of "Batch Norm with Entropic Regularization Turns Deterministic
    Autoencoders into Generative Models", Ghose, Rashwan and Poupart (2020), https://arxiv.org/abs/2002.10631.

    >>> _, objective = EAE((1, 8, 8), latent_dim=4, width=4, entropy=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "entropy"]
    [0.5]
    """
    weights = {"entropy": entropy, "decoder_decay": decoder_decay}
    return build(systems.EAE, shape, latent_dim, width, depth, weights, preset, seed)


def EAELinear(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    entropy: float | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build the entropic autoencoder with weight decay on the decoder's linear layer.

    Arguments, results and errors are those of ``AE``; ``entropy`` is the weight of ``NegativeEntropy``,
    ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: the scores in parentheses in Table 1 of "Batch Norm with Entropic Regularization Turns Deterministic
    Autoencoders into Generative Models", Ghose, Rashwan and Poupart (2020), https://arxiv.org/abs/2002.10631.

    >>> _, objective = EAELinear((1, 8, 8), latent_dim=4, width=4, entropy=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "entropy"]
    [0.5]
    """
    weights = {"entropy": entropy, "decoder_decay": decoder_decay}
    return build(systems.EAE_LINEAR, shape, latent_dim, width, depth, weights, preset, seed)


def TwoStageEAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    entropy: float | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build the entropic autoencoder as the first of two stages; ``SecondStage.fit`` is the second stage.

    Arguments, results and errors are those of ``AE``; ``entropy`` is the weight of ``NegativeEntropy``,
    ``decoder_decay`` is the weight of ``DecoderDecay``.

    References: section 6 of "Batch Norm with Entropic Regularization Turns Deterministic Autoencoders into
    Generative Models", Ghose, Rashwan and Poupart (2020), https://arxiv.org/abs/2002.10631; for the second stage,
    "Diagnosing and Enhancing VAE Models", Dai and Wipf (2019), https://arxiv.org/abs/1903.05789.

    >>> _, objective = TwoStageEAE((1, 8, 8), latent_dim=4, width=4, entropy=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "entropy"]
    [0.5]
    """
    weights = {"entropy": entropy, "decoder_decay": decoder_decay}
    return build(systems.TWO_STAGE_EAE, shape, latent_dim, width, depth, weights, preset, seed)


def TBNAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build the network of ``t-bn-ae``, which is that of ``bn-ae``, as ``AE`` does.

    After training, fit a ``MixtureTransport`` to the codes and put both into a ``Transported`` bottleneck.

    >>> TBNAE((1, 8, 8), latent_dim=4, width=4)[0].bottleneck.latent_dim
    4
    """
    return build(systems.TRANSPORTED_BN_AE, shape, latent_dim, width, depth, {}, preset, seed)


def TEAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    entropy: float | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build network and objective of ``t-eae``, which are those of ``eae``; see ``TBNAE`` for its transport.

    Arguments, results, errors and reference are those of ``EAE``.

    >>> TEAE((1, 8, 8), latent_dim=4, width=4, entropy=0.5)[1].terms[1].weight
    0.5
    """
    weights = {"entropy": entropy, "decoder_decay": decoder_decay}
    return build(systems.TRANSPORTED_EAE, shape, latent_dim, width, depth, weights, preset, seed)
