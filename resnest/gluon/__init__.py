"""ResNeSt in MXNet Gluon."""

from resnest.gluon.builders import (
    create_model,
    get_model,
    resnest14,
    resnest26,
    resnest50,
    resnest50_fast_1s1x64d,
    resnest50_fast_1s2x40d,
    resnest50_fast_1s4x24d,
    resnest50_fast_2s1x64d,
    resnest50_fast_2s2x40d,
    resnest50_fast_4s1x64d,
    resnest50_fast_4s2x40d,
    resnest101,
    resnest200,
    resnest269,
)
from resnest.gluon.deploy import optimize
from resnest.gluon.layers.dropblock import DropBlock, DropBlockScheduler
from resnest.gluon.layers.splat import SplitAttention
from resnest.gluon.networks.resnest import Bottleneck, ResNeSt, ResNeStFeatures
from resnest.gluon.networks.segmentation import Segmenter, create_segmenter
from resnest.gluon.weights import get_weights, load_weights

__all__ = [
    "Bottleneck",
    "DropBlock",
    "DropBlockScheduler",
    "ResNeSt",
    "ResNeStFeatures",
    "Segmenter",
    "SplitAttention",
    "create_model",
    "create_segmenter",
    "get_model",
    "get_weights",
    "load_weights",
    "optimize",
    "resnest14",
    "resnest26",
    "resnest50",
    "resnest50_fast_1s1x64d",
    "resnest50_fast_1s2x40d",
    "resnest50_fast_1s4x24d",
    "resnest50_fast_2s1x64d",
    "resnest50_fast_2s2x40d",
    "resnest50_fast_4s1x64d",
    "resnest50_fast_4s2x40d",
    "resnest101",
    "resnest200",
    "resnest269",
]
