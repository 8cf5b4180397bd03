import numpy as np
import pytest
from PIL import Image

from resnest.data.photos import MEAN, STD, load_image, prepare


def picture(width, height, colour=(10, 20, 30)):
    return Image.new("RGB", (width, height), colour)


def test_the_photo_of_the_package_is_prepared_without_a_path():
    image = load_image(None, 224)
    assert (image.shape, image.dtype) == ((1, 3, 224, 224), np.float32)
    assert abs(image.mean()) < 1
    assert 0.5 < image.std() < 2


def test_colours_are_normalised_in_rgb_order():
    pixels = prepare(picture(50, 40), 32)
    expected = (np.array([10, 20, 30]) / 255 - MEAN) / STD
    assert np.allclose(pixels, expected[None, :, None, None], atol=1e-6)


def test_the_centred_square_of_the_published_share_is_cut_out():
    canvas = picture(200, 100, (0, 0, 0))
    side = 100 * 224 / 256  # of the short side
    canvas.paste(
        (255, 255, 255),
        (round(100 - side / 2) + 1, round(50 - side / 2) + 1, round(100 + side / 2) - 1, round(50 + side / 2) - 1),
    )
    white = prepare(canvas, 224)[0, 0] > 2
    assert white[4:-4, 4:-4].all()
    wider = picture(200, 100, (0, 0, 0))
    wider.paste((255, 255, 255), (0, 0, 200, 4))
    assert not (prepare(wider, 224)[0, 0] > 2).any()


def test_a_large_input_is_resized_bicubically():
    ramp = Image.fromarray(np.tile(np.array([[0] * 5 + [255] * 5], np.uint8), (10, 1)))
    at = {size: prepare(ramp, size)[0, 0, size // 2] * STD[0] + MEAN[0] for size in (288, 320)}
    assert at[288].max() <= 1 + 1e-6
    overshoot = np.diff(at[320])
    assert (overshoot < -1e-3).any() or (np.diff(at[288]) >= -1e-6).all()


def test_a_photo_taken_sideways_is_turned_upright(tmp_path):
    upright = picture(60, 60)
    upright.paste((255, 0, 0), (0, 0, 60, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn by 90 degrees clockwise to see it upright
    upright.rotate(90, expand=True).save(tmp_path / "a.png", exif=exif)
    assert np.allclose(load_image(tmp_path / "a.png", 32), prepare(upright, 32), atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_any_mode_becomes_rgb(mode, tmp_path):
    assert prepare(picture(40, 40).convert(mode), 32).shape == (1, 3, 32, 32)


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
