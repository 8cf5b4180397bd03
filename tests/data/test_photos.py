import hashlib
import json
import os

import numpy as np
import pytest
from PIL import Image

from resnest import get_spec
from resnest.data.photos import MEAN, STD, find_photos, load_image, normalise, open_photo, prepare, square
from resnest.specs.protocols import Preparation, preparation
from tests.support.paths import FIXTURES, REPOSITORY

CROPS = json.loads((FIXTURES / "crops.json").read_text())
"""SHA-256 of the pixels that the protocols' own code made of three photos."""


def picture(width, height, colour=(10, 20, 30)):
    return Image.new("RGB", (width, height), colour)


def photo_at(name):
    return REPOSITORY / "resnest/data/assets" / name if name == "chelsea.jpg" else FIXTURES / name


@pytest.mark.parametrize(
    ("protocol", "case"), [(protocol, case) for protocol in CROPS if protocol != "versions" for case in CROPS[protocol]]
)
def test_every_pixel_is_the_protocols_own(protocol, case):
    name, what = case.split()
    size, variant = (int(what), "") if what.isdecimal() else (get_spec(what).image_size, what)
    image = open_photo(photo_at(name), upright=False)
    pixels = np.asarray(square(image, preparation(protocol, size, variant)))
    assert list(pixels.shape) == CROPS[protocol][case]["shape"]
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == CROPS[protocol][case]["sha256"]


def test_a_number_of_pixels_is_the_authors_protocol():
    image = open_photo(photo_at("coffee.jpg"))
    assert square(image, 224) == square(image, preparation("authors-torch", 224, ""))


def test_the_photo_of_the_package_is_prepared_without_a_path():
    image = load_image(None, 224)
    assert (image.shape, image.dtype) == ((1, 3, 224, 224), np.float32)
    assert abs(image.mean()) < 1
    assert 0.5 < image.std() < 2


def test_colours_are_normalised_in_rgb_order():
    pixels = prepare(picture(50, 40), 32)
    expected = (np.array([10, 20, 30]) / 255 - MEAN) / STD
    assert np.allclose(pixels, expected[None, :, None, None], atol=1e-6)


@pytest.fixture
def sideways(tmp_path):
    """A photo that the camera took lying on its side: to be turned by 90 degrees to be seen upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = picture(60, 40)
    upright.paste((255, 0, 0), (20, 5, 45, 20))  # which no crop leaves out
    upright.rotate(90, expand=True).save(tmp_path / "a.png", exif=exif)
    return tmp_path / "a.png", upright


def test_a_photo_is_opened_upright(sideways):
    path, upright = sideways
    np.testing.assert_array_equal(open_photo(path), upright)
    np.testing.assert_array_equal(open_photo(path, upright=False), upright.rotate(90, expand=True))


def test_the_protocols_read_a_photo_as_it_is_stored(sideways):
    path, upright = sideways
    np.testing.assert_array_equal(load_image(path, 32), prepare(upright.rotate(90, expand=True), 32))


@pytest.mark.gluon
def test_mxnet_reads_a_photo_as_it_is_stored_too(sideways, tmp_path):
    from resnest.gluon._mxnet import mx

    path, _ = sideways
    with Image.open(path) as image:
        image.save(tmp_path / "a.jpg", exif=image.getexif())
    assert mx.image.imread(str(tmp_path / "a.jpg")).shape == (60, 40, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_any_mode_becomes_rgb(mode, tmp_path):
    assert prepare(picture(40, 40).convert(mode), 32).shape == (1, 3, 32, 32)


def test_grey_of_16_bits_keeps_its_upper_8(tmp_path):
    Image.fromarray(np.array([[0, 255, 256, 65535, 32768]], np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(open_photo(tmp_path / "a.png"))[0, :, 0].tolist() == [0, 0, 1, 255, 128]


@pytest.mark.parametrize("protocol", ["authors-torch", "authors-gluon", "timm"])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 3)])
def test_the_smallest_photos_are_prepared(protocol, size):
    assert square(picture(*size), preparation(protocol, 224, "resnest50")) == picture(224, 224)


def test_a_photo_too_thin_to_be_resized_is_named(tmp_path):
    picture(20000, 2).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: a photo of 20000x2 pixels would be 2560000x256"):
        load_image(tmp_path / "a.png", Preparation(224, "bilinear", 256))


def test_a_file_that_is_no_photo_is_named(tmp_path):
    (tmp_path / "a.jpg").write_text("no photo")
    with pytest.raises(ValueError, match=r"a\.jpg is no photo that can be read"):
        load_image(tmp_path / "a.jpg", 32)
    with pytest.raises(FileNotFoundError, match=r"no photo .*b\.jpg"):
        load_image(tmp_path / "b.jpg", 32)


def test_a_truncated_photo_is_named(tmp_path):
    picture(400, 400).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"b\.jpg is no photo that can be read"):
        load_image(tmp_path / "b.jpg", 32)


def test_normalising_is_its_formula_to_the_bit_and_adds_noise_before():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    expected = (np.asarray(pixels, np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    image = Image.fromarray(pixels)
    assert np.array_equal(normalise(image)[0], expected.transpose(2, 0, 1))
    noise = np.array([0.1, -0.2, 0.3])
    assert (normalise(image, noise) - normalise(image)).mean(axis=(0, 2, 3)) == pytest.approx(noise / STD, rel=1e-5)


def test_in_a_folder_photos_are_files_and_links_even_to_nowhere(tmp_path):
    (tmp_path / "album.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    for place in ("album.jpg/a.png", "b.JPG"):
        picture(8, 8).save(tmp_path / place)
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "again").symlink_to(".")
    names = [path.relative_to(tmp_path).as_posix() for path in find_photos(tmp_path)]
    assert names == ["album.jpg/a.png", "b.JPG", "gone.jpg"]


def test_a_photo_of_real_numbers_is_refused_and_not_black(tmp_path):
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif is no photo that can be read: its pixels are real numbers"):
        open_photo(tmp_path / "a.tif")
