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
from functools import partial
from typing import Any

import numpy as np

from resnest.backends import registry
from resnest.backends.registry import Step
from resnest.specs.published import ALIASES, get_spec
from resnest.specs.resnest import ResNeStSpec
from resnest.weights.fold import in_form_of
from resnest.weights.seeded import draw_weights

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
    for name, row in registry.BACKENDS.items():
        if library == row.package:
            return registry.load(name).bench_step(spec, form, images, threads=threads, train=train)
    if library not in _OTHERS:
        raise ValueError(f"there is no contender {contender!r}")
    return _OTHERS[library](spec, form, images, threads, train)


def _timm(spec: ResNeStSpec, form: str, images: np.ndarray, threads: int, train: bool) -> Step:
    from resnest.torch.backend import step_of

    return step_of(_timm_model(spec, threads), form, images, train=train)


def _timm_model(spec: ResNeStSpec, threads: int) -> Any:
    import timm
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return timm.create_model(next(alias for alias, ours in ALIASES.items() if ours == spec.name)).eval()


def _timm_onnx(spec: ResNeStSpec, form: str, images: np.ndarray, threads: int, train: bool) -> Step:
    import torch

    axes = {"image": {0: "batch", 2: "height", 3: "width"}}
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["logits"], "dynamic_axes": axes}
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        model, example = _timm_model(spec, threads), (torch.from_numpy(images),)
        torch.onnx.export(model, example, file.name, dynamo=False, opset_version=17, **names)
        content = file.read()
    return _onnxruntime(content, images, threads)


def _onnx(spec: ResNeStSpec, form: str, images: np.ndarray, threads: int, train: bool) -> Step:
    from resnest.jobs.export.onnx_graph import build

    deployed = spec.in_form(deploy=True)
    content = build(deployed, in_form_of(deployed, draw_weights(spec))).SerializeToString()
    return _onnxruntime(content, images, threads)


def _onnxruntime(content: bytes, images: np.ndarray, threads: int) -> Step:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": images})


def _gluoncv(spec: ResNeStSpec, form: str, images: np.ndarray, threads: int, train: bool) -> Step:
    sys.meta_path.insert(0, _NoTorch())
    from resnest.gluon.backend import step_of

    zoo = importlib.import_module("gluoncv.model_zoo")
    size = images.shape[-1]  # its DropBlock is cut for one size
    model = zoo.get_model(spec.name, pretrained=False, input_size=size)
    set_drop_prob = importlib.import_module("gluoncv.nn.dropblock").set_drop_prob
    model.apply(partial(set_drop_prob, 0.0))  # nobody else's network drops blocks here
    model.initialize()
    return step_of(model, form, images, train=train)


_OTHERS = {"timm": _timm, "timm.onnx": _timm_onnx, "resnest.onnx": _onnx, "gluoncv": _gluoncv}


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
