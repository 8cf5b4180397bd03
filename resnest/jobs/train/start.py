"""A training as its user asks for it: a network's name, a folder of images, and a folder to write into."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resnest.backends import registry, training
from resnest.jobs.processes import own_device
from resnest.jobs.train.checkpoints import Checkpoints
from resnest.jobs.train.config import changed, from_facts, read_config
from resnest.jobs.train.run import Training
from resnest.jobs.train.tasks import task_of
from resnest.specs.networks import find


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

    Of a classifier `data` holds `train` and, where there is something to evaluate on, `val`: a folder with a folder for
    each class, or a `.rec` file. `weights` is a file to start from, `which` of its networks as in
    `resnest.weights.load`; without it the weights are drawn. With `resume` the last checkpoint in `output` says what is
    asked for, and the file `config` and the `words` what is to be changed in it; where there is none yet, the training
    starts. Raises ValueError for what makes no training.
    """
    task = task_of(find(name))
    checkpoints = Checkpoints(output / "checkpoints")
    if checkpoints.steps() and not resume:
        raise ValueError(f"{output} holds a training already: go on with it by --resume, or give another --output")
    found = checkpoints.latest() if resume else None
    backend = backend or (registry.FIRST if found is None else found.facts["backend"])
    training.load(backend).check_spec(find(name))
    images = task.open_data(data)
    if found is None:
        asked = read_config(name, config, words, task.classes_of(images))
    else:
        asked = changed(from_facts(found.facts["config"]), config, words)
        if asked.spec.name != name:
            raise ValueError(
                f"{output} holds a training of {asked.spec.name}, and not of {name}: give another --output"
            )
    registry.load(backend).device_of(own_device(asked.run.device))
    source = task.open_source(asked, images, backend)
    arrays = task.start(asked, weights, which) if found is None else found.state["weights"]
    return Training(asked, source, output, backend, arrays, checkpoint=found)
