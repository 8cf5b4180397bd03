"""Checkpoints as trainers write them: the weights are found, whichever are asked for, and nothing else is opened."""

import argparse
import collections
import copy
import logging
import os
import pathlib
import sys
import types

import numpy as np
import pytest
import torch

import resnest.torch
from resnest import weights
from resnest.weights.inspect import inspect
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny, tiny_segmenter

SPEC = tiny(bottleneck_width=2, stem_width=2)


@pytest.fixture(scope="module")
def trained():
    """A network after a step of training, its average, and its optimizer."""
    torch.manual_seed(0)
    model = resnest.torch.ResNeSt(SPEC)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(2):
        torch.nn.functional.cross_entropy(model(torch.randn(2, 3, 32, 32)), torch.tensor([0, 1])).backward()
        optimizer.step()
        average.update_parameters(model)
    return model, average, optimizer


def same(found, model):
    expected = resnest.torch.get_weights(model)
    return list(found) == list(expected) and all(np.array_equal(found[name], expected[name]) for name in expected)


def timms(model, average, optimizer):
    return {
        "epoch": 3,
        "arch": "resnest50d",
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "version": 2,
        "args": argparse.Namespace(model="resnest50d", output=pathlib.PurePosixPath("out"), lr=np.float64(0.1)),
        "amp_scaler": {"scale": 65536.0},
        "state_dict_ema": average.module.state_dict(),
        "metric": np.float64(80.1),
    }


def torchvisions(model, average, optimizer):
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "epoch": 3,
        "args": argparse.Namespace(device="cuda", workers=16, clip_grad_norm=None),
        "model_ema": average.state_dict(),
        "scaler": {},
    }


class Stranger:
    """A class that exists while a checkpoint is written."""

    def __init__(self, **state):
        vars(self).update(state)


@pytest.fixture
def strangers():
    """Modules that are there while a checkpoint is written, and gone when it is read."""
    made = []

    def make(module, name, base=object):
        kind = type(name, (Stranger, base) if base is object else (base,), {"__module__": module})
        parts = module.split(".")
        for package in (".".join(parts[:length]) for length in range(1, len(parts) + 1)):
            if package not in sys.modules:
                sys.modules[package] = types.ModuleType(package)
                made.append(package)
        setattr(sys.modules[module], name, kind)
        return kind

    def forget():
        while made:
            del sys.modules[made.pop()]

    make.forget = forget
    yield make
    forget()


def save(content, path, strangers=None):
    torch.save(content, path, pickle_protocol=4)
    if strangers:
        strangers.forget()


def mmengines(model, average, strangers):
    """What its Runner writes with an EMAHook: the average and the weights themselves have changed places."""
    history = strangers("mmengine.logging.history_buffer", "HistoryBuffer")
    config = strangers("mmengine.config.config", "ConfigDict", dict)
    buffer = history(_max_length=1_000_000, _log_history=np.arange(5000.0), _count_history=np.ones(5000, "i8"))
    raw = {f"module.{name}": tensor for name, tensor in model.state_dict().items()} | {"steps": torch.tensor(2)}
    return {
        "meta": {"epoch": 1, "iter": 5000, "mmengine_version": "0.10.7", "cfg": "model = dict()", "seed": np.int64(7)},
        "state_dict": average.module.state_dict(),
        "message_hub": {
            "log_scalars": collections.OrderedDict({"train/loss": buffer}),
            "runtime_info": {"cfg": config(lr=0.1)},
        },
        "optimizer": {},
        "param_schedulers": [{"last_step": 3}],
        "ema_state_dict": raw,
    }


def lightnings(model, average, strangers):
    """What its callback WeightAveraging leaves."""
    parameters = strangers("lightning.fabric.utilities.data", "AttributeDict", dict)

    def named(module):
        return collections.OrderedDict(
            {f"model.{name}": tensor for name, tensor in module.state_dict().items()}, **{"loss.weight": torch.ones(3)}
        )

    return {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": named(average.module),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5)}},
        "hparams_name": "kwargs",
        "hyper_parameters": parameters(lr=0.1),
        "averaging_state": {"n_averaged": torch.tensor(2)},
        "current_model_state": named(model),
    }


def test_timms_checkpoint(trained, tmp_path, caplog):
    model, average, _ = trained
    path = tmp_path / "model_best.pth.tar"
    save(timms(*trained), path)
    assert same(weights.load(path), average.module)
    for part in (
        "took the average of the weights (state_dict_ema)",
        'weights themselves (state_dict) are had by which="model"',
    ):
        assert part in caplog.text
    for which, expected in {"ema": average.module, "model": model, "state_dict": model}.items():
        assert same(weights.load(path, which=which), expected)
    path_class = f"{pathlib.PurePosixPath.__module__}.PurePosixPath"  # Python 3.13 has it elsewhere
    assert f"argparse.Namespace, {path_class}" in caplog.text


def test_torchvisions_checkpoint(trained, tmp_path, caplog):
    model, average, _ = trained
    path = tmp_path / "checkpoint.pth"
    save(torchvisions(*trained), path)
    assert same(weights.load(path), average.module)
    assert "left out" not in caplog.text  # the average's own counter is no weight
    for which, expected in {"ema": average.module, "model": model, "model_ema": average.module}.items():
        assert same(weights.load(path, which=which), expected)


@pytest.mark.parametrize("sign", ["meta", "message_hub", "steps"])
def test_mmengines_checkpoint_has_the_average_under_state_dict(trained, tmp_path, caplog, strangers, sign):
    model, average, _ = trained
    content = mmengines(model, average, strangers)
    for other in {"meta", "message_hub"} - {sign}:
        del content[other]
    if sign != "steps":
        del content["ema_state_dict"]["steps"]
    path = tmp_path / "epoch_1.pth"
    save(content, path, strangers)
    assert not any(module.startswith("mmengine") for module in sys.modules)
    assert same(weights.load(path), average.module)
    assert "took the average of the weights (state_dict); the weights themselves (ema_state_dict)" in caplog.text
    for which, expected in {"ema": average.module, "model": model, "ema_state_dict": model}.items():
        assert same(weights.load(path, which=which), expected)
    if sign == "message_hub":
        assert "mmengine.logging.history_buffer.HistoryBuffer" in caplog.text


def test_elsewhere_ema_state_dict_is_the_average(trained, tmp_path):
    model, average, _ = trained
    save({"state_dict": model.state_dict(), "ema_state_dict": average.module.state_dict()}, tmp_path / "a.pth")
    assert same(weights.load(tmp_path / "a.pth"), average.module)
    assert same(weights.load(tmp_path / "a.pth", which="model"), model)


def test_an_average_alone_is_taken_and_can_be_asked_for(trained, tmp_path):
    average = trained[1]
    save({"model_ema": average.state_dict(), "epoch": 3}, tmp_path / "a.pth")
    for which in (None, "ema", "model_ema"):
        assert same(weights.load(tmp_path / "a.pth", which=which), average.module)
    with pytest.raises(ValueError, match=r'dicts in it \(which="model_ema" takes one'):
        weights.load(tmp_path / "a.pth", which="model")


def test_settings_of_an_average_are_not_taken_for_it(trained, tmp_path):
    model, average, _ = trained
    save({"model": model.state_dict(), "ema": {"decay": 0.999, "updates": 3}}, tmp_path / "a.pth")
    assert same(weights.load(tmp_path / "a.pth"), model)
    content = {"model": model.state_dict(), "ema": {"module": average.module.state_dict(), "updates": 3}}
    save(content, tmp_path / "b.pth")
    assert same(weights.load(tmp_path / "b.pth"), average.module)
    assert same(weights.load(tmp_path / "b.pth", which="model"), model)


def test_of_tensors_that_cannot_be_read_the_kind_is_named(tmp_path):
    save({"state_dict": {"conv1.0.weight": torch.ones(2, 2).to_sparse()}, "epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"whose conv1\.0\.weight is a torch\._utils\._rebuild_sparse_tensor"):
        weights.load(tmp_path / "a.pth")


def test_lightnings_checkpoint(trained, tmp_path, caplog, strangers):
    model, average, _ = trained
    path = tmp_path / "last.ckpt"
    save(lightnings(model, average, strangers), path, strangers)
    assert same(weights.load(path), average.module)
    assert "left out 1 tensors that are no ResNeSt's, of loss" in caplog.text
    for which, expected in {"ema": average.module, "model": model, "current_model_state": model}.items():
        assert same(weights.load(path, which=which), expected)


@pytest.mark.parametrize("key", ["average_model_state", "ema_state_dict"])
def test_an_average_that_a_callback_of_lightning_keeps_is_had_when_it_is_asked_for(trained, tmp_path, caplog, key):
    """By itself it is not taken: before it begins to average it holds the first weights."""
    model, average, _ = trained
    states = [
        {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
        for network in (model, average.module)
    ]
    content = {"state_dict": states[0], "callbacks": {"Stop": {"wait": 3}, "Averaging": {key: states[1], "n": 2}}}
    save(content, tmp_path / "a.ckpt")
    assert same(weights.load(tmp_path / "a.ckpt"), model)
    assert "took the weights themselves; the average that Averaging keeps is had by" in caplog.text
    assert same(weights.load(tmp_path / "a.ckpt", which="ema"), average.module)
    assert same(weights.load(tmp_path / "a.ckpt", which="model"), model)


def test_what_is_chosen_may_be_behind_wrappers(trained, tmp_path):
    """The names in the error are those to choose by."""
    model, average, _ = trained
    state = {f"module._orig_mod.query.{name}": tensor for name, tensor in model.state_dict().items()}
    state |= {f"module._orig_mod.key.{name}": tensor for name, tensor in average.module.state_dict().items()}
    save({"state_dict": state}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"behind the prefixes 'key\.' and 'query\.': say which of them"):
        weights.load(tmp_path / "a.pth")
    assert same(weights.load(tmp_path / "a.pth", which="query"), model)
    assert same(weights.load(tmp_path / "a.pth", which="key"), average.module)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"state_dict": {}}, "a dict without anything in it that is no state dict"),
        (torch.zeros(3), "a tensor that is no state dict"),
        ({"optimizer": {"state": {}, "param_groups": []}}, "a dict whose optimizer is a dict, that is no state dict"),
    ],
    ids=["empty", "tensor", "no weights"],
)
def test_what_holds_no_weights_is_one_sentence(content, sentence, tmp_path):
    save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=rf"a\.pth: it holds {sentence} \(a dict of dense tensors by name\)$"):
        weights.load(tmp_path / "a.pth")


def test_complex_numbers_and_missing_stages_are_named(trained, tmp_path):
    state = trained[0].state_dict()
    save(state | {"fc.bias": state["fc.bias"].to(torch.complex64)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"fc\.bias in it has dtype complex64, and weights are real numbers"):
        weights.load(tmp_path / "a.pth")
    assert "has dtype complex64" in inspect(tmp_path / "a.pth").complaint
    save({name: tensor for name, tensor in state.items() if not name.startswith("layer3.")}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"no ResNeSt's: 'layer3\.0\.conv1\.weight' is not as in one"):
        weights.load(tmp_path / "b.pth")


def test_an_average_within_a_module_is_chosen_by_its_prefix(trained, tmp_path):
    model, average, _ = trained
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    state |= {f"ema_model.{name}": tensor for name, tensor in average.state_dict().items()}
    save({"state_dict": state}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"more than one network, behind the prefixes 'ema_model.' and 'model.'"):
        weights.load(tmp_path / "a.ckpt")
    for which, expected in {"ema": average.module, "model": model, "ema_model": average.module}.items():
        assert same(weights.load(tmp_path / "a.ckpt", which=which), expected)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".params"])
def test_every_format_lets_a_prefix_be_chosen(suffix, trained, tmp_path):
    from resnest.weights.formats.files import write_file

    model, average, _ = trained
    arrays = {f"teacher.{name}": array for name, array in resnest.torch.get_weights(average.module).items()}
    arrays |= {f"student.{name}": array for name, array in resnest.torch.get_weights(model).items()}
    write_file(tmp_path / f"a{suffix}", arrays)
    assert same(weights.load(tmp_path / f"a{suffix}", which="student"), model)
    with pytest.raises(ValueError, match=rf"a\{suffix}: there is no 'nobody' .* its tensors are of teacher, student"):
        weights.load(tmp_path / f"a{suffix}", which="nobody")


def test_what_is_not_there_to_choose_is_said(trained, tmp_path):
    save({"state_dict": trained[0].state_dict()}, tmp_path / "a.pth")
    assert same(weights.load(tmp_path / "a.pth", which="model"), trained[0])
    for which in ("ema", "teacher"):
        with pytest.raises(
            ValueError, match=rf"a\.pth: there is no '{which}' in it to choose: there are state_dict, and"
        ):
            weights.load(tmp_path / "a.pth", which=which)


def test_a_convert_takes_which_too(trained, tmp_path):
    save(timms(*trained), tmp_path / "a.pth")
    weights.convert(tmp_path / "a.pth", tmp_path / "b.params", which="model")
    assert same(weights.load(tmp_path / "b.params"), trained[0])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: torch.nn.DataParallel(model),
        lambda model: torch.compile(model),
        lambda model: torch.compile(torch.nn.DataParallel(torch.compile(model))),
        lambda model: torch.nn.ModuleDict({"model": torch.compile(model)}),
        lambda model: torch.nn.ModuleDict({"net": torch.nn.ModuleDict({"backbone": torch.nn.DataParallel(model)})}),
    ],
    ids=["module.", "_orig_mod.", "_orig_mod.module._orig_mod.", "model._orig_mod.", "net.backbone.module."],
)
def test_wrappers_are_read_through(wrap, trained, tmp_path):
    save({"state_dict": wrap(trained[0]).state_dict()}, tmp_path / "a.pth")
    assert same(weights.load(tmp_path / "a.pth"), trained[0])
    assert weights.dialect_of(tmp_path / "a.pth") == "torch"


def test_wrappers_around_parts_are_read_through(trained, tmp_path):
    model = copy.deepcopy(trained[0])
    model.layer1 = torch.compile(model.layer1)
    model.layer2[0] = torch.nn.DataParallel(model.layer2[0])
    assert any(name.startswith("layer1._orig_mod.") for name in model.state_dict())
    save(model.state_dict(), tmp_path / "a.pth")
    assert same(weights.load(tmp_path / "a.pth"), trained[0])
    drawn = draw_weights(tiny_segmenter())
    state = {name.replace("backbone.", "backbone._orig_mod."): torch.from_numpy(a) for name, a in drawn.items()}
    save({"state_dict": state}, tmp_path / "b.pth")
    assert list(weights.load(tmp_path / "b.pth")) == list(drawn)


def test_a_model_that_was_saved_whole_is_read_without_its_class(trained, tmp_path):
    for number, content in enumerate((trained[0], {"model": torch.nn.DataParallel(trained[0]), "epoch": 3})):
        save(content, tmp_path / f"{number}.pt")
        assert same(weights.load(tmp_path / f"{number}.pt"), trained[0])


def test_the_names_in_a_hostile_file_cannot_speak_to_a_terminal(tmp_path, caplog, strangers):
    escape = "\x1b]0;owned\x07\x1b[2J\nERROR"
    model = resnest.torch.ResNeSt(SPEC)
    evil = [strangers(f"evil{number}", f"Evil{number}\u202e{escape}")() for number in range(20)]
    state = {f"net.{name}": tensor for name, tensor in model.state_dict().items()}
    content = {"state_dict": {**state, f"head{escape}.weight": torch.ones(1)}, "evil": evil}
    save(content, tmp_path / "a.pth", strangers)
    assert same(weights.load(tmp_path / "a.pth"), model)
    assert len(caplog.records) == 2
    for record in caplog.records:
        assert record.levelno == logging.WARNING
        assert record.getMessage().isprintable()
    assert "evil0.Evil0" in caplog.text
    assert "and 12 more" in caplog.text
    for state in ({f"{escape}.weight": torch.ones(1)}, {f"layer1.0.conv2.conv.weight{escape}": torch.ones(1)}):
        save({**model.state_dict(), **state, "layer1.0.conv1.weight": torch.ones(1)}, tmp_path / "b.pth")
        for arguments in ({}, {"which": "nobody"}):
            with pytest.raises(ValueError, match=r"b\.pth") as error:
                weights.load(tmp_path / "b.pth", **arguments)
            assert str(error.value).isprintable()


def test_of_many_long_names_a_few_are_said_and_cut(trained, tmp_path, caplog):
    content = {f"model.{name}": tensor for name, tensor in trained[0].state_dict().items()}
    content |= {f"part{number}{'x' * 500}.weight": torch.ones(1) for number in range(50)}
    save({"state_dict": content}, tmp_path / "a.pth")
    assert same(weights.load(tmp_path / "a.pth"), trained[0])
    assert "left out 50 tensors" in caplog.text
    assert "and 42 more" in caplog.text
    with pytest.raises(ValueError, match=r"and 43 more$") as error:
        weights.load(tmp_path / "a.pth", which="nobody")
    assert max(len(caplog.records[0].getMessage()), len(str(error.value))) < 1200


def test_nothing_in_a_hostile_checkpoint_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = resnest.torch.ResNeSt(SPEC)

    class Evil:
        def __reduce__(self):
            return os.system, ("touch ran",)

    class Quiet(dict):
        def __reduce__(self):
            return exec, ("open('ran', 'w')",), {"state": Evil()}, None, iter([("key", Evil())])

    for number, content in enumerate(
        (
            {"state_dict": model.state_dict(), "args": Evil()},
            {"state_dict": model.state_dict(), "deep": [{"er": (Quiet(), {Evil(): 1})}]},
            {Evil(): 1, "state_dict": model.state_dict()},
        )
    ):
        save(content, tmp_path / f"{number}.pth")
        assert same(weights.load(tmp_path / f"{number}.pth"), model)
    for number, content in enumerate((Evil(), {"state_dict": Evil()}, {"model": Quiet()}, [Evil()])):
        save(content, tmp_path / f"{number}.pth")
        with pytest.raises(ValueError, match="no state dict"):
            weights.load(tmp_path / f"{number}.pth")
    assert not (tmp_path / "ran").exists()


def test_modules_nested_without_end_are_refused(tmp_path):
    module = torch.nn.Module()
    for _ in range(60):  # each twice in the next: 2^60 names
        outer = torch.nn.Module()
        outer.a = outer.b = module
        module = outer
    save(module, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="more, or deeper nested, modules"):
        weights.load(tmp_path / "a.pth")
