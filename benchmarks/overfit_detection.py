"""Can a detector learn? A small one is trained on five drawn images until it finds what is in them.

`python benchmarks/overfit_detection.py [FAMILY]` prints the losses as they fall and COCO's average precision of boxes
and masks at the end, both of which should be above 0.9. It takes a few minutes on two cores.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from resnest import DetectionSpec, get_spec
from resnest.data.annotations import Annotations
from resnest.data.boxes import with_sides
from resnest.data.coco import result_rows
from resnest.jobs.verify.average_precision import average_precision
from resnest.specs.resnest import MEAN, STD
from resnest.torch import Detector

SIDE = 128
STEPS = 150
COLOURS = [(220, 60, 50), (60, 190, 80), (70, 90, 230)]
"""The classes differ in colour, and the third is round."""


def drawings(number: int = 5, seed: int = 0) -> tuple[list[Image.Image], list[dict]]:
    """Images, and of each its boxes, labels and masks: two or three objects beside each other on noise."""
    random = np.random.default_rng(seed)
    images, truths = [], []
    for _ in range(number):
        noise = random.integers(90, 166, (SIDE, SIDE, 3), dtype=np.uint8)
        image, masks, labels, half = Image.fromarray(noise), [], [], SIDE // 2
        for corner in random.permutation(4)[: random.integers(2, 4)]:
            left, top = random.integers(2, half // 3, 2) + np.array([corner % 2, corner // 2]) * half
            right, bottom = np.array([left, top]) + random.integers(half // 3, half // 2 + 8, 2)
            label, mask = int(random.integers(3)), Image.new("1", (SIDE, SIDE))
            for canvas, colour in ((image, COLOURS[label]), (mask, 1)):
                shape = ImageDraw.Draw(canvas).ellipse if label == 2 else ImageDraw.Draw(canvas).rectangle
                shape((int(left), int(top), int(right), int(bottom)), fill=colour)
            masks.append(np.array(mask))
            labels.append(label)
        images.append(image)
        boxes = [[*np.argwhere(mask).min(0)[::-1], *(np.argwhere(mask).max(0)[::-1] + 1)] for mask in masks]
        truths.append(
            {
                "boxes": torch.tensor(np.array(boxes), dtype=torch.float32),
                "labels": torch.tensor(labels),
                "masks": torch.from_numpy(np.array(masks)),
            }
        )
    return images, truths


def annotations(truths: list[dict]) -> Annotations:
    """The same in COCO's form."""
    rows: list[dict] = []
    for image, truth in enumerate(truths):
        found = {part: value.numpy() for part, value in truth.items()} | {"scores": np.ones(len(truth["labels"]))}
        for row, box in zip(result_rows(image, found, (1, 2, 3)), with_sides(found["boxes"]), strict=True):
            area = float(box[2] * box[3])
            rows.append(row | {"id": len(rows) + 1, "iscrowd": 0, "area": area})
    images = [{"id": image, "width": SIDE, "height": SIDE} for image in range(len(truths))]
    content = {"images": images, "annotations": rows, "categories": [{"id": n, "name": str(n)} for n in (1, 2, 3)]}
    return Annotations(Path("drawn"), content)


def small_spec(family: str) -> DetectionSpec:
    backbone = get_spec("resnest14", stem_width=16, bottleneck_width=16)
    return DetectionSpec(
        "small",
        family,
        num_classes=3,
        channels=48,
        hidden=128,
        box_convs=1,
        mask_convs=2,
        scale=(SIDE, SIDE),
        frozen_stages=0,
        backbone=backbone,
    )


def main(family: str = "mask_rcnn") -> None:
    torch.manual_seed(0)
    images, truths = drawings()
    model = Detector(small_spec(family)).train()
    pixels = np.stack([(np.array(image) / 255 - MEAN) / STD for image in images]).transpose(0, 3, 1, 2)
    x = torch.from_numpy(pixels).float().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS)
    start = time.perf_counter()
    for step in range(1, STEPS + 1):
        losses = model(x, None, truths)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        schedule.step()
        if step % 25 == 0 or step == 1:
            shown = " ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items())
            print(f"{step:4} {time.perf_counter() - start:5.0f} s  {shown}", flush=True)
    rows: list[dict] = []
    for image, found in enumerate(model.eval().predict(images)):
        rows += result_rows(image, {part: value.numpy() for part, value in found.items()}, (1, 2, 3))
    for kind in ("bbox", "segm") if model.spec.has_masks else ("bbox",):
        print(kind, f"{average_precision(annotations(truths), rows, kind).all:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
