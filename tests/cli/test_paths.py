"""What commands refuse to write over, before they do anything."""

import pytest

from resnest import get_spec, weights
from resnest.cli.paths import check_outputs
from resnest.weights.seeded import draw_weights
from tests.support.cli import refused, run


def test_outputs_of_their_own_are_taken(tmp_path):
    check_outputs({"the overlay": tmp_path / "a.png", "the map": tmp_path / "b.png"}, {"the photo": tmp_path / "c.png"})


def test_an_output_that_is_there_already_is_taken(tmp_path):
    (tmp_path / "a.png").write_text("of last time")
    check_outputs({"the overlay": tmp_path / "a.png"}, {"the photo": tmp_path / "c.png"})


def test_a_relative_path_to_what_is_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="the overlay would take the place of the photo"):
        check_outputs({"the overlay": tmp_path / "a.png"}, {"the photo": tmp_path.relative_to(tmp_path) / "a.png"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["detect", "{}/a.png", "--weights", "{}/a.npz", "-o", "{}/a.png"],
            "--output would take the place of PHOTO",
        ),
        (
            ["detect", "{}/a.png", "--weights", "{}/a.npz", "--json", "{}/a.npz"],
            "--json would take the place of --weights",
        ),
    ],
)
def test_no_command_takes_the_place_of_what_it_reads(words, message, tmp_path):
    for name in ("a.png", "a.npz"):
        (tmp_path / name).write_text("mine")
    found = run(*(word.format(tmp_path) for word in words))
    assert message in " ".join(refused(found).split())
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}


def test_export_does_not_take_the_place_of_its_weights(tmp_path):
    path = tmp_path / "a.npz"
    weights.save(draw_weights(get_spec("resnest14")), path)
    before = path.read_bytes()
    found = run("export", "resnest14", "--format", "onnx", "--weights", path, "--output", path)
    assert "--output would take the place of --weights" in " ".join(refused(found).split())
    assert path.read_bytes() == before
