import json
import os
import struct
import subprocess
import sys
from dataclasses import asdict
from functools import partial

import numpy as np
import pytest
from PIL import Image

from resnest.backends import registry
from resnest.data.folders import ImageFolder
from resnest.data.recordio import MAGIC
from resnest.jobs.verify.accuracy import Accuracy
from resnest.jobs.verify.classification import open_evaluation, verify
from resnest.specs.protocols import preparation
from resnest.weights.saved import classes_beside
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny

SQUARE = preparation("authors-torch", 32, "")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for number in range(24):
        path = root / "val" / f"class{number % 5}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 48, 3), np.uint8)).save(path)
    (root / "val" / "class3" / "broken.jpg").write_bytes(b"no photo")
    return root


def brightness(images):
    """Logits by which class 0 is never and the others sometimes right."""
    return np.stack([np.sin(9 * label * images.mean(axis=(1, 2, 3)) * 100) for label in range(5)], axis=1)


def darkness(images):
    """As `brightness` has it of some images, and the other way round of the rest."""
    return np.sign(images[:, 0, 0, :1]) * brightness(images)


def test_every_image_is_judged_once_and_what_cannot_be_read_is_named(root):
    source = open_evaluation(root, 5)
    seen = []

    def predict(images):
        seen.append(len(images))
        return brightness(images)

    told = []
    found = verify(
        source,
        {"one": predict},
        SQUARE,
        batch=4,
        progress=lambda done, counts: told.append((done, counts["one"].images)),
    )
    assert sum(seen) == found.accuracy["one"].images == 24
    assert max(seen) == 4
    (name,) = found.unreadable
    assert name == str(root / "val" / "class3" / "broken.jpg")
    assert "is no photo that can be read" in found.unreadable[name]
    assert told[-1] == (25, 24)
    assert found.disagreements == {}


def test_batches_change_nothing(root):
    source = open_evaluation(root, 5)
    found = [verify(source, {"one": brightness}, SQUARE, batch=batch).accuracy for batch in (1, 5, 100)]
    assert found[0] == found[1] == found[2]
    assert 0 < found[0]["one"].first < 24


def test_backends_see_the_same_pixels_and_every_disagreement_is_named(root):
    source = open_evaluation(root, 5)
    seen = {"one": [], "other": []}

    def predict(name, images):
        seen[name].append(images)
        return np.eye(5)[[int(name == "other" and image[0, 0, 0] > 0) for image in images]]

    found = verify(source, {name: partial(predict, name) for name in seen}, SQUARE, batch=7)
    assert all(np.array_equal(a, b) for a, b in zip(*seen.values(), strict=True))
    names = [source.name(index) for index in range(len(source)) if "broken" not in source.name(index)]
    apart = [name for name, image in zip(names, np.concatenate(seen["one"]), strict=True) if image[0, 0, 0] > 0]
    assert 0 < len(apart) < 24
    assert found.disagreements == dict.fromkeys(apart, (0, 1))


@pytest.mark.torch
@pytest.mark.gluon
def test_all_backends_agree_on_a_network(root):
    spec = tiny(num_classes=5)
    weights = draw_weights(spec)
    predicts = {name: registry.load(name).predictor(spec, weights) for name in ("torch", "gluon")}
    found = verify(open_evaluation(root, 5), predicts, SQUARE, batch=8)
    assert found.accuracy["torch"] == found.accuracy["gluon"]
    assert found.accuracy["torch"].images == 24
    assert found.disagreements == {}


def test_what_one_backend_makes_no_number_of_is_a_disagreement_and_wrong(root):
    """Else the class that the first of them is at would be taken for its guess."""
    predicts = {
        "one": lambda images: np.eye(5)[[0] * len(images)],
        "other": lambda images: images[:, 0, 0, :5] * np.nan,
    }
    found = verify(open_evaluation(root, 5), predicts, SQUARE)
    assert found.accuracy["other"] == Accuracy(24, 0, 0, broken=24)
    assert set(found.disagreements.values()) == {(0, -1)}
    assert len(found.disagreements) == 24


def test_an_image_that_goes_away_is_named_and_not_fatal(root, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    Image.new("RGB", (1, 60000)).save(tmp_path / "a" / "thin.png")
    gluon = preparation("authors-gluon", 224, "")
    found = verify(open_evaluation(tmp_path, 1), {"one": lambda images: np.ones((len(images), 1))}, gluon)
    gone, thin = found.unreadable.values()
    assert gone == f"there is no photo {tmp_path / 'a' / 'gone.jpg'}"
    assert thin.startswith(f"{tmp_path / 'a' / 'thin.png'}: a photo of 1x60000 pixels would be")
    assert found.accuracy["one"] == Accuracy()


def test_a_label_that_the_network_does_not_have_is_refused(root):
    with pytest.raises(ValueError, match=r"\.png is of class 3, and one has 3, from 0"):
        verify(open_evaluation(root, 5), {"one": lambda images: np.ones((len(images), 3))}, SQUARE)


SHARE = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from resnest.jobs.processes import process
from resnest.jobs.verify.classification import open_evaluation, verify
from resnest.weights.saved import classes_beside
from tests.jobs.verify.test_classification import SQUARE, brightness, darkness
found = verify(open_evaluation(Path(sys.argv[1]), 5), {"one": brightness, "other": darkness}, SQUARE, batch=4)
if process() == 0:
    print(json.dumps(asdict(found)))
"""


@pytest.mark.torch
def test_two_processes_count_every_image_once(root, tmp_path):
    script = tmp_path / "share.py"
    script.write_text(SHARE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script, root]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    alone = verify(open_evaluation(root, 5), {"one": brightness, "other": darkness}, SQUARE)
    assert 0 < len(alone.disagreements) < 24
    assert alone.accuracy["one"].images == 24
    assert json.loads(run.stdout) == json.loads(json.dumps(asdict(alone)))


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def test_folders_of_some_of_imagenets_classes_have_imagenets_numbers(tmp_path):
    picture(tmp_path / "n01443537" / "a.png")
    picture(tmp_path / "n15075141" / "b.png")
    assert open_evaluation(tmp_path, 1000).labels == [1, 999]


def test_classes_are_those_of_the_training_folder(tmp_path):
    for name in ("train/a", "train/b", "train/c", "val/a", "val/c"):
        picture(tmp_path / name / "x.png")
    assert open_evaluation(tmp_path, 3).labels == [0, 2]
    with pytest.raises(ValueError, match=r"holds 3 classes, and the network tells 5 apart"):
        open_evaluation(tmp_path, 5)
    assert ImageFolder(tmp_path / "val").labels == [0, 1]


def test_classes_are_those_that_the_weights_were_trained_on(tmp_path):
    """Without their names three other folders would be taken for the three classes."""
    weights = tmp_path / "out" / "best.safetensors"
    for name in ("b", "c d"):
        picture(tmp_path / "val" / name / "x.png")
    assert classes_beside(weights, 3) is None
    weights.parent.mkdir()
    (weights.parent / "classes.txt").write_text("a\nb\nc d\n")
    names = classes_beside(weights, 3)
    assert open_evaluation(tmp_path, 3, names).labels == [1, 2]
    assert classes_beside(weights, 1000) is None
    picture(tmp_path / "val" / "e" / "x.png")
    assert open_evaluation(tmp_path, 3).labels == [0, 1, 2]
    with pytest.raises(ValueError, match="e is a class that was not trained on"):
        open_evaluation(tmp_path, 3, names)


def write_records(path, records):
    """A file of records as `resnest.data.recordio` tells, and its index."""
    content, index = b"", ""
    for number, (label, image) in enumerate(records):
        body = struct.pack("<IfQQ", 0, label, number, 0) + image
        index += f"{number}\t{len(content)}\n"
        content += struct.pack("<II", MAGIC, len(body)) + body + b"\0" * (-len(body) % 4)
    path.write_bytes(content)
    path.with_suffix(".idx").write_text(index)


def test_images_may_stand_in_a_record_file(root, tmp_path):
    paths = sorted((root / "val").rglob("*.png"))
    write_records(
        tmp_path / "val.rec", [(int(path.parent.name[-1]), path.read_bytes()) for path in paths] + [(1, b"none")]
    )
    found = verify(open_evaluation(tmp_path, 5), {"one": brightness}, SQUARE)
    assert found.accuracy == verify(open_evaluation(root, 5), {"one": brightness}, SQUARE).accuracy
    (reason,) = found.unreadable.values()
    assert reason.startswith(f"record 24 of {tmp_path / 'val.rec'} is no photo that can be read")
