"""`resnest train` on a folder of images, in every backend."""

import json
import os
import shutil
import signal

import pytest
from PIL import Image

import resnest.weights
from resnest.data.folders import ImageFolder
from resnest.data.photos import load_image
from resnest.jobs.predict.classification import open_classifier
from resnest.jobs.train import launch as launching
from resnest.jobs.train.log import read_log
from resnest.jobs.train.source import Photos
from resnest.weights.published import pretrained
from tests.support.cli import refused, run
from tests.support.images import photo_folder

SMALL = "recipe=finetune epochs=2 batch=4 size=33 workers=0 stage_depths=[1,1,1,1] stem_width=8 bottleneck_width=4"


@pytest.fixture
def data(tmp_path):
    return photo_folder(tmp_path / "data")


@pytest.fixture
def train(tmp_path, data, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)

    def call(*words, output="out", backend="torch"):
        options = ["--data", data, "--output", tmp_path / output, *(["--backend", backend] if backend else [])]
        return run("train", "resnest14", *options, *SMALL.split(), *words)

    return call


def test_it_trains_and_says_what_it_leaves(train, backend, tmp_path):
    ran = train(backend=backend.name)
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.count("top-1") == 2
    assert "holds the weights and the curve of 6 steps; the best, at step" in ran.stdout
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {
        "log.csv",
        "curve.png",
        "classes.txt",
        "config.json",
        "best.safetensors",
        "last.safetensors",
        "checkpoints",
    }
    assert (tmp_path / "out" / "classes.txt").read_text().split() == ["class0", "class1", "class2"]
    assert resnest.weights.load(tmp_path / "out" / "last.safetensors")["fc.weight"].shape == (3, 2048)


@pytest.mark.torch
def test_published_weights_are_fetched_and_begun_with(train, tmp_path, monkeypatch):
    begun = tmp_path / "published.npz"
    assert train(output="first").exit_code == 0
    resnest.weights.convert(tmp_path / "first" / "last.safetensors", begun)
    asked = []
    monkeypatch.setattr(pretrained, "download", lambda *source: asked.append(source) or begun)
    ran = train("--pretrained", "timm", "epochs=1", "lr=0.0", "--freeze-norm")
    assert ran.exit_code == 0, ran.output
    assert asked == [("resnest14", "timm")]
    first, then = (resnest.weights.load(path) for path in (begun, tmp_path / "out" / "last.safetensors"))
    assert (first["conv1.0.weight"] == then["conv1.0.weight"]).all()
    assert "--pretrained goes without" in refused(train("--pretrained", "timm", "--weights", begun, output="other"))


@pytest.mark.torch
def test_a_signal_saves_and_ends_it_and_it_goes_on_where_it_was(train, tmp_path, monkeypatch):
    at = 1

    def signalled(self, keys):
        for number, batch in enumerate(batches(self, keys)):
            if keys.start + number == at:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    with monkeypatch.context() as patch:
        batches = Photos.batches
        patch.setattr(Photos, "batches", signalled)
        stopped = train()
    assert stopped.exit_code == 128 + signal.SIGTERM
    assert "stopped and saved at step 2 of 6: go on with --resume" in stopped.stdout
    assert "holds a training already: go on with it by --resume" in refused(train())
    assert train("--resume").exit_code == 0
    at = 5
    with monkeypatch.context() as patch:
        patch.setattr(Photos, "batches", signalled)
        assert train(output="whole").exit_code == 0  # a signal in the last step finds all done
    ours, theirs = (resnest.weights.load(tmp_path / name / "last.safetensors") for name in ("out", "whole"))
    assert [name for name in ours if (ours[name] != theirs[name]).any()] == []
    assert read_log(tmp_path / "out" / "log.csv") == read_log(tmp_path / "whole" / "log.csv")
    assert train("--resume").exit_code == 0  # there is nothing left to do


def cut_off(path):
    path.write_bytes(path.read_bytes()[:200])


def test_evaluation_images_that_cannot_be_read_are_named_and_not_counted(train, backend, data, tmp_path, caplog):
    for path in (data / "val").rglob("*.png"):
        if path.name != "0.png":
            cut_off(path)
    ran = train(backend=backend.name)
    assert ran.exit_code == 0, ran.output
    assert caplog.text.count("not counted: ") == 2 * 3  # of which a terminal shows each once
    assert f"not counted: {data / 'val' / 'class1' / '1.png'} is no photo that can be read" in caplog.text
    assert "3 of 4 images to evaluate on cannot be read and are in no accuracy" in caplog.text
    assert {row.judged.get("top1") for row in read_log(tmp_path / "out" / "log.csv")} <= {None, 0.0, 100.0}


@pytest.mark.torch
def test_where_none_can_be_read_there_is_no_accuracy(train, data, tmp_path, caplog):
    for path in (data / "val").rglob("*.png"):
        cut_off(path)
    ran = train()
    assert ran.exit_code == 0, ran.output
    assert "4 of 4 images to evaluate on cannot be read" in caplog.text
    assert {"top1" in row.judged for row in read_log(tmp_path / "out" / "log.csv")} == {False}
    assert not (tmp_path / "out" / "best.safetensors").exists()


def test_an_image_to_learn_from_that_cannot_be_read_costs_no_step(train, backend, data, tmp_path, monkeypatch):
    whole = train("epochs=1", output="whole", backend=backend.name)
    assert whole.exit_code == 0
    path = next(data.rglob("train/class0/0.png"))
    content, reads = path.read_bytes(), []

    def read(self, index):
        reads.append(index)
        if len(reads) == 9:  # in the third step
            cut_off(path)
            index = self.names.index("class0/0.png")
        return reading(self, index)

    with monkeypatch.context() as patch:
        reading = ImageFolder.__getitem__
        patch.setattr(ImageFolder, "__getitem__", read)
        message = refused(train("epochs=1", backend=backend.name))
    assert "class0/0.png is no photo that can be read" in message
    assert "replace it, and go on with --resume; step 2 is saved" in message
    path.write_bytes(content)
    assert train("--resume", "epochs=1", backend=backend.name).exit_code == 0
    ours, theirs = (read_log(tmp_path / name / "log.csv") for name in ("out", "whole"))
    assert [row.step for row in ours] == [1, 2, 3]
    assert [row.loss for row in ours] == pytest.approx([row.loss for row in theirs], rel=1e-5)


@pytest.mark.torch
@pytest.mark.gluon
def test_a_longer_training_is_gone_on_with_in_the_other_backend(train, tmp_path, backend):
    assert train(backend={"torch": "gluon", "gluon": "torch"}[backend.name]).exit_code == 0
    ran = train("--resume", "epochs=3", backend=backend.name)
    assert ran.exit_code == 0, ran.output
    assert len(read_log(tmp_path / "out" / "log.csv")) == 9


@pytest.mark.gluon
def test_processes_that_go_on_are_started_for_the_backend_of_the_checkpoint(train, monkeypatch):
    assert train("epochs=1", backend="gluon").exit_code == 0
    asked = []
    monkeypatch.setattr(launching, "launch", lambda command, number, backend: asked.append((number, backend)) or 0)
    for words in (["--resume"], ["--resume", "--backend", "torch"], []):
        assert train("--processes", 2, *words, backend=None).exit_code == 0
    assert asked == [(2, "gluon"), (2, "torch"), (2, "torch")]


@pytest.mark.torch
def test_what_was_trained_of_a_changed_network_is_opened_by_its_folder(train, data, tmp_path):
    """The activation and the pooling do not show in tensors."""
    assert train("activation=silu", "avd_first=true", "radix=4").exit_code == 0
    out = tmp_path / "out"
    best = max(row.judged.get("top1", 0) for row in read_log(out / "log.csv"))
    for weights in (out, out / "best.safetensors"):
        ran = run("verify", "resnest14", "--data", data, "--weights", weights, "--json")
        assert ran.exit_code == 0, ran.output
        assert json.loads(ran.stdout)["accuracy"]["torch"]["top1"] == best
    told = json.loads(run("predict", data / "val" / "class1" / "1.png", "--weights", out, "--json").stdout)
    assert {row["name"] for row in told[0]["classes"]} == {"class0", "class1", "class2"}
    (logits,) = predicted(out, data)
    (out / "config.json").unlink()
    assert abs(predicted(out, data)[0] - logits).max() > 1e-6
    refusal = refused(run("export", "resnest14", "--format", "onnx", "--weights", data))
    assert "holds none of model.safetensors, best.safetensors, last.safetensors" in refusal


def predicted(folder, data):
    classifier = open_classifier(folder / "best.safetensors", size=33)
    return classifier.predict(load_image(data / "val" / "class1" / "1.png", classifier.preparation))


@pytest.mark.torch
def test_weights_of_other_classes_are_a_start_and_frozen_stages_stay(train, tmp_path):
    assert train(output="first").exit_code == 0
    start = tmp_path / "first" / "last.safetensors"
    shutil.rmtree(tmp_path / "data" / "train" / "class2")
    shutil.rmtree(tmp_path / "data" / "val" / "class2")
    assert train("--weights", start, "--freeze-stages", 2, "--freeze-norm").exit_code == 0
    before, after = resnest.weights.load(start), resnest.weights.load(tmp_path / "out" / "last.safetensors")
    assert after["fc.weight"].shape[0] == 2
    kept = {name for name in before if before[name].shape == after[name].shape and (before[name] == after[name]).all()}
    assert {"conv1.0.weight", "layer1.0.conv1.weight", "layer4.0.bn1.weight", "layer4.0.bn1.running_mean"} <= kept
    assert "layer2.0.conv1.weight" not in kept


@pytest.mark.torch
def test_a_dry_run_says_what_would_be_and_writes_nothing(train, tmp_path):
    ran = train("--dry-run", "warmup_epochs=0.5")
    assert ran.exit_code == 0, ran.output
    for told in ("epochs: 2", "seed: 0", "# steps: 6, 3 an epoch", "images/s", "# memory: ", "12 images to train on"):
        assert told in ran.stdout
    assert not (tmp_path / "out").exists()


def empty_class(data):
    (data / "train" / "class9").mkdir()


def unknown_class(data):
    Image.new("RGB", (40, 40)).save((data / "val" / "class1").rename(data / "val" / "clas1") / "a.png")


def broken_image(data):
    cut_off(data / "train" / "class0" / "0.png")


@pytest.mark.torch
@pytest.mark.parametrize(
    ("words", "breakage", "sentence"),
    [
        (["epoch=3"], None, "there is no key 'epoch'; did you mean epochs"),
        (["batch=11"], None, None),
        (["batch=11", "drop_last=false"], None, "leaves a last batch of one of the 12 images"),
        (["in_channels=1"], None, "in_channels=1: images in files have 3"),
        (["num_classes=4"], None, "num_classes=4 and the 3 classes in the data"),
        ([], empty_class, "class9 holds no image"),
        ([], unknown_class, "clas1 is a class that was not trained on; did you mean class"),
        ([], broken_image, "0.png is no photo that can be read"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_bad_input_is_one_sentence(train, data, words, breakage, sentence):
    if breakage is not None:
        breakage(data)
    ran = train(*words)
    if sentence is None:
        assert ran.exit_code == 0, ran.output
    else:
        assert sentence in refused(ran)


@pytest.mark.torch
def test_photos_of_every_kind_are_learned_from(train, data):
    folder = data / "train" / "class0"
    Image.new("CMYK", (40, 40), (9, 99, 0, 0)).save(folder / "0.jpg")
    Image.new("I;16", (40, 40), 30000).save(folder / "3.png")
    Image.new("LA", (40, 40)).save(folder / "6.png")
    assert train("epochs=1", "batch=13").exit_code == 0


@pytest.mark.torch
def test_a_rate_that_diverges_ends_it_with_the_step(train):
    message = refused(train("lr=1e25", "lr_batch=1", "warmup_epochs=0", "save_every=1", "ema_decay=0"))
    assert "the loss is nan at step 2" in message
    assert "step-00000001" in message
