"""torch-fidelity's Inception where its weights and a matching torchvision cannot be had."""

import importlib
import io
import sys

import torch

_declared = []  # a library's operators live as long as the object


def import_torchvision():
    """Import torchvision; beside a CPU build of torch its compiled operators are missing, so declare them."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        importlib.import_module("torchvision")


def random_inception():
    """Return torch-fidelity's network with random weights; its constructor loads a file, so one is made for it."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Shapes(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_args, **_options):
            return None

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Shapes("random", ["2048"], feature_extractor_weights_path=empty)
