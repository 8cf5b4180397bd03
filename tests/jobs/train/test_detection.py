"""A detector learns from COCO's annotations: it is found again in what it says, and nothing on the way changes it."""

import logging
import os
import signal

import numpy as np
import pytest

import resnest.weights
from resnest import get_spec
from resnest.data.annotations import read_annotations
from resnest.jobs.predict.detection import open_finder
from resnest.jobs.train.detection import JUDGED, start
from resnest.jobs.train.log import read_log
from resnest.jobs.train.scenes import Scenes
from resnest.jobs.train.start import open_training
from resnest.jobs.verify.detection import verify
from resnest.specs.detection.network import FAMILIES
from resnest.specs.detection.published import get_detection_spec
from resnest.specs.segmentation.published import get_segmentation_spec
from resnest.weights import recognise
from resnest.weights.seeded import first_weights
from tests.support.cli import refused, run
from tests.support.scenes import IDS, annotation_file, change_annotations, coco_folder

pytestmark = pytest.mark.torch

SMALL = """
channels=8 hidden=16 box_convs=1 mask_convs=1 scale=[96,64] frozen_stages=0
backbone.stage_depths=[1,1,1,1] backbone.stem_width=8 backbone.bottleneck_width=8
epochs=2 batch=2 warmup_steps=2 workers=0 long_side=96 short_sides=[48,64]
""".split()  # noqa: SIM905  # as it is typed


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No test here cuts the power: nobody waits for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def data(tmp_path):
    return coco_folder(tmp_path / "data")


@pytest.fixture
def train(tmp_path, data):
    def call(*words, output="out", family="faster_rcnn"):
        return run("train", f"{family}_resnest50_coco", "--data", data, "--output", tmp_path / output, *SMALL, *words)

    return call


def opened(tmp_path, data, *words, family="faster_rcnn", **asked):
    name = f"{family}_resnest50_coco"
    return open_training(name, data, tmp_path / "out", words=[*SMALL, *words], **asked)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_trains_every_family_and_is_judged_by_precision(train, tmp_path, family):
    ran = train("epochs=1", family=family)
    assert ran.exit_code == 0, ran.output
    kinds = ("box AP", "mask AP") if "mask" in family else ("box AP",)
    assert all(kind in ran.stdout for kind in kinds)
    found = {path.name for path in (tmp_path / "out").iterdir()}
    said = {"log.csv", "curve.png", "classes.txt", "config.json"}
    assert found == said | {"best.safetensors", "last.safetensors", "checkpoints"}
    assert (tmp_path / "out" / "classes.txt").read_text().split() == ["red", "green"]
    rows = read_log(tmp_path / "out" / "log.csv")
    assert [row.step for row in rows] == [1, 2]
    assert set(rows[-1].judged) == set(JUDGED if "mask" in family else JUDGED[:2])
    weights = resnest.weights.load(tmp_path / "out" / "last.safetensors")
    assert recognise({name: array.shape for name, array in weights.items()}).num_classes == 2


def test_a_training_that_is_stopped_anywhere_ends_where_an_undisturbed_one_does(train, tmp_path, monkeypatch):
    def signalled(self, keys):
        for number, batch in enumerate(batches(self, keys)):
            if keys.start + number in (0, 2):
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    family = "cascade_mask_rcnn"
    with monkeypatch.context() as patch:
        batches = Scenes.batches
        patch.setattr(Scenes, "batches", signalled)
        assert "stopped and saved at step 1 of 4" in train(family=family).stdout
        assert "stopped and saved at step 3 of 4" in train("--resume", family=family).stdout
    assert train("--resume", family=family).exit_code == 0
    assert train(output="whole", family=family).exit_code == 0
    ours, theirs = (resnest.weights.load(tmp_path / name / "last.safetensors") for name in ("out", "whole"))
    assert [name for name in ours if (ours[name] != theirs[name]).any()] == []
    assert read_log(tmp_path / "out" / "log.csv") == read_log(tmp_path / "whole" / "log.csv")


@pytest.mark.gluon
def test_gluon_is_refused_by_name(train):
    message = refused(train("--backend", "gluon"))
    assert "faster_rcnn_resnest50_coco is trained in PyTorch alone" in message


def test_weights_of_imagenet_are_the_backbone_s(tmp_path, data, caplog):
    backbone = get_spec("resnest50", stage_depths=(1, 1, 1, 1), stem_width=8, bottleneck_width=8)
    weights = first_weights(backbone, seed=5)
    resnest.weights.save(weights, tmp_path / "imagenet.safetensors")
    with caplog.at_level(logging.WARNING):
        training = opened(tmp_path, data, weights=tmp_path / "imagenet.safetensors")
    assert (training.weights["backbone.stem.0.weight"] == weights["conv1.0.weight"]).all()
    assert (training.weights["backbone.layer4.0.conv3.weight"] == weights["layer4.0.conv3.weight"]).all()
    assert "has no weights that fit for neck.lateral_convs.0.conv" in caplog.text
    assert set(training.weights) == set(training.config.spec.tensors())


def test_pretrained_is_imagenets_backbone(train, tmp_path, monkeypatch):
    backbone = get_spec("resnest50", stage_depths=(1, 1, 1, 1), stem_width=8, bottleneck_width=8)
    resnest.weights.save(first_weights(backbone), tmp_path / "imagenet.safetensors")
    asked = []
    monkeypatch.setattr(
        "resnest.weights.published.pretrained.download",
        lambda name, source: asked.append((name, source)) or tmp_path / "imagenet.safetensors",
    )
    ran = train("--pretrained", "--dry-run")
    assert ran.exit_code == 0, ran.output
    assert asked == [("resnest50", None)]
    for told in ("warmup_steps: 2", "short_sides: [48, 64]", "5 images to train on", "2 to evaluate on, 2 classes"):
        assert told in ran.stdout


def test_of_a_detector_for_other_classes_only_the_last_layers_are_drawn_anew(tmp_path, data, caplog):
    spec = opened(tmp_path, data).config.spec
    other = get_detection_spec(
        "faster_rcnn_resnest50_coco", **{f: getattr(spec, f) for f in ("channels", "hidden", "box_convs", "backbone")}
    )
    weights = first_weights(other, seed=5)
    resnest.weights.save(weights, tmp_path / "coco.safetensors")
    with caplog.at_level(logging.WARNING):
        training = opened(tmp_path, data, weights=tmp_path / "coco.safetensors")
    changed = {name for name, array in training.weights.items() if array.shape != weights[name].shape}
    assert {name.rpartition(".")[0] for name in changed} == {"roi_head.bbox_head.fc_cls", "roi_head.bbox_head.fc_reg"}
    assert all((training.weights[name] == weights[name]).all() for name in weights if name not in changed)
    assert "fit for roi_head.bbox_head.fc_cls, roi_head.bbox_head.fc_reg: these are drawn anew" in caplog.text


def test_another_backbone_s_weights_are_refused(tmp_path, data):
    weights = first_weights(get_spec("resnest50", stage_depths=(1, 2, 1, 1), stem_width=8, bottleneck_width=8))
    resnest.weights.save(weights, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors has another backbone than faster_rcnn_resnest50_coco"):
        opened(tmp_path, data, weights=tmp_path / "other.safetensors")


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_half_precision_and_double_have_the_losses_of_single(tmp_path, data, dtype):
    """Nearly: what is drawn depends on which proposals there are."""
    losses = []
    for number, word in enumerate((dtype, "float32")):
        words = [*SMALL, f"dtype={word}", "epochs=1", "lr=0"]
        training = open_training("mask_rcnn_resnest50_coco", data, tmp_path / str(number), words=words)
        training.run()
        losses.append([row.loss for row in read_log(tmp_path / str(number) / "log.csv")])
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_frozen_stages_stay_and_are_never_drawn(train, tmp_path, data):
    assert "its frozen stages would stay as they are drawn: give --weights" in refused(train("frozen_stages=1"))
    assert train("epochs=1", output="first").exit_code == 0
    start = tmp_path / "first" / "last.safetensors"
    assert train("frozen_stages=1", "epochs=1", "--weights", start).exit_code == 0
    before, after = resnest.weights.load(start), resnest.weights.load(tmp_path / "out" / "last.safetensors")
    kept = {name for name in before if (before[name] == after[name]).all()}
    assert {name for name in before if name.startswith(("backbone.stem.", "backbone.layer1."))} <= kept
    assert "backbone.layer2.0.conv1.weight" not in kept
    assert "backbone.layer2.0.bn1.running_mean" not in kept


def test_labels_and_results_have_the_files_own_numbers(tmp_path, data):
    source = opened(tmp_path, data).source
    assert source.category_ids == IDS
    assert source.learned.labels == {3: 0, 7: 1}
    assert opened(tmp_path, data).config.spec.dataset == ""


def other_classes(content):
    content["categories"].append({"id": 9, "name": "blue"})


def no_classes(content):
    content["categories"].clear()


def no_mask(content):
    content["annotations"][0]["segmentation"] = []


def test_of_another_network_s_weights_too_those_are_taken_that_were_asked_for(tmp_path, data):
    import torch

    config = opened(tmp_path, data).config
    segmenter = get_segmentation_spec("fcn_resnest101_cityscapes", backbone=config.spec.backbone, channels=8)
    states = [{name: torch.full(shape, value) for name, shape in segmenter.tensors().items()} for value in (1.0, 2.0)]
    torch.save(dict(zip(("state_dict", "state_dict_ema"), states)), tmp_path / "a.pth")
    for which, value in {"model": 1, "ema": 2, None: 2}.items():
        assert (start(config, tmp_path / "a.pth", which)["backbone.layer1.0.conv1.weight"] == value).all()


@pytest.mark.parametrize(
    ("words", "change", "sentence"),
    [
        (["num_classes=4"], None, "num_classes=4 and the 2 classes in the data"),
        (["radix=1"], None, "there is no key 'radix'; did you mean backbone.radix"),
        (["backbone.in_channels=1"], None, "in_channels=1: photos have 3"),
        (["batch=9"], None, "batch=9 is more than the 5 images"),
        (["recipe=gluon"], None, "there is no recipe 'gluon' for faster_rcnn_resnest50_coco; known are mmdetection"),
        (["short_sides=[64,48]"], None, "short_sides=(64, 48) must be two sides in pixels, the smaller one first"),
        ([], other_classes, "they must be the same"),
        ([], no_classes, "names no class"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_bad_input_is_one_sentence(train, data, words, change, sentence):
    if change is not None:
        change_annotations(data, change)
    assert sentence in refused(train(*words))


def test_an_object_without_a_mask_is_named_where_masks_are_learnt(train, data):
    change_annotations(data, no_mask)
    assert "object 1 has no segmentation" in refused(train(family="mask_rcnn"))


def test_what_is_found_in_a_photo_that_cannot_be_read_is_nothing(train, data, caplog):
    path = data / "val2017" / "000000000011.png"
    path.write_bytes(path.read_bytes()[:100])
    ran = train("epochs=1")
    assert ran.exit_code == 0, ran.output
    assert "nothing is found in a photo that cannot be read" in caplog.text


def test_a_broken_photo_to_train_on_ends_it_after_a_save(train, data):
    path = data / "train2017" / "000000000012.png"
    path.write_bytes(path.read_bytes()[:100])
    message = refused(train("seed=1"))
    assert "000000000012.png is no photo that can be read" in message


def test_it_learns_to_find_the_one_box_of_each_photo(tmp_path):
    """The photos to evaluate on are those to train on, each of which an epoch has forty times."""

    def repeat(content):
        for part, number in (("images", "id"), ("annotations", "image_id")):
            rows = content[part]
            content[part] = [row | {number: row[number] + 100 * time} for time in range(40) for row in rows]

    data = coco_folder(tmp_path / "data", train=2, val=2, objects=1)
    change_annotations(data, repeat)
    rates = ["epochs=1", "warmup_steps=10", "lr=0.04", "lr_batch=2"]
    words = [*rates, "channels=16", "hidden=32", "short_sides=[64,64]", "flip=0"]
    last = opened(tmp_path, data, *words).run()
    losses = [row.loss for row in read_log(tmp_path / "out" / "log.csv")]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    assert last.judged["box_ap50"] > 30
    truth = read_annotations(annotation_file(data, "val2017"))
    scores, _ = verify(open_finder(tmp_path / "out" / "last.safetensors"), truth, data / "val2017")
    assert 100 * scores["bbox"].all == pytest.approx(last.judged["box_ap"])
