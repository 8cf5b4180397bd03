import csv
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from resnest import get_spec
from resnest import weights as weight_files
from resnest.data.photos import load_image
from resnest.weights.published import pretrained
from resnest.weights.seeded import draw_weights
from tests.support.cli import refused, run
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.torch  # the commands' own backend

CAT = REPOSITORY / "resnest" / "data" / "assets" / "chelsea.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of networks for 1000 classes and for three, and two photos of which one is none."""
    folder = tmp_path_factory.mktemp("predict")
    weight_files.save(draw_weights(get_spec("resnest14")), folder / "thousand.safetensors")
    weight_files.save(draw_weights(get_spec("resnest14", num_classes=3)), folder / "three.npz")
    (folder / "photos").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 64, 3), np.uint8)).save(folder / "photos" / "b.png")
    shutil.copy(CAT, folder / "photos" / "a.jpg")
    return folder


def expected(folder, photo, size=224):
    """The probabilities by the backend itself."""
    from resnest.torch.backend import predictor

    weights = weight_files.load(folder / "thousand.safetensors")
    logits = predictor(get_spec("resnest14"), weights)(load_image(photo, size))[0]
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum()


def test_the_most_probable_classes_with_their_names_and_probabilities(folder):
    result = run("predict", CAT, "--weights", folder / "thousand.safetensors", "--top", 3, "--json")
    assert result.exit_code == 0, result.output
    ((one),) = json.loads(result.stdout)
    shares = expected(folder, CAT)
    best = np.argsort(-shares)[:3]
    assert one["photo"] == str(CAT)
    assert [row["number"] for row in one["classes"]] == best.tolist()
    assert [row["probability"] for row in one["classes"]] == pytest.approx(shares[best].tolist(), rel=1e-4)
    names = [line.partition(" ")[2] for line in (CAT.parent / "imagenet.txt").read_text().splitlines()]
    assert [row["name"] for row in one["classes"]] == [names[number] for number in best]


def test_a_link_that_leads_nowhere_is_left_out_of_its_folder(folder, tmp_path):
    shutil.copytree(folder / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "c.jpg").symlink_to("nowhere")
    words = ["--weights", folder / "thousand.safetensors", "--size", 64, "--top", 1, "--csv"]
    result = run("predict", tmp_path / "photos", *words)
    assert (result.exit_code, len(result.stdout.splitlines())) == (1, 3)
    assert result.stderr == f"left out: there is no photo {tmp_path / 'photos' / 'c.jpg'}\n"
    assert "there is no photo" in refused(run("predict", tmp_path / "photos" / "c.jpg", *words))


def test_a_folder_is_told_photo_by_photo(folder):
    result = run("predict", folder / "photos", "--weights", folder / "thousand.safetensors", "--csv", "--size", 64)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    first, second = str(folder / "photos" / "a.jpg"), str(folder / "photos" / "b.png")
    assert [row["photo"] for row in rows] == [first] * 5 + [second] * 5
    assert [row["rank"] for row in rows] == list("12345") * 2
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)
    table = run("predict", folder / "photos", "--weights", folder / "thousand.safetensors", "--size", 64).stdout
    assert "a.jpg" in table
    assert rows[0]["name"] in table


@pytest.mark.gluon
def test_both_backends_say_the_same(folder):
    words = ["predict", CAT, "--weights", folder / "thousand.safetensors", "--size", 64, "--json", "--backend"]
    torch, gluon = (json.loads(run(*words, backend).stdout)[0]["classes"] for backend in ("torch", "gluon"))
    assert [row["number"] for row in torch] == [row["number"] for row in gluon]
    assert [row["probability"] for row in torch] == pytest.approx([row["probability"] for row in gluon], rel=1e-4)


def test_classes_of_ones_own_have_numbers_or_the_names_in_a_file(folder, tmp_path):
    words = ["predict", CAT, "--weights", folder / "three.npz", "--size", 64, "--json"]
    found = json.loads(run(*words).stdout)[0]["classes"]
    assert sorted(row["name"] for row in found) == ["class 0", "class 1", "class 2"]
    (tmp_path / "names.txt").write_text("cat\ndog\nhérisson\n", encoding="utf-8")
    named = json.loads(run(*words, "--classes", tmp_path / "names.txt").stdout)[0]["classes"]
    assert [row["name"] for row in named] == [["cat", "dog", "hérisson"][row["number"]] for row in found]
    (tmp_path / "names.txt").write_text("cat\n")
    assert "there are 1 names for the 3 classes" in refused(run(*words, "--classes", tmp_path / "names.txt"))


def test_published_weights_are_taken_by_themselves_and_by_their_source(folder, monkeypatch):
    asked = []

    def download(name, source=None):
        asked.append((name, source))
        return folder / "thousand.safetensors"

    monkeypatch.setattr(pretrained, "download", download)
    for words in (["--model", "resnest14"], ["--model", "resnest14", "--pretrained", "timm"]):
        assert run("predict", CAT, "--size", 64, *words).exit_code == 0
    assert asked == [("resnest14", None), ("resnest14", "timm")]


def test_a_photo_that_cannot_be_read_is_said_and_the_others_go_on(folder, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(folder / "photos", photos)
    (photos / "c.jpg").write_bytes(b"no photo")
    result = run("predict", photos, "--weights", folder / "three.npz", "--size", 64, "--json")
    assert result.exit_code == 1
    assert [row["photo"] for row in json.loads(result.stdout)] == [str(photos / "a.jpg"), str(photos / "b.png")]
    assert "c.jpg is no photo that can be read" in result.stderr
    assert "is no photo" in refused(run("predict", photos / "c.jpg", "--weights", folder / "three.npz"))


def test_bad_input_is_one_sentence(folder, tmp_path):
    weights = folder / "three.npz"
    assert "--json and --csv" in refused(run("predict", CAT, "--weights", weights, "--json", "--csv"))
    twice = run("predict", CAT, "--weights", weights, "--pretrained", "timm")
    assert "--pretrained goes without --weights" in refused(twice)
    weight_files.save(draw_weights(get_spec("resnest14", num_classes=0)), tmp_path / "backbone.npz")
    assert "a backbone without a classifier" in refused(run("predict", CAT, "--weights", tmp_path / "backbone.npz"))
    broken = {name: array * np.nan for name, array in draw_weights(get_spec("resnest14", num_classes=3)).items()}
    weight_files.save(broken, tmp_path / "nan.npz")
    assert "its weights are broken" in refused(run("predict", CAT, "--weights", tmp_path / "nan.npz", "--size", 64))
    assert "did you mean resnest50" in refused(run("predict", CAT, "--model", "resnest5"))
