"""A folder says what network its weights are of, and another library's folder says nothing."""

import json

import pytest

from resnest import get_spec
from resnest.weights.saved import classes_beside, spec_beside, weights_in, write_spec
from tests.support.specs import tiny, tiny_detector, tiny_segmenter


@pytest.mark.parametrize(
    "spec",
    [tiny(radix=4, activation="silu", output_stride=8, avd_first=True), tiny_detector(), tiny_segmenter()],
    ids=["classifier", "detector", "segmenter"],
)
def test_the_spec_beside_weights_is_read_as_it_was_written(spec, tmp_path):
    write_spec(tmp_path, spec, {"dropout": 0.5})
    assert spec_beside(tmp_path / "any.npz") == spec
    assert spec_beside(tmp_path / "any.npz", "tiny") == spec
    assert spec_beside(tmp_path / "any.npz", "resnest14") is None


@pytest.mark.parametrize("facts", [[], {"architecture": "resnest14d"}, {"spec": {"name": "x"}}, {"spec": {"odd": 1}}])
def test_what_others_wrote_is_none(facts, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(facts))
    assert spec_beside(tmp_path / "a.npz") is None
    (tmp_path / "config.json").write_text("{")
    assert spec_beside(tmp_path / "a.npz", get_spec("resnest14").name) is None
    assert spec_beside(None) is None


def test_the_first_of_the_files_in_a_folder_is_taken(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds none of model\.safetensors"):
        weights_in(tmp_path)
    for name in ("last.safetensors", "best.safetensors", "model.safetensors"):
        (tmp_path / name).touch()
        assert weights_in(tmp_path) == tmp_path / name


def test_classes_are_those_of_as_many(tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\n", encoding="utf-8")
    assert classes_beside(tmp_path / "a.npz", 2) == ["a", "b"]
    assert classes_beside(tmp_path / "a.npz", 3) is None


def test_classes_are_read_as_any_editor_writes_them(tmp_path):
    (tmp_path / "classes.txt").write_bytes("\ufeffcat\r\nblack bear\r\n\r\n".encode())
    assert classes_beside(tmp_path / "a.npz", 2) == ["cat", "black bear"]
    (tmp_path / "classes.txt").write_bytes("Bär\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"classes\.txt is no text in UTF-8"):
        classes_beside(tmp_path / "a.npz", 1)
