"""Learn scikit-learn's digits in every backend, from scratch, and draw the curves over each other.

    python benchmarks/digits.py FOLDER [--epochs 6]

Every fifth of the 1,797 digits is kept to test on. What each backend has learned is then predicted by every other
one, in deploy form and computed in bfloat16, and by onnxruntime in float32, float16 and INT8.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import resnest.weights
from resnest import ResNeStSpec
from resnest.backends import registry, training
from resnest.backends.registry import Predict
from resnest.data.photos import prepare
from resnest.data.samples import open_split
from resnest.jobs.export import files, int8, onnx_graph
from resnest.jobs.train.log import draw_curves, read_log
from resnest.jobs.train.start import open_training
from resnest.specs.protocols import DEFAULT, preparation
from resnest.weights.fold import in_form_of

SIZE = 40
HOW = preparation(DEFAULT, SIZE, "")
WORDS = f"""recipe=finetune batch=32 size={SIZE} lr=0.02 lr_batch=32 warmup_epochs=1 workers=1
    stage_depths=[1,1,1,1] stem_width=8 bottleneck_width=8
    augmentation.crop=centre augmentation.flip=0""".split()


def write_digits(folder: Path) -> None:
    """Each digit, 8 x 8 pixels made 32 x 32, in the middle of a photo of which evaluation sees a bit more than that."""
    digits = load_digits()
    for number, (digit, label) in enumerate(zip(digits.images, digits.target)):
        photo = np.zeros((64, 64), np.uint8)
        photo[16:48, 16:48] = (digit * 255 / 16).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        path = folder / ("val" if number % 5 == 0 else "train") / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    write_digits(folder / "digits")
    logs = {}
    for name in training.trainers():
        start, cpu = time.perf_counter(), time.process_time()
        words = [*WORDS, f"epochs={arguments.epochs}"]
        last = open_training("resnest14", folder / "digits", folder / name, backend=name, words=words).run()
        assert last is not None
        taken = f"{time.perf_counter() - start:.0f} s, {time.process_time() - cpu:.0f} s of the processor"
        print(f"{name}: top-1 {last.judged['top1']:.2f} % after {last.step} steps, {taken}", flush=True)
        logs[registry.row(name).title] = read_log(folder / name / "log.csv")
    draw_curves(logs, folder / "digits.png", "scikit-learn's digits")
    for name in training.trainers():
        judge(folder, name)


def judge(folder: Path, trained_in: str) -> None:
    """Print the accuracy of what one backend has learned, in every form."""
    source = open_split(folder / "digits", "val")
    photos, labels = zip(*(source[number] for number in range(len(source))))
    images = np.concatenate([prepare(photo, HOW) for photo in photos])
    weights = resnest.weights.load(folder / trained_in / "last.safetensors")
    config = open_training("resnest14", folder / "digits", folder / trained_in, resume=True).config
    path, half, small = (folder / f"{trained_in}{end}.onnx" for end in ("", "-float16", "-int8"))
    deployed = config.spec.in_form(deploy=True)
    files.export(deployed, weights, path, "onnx")
    files.export(deployed, weights, half, "onnx", dtype="float16")
    int8.quantize(path, small, sorted((folder / "digits" / "train").rglob("*1.png")), HOW)
    forms: dict[str, Predict] = {
        "onnxruntime": onnx_graph.read(path),
        "onnxruntime float16": onnx_graph.read(half),
        "onnxruntime INT8": onnx_graph.read(small),
    }
    file = folder / f"{trained_in}-bfloat16.pt"  # in float16 this processor would take minutes in PyTorch
    files.export(deployed, weights, file, "torchscript", dtype="bfloat16")
    forms["torch bfloat16"] = registry.exporter("torch").read(file, "torchscript")
    if "gluon" in training.trainers():
        forms["gluon bfloat16"] = in_bfloat16(config.spec, weights)
    for name in training.trainers():
        for form in (config.spec, config.spec.in_form(deploy=True)):
            forms[f"{name}{' deploy' if form.deploy else ''}"] = predictor(name, form, in_form_of(form, weights))
    for form_name, predict in forms.items():
        accuracy = 100 * np.mean(predict(images).argmax(1) == np.array(labels))
        print(f"learned in {trained_in}, predicted by {form_name}: {accuracy:.4f} %", flush=True)


def predictor(backend: str, spec: ResNeStSpec, weights: Mapping[str, np.ndarray]) -> Predict:
    return lambda images: registry.load(backend).run_stages(spec, weights, images)[-1]


def in_bfloat16(spec: ResNeStSpec, weights: Mapping[str, np.ndarray]) -> Predict:
    """Gluon's optimized form in bfloat16; ValueError where the processor does not compute in it."""
    from resnest.gluon import optimize
    from resnest.gluon._mxnet import mx
    from resnest.gluon.backend import build

    model = build(spec, weights)
    return lambda images: optimize(model, mx.nd.array(images), dtype="bfloat16")(mx.nd.array(images)).asnumpy()


if __name__ == "__main__":
    main()
