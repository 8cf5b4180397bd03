"""What commands refuse to read, and to write over, before they do anything."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from resnest import get_spec, weights
from resnest.cli.paths import check_folder, check_input, check_output, check_outputs
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


@pytest.fixture
def open_folder():
    """A folder that everybody may look into, as the folders above it."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def somebody():
    """Inside, this process is nobody in particular, whom permissions hold for: they do not for root."""
    root = os.getuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)


def test_permissions_are_looked_at(open_folder):
    for name, mode in (("closed", 0o000), ("read-only", 0o444), ("free", 0o777)):
        (open_folder / name).write_text("content")
        (open_folder / name).chmod(mode)
    (open_folder / "shut").mkdir(mode=0o000)
    (open_folder / "wide").mkdir()
    (open_folder / "wide").chmod(0o777)
    open_folder.chmod(0o555)
    with somebody():
        check_input(open_folder / "read-only", "photo")
        check_output(open_folder / "wide" / "new", "a picture")
        for look, path, said in [
            (lambda path: check_input(path, "photo"), "closed", "may not be read"),
            (lambda path: check_input(path, "photo"), "shut/inside", "cannot be read: Permission denied"),
            (lambda path: check_input(path, "folder", folder=True), "shut", "may not be read"),
            (lambda path: check_output(path, "a picture"), "read-only", "may not be written"),
            (lambda path: check_output(path, "a picture"), "free", "nothing may be written into the folder"),
            (lambda path: check_output(path, "a picture"), "new", "nothing may be written into the folder"),
            (lambda path: check_output(path, "a picture"), "shut/new", "cannot be written: Permission denied"),
            (check_folder, "new/folder", "nothing may be written into the folder"),
        ]:
            with pytest.raises(OSError, match=said):
                look(open_folder / path)


def test_a_folder_is_made_where_the_one_above_it_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("content")
    for path in ("new", "new/below", ".", tmp_path / "new"):
        check_folder(Path(path))
    for path in ("file", "file/below"):
        with pytest.raises(ValueError, match="file is no folder to write into"):
            check_folder(Path(path))
    check_folder(Path("file"), file=True)


def test_a_device_is_written_to_as_it_is():
    check_output(Path("/dev/null"), "a picture")


@pytest.mark.parametrize(
    "words", [["predict", ""], ["predict", "a.png", "--weights", ""], ["attention", "a.png", "-o", ""]]
)
def test_an_empty_word_is_not_the_folder_one_is_in(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"a")
    assert "an empty word is no path" in refused(run(*words))
