"""One contender of `resnest bench`, in a process of its own: built once, then timed whenever the parent says so.

Each line on stdin is JSON: first the job (`contender, model, batch, size, threads, train, clock`),
answered with versions when the contender is ready; then a number of steps, answered with the seconds
that each took; 0 asks for the memory at most and ends it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from resnest.specs.resnest import ALIASES, ResNeStSpec, get_spec

Step = Callable[[], Any]
"""One prediction, or one training step, waited for until its result is there."""

WARM_UP = 2


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer

    def answer(value: Any) -> None:
        print(json.dumps(value), file=answers, flush=True)

    job = json.loads(sys.stdin.readline())
    os.environ["OMP_NUM_THREADS"] = str(job["threads"])  # read when a framework is imported
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[job.pop("clock")]
    step = build(**job)
    before = _resident()
    for _ in range(WARM_UP):
        step()
    answer({module: sys.modules[module].__version__ for module in _LIBRARIES if module in sys.modules})
    while steps := int(sys.stdin.readline()):
        seconds = []
        step()  # untimed: the others' turns have emptied the caches and put the threads to sleep
        for _ in range(steps):
            start = clock()
            step()
            seconds.append(clock() - start)
        answer(seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    answer({"peak": peak, "step": max(peak - before, 0)})


_LIBRARIES = ("numpy", "torch", "timm", "mxnet", "gluoncv", "onnxruntime")


def build(contender: str, model: str, batch: int, size: int, threads: int, train: bool) -> Step:
    """The step of the contender called `contender`; ValueError for a name nobody has."""
    spec = get_spec(model)
    images = np.random.default_rng(0).normal(size=(batch, 3, size, size)).astype(np.float32)
    library, _, form = contender.partition(" ")
    if library in ("resnest.torch", "timm", "resnest.onnx", "timm.onnx"):
        return _torch(library, form, spec, images, threads, train)
    if library in ("resnest.gluon", "gluoncv"):
        return _gluon(library, form, spec, images, train)
    raise ValueError(f"there is no contender {contender!r}")


def _torch(library: str, form: str, spec: ResNeStSpec, images: np.ndarray, threads: int, train: bool) -> Step:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model: Any
    if library.startswith("timm"):
        import timm

        name = next(alias for alias, ours in ALIASES.items() if ours == spec.name)
        model = timm.create_model(name).eval()
    else:
        from resnest.torch import create_model, optimize

        model = create_model(spec.name).eval()
    if library.endswith("onnx"):
        return _onnxruntime(library, model, images, threads)
    x = torch.from_numpy(images)
    if "nchw" not in form:
        x = x.to(memory_format=torch.channels_last)
        model = model.to(memory_format=torch.channels_last)
    if train:
        return _training_step(model.train(), x)
    if "deploy" in form or "convolutions" in form:
        model = model.deploy()
        model = model if "nchw" in form else model.to(memory_format=torch.channels_last)
    if "optimized" in form:
        model = optimize(model, x)
    if "compiled" in form:
        model = torch.compile(model, options={"freezing": True})
    if "convolutions" in form:
        model = _convolutions_alone(model, x)

    def step() -> None:
        with torch.no_grad():  # frozen weights need it, and torch.compile does not freeze in inference mode
            model(x)

    return step


def _convolutions_alone(model: Any, x: Any) -> Callable[[Any], None]:
    """Every convolution of `model` on the input that it gets there, and nothing else."""
    import torch

    calls: list[tuple[Any, Any]] = []
    convolutions = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs: calls.append((module, inputs[0].clone())))
        for module in convolutions
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()

    def run(_: Any) -> None:
        for convolution, inputs in calls:
            convolution(inputs)

    return run


def _training_step(model: Any, x: Any) -> Step:
    import torch

    labels = torch.arange(len(x)) % 1000
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


def _onnxruntime(library: str, model: Any, images: np.ndarray, threads: int) -> Step:
    import onnxruntime

    if library == "timm.onnx":
        import torch

        axes = {"image": {0: "batch", 2: "height", 3: "width"}}
        names: dict[str, Any] = {"input_names": ["image"], "output_names": ["logits"], "dynamic_axes": axes}
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            torch.onnx.export(model, (torch.from_numpy(images),), file.name, dynamo=False, opset_version=17, **names)
            content = file.read()
    else:
        from resnest.jobs.export.onnx_graph import build
        from resnest.torch import get_weights

        deployed = model.deploy()
        content = build(deployed.spec, get_weights(deployed)).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": images})


def _gluon(library: str, form: str, spec: ResNeStSpec, images: np.ndarray, train: bool) -> Step:
    if library == "gluoncv":
        sys.meta_path.insert(0, _NoTorch())
    from resnest.gluon._mxnet import mx

    x = mx.nd.array(images)
    if library == "gluoncv":
        zoo = importlib.import_module("gluoncv.model_zoo")
        size = images.shape[-1]  # its DropBlock is cut for one size
        model = zoo.get_model(spec.name, pretrained=False, input_size=size)
        set_drop_prob = importlib.import_module("gluoncv.nn.dropblock").set_drop_prob
        model.apply(partial(set_drop_prob, 0.0))  # nobody else's network drops blocks here
        model.initialize()
    else:
        from resnest.gluon import create_model, optimize

        model = create_model(spec.name)
        if "deploy" in form:
            model = model.deploy()
    if "optimized" in form:
        model = optimize(model, x)
    else:
        model.hybridize(static_alloc=True, static_shape=True)
    if not train:
        return lambda: model(x).wait_to_read()
    cross_entropy = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = mx.gluon.Trainer(model.collect_params(), "sgd", {"learning_rate": 0.01, "momentum": 0.9})
    labels = mx.nd.arange(len(images)) % 1000

    def step() -> None:
        with mx.autograd.record():
            loss = cross_entropy(model(x), labels)
        loss.backward()
        trainer.step(len(images))
        mx.nd.waitall()

    return step


class _NoTorch:
    """Hides PyTorch from this process: gluoncv refuses to be imported where it finds version 2."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "torch":
            raise ImportError("PyTorch is hidden here")


def _resident() -> int:
    """Bytes of memory in use now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    main()
