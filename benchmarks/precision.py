"""What each precision costs in digits and saves in time, beside timm: python benchmarks/precision.py FOLDER.

Prints Markdown; `results/precision.md` is one such run. Errors are max |a - b| / max |b| of the logits against the
float64 network, the mean over the photos that INT8 is calibrated on, over others (scikit-learn's two) and
over images of noise. Times are the processor's seconds on one thread, taken in turns, which other work on the machine
disturbs little. What takes long to compile is kept in FOLDER.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import onnxruntime
import sklearn
import timm
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from resnest import get_spec
from resnest.backends.processor import machine
from resnest.data.photos import find_photos, load_image
from resnest.jobs.export import int8, onnx_graph
from resnest.torch import OptimizedModel, ResNeSt, load_weights, optimize
from resnest.weights.fold import in_form_of
from resnest.weights.seeded import draw_weights

SPEC = get_spec("resnest50")
PHOTOS = Path(__file__).parents[1] / "tests" / "fixtures"
OTHERS = Path(sklearn.__file__).parent / "datasets" / "images"
Run = Callable[[torch.Tensor], torch.Tensor]


class Photos(CalibrationDataReader):
    def __init__(self, photos: list[Path]) -> None:
        self.images = (load_image(photo, 224) for photo in photos)

    def get_next(self) -> Any:
        image = next(self.images, None)
        return None if image is None else {"image": image}


def onnx_files(folder: Path, photos: list[Path], peer: Any) -> None:
    spec = SPEC.in_form(deploy=True)
    onnx_graph.write(spec, in_form_of(spec, draw_weights(SPEC)), folder / "ours.onnx")
    int8.quantize(folder / "ours.onnx", folder / "ours-int8.onnx", photos, 224)
    axes = {"image": {0: "batch"}}
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["logits"], "dynamic_axes": axes}
    torch.onnx.export(peer, (torch.zeros(1, 3, 224, 224),), folder / "timm.onnx", dynamo=False, **names)
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True}
    quantize_static(
        folder / "timm.onnx", folder / "timm-int8.onnx", Photos(photos), quant_format=QuantFormat.QDQ, **types
    )


def of_file(path: Path) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"image": x.numpy()})[0])


def cast(model: Any, dtype: torch.dtype) -> Run:
    model = model.to(dtype).to(memory_format=torch.channels_last)
    return lambda x: model(x.to(dtype, memory_format=torch.channels_last)).float()


def compiled(model: Any, folder: Path, batch: int, dtype: str | None) -> Run:
    """The optimized network for this batch; what it was compiled to before is taken as it is."""
    path = folder / f"{dtype or 'float32'}-{batch}.pt2"
    if not path.exists():
        optimize(model, torch.zeros(batch, 3, 224, 224), path, dtype=dtype)
    return OptimizedModel.load(path)


def contenders(folder: Path, batch: int, model: Any, peer: Any) -> dict[str, Run]:
    def autocast(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return peer(x.to(memory_format=torch.channels_last)).float()

    return {
        "resnest.torch optimized": compiled(model, folder, batch, None),
        "resnest.torch optimized, bfloat16": compiled(model, folder, batch, "bfloat16"),
        "resnest.torch deploy, bfloat16": cast(model.deploy(), torch.bfloat16),
        "timm, autocast to bfloat16": autocast,
        "resnest.onnx": of_file(folder / "ours.onnx"),
        "resnest.onnx, INT8": of_file(folder / "ours-int8.onnx"),
        "timm.onnx, onnxruntime's INT8": of_file(folder / "timm-int8.onnx"),
    }


def timed(rows: dict[str, Run], x: torch.Tensor, rounds: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, run in rows.items():
            run(x)
            start = time.process_time()
            run(x)
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def error(run: Run, images: list[torch.Tensor], exact: list[torch.Tensor], batch: int) -> float:
    apart = []
    for image, truth in zip(images, exact):
        logits = run(image.expand(batch, -1, -1, -1).contiguous())[:1].double()
        apart.append(float((logits - truth).abs().max() / truth.abs().max()))
    return float(np.mean(apart))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    parser.add_argument("--others", type=Path, default=OTHERS, help="photos that nothing is calibrated on")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    model: Any = ResNeSt(SPEC).eval()
    load_weights(model, draw_weights(SPEC))
    peer: Any = timm.create_model("resnest50d").eval()
    peer.load_state_dict({name: torch.from_numpy(array) for name, array in draw_weights(SPEC).items()}, strict=False)
    photos = find_photos(arguments.photos)
    onnx_files(folder, photos, peer)
    peer = peer.to(memory_format=torch.channels_last)
    others = find_photos(arguments.others)
    seen, unseen = ([torch.from_numpy(load_image(photo, 224)) for photo in some] for some in (photos, others))
    noise = [torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(seed)) for seed in range(len(photos))]
    double: Any = ResNeSt(SPEC).eval().double()
    load_weights(double, draw_weights(SPEC))
    exact = [[double(image.double()) for image in images] for images in (seen, unseen, noise)]
    print(
        f"{machine()}, 1 thread, cpu clock; torch {torch.__version__}, onnxruntime {onnxruntime.__version__},", end=" "
    )
    print(f"timm {timm.__version__}. {SPEC.name}, seeded weights, {len(photos)} photos and {len(others)} others.\n")
    print(
        "| | batch | ms | over float32 | off on photos | off on others | off on noise |\n|---|---|---|---|---|---|---|"
    )
    for batch in arguments.batches:
        rows = contenders(folder, batch, model, peer)
        taken = timed(rows, torch.cat([*noise] * 8)[:batch].contiguous(), arguments.rounds)
        for name, run in rows.items():
            base = "resnest.onnx" if "onnx" in name else "resnest.torch optimized"
            off = [f"{error(run, images, truth, batch):.1e}" for images, truth in zip((seen, unseen, noise), exact)]
            ratio = f"{taken[name] / taken[base]:.2f}"
            print(f"| {name} | {batch} | {1e3 * taken[name]:.1f} | {ratio} | {' | '.join(off)} |", flush=True)
    print("INT8 was calibrated on the photos, not on the others. Other work had a part of the machine: compare ratios.")


if __name__ == "__main__":
    main()
