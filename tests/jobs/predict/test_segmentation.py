"""From a photo to labels: windows, scales, overlays, scores, and the two commands."""

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from resnest import SegmentationSpec, get_spec
from resnest import weights as weight_files
from resnest.cli import main
from resnest.data.classes import classes_of
from resnest.data.label_maps import pairs, read_labels
from resnest.data.resize import resize
from resnest.jobs.predict.draw import overlay, shares
from resnest.jobs.predict.segmentation import SCALES, Inference, slide, softmax, starts
from resnest.jobs.verify.iou import Scores, confusion_matrix
from resnest.weights.seeded import draw_weights
from tests.support.specs import TINY_BACKBONE


def pixelwise(image):
    """A network that sees one pixel at a time, so that windows and borders cannot matter."""
    return np.concatenate([image, image[:, :1] * image[:, 1:2], -image.sum(1, keepdims=True)], axis=1)


def photo(height, width, seed=0):
    return np.random.default_rng(seed).normal(size=(1, 3, height, width))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (64, 40), (50, 96)])
@pytest.mark.parametrize("stride", [1, 21, 32])
def test_windows_of_a_pixelwise_network_give_the_whole_result(height, width, stride):
    image = photo(height, width)
    np.testing.assert_allclose(slide(pixelwise, image, 32, stride), pixelwise(image), rtol=0, atol=1e-12)


def test_windows_cover_every_pixel_and_stay_inside():
    for length in range(32, 120):
        for stride in (1, 7, 21, 32):
            found = list(starts(length, 32, stride))
            assert found[0] == 0
            assert found[-1] == length - 32
            assert all(0 < after - before <= stride for before, after in zip(found, found[1:]))


def test_one_window_as_large_as_the_photo_is_the_whole_photo(segmenter):
    image = photo(48, 48).astype("float32")
    np.testing.assert_array_equal(slide(segmenter, image, 48, 32), segmenter(image))


def test_windows_move_with_the_photo(segmenter):
    strip = photo(32, 96).astype("float32")
    moved = np.roll(strip, -16, axis=3)
    here, there = slide(segmenter, strip, 32, 16), slide(segmenter, moved, 32, 16)
    # Columns that the same windows see before and after moving by the stride, away from the seam.
    np.testing.assert_allclose(there[..., 32:48], here[..., 48:64], rtol=0, atol=1e-5 * np.abs(here).max())


@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_scales_and_mirrors_of_a_constant_photo_change_nothing(mode):
    image = np.ones((1, 3, 64, 80)) * np.array([0.5, -1.0, 2.0])[:, None, None]
    every = Inference(mode, window=32, stride=20, scales=SCALES, flip=True)
    np.testing.assert_allclose(every.probabilities(pixelwise, image), softmax(pixelwise(image)), atol=1e-12)


def test_a_mirrored_photo_gives_mirrored_labels(segmenter):
    image = photo(40, 56).astype("float32")
    inference = Inference(flip=True)
    mirrored = inference.probabilities(segmenter, np.ascontiguousarray(image[..., ::-1]))
    np.testing.assert_allclose(mirrored[..., ::-1], inference.probabilities(segmenter, image), atol=1e-6)


def test_probabilities_sum_to_one():
    found = Inference(scales=(0.5, 1.5), flip=True).probabilities(pixelwise, photo(20, 30))
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "tiled"}, "mode='tiled' must be whole or slide"),
        ({"stride": 600}, "stride=600 must be at least 1 and at most the window, 512"),
        ({"scales": ()}, "must be one or more numbers"),
        ({"scales": (0.0,)}, "must be one or more numbers above 0"),
    ],
)
def test_values_that_cover_no_photo_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        Inference(**values)


def test_a_photo_smaller_than_the_window_is_one_sentence():
    with pytest.raises(ValueError, match="40x60 pixels is smaller than the window of 512: give a smaller window"):
        Inference("slide").probabilities(pixelwise, photo(40, 60))
    with pytest.raises(ValueError, match=r"100x100 pixels at scale 0\.5 is smaller than the window of 64"):
        Inference("slide", 64, 64, scales=SCALES).probabilities(pixelwise, photo(100, 100))


def test_resizing_is_pytorchs():
    import torch.nn.functional as F
    from torch import from_numpy

    x = photo(9, 13)
    for size in ((18, 26), (5, 30), (1, 1), (9, 13)):
        theirs = F.interpolate(from_numpy(x), size=size, mode="bilinear", align_corners=False).numpy()
        np.testing.assert_allclose(resize(x, *size), theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("dataset", "number", "name", "color"),
    [
        ("cityscapes", 18, "bicycle", (119, 11, 32)),
        ("ade20k", 149, "flag", (92, 0, 255)),
        ("voc", 15, "person", (192, 128, 128)),
    ],
)
def test_data_sets_have_their_own_names_and_colours(dataset, number, name, color):
    classes = classes_of(dataset, {"cityscapes": 19, "ade20k": 150, "voc": 21}[dataset])
    assert classes[number] == (name, color)
    assert len(set(classes)) == len(classes)


def test_other_data_sets_get_vocs_colours():
    assert [color for _, color in classes_of("", 21)] == [color for _, color in classes_of("voc", 21)]
    assert classes_of("voc", 3)[2].name == "class 2"


def test_the_overlay_is_the_photo_under_colours_with_a_legend_below():
    image = Image.new("RGB", (90, 40), (100, 100, 100))
    found = np.zeros((40, 90), np.uint8)
    found[:, 60:] = 15
    shown = overlay(image, found, classes_of("voc", 21), 0.5)
    assert shown.height > 40
    assert shown.getpixel((5, 5)) == (50, 50, 50)
    assert shown.getpixel((80, 5)) == (146, 114, 114)
    assert shares(found) == [(0, pytest.approx(2 / 3)), (15, pytest.approx(1 / 3))]
    colors = {color for _, color in shown.crop((0, 40, *shown.size)).getcolors(9999)}
    assert {(0, 0, 0), (192, 128, 128)} <= colors
    with pytest.raises(ValueError, match=r"opacity=1\.5 must be between 0"):
        overlay(image, found, classes_of("voc", 21), 1.5)


def test_scores_are_those_counted_by_hand():
    truth = np.array([[0, 0, 1, 255], [1, 1, 2, 2]])
    predicted = np.array([[0, 1, 1, 0], [1, 1, 2, 0]])
    scores = Scores(confusion_matrix(truth, predicted, 4))
    np.testing.assert_allclose(scores.iou, [1 / 3, 3 / 4, 1 / 2, np.nan])
    np.testing.assert_allclose(scores.accuracy, [1 / 2, 1, 1 / 2, np.nan])
    assert scores.mean_iou == pytest.approx((1 / 3 + 3 / 4 + 1 / 2) / 3)
    assert scores.pixel_accuracy == pytest.approx(5 / 7)


def test_label_maps_that_are_none_are_named(tmp_path):
    Image.fromarray(np.full((2, 2), 7, np.uint8)).save(tmp_path / "seven.png")
    with pytest.raises(ValueError, match=r"seven\.png has label 7, and the network tells 5 classes apart"):
        read_labels(tmp_path / "seven.png", 5, zero_is_ignored=False)
    Image.new("RGB", (2, 2)).save(tmp_path / "colours.png")
    with pytest.raises(ValueError, match=r"colours\.png is no label map: it is RGB"):
        read_labels(tmp_path / "colours.png", 5, zero_is_ignored=False)
    (tmp_path / "text.png").write_text("no")
    with pytest.raises(ValueError, match=r"text\.png is no label map that can be read"):
        read_labels(tmp_path / "text.png", 5, zero_is_ignored=False)


def test_labels_from_one_are_counted_from_zero(tmp_path):
    Image.fromarray(np.array([[0, 1, 5, 255]], np.uint8)).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png", 5, zero_is_ignored=True).tolist() == [[255, 0, 4, 255]]


def test_cityscapes_names_are_paired(tmp_path):
    for name in ("images/ulm/a_leftImg8bit.png", "labels/ulm/a_gtFine_labelTrainIds.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new("L", (2, 2)).save(tmp_path / name)
    ((image, label),) = pairs(tmp_path / "images", tmp_path / "labels")
    assert image.name == "a_leftImg8bit.png"
    assert label.name == "a_gtFine_labelTrainIds.png"


@pytest.fixture(scope="module")
def spec():
    return SegmentationSpec("tiny", "fcn", 21, channels=8, auxiliary_channels=4, backbone=TINY_BACKBONE)


@pytest.fixture(scope="module")
def segmenter(spec):
    from resnest.torch.backend import predictor

    return predictor(spec, draw_weights(spec))


@pytest.fixture(scope="module")
def folder(spec, tmp_path_factory):
    """A checkpoint, and photos with the label maps that it gives them."""
    folder = tmp_path_factory.mktemp("segment")
    weight_files.save(draw_weights(spec), folder / "tiny.npz")
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 56, 3), np.uint8)
        image = folder / "images" / f"{number}.png"
        Image.fromarray(pixels).save(image)
        outputs = ["-o", folder / "seen.png", "--labels", folder / "labels" / f"{number}.png"]
        assert run("segment", image, "--weights", folder / "tiny.npz", *outputs).exit_code == 0
    return folder


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


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


def test_a_network_is_right_about_its_own_label_maps(folder):
    found = run("verify-segmentation", folder / "images", folder / "labels", "--weights", folder / "tiny.npz")
    assert found.exit_code == 0, found.output
    assert "3 photos: mean IoU 100.00, pixel accuracy 100.00" in " ".join(found.output.split())


def test_two_processes_count_what_one_does(folder):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "resnest", "verify-segmentation", "images", "labels", "--weights", "tiny.npz"]
    done = subprocess.run([*torchrun, *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 photos: mean IoU 100.00") == 1


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


def test_a_photo_without_a_label_map_is_named(folder, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "lonely.png")
    found = run("verify-segmentation", tmp_path, folder / "labels", "--weights", folder / "tiny.npz")
    assert found.exit_code == 2
    assert "lonely.png has no label map" in " ".join(found.output.split())


def test_info_and_list_know_the_segmentation_networks():
    found = run("info", "deeplabv3_resnest101_voc", "--size", 64)
    assert found.exit_code == 0, found.output
    assert "21x8x8" in found.output
    assert "auxiliary_head" in found.output
    assert "fcn_resnest101_ade20k_ssseg" in "".join(run("list").output.split())
