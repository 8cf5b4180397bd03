"""PyTorch's own file formats, TorchScript and the exported programs of `torch.export`, and ONNX of what needs it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from resnest.backends.registry import Exporter
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.networks import Network
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import SegmentationSpec
from resnest.torch.deploy import Rounded
from resnest.torch.layers.regions import joined, operators
from resnest.torch.layers.units import resize_like
from resnest.torch.networks.table import NETWORKS
from resnest.torch.weights import load_weights

if TYPE_CHECKING:  # mypy holds this module against what is asked of it
    from resnest.torch import export

    _: Exporter = export

OPSET = 17
"""That of the ONNX files: the newest that every onnxruntime since 1.12 reads."""


class AtSize(nn.Module):
    """A segmenter whose logits (N, num_classes, H, W) are of the images' size."""

    def __init__(self, model: Any):
        super().__init__()
        self.backbone = model.backbone
        self.decode_head = model.decode_head

    def forward(self, image: Tensor) -> Tensor:
        return resize_like(self.decode_head(self.backbone(image)), image)


class OneImage(nn.Module):
    """A detector of one image (1, C, H, W) of `size` (1, 2), its height and width without padding.

    It gives `boxes` (n, 4), `scores` (n,), `labels` (n,), and of a family with masks their probabilities (n, 28, 28)
    in the boxes.
    """

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        model = self.model
        maps = model.forward_pyramid(image)
        ((boxes, _),) = model.rpn_head.propose(*model.rpn_head(maps), size, model.spec.proposals)
        scores, boxes = model.roi_head.refine(maps, joined([boxes]), size)
        found = model.roi_head.select(boxes, scores)
        masks = model.roi_head.masks(maps, [found]) if model.spec.has_masks else []
        return found["boxes"], found["scores"], found["labels"], *masks


def write(
    spec: Network,
    weights: Mapping[str, np.ndarray],
    path: Path,
    format: str,
    size: tuple[int, int] | None = None,
    dtype: str | None = None,
) -> None:
    """Write a network in eval mode as "torchscript", "pt2" or "onnx" for images of `size`, or without it of any.

    The batch is open too, but that of a detector, which is one image. A segmenter's logits are of the images' size.
    It computes in `dtype` ("float16", "bfloat16") where told, and takes and gives float32 all the same.
    """
    with torch.device("meta"):
        model = NETWORKS[type(spec)](spec)
    load_weights(model, weights)
    network = ready(model.eval())
    if dtype is not None:
        network = Rounded(network, dtype).eval()
    inputs = examples(spec, size)
    with torch.no_grad():
        if format == "torchscript":
            torch.jit.save(scripted(network, inputs), path)
        elif format == "pt2":
            torch.export.save(exported(network, inputs, size), path)
        else:
            _write_onnx(network, inputs, path, size)


def check(spec: Any, format: str, size: tuple[int, int] | None = None, dtype: str | None = None) -> None:
    """Raise ValueError for a network that the format cannot hold: each holds all."""


def ready(model: Any) -> Any:
    """What is written of a network: itself, or what makes its answer one that a file can give."""
    if isinstance(model.spec, DetectionSpec):
        return OneImage(model)
    return AtSize(model) if isinstance(model.spec, SegmentationSpec) else model


def examples(spec: Any, size: tuple[int, int] | None) -> tuple[Tensor, ...]:
    """Inputs to follow through a network: larger than the smallest, for which other things happen."""
    height, width = size or (smallest(spec) + 31, smallest(spec) + 31)
    if not isinstance(spec, DetectionSpec):
        return (torch.zeros(2, spec.in_channels, height, width),)  # a batch of one would be taken for a constant
    generator = torch.Generator().manual_seed(0)  # so that something is found
    return torch.randn(1, spec.in_channels, height, width, generator=generator), torch.tensor([[height, width]])


def smallest(spec: Any) -> int:
    """The smallest side of images for a program with sizes left open, whose coarsest map has two pixels then."""
    if isinstance(spec, DetectionSpec):
        return spec.anchors.strides[-1] + 1
    return spec.minimum_size if isinstance(spec, ResNeStSpec) else spec.backbone.minimum_size


def scripted(network: Any, inputs: tuple[Tensor, ...]) -> Any:
    """The network in TorchScript; a detector is traced, whose lists of dicts no script holds."""
    if not isinstance(network, OneImage):
        return torch.jit.script(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is constant for one image
        return torch.jit.trace(network, inputs, check_trace=False)


def exported(network: Any, inputs: tuple[Tensor, ...], size: tuple[int, int] | None) -> Any:
    """The network as a program of `torch.export`."""
    # AUTO, because PyTorch itself draws the line below which the last feature map has one pixel.
    axes = (0, 2, 3)[isinstance(network, OneImage) : None if size is None else 1]
    sizes = (dict.fromkeys(axes, torch.export.Dim.AUTO), *[None] * (len(inputs) - 1))
    return torch.export.export(network, inputs, dynamic_shapes=sizes, strict=False)


def _write_onnx(network: Any, inputs: tuple[Tensor, ...], path: Path, size: tuple[int, int] | None) -> None:
    detects = isinstance(network, OneImage)
    sides = {2: "height", 3: "width"} if size is None else {}
    batch = {} if detects else {0: "batch"}
    outputs = ["boxes", "scores", "labels", "masks"] if detects else ["logits"]
    found = dict.fromkeys(outputs, {0: "found"} if detects else batch | sides)
    if detects and not network.model.spec.has_masks:
        outputs, _ = outputs[:3], found.pop("masks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter goes by what a run does, and says so at each constant
        torch.onnx.export(
            network,
            inputs,
            path,
            dynamo=False,  # the other one needs two packages more
            opset_version=OPSET,
            input_names=["image", "size"][: len(inputs)],
            output_names=outputs,
            dynamic_axes={"image": batch | sides, **found},
        )


def read(path: Path, format: str) -> Callable[..., Any]:
    """What the file at `path` makes of its inputs, arrays: an array, or where there are several a list of them."""
    operators_of_detectors()
    model = torch.jit.load(path) if format == "torchscript" else torch.export.load(path).module()

    def predict(*images: np.ndarray) -> Any:
        with torch.no_grad():
            found = model(*map(torch.from_numpy, images))
        return [one.numpy() for one in found] if isinstance(found, (tuple, list)) else found.numpy()

    return predict


def operators_of_detectors() -> None:
    """Have PyTorch know the operators that a detector's file may name, where they are installed."""
    with contextlib.suppress(ImportError):
        operators()
