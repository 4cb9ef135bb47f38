"""Encoders and decoders: convolutional and residual pairs, perceptrons; a random network, and a transformer.

An encoder maps images in [0, 1], (N, C, H, W), to (N, features); a decoder maps codes, (N, D), to images in
[0, 1]. Each is sized by the image shape (C, H, W) and the number of features or dimensions.

With ``spectral``, the weight of every linear layer and convolution (also transposed) is divided by its largest
singular value. The weight is reshaped to a matrix with one row per output channel. One power iteration per
training step tracks the singular value. Batch norms are not changed. The code of Ghosh et al. also normalises both
networks and keeps the batch norms, but reshapes transposed convolutions to one column per input channel.

References:
    Ghosh et al., "From variational to deterministic autoencoders", 2019, https://arxiv.org/abs/1903.12436.
    Miyato et al., "Spectral normalization for generative adversarial networks", 2018,
    https://arxiv.org/abs/1802.05957.
"""

from entropic_ae.networks.convolutional import ConvDecoder, ConvEncoder
from entropic_ae.networks.fixed import RandomFeatures
from entropic_ae.networks.perceptrons import MLPDecoder, MLPEncoder, Perceptron
from entropic_ae.networks.residual import ResidualBlock, ResidualDecoder, ResidualEncoder, UpsamplingConv2d
from entropic_ae.networks.sequences import CausalTransformer
from entropic_ae.networks.sizes import LARGEST, SIDES, Shape, fits
from entropic_ae.networks.spatial import FromCells, GridDecoder, GridEncoder, ToCells

__all__ = [
    "LARGEST",
    "SIDES",
    "CausalTransformer",
    "ConvDecoder",
    "ConvEncoder",
    "FromCells",
    "GridDecoder",
    "GridEncoder",
    "MLPDecoder",
    "MLPEncoder",
    "Perceptron",
    "RandomFeatures",
    "ResidualBlock",
    "ResidualDecoder",
    "ResidualEncoder",
    "Shape",
    "ToCells",
    "UpsamplingConv2d",
    "fits",
]
