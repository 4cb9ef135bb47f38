"""Constructors of the plain autoencoder and of those with regularised codes or decoders."""

from __future__ import annotations

from entropic_ae.networks import Shape
from entropic_ae.recipes import systems
from entropic_ae.recipes.constructors.building import Built, build

__all__ = ["AE", "AEL2", "RAE", "RAEGP", "RAEL2", "RAESN"]


def AE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a plain autoencoder.

    Arguments:
        shape: (C, H, W) of the images, sides multiples of 8 from 8 to 256.
        latent_dim: length D of a code.
        width, depth: of both networks, see ``ConvEncoder``.
        preset: a name in ``PRESETS``, for the arguments that are None; default: the one of the nearest image size.
        seed: of the initial weights.

    Returns: the model, which maps images in [0, 1] to a ``Trace``, and the objective, which maps both to the loss.

    Raises: InputError for an invalid size or weight.

    Reference: the baseline AE of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436.

    >>> model, objective = AE((1, 8, 8), latent_dim=4, width=4)
    >>> model.bottleneck.latent_dim, [term.name for term in objective.terms]
    (4, ['squared_error'])
    """
    return build(systems.AE, shape, latent_dim, width, depth, {}, preset, seed)


def AEL2(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build an autoencoder with weight decay on the decoder.

    Arguments, results and errors are those of ``AE``; ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: the baseline AE-L2 of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436.

    >>> _, objective = AEL2((1, 8, 8), latent_dim=4, width=4, decoder_decay=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "decoder_decay"]
    [0.5]
    """
    return build(systems.AE_L2, shape, latent_dim, width, depth, {"decoder_decay": decoder_decay}, preset, seed)


def RAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    code_norm: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a regularised autoencoder: code norm.

    Arguments, results and errors are those of ``AE``; ``code_norm`` is the weight of ``CodeNorm``.

    Reference: RAE of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436.

    >>> _, objective = RAE((1, 8, 8), latent_dim=4, width=4, code_norm=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "code_norm"]
    [0.5]
    """
    return build(systems.RAE, shape, latent_dim, width, depth, {"code_norm": code_norm}, preset, seed)


def RAEL2(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    code_norm: float | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a regularised autoencoder: code norm, weight decay on the decoder.

    Arguments, results and errors are those of ``AE``; ``code_norm`` is the weight of ``CodeNorm``,
    ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: RAE-L2 of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436.

    >>> _, objective = RAEL2((1, 8, 8), latent_dim=4, width=4, code_norm=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "code_norm"]
    [0.5]
    """
    weights = {"code_norm": code_norm, "decoder_decay": decoder_decay}
    return build(systems.RAE_L2, shape, latent_dim, width, depth, weights, preset, seed)


def RAEGP(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    code_norm: float | None = None,
    decoder_gradient: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a regularised autoencoder: code norm, gradient penalty on the decoder.

    Arguments, results and errors are those of ``AE``; ``code_norm`` is the weight of ``CodeNorm``,
    ``decoder_gradient`` is the weight of ``DecoderGradient``.

    Reference: RAE-GP of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436; ``DecoderGradient`` documents how the penalty differs.

    >>> _, objective = RAEGP((1, 8, 8), latent_dim=4, width=4, code_norm=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "code_norm"]
    [0.5]
    """
    weights = {"code_norm": code_norm, "decoder_gradient": decoder_gradient}
    return build(systems.RAE_GP, shape, latent_dim, width, depth, weights, preset, seed)


def RAESN(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    code_norm: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a regularised autoencoder: code norm, spectral normalisation of both networks.

    Arguments, results and errors are those of ``AE``; ``code_norm`` is the weight of ``CodeNorm``.

    Reference: RAE-SN of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436.

    >>> _, objective = RAESN((1, 8, 8), latent_dim=4, width=4, code_norm=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "code_norm"]
    [0.5]
    """
    return build(systems.RAE_SN, shape, latent_dim, width, depth, {"code_norm": code_norm}, preset, seed)
