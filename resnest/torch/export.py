"""PyTorch's own file formats, TorchScript and the exported programs of `torch.export`, and ONNX of what needs it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
from resnest.torch.weights import filled

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


def images(spec: Any, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """Images (2, C, height, width) to follow through a network: a batch of one would be taken for a constant."""
    return (torch.zeros(2, spec.in_channels, *size),)


def image_and_size(spec: Any, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """An image (1, C, height, width) in which something is found, and its size (1, 2)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, spec.in_channels, *size, generator=generator), torch.tensor([[*size]])


def traced(network: Any, inputs: tuple[Tensor, ...]) -> Any:
    """The network in TorchScript where no script holds it, as a detector's lists of dicts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is constant for one image
        return torch.jit.trace(network, inputs, check_trace=False)


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Inside, PyTorch does not say at each call that TorchScript is old, which who asks for that format knows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.")
        yield


class Task(NamedTuple):
    """How the networks of a task are written.

    `ready` makes of a network what is written of it, whose `inputs` and `outputs` are called so; the first are an
    image, or where `batched` a batch of any number of them. `examples` of images of a size are followed through it,
    where sizes are left open of more than the `smallest` side, at which its coarsest map has two pixels. `scripted`
    puts it into TorchScript.
    """

    ready: Callable[[Any], Any]
    inputs: tuple[str, ...] = ("image",)
    outputs: Callable[[Any], tuple[str, ...]] = lambda spec: ("logits",)
    batched: bool = True
    examples: Callable[[Any, tuple[int, int]], tuple[Tensor, ...]] = images
    smallest: Callable[[Any], int] = lambda spec: spec.minimum_size
    scripted: Callable[[Any, tuple[Tensor, ...]], Any] = lambda network, inputs: torch.jit.script(network)


TASKS: dict[type, Task] = {
    ResNeStSpec: Task(lambda model: model),
    SegmentationSpec: Task(AtSize),
    DetectionSpec: Task(
        OneImage,
        inputs=("image", "size"),
        outputs=lambda spec: ("boxes", "scores", "labels", *(["masks"] if spec.has_masks else [])),
        batched=False,
        examples=image_and_size,
        smallest=lambda spec: spec.anchors.strides[-1] + 1,
        scripted=traced,
    ),
}
"""Kind of spec -> how such networks are written."""


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
    task = TASKS[type(spec)]
    network = task.ready(filled(partial(NETWORKS[type(spec)], spec), weights).eval())
    if dtype is not None:
        network = Rounded(network, dtype).eval()
    side = task.smallest(spec) + 31  # the smallest itself would be taken for a constant
    inputs = task.examples(spec, size or (side, side))
    with torch.no_grad(), unwarned():
        if format == "torchscript":
            torch.jit.save(task.scripted(network, inputs), path)
        elif format == "pt2":
            torch.export.save(exported(network, inputs, task.batched, size is None), path)
        else:
            _write_onnx(network, inputs, path, spec, size is None)


def check(spec: Any, format: str, size: tuple[int, int] | None = None, dtype: str | None = None) -> None:
    """Raise ValueError for a network that the format cannot hold: each holds all."""


def exported(network: Any, inputs: tuple[Tensor, ...], batched: bool, any_size: bool) -> Any:
    """The network as a program of `torch.export`, the batch and the images' size left open or not."""
    # AUTO, because PyTorch itself draws the line below which the last feature map has one pixel.
    axes = ([0] if batched else []) + ([2, 3] if any_size else [])
    sizes = (dict.fromkeys(axes, torch.export.Dim.AUTO), *[None] * (len(inputs) - 1))
    return torch.export.export(network, inputs, dynamic_shapes=sizes, strict=False)


def _write_onnx(network: Any, inputs: tuple[Tensor, ...], path: Path, spec: Network, any_size: bool) -> None:
    task = TASKS[type(spec)]
    outputs = task.outputs(spec)
    image = ({0: "batch"} if task.batched else {}) | ({2: "height", 3: "width"} if any_size else {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter goes by what a run does, and says so at each constant
        torch.onnx.export(
            network,
            inputs,
            path,
            dynamo=False,  # the other one needs two packages more
            opset_version=OPSET,
            input_names=task.inputs,
            output_names=outputs,
            dynamic_axes={"image": image, **dict.fromkeys(outputs, image if task.batched else {0: "found"})},
        )


def read(path: Path, format: str) -> Callable[..., Any]:
    """What the file at `path` makes of its inputs, arrays: an array, or where there are several a list of them."""
    operators_of_detectors()
    with unwarned():
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
