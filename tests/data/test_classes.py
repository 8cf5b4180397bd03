import pytest

from resnest.data.classes import classes_of


@pytest.mark.parametrize(
    ("dataset", "number", "name", "color"),
    [
        ("cityscapes", 18, "bicycle", (119, 11, 32)),
        ("ade20k", 149, "flag", (92, 0, 255)),
        ("voc", 15, "person", (192, 128, 128)),
        ("coco", 79, "toothbrush", (191, 162, 208)),
    ],
)
def test_data_sets_have_their_own_names_and_colours(dataset, number, name, color):
    classes = classes_of(dataset, {"cityscapes": 19, "ade20k": 150, "voc": 21, "coco": 80}[dataset])
    assert classes[number] == (name, color)
    assert len(set(classes)) == len(classes)


def test_other_data_sets_get_vocs_colours():
    assert [color for _, color in classes_of("", 21)] == [color for _, color in classes_of("voc", 21)]
    assert classes_of("voc", 3)[2].name == "class 2"
