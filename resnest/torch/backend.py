"""What the registry of backends asks of PyTorch: networks behind NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from resnest.backends.registry import Backend, Detect, Predict, Step
from resnest.specs.detection.network import FOUND, DetectionSpec
from resnest.specs.networks import Network
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import AUXILIARY_WEIGHT, SegmentationSpec
from resnest.torch.deploy import optimize
from resnest.torch.device import device_of as device_of
from resnest.torch.layers.splat import SplitAttention
from resnest.torch.networks.table import NETWORKS
from resnest.torch.weights import canonical_names, get_weights, load_weights

if TYPE_CHECKING:  # mypy holds this module against what is asked of it
    from resnest.torch import backend

    _: Backend = backend

UNBIASED = True


def run_stages(spec: Network, weights: Mapping[str, np.ndarray], images: np.ndarray) -> list[np.ndarray]:
    """`[stem, stage 1, .. stage 4, logits]` of (N, C, H, W) images, in the images' dtype.

    Of a detector the pyramid's maps, boxes, scores, labels and masks stand in the logits' place.
    """
    model = build(spec, weights, images.dtype.name).eval()
    x = torch.from_numpy(images)
    with torch.inference_mode():
        return [*(stage.numpy() for stage in model.forward_stages(x)), *TASKS[type(spec)].last(model, x)]


def run_attention(
    spec: ResNeStSpec, weights: Mapping[str, np.ndarray], images: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of the split attention in each block its splits and their scores, (N, R * C, H, W) and (N, R * C, 1, 1)."""
    model = build(spec, weights, images.dtype.name).eval()
    found: dict[str, list[np.ndarray]] = {"splits": [], "scores": []}

    def keep(what: str) -> Any:
        return lambda module, inputs, output: found[what].append(output.numpy().copy())

    for splat in (module for module in model.modules() if isinstance(module, SplitAttention)):
        splat.relu0.register_forward_hook(keep("splits"))
        splat.fc2.register_forward_hook(keep("scores"))
    with torch.inference_mode():
        model.forward_features(torch.from_numpy(images))
    return list(zip(found["splits"], found["scores"]))


def logits(model: Any, x: torch.Tensor) -> list[np.ndarray]:
    """What a classifier or segmenter gives for the images x, (N, C, H, W)."""
    return [model(x).numpy()]


def pyramid_and_found(model: Any, x: torch.Tensor) -> list[np.ndarray]:
    """A detector's pyramid, and boxes, scores, labels and masks of what is found in all images, one below the other."""
    pyramid, found = [level.numpy() for level in model.forward_pyramid(x)], model(x)
    parts = [part for part in FOUND if part in found[0]]
    return [*pyramid, *(torch.cat([image[part] for image in found]).numpy() for part in parts)]


def as_called(model: Any) -> Any:
    """A function from images to what the model gives."""
    return torch.inference_mode()(model)


def at_their_size(model: Any) -> Any:
    """A function from images to a segmenter's logits at the images' size."""
    return model.predict


class Task(NamedTuple):
    """What a network of a task gives behind its stages, and what predicts with it."""

    last: Callable[[Any, Any], list[np.ndarray]]
    predict: Callable[[Any], Any]


TASKS: dict[type, Task] = {
    ResNeStSpec: Task(logits, as_called),
    SegmentationSpec: Task(logits, at_their_size),
    DetectionSpec: Task(pyramid_and_found, as_called),
}
"""Kind of spec -> how such networks are run."""


def run_training_step(
    spec: Network, weights: Mapping[str, np.ndarray], images: np.ndarray, labels: np.ndarray
) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Mean cross entropy, its gradient by tensor, and the updated running statistics, of one training step.

    A label is its image's, for a segmentation network that of all pixels.
    """
    model = build(spec, weights, images.dtype.name).train()
    output = model(torch.from_numpy(images))
    loss = torch.stack([weight * cross_entropy(logits, labels) for weight, logits in weighted(output)]).sum()
    loss.backward()
    names = canonical_names(model)
    gradients = {names[name]: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    statistics = {name: array for name, array in get_weights(model).items() if ".running_" in name}
    return loss.item(), gradients, statistics


def weighted(output: Any) -> list[tuple[float, torch.Tensor]]:
    """Every logits that a network in training gives, and how much they count."""
    return list(zip((1.0, AUXILIARY_WEIGHT), output if isinstance(output, tuple) else (output,)))


def cross_entropy(logits: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    """The mean over images, and pixels where `logits` are (N, C, h, w)."""
    target = torch.from_numpy(labels).reshape(-1, *[1] * (logits.ndim - 2))
    return F.cross_entropy(logits, target.expand(-1, *logits.shape[2:]))


def predictor(spec: Network, weights: Mapping[str, np.ndarray], device: str = "cpu") -> Predict:
    """A function from (N, C, H, W) to logits, a segmenter's at that size, on `device` ("cpu", "cuda:0", ...)."""
    place = device_of(device)
    model = build(spec, weights).eval().to(place)
    run = TASKS[type(spec)].predict(model)

    def predict(images: np.ndarray) -> np.ndarray:
        return run(torch.from_numpy(images).to(place)).cpu().numpy()

    return predict


def detector(spec: DetectionSpec, weights: Mapping[str, np.ndarray], device: str = "cpu") -> Detect:
    """A function from photos to what is found in them, computed on `device` ("cpu", "cuda:0", ...)."""
    place = device_of(device)
    model = build(spec, weights).eval().to(place)

    def detect(photos: Sequence[Any]) -> list[dict[str, np.ndarray]]:
        return [{name: found.cpu().numpy() for name, found in image.items()} for image in model.predict(photos)]

    return detect


def bench_step(spec: Network, form: str, images: np.ndarray, *, threads: int, train: bool) -> Step:
    """A step of a freshly drawn network on `images`, in one of the registry's forms."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return step_of(NETWORKS[type(spec)](spec), form, images, train=train)


def step_of(model: Any, form: str, images: np.ndarray, *, train: bool) -> Step:
    """A step of any PyTorch classifier; the words in `form` say in which memory layout and how made fast."""
    layout = torch.contiguous_format if "nchw" in form else torch.channels_last
    x = torch.from_numpy(images).to(memory_format=layout)
    model = model.to(memory_format=layout)
    if train:
        return training_step(model.train(), x)
    model.eval()
    if "deploy" in form or "convolutions" in form:
        model = model.deploy().to(memory_format=layout)
    rounded = "bfloat16" in form
    if "optimized" in form:
        model = optimize(model, x, keep_memory=True, dtype="bfloat16" if rounded else None)
    elif rounded and "autocast" not in form:
        model, x = model.bfloat16(), x.bfloat16()
    if "compiled" in form:
        model = torch.compile(model, options={"freezing": True})
    if "convolutions" in form:
        model = convolutions_alone(model, x)

    def step() -> None:
        # Frozen weights need no_grad, and torch.compile does not freeze in inference mode.
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled="autocast" in form):
            model(x)

    return step


def training_step(model: Any, x: torch.Tensor) -> Step:
    """Forward, backward and SGD with momentum, on the same images each time."""
    labels = torch.arange(len(x)) % 1000
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


def convolutions_alone(model: Any, x: torch.Tensor) -> Callable[[torch.Tensor], None]:
    """Every convolution of `model` on the input that it gets there, and nothing else."""
    calls: list[tuple[Any, torch.Tensor]] = []
    convolutions = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs: calls.append((module, inputs[0].clone())))
        for module in convolutions
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()

    def run(_: torch.Tensor) -> None:
        for convolution, inputs in calls:
            convolution(inputs)

    return run


def build(spec: Network, weights: Mapping[str, np.ndarray], dtype: str = "float32") -> Any:
    """The network `spec` with canonical `weights`, which are not rounded to float32 on the way to another `dtype`."""
    with torch.device("meta"):
        model = NETWORKS[type(spec)](spec).to(getattr(torch, dtype))
    load_weights(model, weights)
    return model
