"""The deploy form of a PyTorch model, and the fastest way to run it on a CPU."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnest.backends.processor import check_dtype
from resnest.specs.networks import TASKS
from resnest.torch.weights import get_weights, live_spec, load_weights, norms, unwrapped
from resnest.weights.fold import in_form_of

# of glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def deploy(model: Any) -> Any:
    """A new model that predicts what `model` does, its batch norms folded into the convolutions before them.

    It is in eval mode, has no dropout, and keeps the dtype and device; on a CPU its weights lie channels
    last, which is faster there whatever the images' format. Hooks on modules stay behind. Raises
    ValueError for a model whose norms are no batch norms with running statistics, and for one that was
    changed since it was built so that its spec does not say it.
    """
    model = unwrapped(model)
    weights = get_weights(model)
    if not model.spec.deploy and not any(name.endswith(".running_var") for name in weights):
        raise ValueError(
            f"only batch norms with running statistics fold into convolutions, and the norms here are"
            f" {getattr(model, 'backbone', model).bn1}:"
            " predict with the model as it is"
        )
    eps = {norm: numbers["norm_eps"] for norm, numbers in norms(model).items()}
    spec = live_spec(model).in_form(deploy=True)
    with torch.device("meta"):
        deployed = model.rebuilt(spec)
    like = next(model.parameters())
    deployed.to(like.dtype)
    load_weights(deployed, in_form_of(spec, weights, eps=eps))
    deployed.classes = model.classes
    if like.device.type == "cpu" and like.dtype != torch.float64:  # float64 has no kernels of oneDNN
        deployed.to(memory_format=torch.channels_last)
    return deployed.to(like.device).eval()


class OptimizedModel:
    """A compiled network: a function of images (N, C, H, W) of the shape, dtype and device that it was compiled for.

    `shape` has None where a size is open. Raises ValueError for images that are not like that, where the
    compiled code by itself would read beyond their end.
    """

    def __init__(self, compiled: Any, shape: Sequence[int | None], dtype: str, device: str, minimum: int):
        self.compiled = compiled
        self.shape = tuple(shape)
        self.dtype = dtype
        self.device = device
        self.minimum = minimum

    @classmethod
    def load(cls, path: str | os.PathLike) -> OptimizedModel:
        """The network that `optimize` kept at `path`; ValueError for a package of something else, or for none."""
        try:
            compiled = torch._inductor.aoti_load_package(str(path))
        except RuntimeError as error:
            raise ValueError(f"{path} is no package that resnest.torch.optimize wrote: {error}") from error
        signature = compiled.get_metadata().get(SIGNATURE)
        if signature is None:
            raise ValueError(f"{path} was not written by resnest.torch.optimize: it does not say what images it takes")
        return cls(compiled, **json.loads(signature))

    def __call__(self, images: Tensor) -> Any:
        self.check(images)
        return self.compiled(images.to(memory_format=torch.channels_last))

    def check(self, images: Tensor) -> None:
        """Raise ValueError for images that the network was not compiled for."""
        fits = images.ndim == len(self.shape) and all(
            wanted in (None, size) for wanted, size in zip(self.shape, images.shape)
        )
        if not fits:
            way_out = "" if None in self.shape else ", or with dynamic=True for any batch and size"
            raise ValueError(
                f"this network was compiled for images of {_sizes(self.shape)} and not {_sizes(images.shape)}:"
                f" compile it for those{way_out}"
            )
        if min(images.shape[2:]) < self.minimum:
            raise ValueError(
                f"images of {_sizes(images.shape)} are too small: give at least {self.minimum} pixels a side"
            )
        dtype, device = str(images.dtype).removeprefix("torch."), images.device.type
        if (dtype, device) != (self.dtype, self.device):
            raise ValueError(
                f"this network was compiled for {self.dtype} on {self.device} and not {dtype} on {device}:"
                f' give it images.to("{self.device}", torch.{self.dtype})'
            )


class Rounded(torch.nn.Module):
    """A network that computes in another `dtype` than its images and results have."""

    def __init__(self, network: Any, dtype: str):
        super().__init__()
        self.dtype = getattr(torch, dtype)
        self.network = network.to(self.dtype)

    def forward(self, images: Tensor) -> Any:
        outputs = self.network(images.to(self.dtype))
        if isinstance(outputs, Tensor):
            return outputs.to(images.dtype)
        return [output.to(images.dtype) for output in outputs]


class Pyramid(torch.nn.Module):
    """What of a detector has fixed shapes and is most of its work: images (N, C, H, W) -> the pyramid's five maps."""

    def __init__(self, detector: Any):
        super().__init__()
        self.backbone = detector.backbone
        self.neck = detector.neck

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.neck(self.backbone(images))


class OptimizedDetector:
    """A detector with a compiled pyramid: it finds what `model` does, in images that the `pyramid` was compiled for.

    What follows the pyramid is the deploy form of `model`. A `pyramid` that `optimize` kept at a path is
    `OptimizedModel.load(path)`. Raises ValueError for other images than it was compiled for.
    """

    def __init__(self, model: Any, pyramid: OptimizedModel):
        self.detector = deploy(model)
        self.pyramid = self.detector.forward_pyramid = pyramid

    @torch.no_grad()
    def __call__(self, images: Tensor, sizes: Sequence[Sequence[int]] | None = None) -> Any:
        self.pyramid.check(images)
        return self.detector(images, sizes)

    def predict(self, photos: Sequence[Any]) -> Any:
        """What is found in photos, as `Detector.predict` finds it; the batch that they make has to be of the shape."""
        return self.detector.predict(photos)


SIGNATURE = "resnest"
"""Under this name a package keeps what images it takes."""


def optimize(
    model: Any,
    example: Tensor,
    path: str | os.PathLike | None = None,
    *,
    dynamic: bool = False,
    keep_memory: bool = False,
    dtype: str | None = None,
) -> OptimizedModel | OptimizedDetector:
    """A compiled function that predicts what `model` does, for images of the shape of `example`, (N, C, H, W).

    AOTInductor compiles the deploy form, channels last and with frozen weights, so that each
    weight is laid out once as the processor wants it and ReLUs and residual adds run inside the
    convolutions. It takes a C++ compiler and about a minute, and what it gives is bound to
    this kind of processor. With `dynamic` the batch, height and width stay open, which costs
    speed. `path` keeps it as a `.pt2` package, which `OptimizedModel.load` opens in the next process.
    `keep_memory` calls `keep_freed_memory`, which is for the whole process. `dtype` ("bfloat16", "float16") is what it
    computes in; images and results keep the dtype of `example`. Of a detector the backbone and the pyramid are
    compiled, kept and computed in `dtype`: see `OptimizedDetector`. Raises ValueError for a path of another kind, for
    an example that the network does not take, and for a dtype that the processor has no instructions for, and
    FileNotFoundError where there is no folder for the path.
    """
    if path is not None and not str(path).endswith(".pt2"):
        raise ValueError(f"{path} does not end with .pt2, as an AOTInductor package does")
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {Path(path).parent} to keep {Path(path).name} in: make it first")
    model = unwrapped(model)
    _check_example(model, example)
    if dtype is not None and example.device.type == "cpu":
        check_dtype(dtype)
    if keep_memory:
        keep_freed_memory()
    network = deploy(model).to(memory_format=torch.channels_last)
    is_detector = TASKS[type(model.spec)].finds
    if is_detector:
        network, coarsest = Pyramid(network).eval(), model.spec.anchors.strides[-1]
    else:
        coarsest = getattr(model.spec, "backbone", model.spec).feature_strides[-1]
    if dtype is not None:
        network = Rounded(network, dtype)
    minimum = coarsest + 1 if dynamic else 1  # below, the last map has one pixel: see export.py
    compiled = _compiled(network, example, path, dynamic, minimum)
    return OptimizedDetector(model, compiled) if is_detector else compiled


def _check_example(model: Any, example: Any) -> None:
    channels = getattr(live_spec(model), "backbone", model.spec).in_channels
    if not isinstance(example, Tensor) or example.ndim != 4 or example.shape[1] != channels:
        given = f"of {_sizes(example.shape)}" if isinstance(example, Tensor) else type(example).__name__
        raise ValueError(f"the example must be a tensor of images, (N, {channels}, H, W), and this is {given}")
    weight = next(model.parameters())
    if (example.dtype, example.device.type) != (weight.dtype, weight.device.type):
        raise ValueError(
            f"the network is in {weight.dtype} on {weight.device.type}, and the example in {example.dtype} on"
            f" {example.device.type}: give both the same, and another dtype to compute in as dtype="
        )


def _compiled(
    network: Any, example: Tensor, path: str | os.PathLike | None, dynamic: bool, minimum: int
) -> OptimizedModel:
    shape = [None, example.shape[1], None, None] if dynamic else list(example.shape)
    signature = {
        "shape": shape,
        "dtype": str(example.dtype).removeprefix("torch."),
        "device": example.device.type,
        "minimum": minimum,
    }
    sizes: Any = None
    if dynamic:
        # A batch of one and maps of one pixel would be taken for constants.
        side = max(2 * minimum, *example.shape[2:])
        example = example.new_zeros((2, example.shape[1], side, side))
        sizes = (dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO),)
    example = example.to(memory_format=torch.channels_last)
    configs = {"freezing": True, "aot_inductor.metadata": {SIGNATURE: json.dumps(signature)}}
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        program = torch.export.export(network, (example,), dynamic_shapes=sizes)
        target = str(Path(folder, "model.pt2") if path is None else Path(path))
        package = torch._inductor.aoti_compile_and_package(program, package_path=target, inductor_configs=configs)
        return OptimizedModel.load(package)


def _sizes(shape: Sequence[int | None]) -> str:
    return "x".join("any" if size is None else str(size) for size in shape)


def keep_freed_memory() -> None:
    """Have the C library keep what this process frees for its next feature maps. It does nothing without glibc.

    By itself glibc gives blocks of many megabytes back to the system, which clears every page
    again when the next feature map takes it. In a batch of eight that is a tenth of the time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, -1)
        mallopt(M_MMAP_MAX, 0)
