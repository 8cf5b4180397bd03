"""Steps of other libraries' networks, and of ours in other runtimes: what `resnest bench` compares with."""

from __future__ import annotations

import importlib
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from resnest.backends.registry import Step
from resnest.data.photos import load_image
from resnest.jobs.export.onnx_graph import build
from resnest.jobs.export.quantizer import quantized
from resnest.specs.published import ALIASES
from resnest.specs.resnest import ResNeStSpec
from resnest.weights.fold import in_form_of
from resnest.weights.seeded import draw_weights


def _timm(spec: ResNeStSpec, form: str, images: np.ndarray, threads: int, train: bool) -> Step:
    from resnest.torch.backend import step_of

    model = _timm_model(spec, threads)
    return _timm_int8(model, images) if "int8" in form else step_of(model, form, images, train=train)


def _timm_int8(model: Any, images: np.ndarray) -> Step:
    """PyTorch's own quantizer for x86, as torchao has it, lowered and compiled."""
    import torch

    pt2e, lowering, x86 = (
        importlib.import_module(f"torchao.quantization.pt2e.{name}")
        for name in ("quantize_pt2e", "lowering", "quantizer.x86_inductor_quantizer")
    )
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    x = torch.from_numpy(images)
    with torch.no_grad():  # or its weights are no constants to the compiler
        prepared = pt2e.prepare_pt2e(torch.export.export(model, (x,)).module(), quantizer)
        prepared(torch.from_numpy(_photos(images)))
        lowered = lowering.lower_pt2e_quantized_to_x86(pt2e.convert_pt2e(prepared), (x,))
        torch._inductor.config.freezing = True  # as an option it comes too late for the lowered graph
        compiled = torch.compile(lowered)
    return lambda: torch.no_grad()(compiled)(x)


def _timm_model(spec: ResNeStSpec, threads: int) -> Any:
    import timm
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return timm.create_model(next(alias for alias, ours in ALIASES.items() if ours == spec.name)).eval()


def _timm_onnx(spec: ResNeStSpec, form: str, images: np.ndarray, threads: int, train: bool) -> Step:
    with tempfile.TemporaryDirectory() as folder:
        path = _exported(_timm_model(spec, threads), images, Path(folder))
        if form == "int8":
            from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

            source, path = path, path.with_name("int8.onnx")
            types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True}
            quantize_static(source, path, _Reader(images), quant_format=QuantFormat.QDQ, **types)
        return _onnxruntime(path.read_bytes(), images, threads)


def _timm_openvino(spec: ResNeStSpec, form: str, images: np.ndarray, threads: int, train: bool) -> Step:
    openvino = importlib.import_module("openvino")
    with tempfile.TemporaryDirectory() as folder:
        model = openvino.convert_model(_exported(_timm_model(spec, threads), images, Path(folder)))
    if form == "int8":
        nncf = importlib.import_module("nncf")
        model = nncf.quantize(model, nncf.Dataset([_photos(images)]))
    hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "bf16" if form == "bfloat16" else "f32"}
    request = openvino.Core().compile_model(model, "CPU", hints).create_infer_request()
    return lambda: request.infer({0: images})


def _exported(model: Any, images: np.ndarray, folder: Path) -> Path:
    import torch

    axes = {"image": {0: "batch", 2: "height", 3: "width"}}
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["logits"], "dynamic_axes": axes}
    path, example = folder / "timm.onnx", (torch.from_numpy(images),)
    torch.onnx.export(model, example, path, dynamo=False, opset_version=17, **names)
    return path


def _photos(images: np.ndarray) -> np.ndarray:
    """The photo that comes with this package, of the images' size, for quantizers to look at."""
    return load_image(None, images.shape[-1]).repeat(len(images), 0)


class _Reader:
    """The same photo as onnxruntime's quantizer asks for it."""

    def __init__(self, images: np.ndarray):
        self.feeds = iter([{"image": _photos(images)}])

    def get_next(self) -> Any:
        return next(self.feeds, None)

    def __iter__(self) -> Any:
        return self.feeds


def _onnx(spec: ResNeStSpec, form: str, images: np.ndarray, threads: int, train: bool) -> Step:
    deployed = spec.in_form(deploy=True)
    model = build(deployed, in_form_of(deployed, draw_weights(spec)))
    if "int8" in form:
        model = quantized(model, [_photos(images)])
    return _onnxruntime(model.SerializeToString(), images, threads)


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


class _NoTorch:
    """Hides PyTorch from this process: gluoncv refuses to be imported where it finds version 2."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "torch":
            raise ImportError("PyTorch is hidden here")


OTHERS = {
    "timm": _timm,
    "timm.onnx": _timm_onnx,
    "timm.openvino": _timm_openvino,
    "resnest.onnx": _onnx,
    "gluoncv": _gluoncv,
}
"""By the first word of a contender's name: what makes its step of the network's spec and the other words."""
