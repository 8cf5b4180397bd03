"""What each key of `resnest train` does to a training, in every backend, or that the backend refuses it by its name."""

import os
from functools import partial

import numpy as np
import pytest

from resnest import weights as weight_files
from resnest.backends import training as trainers
from resnest.jobs.train.config import read_config
from resnest.jobs.train.log import read_log
from resnest.jobs.train.run import Training
from resnest.jobs.train.source import Arrays
from resnest.specs.update import layer_rates, trained
from resnest.weights.seeded import first_weights

SMALL = ["recipe=finetune", "epochs=1", "batch=4", "size=33", "warmup_epochs=0", "lr=0.1", "lr_batch=4"]
SMALL += ["weight_decay=0", "stage_depths=[1,1,1,1]", "stem_width=8", "bottleneck_width=4", "dtype=float64"]
PLAIN = ["momentum=0", "nesterov=false"]
"""A step is the gradient times the learning rate, which is 0.1 in the first one."""


def pictures(count, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    return random.normal(size=(count, 3, 33, 33)) + labels[:, None, None, None], labels


@pytest.fixture
def train_in(tmp_path, monkeypatch):
    """Trains the given number of steps by the words, and gives the training; `start` are the weights before."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)

    def call(backend, *words, steps=1, output="out"):
        config = read_config("resnest14", None, [*SMALL, *words], classes=3)
        source = Arrays(pictures(4 * steps, 0), pictures(4, 1), 3, config.recipe)
        training = Training(config, source, tmp_path / output, backend, start(config.spec))
        training.run()
        return training

    return call


@pytest.fixture
def train(train_in, backend):
    return partial(train_in, backend.name)


def start(spec):
    return {name: array.astype("float64") for name, array in first_weights(spec).items()}


def after(training, part="weights"):
    return training.checkpoints.latest().state[part]


def moved(training):
    """How far each trained tensor has gone."""
    weights, before = after(training), start(training.config.spec)
    return {name: weights[name] - before[name] for name in trained(training.config.spec)}


def test_layer_decay_slows_every_block_further_down(train):
    usual, slowed = moved(train(*PLAIN)), moved(train(*PLAIN, "layer_decay=0.5", output="slowed"))
    rates = layer_rates(read_config("resnest14", None, SMALL).spec, 0.5)
    assert len({*rates.values()}) == 6
    for name, step in usual.items():
        assert np.abs(slowed[name] - rates[name] * step).max() <= 1e-12 * max(np.abs(step).max(), 1e-3), name


def test_clip_is_the_longest_step(train):
    def length(training):
        return np.sqrt(sum((step**2).sum() for step in moved(training).values()))

    usual = length(train(*PLAIN)) / 0.1
    assert length(train(*PLAIN, f"clip={usual / 2}", output="clipped")) / 0.1 == pytest.approx(usual / 2, rel=1e-5)
    assert length(train(*PLAIN, f"clip={usual * 2}", output="longer")) / 0.1 == pytest.approx(usual, rel=1e-9)


def test_an_average_is_what_is_evaluated_and_kept(train):
    training = train("ema_decay=0.75", steps=2)
    average, weights = after(training, "average"), after(training)
    last = weight_files.load(training.output / "last.safetensors")
    assert all((last[name] == average[name]).all() for name in last)
    assert np.abs(last["fc.weight"] - weights["fc.weight"]).max() > 1e-6


def test_accumulated_parts_make_the_step_of_the_whole_batch(train):
    """Where norms take the batch's own statistics they are those of the parts, so here they take none."""
    whole, parts = (train("freeze_norm=true", f"accumulate={n}", steps=2, output=str(n)) for n in (1, 2))
    steps = moved(whole)
    assert np.abs(steps["conv1.0.weight"]).max() > 1e-6
    apart = {name: np.abs(step - steps[name]).max() for name, step in moved(parts).items()}
    assert max(apart.values()) < 1e-12


def test_frozen_stages_and_norms_stay_to_the_bit(train):
    before = start(read_config("resnest14", None, SMALL, classes=3).spec)

    def kept(*words):
        weights = after(train(*words, output=words[0]))
        return {name for name in weights if (weights[name] == before[name]).all()}

    stages, norms = kept("freeze_stages=2"), kept("freeze_norm=true")
    assert {name.split(".")[0] for name in stages} == {"conv1", "bn1", "layer1"}
    assert stages == {name for name in before if name.startswith(("conv1.", "bn1.", "layer1."))}
    assert "layer4.0.conv2.bn1.running_var" in norms
    assert {name for name in before if ".running_" in name} <= norms
    assert {name for name in before if before[name].ndim > 1} & norms == set()


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_rounds_what_is_computed_and_no_weights(train_in, dtype):
    exact, half = train_in("torch", "dtype=float32", output="exact"), train_in("torch", f"dtype={dtype}")
    losses = [read_log(training.output / "log.csv")[0].loss for training in (exact, half)]
    assert 1e-7 < abs(losses[1] / losses[0] - 1) < 0.05
    state = half.checkpoints.latest().state
    assert {array.dtype.name for array in state["weights"].values()} == {"float32"}
    assert ("scaler" in state) == (dtype == "float16")


@pytest.mark.torch
def test_channels_last_is_the_memory_and_not_the_numbers(train_in):
    import torch

    last = train_in("torch", "channels_last=true", "dtype=float32")
    first = train_in("torch", "channels_last=false", "dtype=float32", output="first")
    for training in (last, first):
        training.weights = start(training.config.spec)
    weights = [training.open().model.conv1[3].weight for training in (last, first)]
    assert [w.is_contiguous(memory_format=torch.channels_last) for w in weights] == [True, False]
    apart = {name: np.abs(array - after(first)[name]).max() for name, array in after(last).items()}
    assert max(apart.values()) < 1e-4


@pytest.mark.torch
def test_every_step_of_a_compiled_training_is_the_compiled_network_s(train_in, monkeypatch):
    import torch

    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or (lambda images: seen(model, images)))
    passes = []

    def seen(model, images):
        passes.append(len(images))
        return model(images)

    train_in("torch", steps=2, output="plain")
    assert compiled == []
    train_in("torch", "compile=true", steps=2)
    assert (len(compiled), passes) == (1, [4, 4])


@pytest.mark.torch
def test_sync_bn_shares_every_norm(monkeypatch):
    """PyTorch shares statistics between GPUs alone, so here nothing is trained."""
    from torch import nn

    config = read_config("resnest14", None, [*SMALL, "sync_bn=true"], classes=3)
    with pytest.raises(ValueError, match="sync_bn needs GPUs"):
        trainers.load("torch").check_setup(config.setup({}))
    monkeypatch.setattr("resnest.torch.training.trainer.check_setup", lambda setup: None)
    weights = start(config.spec)
    trainer = trainers.load("torch").open_trainer(config.spec, weights, config.rule(), config.setup({}))
    norms = [module for module in trainer.model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == sum(name.endswith("running_mean") for name in weights)
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    assert all((array == weights[name]).all() for name, array in trainer.weights().items())


@pytest.mark.gluon
@pytest.mark.parametrize(
    "word", ["compile=true", "sync_bn=true", "channels_last=true", "dtype=float16", "dtype=bfloat16"]
)
def test_what_mxnet_cannot_do_is_refused_by_the_key(word):
    config = read_config("resnest14", None, [*SMALL, word], classes=3)
    with pytest.raises(ValueError, match=rf"^{word.partition('=')[0]}\b.* is not for MXNet"):
        trainers.load("gluon").check_setup(config.setup({}))
