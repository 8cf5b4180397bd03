"""Images per second that loaders give a training, on equal photos and transforms: python benchmarks/loader.py > FILE.

    python benchmarks/loader.py [--images 512] [--batch 64] [--workers 2] [--rounds 7]

Ours is what `resnest train` reads from, in each framework's DataLoader; the peer is torchvision's ImageFolder with its
own transforms in PyTorch's DataLoader. Both cut out a random box, resize it to 224 x 224, mirror it half of the time
and normalise it; ours spreads the labels over the classes besides. Loaders take turns, an epoch each, on the first two
cores. The photos are made from the one in the package, as large as ImageNet's, and are in the file cache.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image, features
from torchvision import transforms

from resnest.backends import training
from resnest.backends.processor import machine
from resnest.data.batches import Batches
from resnest.data.samples import open_split
from resnest.jobs.train.source import Photos
from resnest.specs.recipe import Augmentation, get_recipe
from resnest.specs.resnest import MEAN, STD

CLASSES = 8
SIZE = 224
CORES = 2
PEER = "torchvision"

Loader = Callable[[int], Iterable[Any]]
"""From the number of an epoch to its batches of images and targets."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = make_photos(root / "train", arguments.images)
        loaders: dict[str, Loader] = {PEER: peer(root / "train", arguments.batch, arguments.workers)}
        for backend in training.trainers():
            loaders[f"resnest.{backend}"] = ours(root, backend, arguments.batch, arguments.workers)
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in loaders}
        for turn in range(arguments.rounds + 1):
            for name, loader in loaders.items():
                found = rate(loader(turn))
                if turn:  # the first fills caches
                    rates[name].append(found)
    report(rates, size, arguments)


def make_photos(folder: Path, count: int) -> float:
    """Write `count` JPEGs of 500 x 375 or 375 x 500 pixels, in folders of classes; their mean size in bytes."""
    random = np.random.default_rng(0)
    with as_file(files("resnest") / "data" / "assets" / "chelsea.jpg") as sample:
        source = Image.open(sample).convert("RGB")
    sizes = []
    for number in range(count):
        path = folder / f"class{number % CLASSES}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        left, top = int(random.integers(60)), int(random.integers(40))
        size = (500, 375) if number % 3 else (375, 500)
        photo = np.asarray(source.crop((left, top, left + 380, top + 250)).resize(size, Image.Resampling.BICUBIC))
        grain = random.normal(0, 10, photo.shape)  # a photo that is enlarged would be decoded faster than others
        Image.fromarray((photo + grain).clip(0, 255).astype(np.uint8)).save(path, quality=95)
        sizes.append(path.stat().st_size)
    return sum(sizes) / count


def peer(folder: Path, batch: int, workers: int) -> Loader:
    steps = [
        transforms.RandomResizedCrop(SIZE),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    images = torchvision.datasets.ImageFolder(folder, transforms.Compose(steps))
    loader: Any = torch.utils.data.DataLoader(images, batch, shuffle=True, num_workers=workers, drop_last=True)
    return lambda epoch: loader


def ours(root: Path, backend: str, batch: int, workers: int) -> Loader:
    recipe = get_recipe("resnest50").with_changes(augmentation=Augmentation(), size=SIZE, batch=batch, mixup=0.0)
    images = open_split(root, "train")
    source = Photos(images, None, CLASSES, recipe, 0, partial(training.loading(backend).load, workers=workers))

    def epoch(number: int) -> Iterator[Any]:
        steps = len(images) // batch
        return source.batches(Batches(len(images), batch, number + 1, start=number * steps))

    return epoch


def rate(batches: Iterable[Any]) -> tuple[float, float]:
    """Images a second, and a second of processor time of this process and of its workers, which have ended by then."""
    wall, spent = time.perf_counter(), processor_seconds()
    images = sum(len(images) for images, _ in batches)
    return images / (time.perf_counter() - wall), images / (processor_seconds() - spent)


def processor_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def report(rates: dict[str, list[tuple[float, float]]], size: float, arguments: argparse.Namespace) -> None:
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, pillow {Image.__version__}"
    jpeg = f"libjpeg-turbo {features.version('libjpeg_turbo')}"
    print(f"{machine()}, {torch.backends.cpu.get_cpu_capability()}; {versions} ({jpeg}), numpy {np.__version__}.")
    print(f"{arguments.images} photos of {size / 1e3:.0f} kB on average, batches of {arguments.batch},", end=" ")
    print(f"{arguments.workers} workers; medians of {arguments.rounds} epochs in turns.\n")
    print(f"| loader | images/s | over {PEER} | images per processor second | over {PEER} |\n|---|---|---|---|---|")
    for name, found in rates.items():
        cells = []
        for mine, theirs in zip(zip(*found), zip(*rates[PEER])):
            cells += [f"{median(mine):.0f}", f"{median(a / b for a, b in zip(mine, theirs)):.2f}"]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
