"""Inference with a trained model in evaluation mode: encode, decode, reconstruct, sample and interpolate.

Input and output images are uint8, (N, C, H, W); codes are float32, (N, D). Computation is batched on the device of
the model; results are on the CPU. Inside ``distributed.together`` each batch is split over the processes.

A conditional model needs the label of each image or code, (N,) whole numbers, as ``labels``; other models ignore
them. InputError tells if they are missing or do not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral

import torch
from torch import Tensor
from torch.distributions import Distribution

from entropic_ae.arrays import ArrayLike, as_double, as_tensor
from entropic_ae.autoencoder import Autoencoder
from entropic_ae.bottlenecks import Transported
from entropic_ae.densities import Density
from entropic_ae.distributed import share_out, sharers
from entropic_ae.errors import InputError
from entropic_ae.priors import Alphabet, Normal, UniformSphere, as_prior
from entropic_ae.training import to_unit

__all__ = [
    "INTERPOLATIONS",
    "decode",
    "encode",
    "encode_hidden",
    "encode_posterior",
    "interpolate",
    "interpolation_for",
    "mix_codes",
    "reconstruct",
    "reconstruction_errors",
    "sample",
    "to_uint8",
    "walk_codes",
    "without_transport",
]

INTERPOLATIONS = ("linear", "spherical")
# batch size by device; with larger batches the activations exceed a CPU's cache and decoding takes twice as long
_BATCHES = {"cpu": 64}
_BATCH = 500


def to_uint8(x: Tensor) -> Tensor:
    """Round images in [0, 1] to uint8, of the same shape.

    >>> to_uint8(torch.tensor([0.0, 0.5, 1.0]))
    tensor([  0, 128, 255], dtype=torch.uint8)
    """
    return (x * 255).round().clamp(0, 255).to(torch.uint8)


def encode(model: Autoencoder, images: ArrayLike, labels: ArrayLike | None = None) -> Tensor:
    """Return the codes, (N, D) float32, of uint8 images, (N, C, H, W).

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> encode(model, torch.zeros(5, 1, 8, 8, dtype=torch.uint8)).shape
    torch.Size([5, 4])
    """
    return _in_batches(
        model, lambda x, y: model.encode(_unit(model, x), y).float(), _images("encode", images), labels
    )


@contextmanager
def without_transport(model: Autoencoder) -> Iterator[None]:
    """Let a model encode and decode as its networks were trained: codes are those before a transport.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> with without_transport(model):
    ...     encode(model, torch.zeros(5, 1, 8, 8, dtype=torch.uint8)).shape
    torch.Size([5, 4])
    """
    whole = model.bottleneck
    if isinstance(whole, Transported):
        model.bottleneck = whole.bottleneck
    try:
        yield
    finally:
        model.bottleneck = whole


def encode_hidden(model: Autoencoder, images: ArrayLike, labels: ArrayLike | None = None) -> Tensor:
    """Return the encoder's output before the bottleneck, (N, in_features) float32, for uint8 images, (N, C, H, W).

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> encode_hidden(model, torch.zeros(5, 1, 8, 8, dtype=torch.uint8)).shape
    torch.Size([5, 4])
    """
    return _in_batches(
        model, lambda x, y: model.hidden(_unit(model, x), y).float(), _images("encode_hidden", images), labels
    )


def encode_posterior(
    model: Autoencoder, images: ArrayLike, labels: ArrayLike | None = None
) -> tuple[Tensor, Tensor | None]:
    """Return the codes of uint8 images, (N, C, H, W), and the standard deviations of their posteriors.

    Both are (N, D) float32; the codes are the means of the posteriors. For deterministic codes the deviations are
    None.

    >>> from entropic_ae.bottlenecks import GaussianPosterior
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 8), GaussianPosterior(4), MLPDecoder((1, 8, 8), 4))
    >>> codes, std = encode_posterior(model, torch.zeros(5, 1, 8, 8, dtype=torch.uint8))
    >>> codes.shape == std.shape == (5, 4)
    True
    """

    def both(x: Tensor, y: Tensor | None) -> Tensor:
        z, posterior = model.bottleneck(model.hidden(_unit(model, x), y))
        return torch.cat([z, posterior.stddev], 1).float()

    if not model.bottleneck.has_posterior:
        return encode(model, images, labels), None
    codes, std = _in_batches(model, both, _images("encode_posterior", images), labels).chunk(2, dim=1)
    return codes, std


def decode(model: Autoencoder, codes: ArrayLike, labels: ArrayLike | None = None) -> Tensor:
    """Return the images, uint8 (N, C, H, W), of codes, (N, D).

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> decode(model, torch.zeros(5, 4)).shape
    torch.Size([5, 1, 8, 8])
    """
    codes = as_tensor(codes, "decode")
    if codes.dim() != 2:
        raise InputError(f"decode expects codes (N, D), got shape {tuple(codes.shape)}.")
    weight = next(model.parameters())
    return _in_batches(model, lambda z, y: to_uint8(model.decode(z, y)), codes.to(weight.dtype), labels)


def reconstruct(model: Autoencoder, images: ArrayLike, labels: ArrayLike | None = None) -> Tensor:
    """Encode and decode uint8 images, (N, C, H, W), to images of the same shape.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> reconstruct(model, torch.zeros(5, 1, 8, 8, dtype=torch.uint8)).dtype
    torch.uint8
    """
    images = _images("reconstruct", images)
    return _in_batches(
        model, lambda x, y: to_uint8(model.decode(model.encode(_unit(model, x), y), y)), images, labels
    )


def reconstruction_errors(model: Autoencoder, images: ArrayLike, labels: ArrayLike | None = None) -> Tensor:
    """Return the squared error of each of the images, uint8 (N, C, H, W), summed over its values: (N,) float64.

    Values are in [0, 1]; reconstructions are not rounded.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> reconstruction_errors(model, torch.zeros(5, 1, 8, 8, dtype=torch.uint8)).shape
    torch.Size([5])
    """

    def errors(images: Tensor, y: Tensor | None) -> Tensor:
        x = _unit(model, images)
        return (as_double(model.decode(model.encode(x, y), y)) - as_double(x)).square().flatten(1).sum(1)

    return _in_batches(model, errors, _images("reconstruction_errors", images), labels)


def sample(
    model: Autoencoder,
    density: Density,
    n: int,
    *,
    seed: int = 0,
    labels: ArrayLike | None = None,
    rounds: int = 0,
) -> Tensor:
    """Decode n codes drawn from a density: uint8 (n, C, H, W).

    In each of the rounds the images are encoded and decoded again. This is meant for decoders trained with noise,
    see ``NoisyBatchNorm``; with others images may fade. Without labels, a conditional model draws them with the
    frequencies of the training images, see ``LabelEmbedding.draw``.

    Raises: InputError if n is below 1, or rounds below 0.

    Reference, for the rounds: the Sphere Encoder, 2026, https://arxiv.org/abs/2602.15030.

    >>> from entropic_ae.densities import Prior
    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> sample(model, Prior(model.bottleneck.prior()), 3, seed=0).shape
    torch.Size([3, 1, 8, 8])
    """
    if not isinstance(n, Integral) or n < 1:
        raise InputError(f"the number of samples must be a whole number of at least 1, got {n!r}.")
    if labels is None and model.labels is not None:
        labels = model.labels.draw(n, seed=seed)
    if not isinstance(rounds, Integral) or rounds < 0:
        raise InputError(f"rounds must be a whole number of at least 0, got {rounds!r}.")
    images = decode(model, density.sample(n, seed=seed), labels)
    for _ in range(rounds):
        images = reconstruct(model, images, labels)
    return images


def mix_codes(
    a: Tensor, b: Tensor, t: Tensor, kind: str = "spherical", *, prior: Distribution | None = None
) -> Tensor:
    """Interpolate between codes a and b, both (N, D), at fractions t, (T,): (N, T, D).

    ``linear`` is the straight line; its midpoint is shorter than its ends. ``spherical`` rotates the direction at
    constant angular speed and interpolates the length linearly, so interpolated codes keep the length that is
    typical of the prior. Parallel codes, opposite codes and zeros are always interpolated linearly.

    Under a ``priors.Alphabet`` codes are of it: whatever the kind, the line is taken, and values change one after
    the other, see ``Alphabet.dithered``.

    Raises: InputError for an unknown kind.

    Reference: Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985,
    https://doi.org/10.1145/325334.325242.

    >>> middle = mix_codes(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([0.5]))
    >>> round(middle.norm().item(), 6)
    1.0
    """
    if kind not in INTERPOLATIONS:
        raise InputError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got '{kind}'.")
    a, b, t = a[:, None].double(), b[:, None].double(), t[None, :, None].double()
    line = (1 - t) * a + t * b
    if isinstance(prior, Alphabet):
        return prior.dithered(line.flatten(0, 1)).unflatten(0, line.shape[:2]).float()
    if kind == "linear":
        return line.float()
    length_a, length_b = a.norm(dim=2, keepdim=True), b.norm(dim=2, keepdim=True)
    unit_a, unit_b = a / length_a, b / length_b
    angle = (unit_a * unit_b).sum(2, keepdim=True).clamp(-1, 1).arccos()
    turned = (((1 - t) * angle).sin() * unit_a + (t * angle).sin() * unit_b) / angle.sin()
    curve = ((1 - t) * length_a + t * length_b) * turned
    return torch.where(angle.sin() > 1e-6, curve, line).float()


def walk_codes(
    codes: Tensor, frames: int, kind: str = "spherical", *, prior: Distribution | None = None
) -> Tensor:
    """Return a closed walk through codes, (N, D), with so many steps from each to the next: (N * frames, D).

    The first step is the first code, and the last one is a step before it, so that a film of the walk repeats
    without a jump. Kind and prior are those of ``mix_codes``.

    Raises: InputError for fewer than 2 codes, fewer than 1 frame between two, or an unknown kind.

    >>> corners = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    >>> [round(x) for x in walk_codes(corners, 3, "linear")[:, 0].tolist()]
    [0, 1, 2, 3, 2, 1]
    """
    if codes.dim() != 2 or len(codes) < 2:
        raise InputError(f"a walk expects at least 2 codes (N, D), got shape {tuple(codes.shape)}.")
    if frames < 1:
        raise InputError(f"a walk expects at least 1 frame from each code to the next, got {frames}.")
    t = torch.linspace(0, 1, frames + 1)[:-1]
    return mix_codes(codes, codes.roll(-1, 0), t, kind, prior=prior).flatten(0, 1)


def interpolation_for(model: Autoencoder) -> str:
    """Return the kind of interpolation that keeps codes typical of a model's prior.

    Spherical for a normal prior, whose codes have nearly one length, and on the sphere; linear for other priors,
    whose domain is convex.

    >>> from entropic_ae.bottlenecks import BatchNorm, Cube
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> networks = MLPEncoder((1, 8, 8), 4), MLPDecoder((1, 8, 8), 4)
    >>> [interpolation_for(Autoencoder(networks[0], kind(4), networks[1])) for kind in (BatchNorm, Cube)]
    ['spherical', 'linear']
    """
    return "spherical" if isinstance(as_prior(model.bottleneck.prior()), Normal | UniformSphere) else "linear"


def interpolate(
    model: Autoencoder,
    start: ArrayLike,
    end: ArrayLike,
    *,
    steps: int = 8,
    kind: str = "spherical",
    labels: ArrayLike | None = None,
    end_labels: ArrayLike | None = None,
) -> Tensor:
    """Decode interpolated codes between each start image and its end image: uint8 (N, steps, C, H, W).

    Arguments:
        start, end: uint8 images, both (N, C, H, W).
        steps: images per row, including the reconstructed start and end; at least 2.
        kind: linear or spherical, see ``mix_codes``.
        labels, end_labels: of the start and of the end images, for a conditional model. The first half of a row is
            decoded with the label of its start, the other with that of its end.

    Raises: InputError for fewer than 2 steps, an unknown kind, or different numbers of images.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> images = torch.zeros(5, 1, 8, 8, dtype=torch.uint8)
    >>> interpolate(model, images[:2], images[2:4], steps=6).shape
    torch.Size([2, 6, 1, 8, 8])
    """
    if steps < 2:
        raise InputError(f"expected at least 2 steps, the two ends, got {steps}.")
    start, end = _images("interpolate", start), _images("interpolate", end)
    if len(start) != len(end):
        raise InputError(f"expected equally many start and end images, got {len(start)} and {len(end)}.")
    ends = encode(model, start, labels), encode(model, end, end_labels)
    codes = mix_codes(*ends, torch.linspace(0, 1, steps), kind, prior=model.bottleneck.prior()).flatten(0, 1)
    among = None
    if model.labels is not None:
        first, last = (as_tensor(one, "labels") for one in (labels, end_labels) if one is not None)
        among = torch.where(torch.arange(steps) < steps / 2, first[:, None], last[:, None]).flatten()
    return decode(model, codes, among).unflatten(0, (len(start), steps))


def _unit(model: Autoencoder, images: Tensor) -> Tensor:
    """Return uint8 images in [0, 1], in the type of a model's weights."""
    return to_unit(images).to(next(model.parameters()).dtype)


def _images(who: str, images: ArrayLike) -> Tensor:
    images = as_tensor(images, who)
    if images.dtype != torch.uint8:
        raise InputError(
            f"{who} expects uint8 images (N, C, H, W), got {images.dtype} of shape {tuple(images.shape)}; those "
            "in [0, 1] are (255 * images).round() in bytes."
        )
    return images


def _in_batches(
    model: Autoencoder,
    function: Callable[[Tensor, Tensor | None], Tensor],
    inputs: Tensor,
    labels: ArrayLike | None,
) -> Tensor:
    """Apply a function of a batch and labels in evaluation mode on the model's device, and gather on the CPU."""
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    given = None if model.labels is None else model.labels.checked(labels, len(inputs)).cpu()

    def labelled(rows: Tensor) -> Tensor:
        assert given is not None
        return function(inputs[rows.to(inputs.device)].to(device), given[rows].to(device))

    model.eval()
    try:
        with torch.inference_mode():
            size = sharers() * _BATCHES.get(device.type, _BATCH)
            if given is None:
                parts = inputs.split(size)
                return torch.cat([share_out(lambda x: function(x.to(device), None), x).cpu() for x in parts])
            numbers = torch.arange(len(inputs)).split(size)
            return torch.cat([share_out(labelled, rows).cpu() for rows in numbers])
    finally:
        for module, training in modes.items():  # a part may be frozen in evaluation mode
            module.training = training
