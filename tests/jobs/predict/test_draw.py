import numpy as np
import pytest
from PIL import Image

from resnest.data.classes import classes_of
from resnest.jobs.predict.draw import overlay, shares


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
