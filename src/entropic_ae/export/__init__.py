"""Export: a trained model as ONNX graphs, or as plain safetensors, for use without this library.

The encoder maps images in [0, 1], (N, C, H, W), to codes, (N, D), or to the means of their posteriors. The decoder
maps codes to images in [0, 1]. A sampler, ONNX only, maps noise to new images and their codes. The noise is
standard normal for every density; the graph transforms it to the density.

Everything is float32, in evaluation mode, with spectral normalisation folded into the weights.
"""

from entropic_ae.densities import Sampler
from entropic_ae.export.graphs import make_sampler
from entropic_ae.export.onnx import BATCHES
from entropic_ae.export.writing import FORMATS, INSTALL, check_export, export_model, exported

__all__ = ["BATCHES", "FORMATS", "INSTALL", "Sampler", "check_export", "export_model", "exported", "make_sampler"]
