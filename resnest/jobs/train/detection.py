"""Training of detectors: COCO's annotations, average precision."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from resnest.backends import training
from resnest.backends.training import Trainer
from resnest.data.annotations import find_split, read_annotations
from resnest.data.coco import import_pycocotools, result_rows
from resnest.jobs.processes import gathered, process, processes
from resnest.jobs.train.config import Config
from resnest.jobs.train.scenes import Data, Scenes, Split
from resnest.jobs.verify.detection import judge
from resnest.specs.detection.network import DetectionSpec
from resnest.weights import load
from resnest.weights.recognition.tasks import BACKBONE, task_in
from resnest.weights.seeded import first_weights

logger = logging.getLogger(__name__)

SPEC = DetectionSpec
"""The kind of spec that this task has."""

JUDGED = ("box_ap", "box_ap50", "mask_ap", "mask_ap50")


def open_data(data: Path) -> Data:
    """What there is to train on and to evaluate on, in the places of `resnest.data.annotations.find_split`."""
    import_pycocotools()
    learned = _open(data, "train")
    try:
        find_split(data, "val")
    except FileNotFoundError as error:
        logger.warning("%s: there is nothing to evaluate on", error)
        return Data(learned, None)
    held_out = _open(data, "val")
    ours, theirs = (split.annotations.category_ids for split in (learned, held_out))
    if ours != theirs:
        raise ValueError(
            f"{learned.annotations.path} has the classes {list(ours)} and {held_out.annotations.path}"
            f" {list(theirs)}: they must be the same"
        )
    return Data(learned, held_out)


def _open(data: Path, split: str) -> Split:
    folder, file = find_split(data, split)
    annotations = read_annotations(file)
    annotations.photos(folder)  # or which of them is missing is said hours later
    return Split(annotations, folder)


def classes_of(data: Data) -> int:
    return len(data.learned.annotations.category_ids)


def open_source(config: Config, data: Data, backend: str) -> Scenes:
    spec, run = config.spec, config.run
    if spec.in_channels != 3:
        raise ValueError(f"in_channels={spec.in_channels!r}: photos have 3, red, green and blue")
    if spec.has_masks:
        for split in filter(None, data):
            split.annotations.check_masks()
        if data.held_out is not None:
            data.held_out.annotations.check_frames(data.held_out.folder)
    load = partial(training.loading(backend).load, workers=run.workers, device=run.device)
    return Scenes(data, spec, config.recipe, run.seed, load)


def start(config: Config, weights: Path | None, which: str | None) -> Mapping[str, np.ndarray]:
    """Drawn weights, but for what a detector's file has of them, or another network's of the backbone.

    A warning says what is drawn. Raises ValueError where the backbone is another one, and where the weights of frozen
    stages would be drawn ones.
    """
    spec = config.spec
    drawn = first_weights(spec, config.run.seed)
    if weights is None:
        if config.frozen_stages:
            raise ValueError(
                f"{spec.name} begins without weights, and its frozen stages would stay as they are drawn: give"
                " --weights of ImageNet or of a detector, or frozen_stages=0"
            )
        return drawn
    arrays = load(weights, which=which)
    task = task_in(arrays)
    if task.SPEC is not SPEC:
        arrays = _within_detector(arrays if task is BACKBONE else load(weights, backbone=True, which=which), spec)
    taken = {name: array for name, array in arrays.items() if name in drawn and array.shape == drawn[name].shape}
    backbone = {name: array for name, array in arrays.items() if name.startswith("backbone.")}
    expected = {name: shape for name, shape in spec.tensors().items() if name.startswith("backbone.")}
    if {name: array.shape for name, array in backbone.items()} != expected:
        wrong = sorted(name for name in {*expected, *backbone} if name not in taken)
        raise ValueError(
            f"{weights} has another backbone than {spec.name}: {len(wrong)} of its tensors are missing, unknown or of"
            f" another shape, the first {wrong[0]}"
        )
    new = dict.fromkeys(name.rpartition(".")[0] for name in drawn if name not in taken)
    if new:
        logger.warning("%s has no weights that fit for %s: these are drawn anew", weights, _listed(list(new)))
    return drawn | taken


def _within_detector(weights: Mapping[str, np.ndarray], spec: DetectionSpec) -> dict[str, np.ndarray]:
    """A backbone's weights as a detector calls them."""
    named = {}
    for name, array in weights.items():
        module, _, tensor = name.rpartition(".")
        if module != "fc":
            named[f"{spec.backbone_name(module)}.{tensor}"] = array
    return named


def _listed(modules: Sequence[str], most: int = 4) -> str:
    more = f" and {len(modules) - most} more" if len(modules) > most else ""
    return ", ".join(modules[:most]) + more


def options(config: Config) -> dict[str, Any]:
    return {}


def prepare_step(trainer: Trainer, config: Config, step: int, steps_per_epoch: int) -> None:
    pass


def evaluate(trainer: Trainer, source: Any, config: Config) -> dict[str, float]:
    """COCO's average precision of boxes, and of masks where the network has them, in percent.

    In a photo that cannot be read nothing is found, and a warning names it.
    """
    own = np.arange(source.evaluation)[process() :: processes()]
    rows: list[dict[str, Any]] = []
    for batch, image, unreadable in source.evaluated([own[place : place + 1] for place in range(len(own))]):
        if unreadable:
            logger.warning("nothing is found in a photo that cannot be read: %s", *unreadable.values())
            continue
        (found,) = trainer.predict(batch, averaged=True)
        rows += result_rows(image, found, source.category_ids)
    rows = gathered(rows)
    masks = config.spec.has_masks
    names = JUDGED if masks else JUDGED[:2]
    figures = np.zeros(len(names))
    if process() == 0:
        scores = judge(source.held_out.annotations, rows, masks).values()
        figures += [100 * figure for precision in scores for figure in (precision.all, precision.at_50)]
    return dict(zip(names, trainer.total(figures).tolist()))
