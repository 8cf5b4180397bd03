import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from resnest.data.classes import ignored, label_dtype
from resnest.data.label_maps import check_pairs, label_image, pairs, read_labels


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


def grey(path, labels, dtype):
    Image.fromarray(np.array(labels, dtype)).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_tell_256_classes_and_more_apart(suffix, tmp_path):
    labels = np.array([[0, 255, 256, 846]])
    label_image(labels, 847).save(tmp_path / f"a{suffix}")
    assert read_labels(tmp_path / f"a{suffix}", 847, zero_is_ignored=False).tolist() == labels.tolist()


def test_no_class_is_65535_in_sixteen_bits(tmp_path):
    path = grey(tmp_path / "a.png", [[0, 255, 847, 65535]], np.uint16)
    assert read_labels(path, 847, zero_is_ignored=True).tolist() == [[65535, 254, 846, 65535]]
    assert ignored(847) == 65535
    with pytest.raises(ValueError, match=r"has label 847, and the network tells 847 classes apart$"):
        read_labels(path, 847, zero_is_ignored=False)


def test_either_width_is_read_for_either_number_of_classes(tmp_path):
    wide, narrow = grey(tmp_path / "a.png", [[3, 255, 65535]], "u2"), grey(tmp_path / "b.png", [[3, 255]], "u1")
    assert read_labels(wide, 5, zero_is_ignored=False).tolist() == [[3, 255, 255]]
    assert read_labels(narrow, 300, zero_is_ignored=False).tolist() == [[3, 65535]]


@pytest.mark.parametrize(("classes", "mode"), [(255, "L"), (256, "I;16")])
def test_a_label_map_is_as_wide_as_it_has_to_be(classes, mode):
    image = label_image(np.array([[classes - 1, ignored(classes)]]), classes)
    assert image.mode == mode
    assert np.asarray(image).tolist() == [[classes - 1, ignored(classes)]]


def test_more_classes_than_sixteen_bits_hold_are_refused():
    with pytest.raises(ValueError, match="65536 classes are more than the 65535"):
        label_dtype(65536)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.jpg", {}), ("a.webp", {}), ("a.webp", {"lossless": True}), ("a.tif", {"compression": "jpeg"})],
)
def test_lossy_label_maps_are_refused(name, options, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / name, **options)
    with pytest.raises(ValueError, match=rf"{name} is no label map: it is \w+, which need not keep every label"):
        read_labels(tmp_path / name, 5, zero_is_ignored=False)


def test_grey_of_four_bits_is_refused_because_it_is_stretched(tmp_path):
    small = Image.new("P", (8, 8), 3)
    small.putpalette([0, 0, 0] * 16)
    small.save(tmp_path / "a.png", bits=4)
    assert read_labels(tmp_path / "a.png", 5, zero_is_ignored=False).max() == 3  # in a palette numbers stay
    header = struct.pack(">II5B", 2, 1, 4, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0\x12")), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(ValueError, match=r"b\.png is no label map: it is grey of 2 or 4 bits"):
        read_labels(tmp_path / "b.png", 50, zero_is_ignored=False)


@pytest.fixture
def folders(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (4, 2)).save(tmp_path / "images/a.jpg")
    return tmp_path / "images", tmp_path / "labels"


def test_a_folder_without_photos_is_named(folders):
    with pytest.raises(ValueError, match=r"there is no photo in .*labels; known are \.jpg"):
        pairs(folders[1], folders[0])


def test_a_jpeg_is_found_and_refused_unless_there_is_a_better_one(folders):
    images, labels = folders
    Image.new("L", (4, 2)).save(labels / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg is no label map: it is JPEG"):
        check_pairs(pairs(images, labels))
    Image.new("L", (4, 2)).save(labels / "a.tif")
    assert pairs(images, labels)[0][1].name == "a.tif"
    Image.new("L", (4, 2)).save(labels / "a.png")
    assert pairs(images, labels)[0][1].name == "a.png"


def test_one_folder_for_photos_and_label_maps_is_refused(folders):
    images, _ = folders
    with pytest.raises(ValueError, match="told apart by their folders"):
        pairs(images, images.parent / "labels" / ".." / "images")


def test_a_label_map_is_as_large_as_the_upright_photo(folders):
    images, labels = folders
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(images / "a.jpg", exif=exif)
    Image.new("L", (2, 4)).save(labels / "a.png")
    check_pairs(pairs(images, labels))
    Image.new("L", (4, 2)).save(labels / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is 4x2 and its photo 2x4, which its EXIF orientation turns from 4x2"):
        check_pairs(pairs(images, labels))


def test_a_broken_photo_is_named_before_any_is_labelled(folders):
    images, labels = folders
    Image.new("L", (4, 2)).save(labels / "a.png")
    (images / "a.jpg").write_text("text")
    with pytest.raises(ValueError, match=r"a\.jpg is no photo that can be read"):
        check_pairs(pairs(images, labels))
