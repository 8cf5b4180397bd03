import numpy as np
import pytest
from PIL import Image

from resnest.data.folders import ImageFolder

GREY = Image.new("RGB", (8, 6), (100, 110, 120))


@pytest.fixture
def root(tmp_path):
    for name in ("cat/1.png", "cat/deep/0.JPEG", "ant/2.png", "ant/.hidden.png", "ant/notes.txt", ".git/x.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("")
        else:
            GREY.save(path)
    return tmp_path


def test_folders_are_classes_in_the_order_of_their_names(root):
    folder = ImageFolder(root)
    assert folder.classes == ["ant", "cat"]
    assert folder.names == ["ant/2.png", "cat/1.png", "cat/deep/0.JPEG"]
    image, label = folder[1]
    assert (image, label) == (GREY, 1)
    assert len(folder) == 3


def test_labels_are_those_of_the_classes_that_were_trained_on(root):
    assert ImageFolder(root, ["ant", "bee", "cat"]).labels == [0, 2, 2]
    with pytest.raises(ValueError, match=r"cat is a class that was not trained on; did you mean cats"):
        ImageFolder(root, ["ant", "cats"])


def test_what_is_no_folder_of_classes_is_named(root):
    (root / "bee").mkdir()
    with pytest.raises(ValueError, match=r"the class folder .*bee holds no image: remove it"):
        ImageFolder(root)
    with pytest.raises(ValueError, match=r"deep holds no folders: images are expected in one folder a class"):
        ImageFolder(root / "cat" / "deep")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere with images"):
        ImageFolder(root / "nowhere")


@pytest.mark.parametrize("mode", ["CMYK", "L", "LA", "P", "RGBA", "1", "I;16"])
def test_images_of_every_mode_are_rgb(root, mode):
    path = root / "cat" / ("1.tif" if mode in ("CMYK", "I;16") else "1.png")
    grey = np.full((6, 8), 25700, np.uint16)
    (Image.fromarray(grey) if mode == "I;16" else GREY.convert(mode)).save(path)
    folder = ImageFolder(root)
    image, _ = folder[folder.names.index(f"cat/{path.name}")]
    assert image.mode == "RGB"
    assert image.size == (8, 6)
    if mode == "I;16":
        assert image.getpixel((0, 0)) == (100, 100, 100)


def test_an_image_that_is_gone_is_named_like_any_other_that_cannot_be_read(root):
    folder = ImageFolder(root)
    path = root / folder.names[0]
    path.unlink()
    with pytest.raises(ValueError, match=f"^there is no photo {path}$"):
        folder[0]


def test_images_are_not_turned(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    GREY.save(root / "cat" / "1.png", exif=exif)
    assert ImageFolder(root)[1][0].size == (8, 6)


def test_a_truncated_jpeg_is_named_in_one_sentence(root):
    path = root / "ant" / "broken.jpg"
    Image.effect_noise((64, 64), 90).save(path)
    path.write_bytes(path.read_bytes()[:900])
    folder = ImageFolder(root)
    with pytest.raises(ValueError, match=r"broken.jpg is no photo that can be read: .*truncated"):
        folder[folder.names.index("ant/broken.jpg")]
