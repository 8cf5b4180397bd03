import numpy as np
import pytest
from PIL import Image

from resnest.data.classes import classes_of
from resnest.jobs.predict.draw import PICTURES, overlay, save_picture, shares


def test_the_overlay_is_the_photo_under_colours_with_a_legend_below():
    image = Image.new("RGB", (90, 40), (100, 100, 100))
    found = np.zeros((40, 90), np.uint8)
    found[:, 60:] = 15
    shown = overlay(image, found, classes_of("voc", 21), 0.5)
    assert shown.height > 40
    assert shown.getpixel((5, 5)) == (50, 50, 50)
    assert shown.getpixel((80, 5)) == (146, 114, 114)
    assert shares(found, 21) == [(0, pytest.approx(2 / 3)), (15, pytest.approx(1 / 3))]
    colors = {color for _, color in shown.crop((0, 40, *shown.size)).getcolors(9999)}
    assert {(0, 0, 0), (192, 128, 128)} <= colors
    with pytest.raises(ValueError, match=r"opacity=1\.5 must be between 0"):
        overlay(image, found, classes_of("voc", 21), 1.5)


def test_the_overlay_of_many_classes_has_their_colours():
    classes = classes_of("", 300)
    found = np.array([[0, 255, 299, 65535]], np.uint16)
    shown = overlay(Image.new("RGB", (4, 1)), found, classes, 1.0)
    assert [shown.getpixel((x, 0)) for x in range(4)] == [*(classes[n].color for n in (0, 255, 299)), (0, 0, 0)]
    assert [number for number, _ in shares(found, 300)] == [0, 255, 299]


@pytest.mark.parametrize("suffix", PICTURES)
def test_a_picture_is_written_in_the_format_of_its_name(suffix, tmp_path):
    save_picture(Image.new("RGB", (4, 2)), tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert (image.format, image.size) == (PICTURES[suffix], (4, 2))


def test_a_name_of_no_picture_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.txt has no suffix of a picture that can be written; known are \.png"):
        save_picture(Image.new("RGB", (4, 2)), tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())
