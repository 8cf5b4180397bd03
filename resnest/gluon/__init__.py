"""ResNeSt in MXNet Gluon."""

from resnest.gluon import builders
from resnest.gluon.builders import *  # noqa: F403  # its __all__: create_model and one builder for each variant
from resnest.gluon.deploy import optimize
from resnest.gluon.layers.dropblock import DropBlock, DropBlockScheduler
from resnest.gluon.layers.splat import SplitAttention
from resnest.gluon.networks.detection import Detector, create_detector
from resnest.gluon.networks.resnest import Bottleneck, ResNeSt, ResNeStFeatures
from resnest.gluon.networks.segmentation import Segmenter, create_segmenter
from resnest.gluon.weights import get_weights, load_weights

__all__ = [
    "Bottleneck",
    "Detector",
    "DropBlock",
    "DropBlockScheduler",
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
