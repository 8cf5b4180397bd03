"""ResNeSt in PyTorch."""

from resnest.torch import _torch, builders  # noqa: F401  # _torch first: without PyTorch it says what to install
from resnest.torch.builders import *  # noqa: F403  # its __all__: create_model and one builder for each variant
from resnest.torch.deploy import OptimizedDetector, OptimizedModel, optimize
from resnest.torch.layers.dropblock import DropBlock, DropBlockScheduler
from resnest.torch.layers.splat import SplitAttention
from resnest.torch.networks.detection import Detector, create_detector
from resnest.torch.networks.resnest import Bottleneck, ResNeSt, ResNeStFeatures
from resnest.torch.networks.segmentation import Segmenter, create_segmenter
from resnest.torch.weights import get_weights, load_weights

__all__ = [
    "Bottleneck",
    "Detector",
    "DropBlock",
    "DropBlockScheduler",
    "OptimizedDetector",
    "OptimizedModel",
    "ResNeSt",
    "ResNeStFeatures",
    "Segmenter",
    "SplitAttention",
    "create_detector",
    "create_segmenter",
    "get_weights",
    "load_weights",
    "optimize",
]
__all__ += builders.__all__
