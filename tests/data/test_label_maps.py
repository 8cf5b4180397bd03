import numpy as np
import pytest
from PIL import Image

from resnest.data.label_maps import pairs, read_labels


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
