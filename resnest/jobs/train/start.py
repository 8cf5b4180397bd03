"""A training as its user asks for it: a network's name, a folder of images, and a folder to write into."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from resnest.backends import registry, training
from resnest.backends.choose import choose
from resnest.data.samples import Source as Images
from resnest.data.samples import open_split
from resnest.jobs.processes import own_device
from resnest.jobs.train.checkpoints import Checkpoints
from resnest.jobs.train.config import Config, changed, from_facts, read_config
from resnest.jobs.train.run import Training
from resnest.jobs.train.source import Photos
from resnest.weights.seeded import first_weights

logger = logging.getLogger(__name__)


def open_training(
    name: str,
    data: Path,
    output: Path,
    *,
    backend: str | None = None,
    weights: Path | None = None,
    which: str | None = None,
    resume: bool = False,
    config: Path | None = None,
    words: Sequence[str] = (),
) -> Training:
    """The training of the network `name` on the images in `data`, ready for `Training.run(resume)`.

    `data` holds `train` and, where there is something to evaluate on, `val`: a folder with a folder for each class, or
    a `.rec` file. `weights` is a file to start from, `which` of its networks as in `resnest.weights.load`; without it
    the weights are drawn. With `resume` the last checkpoint in `output` says what is asked for, and the file `config`
    and the `words` what is to be changed in it; where there is none yet, the training starts. Raises ValueError for
    what makes no training.
    """
    checkpoints = Checkpoints(output / "checkpoints")
    if checkpoints.steps() and not resume:
        raise ValueError(f"{output} holds a training already: go on with it by --resume, or give another --output")
    found = checkpoints.latest() if resume else None
    learned, held_out = _images(data)
    classes = None if learned.classes is None else len(learned.classes)
    if found is None:
        asked = read_config(name, config, words, classes)
    else:
        asked = changed(from_facts(found.facts["config"]), config, words)
        if asked.spec.name != name:
            raise ValueError(
                f"{output} holds a training of {asked.spec.name}, and not of {name}: give another --output"
            )
        backend = backend or found.facts["backend"]
    backend = backend or next(iter(registry.BACKENDS))
    registry.load(backend).device_of(own_device(asked.run.device))
    if found is not None:
        arrays = found.state["weights"]
    else:
        arrays = choose(asked.spec, False, weights, None, ("num_classes", "in_channels"), which=which) or first_weights(
            asked.spec, asked.run.seed, asked.recipe.last_gamma
        )
    return Training(asked, _source(asked, learned, held_out, backend), output, backend, arrays, checkpoint=found)


def _images(data: Path) -> tuple[Images, Images | None]:
    learned = open_split(data, "train")
    if not (data / "val").is_dir() and not (data / "val.rec").exists():
        logger.warning("%s holds no val: there is nothing to evaluate on", data)
        return learned, None
    return learned, open_split(data, "val", learned.classes)


def _source(config: Config, learned: Images, held_out: Images | None, backend: str) -> Photos:
    spec, recipe, run = config.spec, config.recipe, config.run
    for size in (recipe.size, recipe.eval_size):
        spec.check_size(size, size)
    if spec.in_channels != 3:
        raise ValueError(f"in_channels={spec.in_channels!r}: images in files have 3, red, green and blue")
    load = partial(training.loading(backend).load, workers=run.workers, device=run.device)
    return Photos(learned, held_out, spec.num_classes, recipe, run.seed, load)
