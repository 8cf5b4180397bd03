"""What the registry of backends asks of MXNet Gluon: networks behind NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from resnest.backends.registry import Backend, Detect, Predict, Step
from resnest.gluon._mxnet import mx
from resnest.gluon.deploy import optimize
from resnest.gluon.device import device_of as device_of
from resnest.gluon.layers.splat import SplitAttention
from resnest.gluon.networks.table import NETWORKS
from resnest.gluon.weights import canonical_names, get_weights, load_weights
from resnest.specs.detection.network import FOUND, DetectionSpec
from resnest.specs.networks import Network
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import AUXILIARY_WEIGHT, SegmentationSpec

if TYPE_CHECKING:  # mypy holds this module against what is asked of it
    from resnest.gluon import backend

    _: Backend = backend

UNBIASED = False


def run_stages(spec: Network, weights: Mapping[str, np.ndarray], images: np.ndarray) -> list[np.ndarray]:
    """`[stem, stage 1, .. stage 4, logits]` of (N, C, H, W) images, in the images' dtype.

    Of a detector the pyramid's maps, boxes, scores, labels and masks stand in the logits' place.
    """
    model = build(spec, weights, images.dtype.name)
    x = mx.nd.array(images, dtype=images.dtype)
    return [*(stage.asnumpy() for stage in model.forward_stages(x)), *TASKS[type(spec)].last(model, x)]


def run_attention(
    spec: ResNeStSpec, weights: Mapping[str, np.ndarray], images: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of the split attention in each block its splits and their scores, (N, R * C, H, W) and (N, R * C, 1, 1)."""
    model = build(spec, weights, images.dtype.name)
    found: dict[str, list[np.ndarray]] = {"splits": [], "scores": []}

    def keep(what: str) -> Any:
        return lambda block, inputs, output: found[what].append(output.asnumpy())

    def watch(block: Any) -> None:
        if isinstance(block, SplitAttention):
            block.relu0.register_forward_hook(keep("splits"))
            block.fc2.register_forward_hook(keep("scores"))

    model.apply(watch)
    model.forward_features(mx.nd.array(images, dtype=images.dtype))
    return list(zip(found["splits"], found["scores"]))


def logits(model: Any, x: Any) -> list[np.ndarray]:
    """What a classifier or segmenter gives for the images x, (N, C, H, W)."""
    return [model(x).asnumpy()]


def pyramid_and_found(model: Any, x: Any) -> list[np.ndarray]:
    """A detector's pyramid, and boxes, scores, labels and masks of what is found in all images, one below the other."""
    pyramid, found = [level.asnumpy() for level in model.forward_pyramid(x)], model(x)
    parts = [part for part in FOUND if part in found[0]]
    return [*pyramid, *(np.concatenate([image[part] for image in found]) for part in parts)]


def as_called(model: Any) -> Any:
    """A function from images to what the model gives."""
    return model


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
    model = build(spec, weights, images.dtype.name)
    with mx.autograd.record():
        output = model(mx.nd.array(images, dtype=images.dtype))
        loss = sum(weight * cross_entropy(logits, labels) for weight, logits in weighted(output))
    loss.backward()
    parameters = model._collect_params_with_prefix()
    names = canonical_names(model)
    gradients = {names[name]: p.grad().asnumpy() for name, p in parameters.items() if p.grad_req != "null"}
    statistics = {name: array for name, array in get_weights(model).items() if ".running_" in name}
    return float(loss.asscalar()), gradients, statistics


def weighted(output: Any) -> list[tuple[float, Any]]:
    """Every logits that a network in training gives, and how much they count."""
    return list(zip((1.0, AUXILIARY_WEIGHT), output if isinstance(output, tuple) else (output,)))


def cross_entropy(logits: Any, labels: np.ndarray) -> Any:
    """The mean over images, and pixels where `logits` are (N, C, h, w)."""
    target = np.broadcast_to(labels.reshape(-1, *[1] * (logits.ndim - 2)), (len(labels), *logits.shape[2:]))
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss(axis=1)
    return loss(logits, mx.nd.array(target, dtype=logits.dtype)).mean()


def predictor(spec: Network, weights: Mapping[str, np.ndarray], device: str = "cpu") -> Predict:
    """A function from (N, C, H, W) to logits, a segmenter's at that size, on `device` ("cpu", "gpu:0", ...)."""
    ctx = device_of(device)
    model = build(spec, weights, ctx=ctx)
    run = TASKS[type(spec)].predict(model)

    def predict(images: np.ndarray) -> np.ndarray:
        return run(mx.nd.array(images, ctx=ctx, dtype=images.dtype)).asnumpy()

    return predict


def detector(spec: DetectionSpec, weights: Mapping[str, np.ndarray], device: str = "cpu") -> Detect:
    """A function from photos to what is found in them, on `device` ("cpu", "gpu:0", ...)."""
    return build(spec, weights, ctx=device_of(device)).predict


def bench_step(spec: Network, form: str, images: np.ndarray, *, threads: int, train: bool) -> Step:
    """A step of a freshly drawn network on `images`, in one of the registry's forms.

    MXNet took its number of threads from the environment when it was imported.
    """
    model = NETWORKS[type(spec)](spec)
    model.initialize()
    return step_of(model, form, images, train=train)


def step_of(model: Any, form: str, images: np.ndarray, *, train: bool) -> Step:
    """A step of any Gluon classifier; the words in `form` say how it is made fast."""
    x = mx.nd.array(images)
    if "deploy" in form:
        model = model.deploy()
    if "optimized" in form:
        model = optimize(model, x, dtype="bfloat16" if "bfloat16" in form else None)
    else:
        model.hybridize(static_alloc=True, static_shape=True)
    if train:
        return training_step(model, x)
    return lambda: model(x).wait_to_read()


def training_step(model: Any, x: Any) -> Step:
    """Forward, backward and SGD with momentum, on the same images each time."""
    cross_entropy = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = mx.gluon.Trainer(model.collect_params(), "sgd", {"learning_rate": 0.01, "momentum": 0.9})
    labels = mx.nd.arange(len(x)) % 1000

    def step() -> None:
        with mx.autograd.record():
            loss = cross_entropy(model(x), labels)
        loss.backward()
        trainer.step(len(x))
        mx.nd.waitall()

    return step


def build(spec: Network, weights: Mapping[str, np.ndarray], dtype: str = "float32", ctx: Any = None) -> Any:
    """The network `spec` with canonical `weights`, which are not rounded to float32 on the way to another `dtype`."""
    model = NETWORKS[type(spec)](spec)
    model.cast(dtype)
    load_weights(model, weights, ctx=ctx)
    return model
