import numpy as np
import pytest
from PIL import Image

from resnest import get_spec
from resnest import weights as weight_files
from resnest.weights.seeded import draw_weights
from tests.support.cli import refused, run
from tests.support.specs import tiny_segmenter

pytestmark = pytest.mark.torch  # the commands' own backend


@pytest.mark.parametrize(
    "how", [["--mode", "whole"], ["--mode", "slide", "--window", "16", "--stride", "10", "--flip"]]
)
def test_segment_writes_an_overlay_and_a_label_map(folder, tmp_path, backend, how):
    image = folder / "images" / "0.png"
    found = run(
        "segment", image, "--weights", folder / "tiny.npz", "--backend", backend.name, "-o", tmp_path / "a.png", *how
    )
    assert found.exit_code == 0, found.output
    labels = np.asarray(Image.open(tmp_path / "a.labels.png"))
    assert labels.shape == (40, 56)
    assert Image.open(tmp_path / "a.png").width >= 56
    assert "class" in found.output
    if how == ["--mode", "whole"]:
        assert np.mean(labels == np.asarray(Image.open(folder / "labels" / "0.png"))) > 0.99


def test_segment_at_another_size_labels_every_pixel_of_the_photo(folder, tmp_path):
    found = run(
        "segment", folder / "images" / "1.png", "--weights", folder / "tiny.npz", "--size", 64, "-o", tmp_path / "a.png"
    )
    assert found.exit_code == 0, found.output
    assert Image.open(tmp_path / "a.labels.png").size == (56, 40)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "fcn_resnest101_cityscapes"], "tell 21 classes apart and fcn_resnest101_cityscapes 19"),
        (["--model", "fcn_resnest"], "there is no segmentation model called 'fcn_resnest'"),
        (["--mode", "slide"], "is smaller than the window of 512"),
    ],
)
def test_bad_input_is_one_sentence(folder, tmp_path, words, message):
    output = ["-o", tmp_path / "a.png"]
    found = run("segment", folder / "images" / "0.png", "--weights", folder / "tiny.npz", *output, *words)
    assert found.exit_code == 2
    assert message in " ".join(found.output.split())
    assert not list(tmp_path.iterdir())


def test_a_classification_checkpoint_is_refused(folder, tmp_path):
    weight_files.save(draw_weights(get_spec("resnest14", bottleneck_width=8, stem_width=8)), tmp_path / "a.npz")
    for model in ([], ["--model", "fcn_resnest101_voc"]):
        found = run("segment", folder / "images" / "0.png", "--weights", tmp_path / "a.npz", *model)
        assert found.exit_code == 2
        assert "segmentation network" in " ".join(found.output.split())


@pytest.fixture
def own(folder, tmp_path):
    """A folder with a photo and a checkpoint that a test may lose."""
    (tmp_path / "a.png").write_bytes((folder / "images" / "0.png").read_bytes())
    (tmp_path / "tiny.npz").write_bytes((folder / "tiny.npz").read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "{}/a.png"], "--output would take the place of PHOTO"),
        (["-o", "{}/../{name}/a.png"], "--output would take the place of PHOTO"),
        (["--labels", "{}/a.png"], "--labels would take the place of PHOTO"),
        (["-o", "{}/b.png", "--labels", "{}/b.png"], "--labels would take the place of --output"),
        (["-o", "{}/linked.png"], "--output would take the place of PHOTO"),
        (["-o", "{}/weights.png"], "--output would take the place of --weights"),
        (["-o", "{}/b.txt"], "b.txt has no suffix of a picture"),
        (["--labels", "{}/b.jpg"], "b.jpg has no suffix of a label map"),
        (["{}/b.png", "-o", "{}/c.png"], "c.png is no folder, and there are 2 photos"),
        (["{}/b.png", "--labels", "{}/c.png"], "c.png is no folder, and there are 2 photos"),
        (["{}/b.png", "--labels", "{}"], "the label map of a.png would take the place of the photo"),
    ],
)
def test_where_it_cannot_write_is_said_before_any_work(own, words, message, monkeypatch):
    (own / "linked.png").hardlink_to(own / "a.png")
    (own / "weights.png").symlink_to(own / "tiny.npz")
    (own / "b.png").write_bytes((own / "a.png").read_bytes())
    before = {path: path.read_bytes() for path in own.iterdir() if path.is_file()}
    monkeypatch.setattr("resnest.jobs.predict.segmentation.open_labeller", None)  # reading weights is work already
    words = [word.format(own, name=own.name) for word in words]
    found = run("segment", own / "a.png", "--weights", own / "tiny.npz", *words)
    assert message in " ".join(refused(found).split())
    assert {path: path.read_bytes() for path in own.iterdir() if path.is_file()} == before


def test_photos_and_folders_are_labelled_and_what_is_no_photo_is_named(own):
    (own / "photos").mkdir()
    for name in ("b.png", "b.overlay.png"):  # the second was made last time
        (own / "photos" / name).write_bytes((own / "a.png").read_bytes())
    (own / "photos" / "c.png").write_text("no photo")
    words = ["--weights", own / "tiny.npz", "-o", own / "seen", "--labels", own / "maps"]
    found = run("segment", own / "a.png", own / "photos", *words)
    assert found.exit_code == 1, found.output
    assert "c.png is no photo that can be read" in found.stderr
    assert sorted(path.name for path in (own / "seen").iterdir()) == ["a.overlay.png", "b.overlay.png"]
    assert sorted(path.name for path in (own / "maps").iterdir()) == ["a.png", "b.png"]
    assert len({path.read_bytes() for path in (own / "maps").iterdir()}) == 1
    (own / "photos" / "b.png").write_text("no photo")
    (own / "a.png").write_text("no photo")
    nothing = run("segment", own / "a.png", own / "photos", *words)
    assert (nothing.exit_code, nothing.stderr.count("left out")) == (1, 3)
    assert "nothing: overlay; nothing: label map" in nothing.stdout


def test_a_photo_s_pictures_are_beside_it(own):
    beside = run("segment", own / "a.png", "--weights", own / "tiny.npz")
    assert beside.exit_code == 0, beside.output
    assert (own / "a.overlay.png").exists()
    with Image.open(own / "a.overlay.labels.png") as labels:
        assert labels.size == (56, 40)


def test_a_photo_that_cannot_be_labelled_is_named(folder, tmp_path):
    words = ["--weights", folder / "tiny.npz", "--mode", "slide", "-o", tmp_path / "a.png"]
    found = run("segment", folder / "images" / "0.png", *words)
    assert "0.png: a photo of 40x56 pixels is smaller than the window" in " ".join(found.output.split())


def test_a_network_of_300_classes_writes_labels_of_16_bits_that_are_read_back(own):
    weight_files.save(draw_weights(tiny_segmenter(num_classes=300)), own / "many.npz")
    (own / "images").mkdir()
    (own / "a.png").rename(own / "images" / "a.png")
    (own / "labels").mkdir()
    paths = ["-o", own / "seen.jpg", "--labels", own / "labels" / "a.png"]
    found = run("segment", own / "images" / "a.png", "--weights", own / "many.npz", *paths)
    assert found.exit_code == 0, found.output
    with Image.open(own / "labels" / "a.png") as image:
        assert image.mode.startswith("I")
        assert np.asarray(image).max() > 255
    found = run("verify-segmentation", own / "images", own / "labels", "--weights", own / "many.npz")
    assert "pixel accuracy 100.00" in " ".join(found.output.split())
