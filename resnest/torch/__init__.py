"""ResNeSt in PyTorch."""

try:
    import torch  # noqa: F401  # asked for here, so that its absence is one sentence
except ModuleNotFoundError as error:
    raise ImportError(
        f"resnest.torch needs PyTorch, and {error.name} is not installed: pip install 'resnest[torch]'"
    ) from error

from resnest.torch.builders import (
    create_model,
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
from resnest.torch.deploy import optimize
from resnest.torch.layers.dropblock import DropBlock, DropBlockScheduler
from resnest.torch.layers.splat import SplitAttention
from resnest.torch.networks.resnest import Bottleneck, ResNeSt, ResNeStFeatures
from resnest.torch.networks.segmentation import Segmenter, create_segmenter
from resnest.torch.weights import get_weights, load_weights

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
