"""How photos are prepared, in numbers; the pixels that come of it are in tests/data/test_photos.py."""

import pytest

from resnest import list_models
from resnest.specs.protocols import DEFAULT, PROTOCOLS, Preparation, preparation


def test_the_authors_own_is_the_first():
    assert DEFAULT == "authors-torch"
    assert preparation(DEFAULT, 224, "resnest50") == Preparation(224, "bicubic")


@pytest.mark.parametrize("size", [224, 256, 319])
def test_small_sizes_are_bilinear_in_gluon_and_whole_before_the_crop(size):
    found = preparation("authors-gluon", size, "")
    assert found.resampling == "opencv-bilinear"
    assert found.short_side - 1 < size / 0.875 <= found.short_side


@pytest.mark.parametrize("size", [320, 416])
def test_large_sizes_are_the_same_in_both_of_the_authors(size):
    assert preparation("authors-gluon", size, "") == preparation("authors-torch", size, "")


def test_the_square_is_at_whole_pixels_in_the_middle():
    left, top, right, bottom = Preparation(224, "bicubic").box(451, 300)
    assert (left, top, right, bottom) == (94, 19, 356, 282)  # a side of 262.5 pixels, rounded at each end
    assert Preparation(224, "bilinear", 256).box(385, 256) == (80, 16, 304, 240)  # 80.5, to the even one


def test_mxnet_drops_half_a_pixel_that_others_round():
    assert Preparation(224, "opencv-bilinear", 256).box(387, 256)[0] == 81  # 81.5
    assert Preparation(224, "bilinear", 256).box(387, 256)[0] == 82


def test_the_long_side_is_rounded_down():
    how = Preparation(224, "bilinear", 256)
    assert how.resized(701, 301) == (596, 256)
    assert how.resized(301, 701) == (256, 596)
    with pytest.raises(ValueError, match="cuts out its square before it resizes"):
        Preparation(224, "bicubic").resized(30, 40)


def test_how_much_of_a_photo_is_seen():
    assert Preparation(224, "bicubic").share == 0.875
    assert preparation("timm", 416, "resnest269").share == pytest.approx(0.928, abs=1e-3)


def test_a_preparation_says_what_it_does():
    assert "224 / 256 of its short side" in str(Preparation(224, "bicubic"))
    assert "short side of 256 pixels" in str(Preparation(224, "bilinear", 256))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Preparation(0, "bicubic"), "size=0 must be at least one pixel"),
        (lambda: Preparation(224, "cubic"), "resampling='cubic' must be one of bilinear, bicubic, opencv-bilinear"),
        (lambda: Preparation(224, "bicubic", 200), "short_side=200 must be at least the size, 224"),
        (lambda: preparation("author-torch", 224, "resnest50"), "no protocol called 'author-torch'; did you mean"),
        (lambda: preparation("timm", 224, "resnest50_fast_1s2x40d"), "timm has no resnest50_fast_1s2x40d"),
    ],
)
def test_values_that_prepare_nothing_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_every_variant_has_the_authors_protocols():
    for protocol in set(PROTOCOLS) - {"timm"}:
        assert {preparation(protocol, 224, variant).size for variant in list_models()} == {224}
