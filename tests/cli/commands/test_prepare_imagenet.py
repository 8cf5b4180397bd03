from resnest.data import imagenet
from tests.data.test_imagenet import EXPECTED, archives, release, tree
from tests.support.cli import refused, run

__all__ = ["archives"]  # the fixture


def test_folders_are_made_and_counted(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet.prepare, "__kwdefaults__", imagenet.prepare.__kwdefaults__ | official(archives))
    result = run("prepare-imagenet", archives, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert tree(tmp_path / "out") == EXPECTED
    assert result.stdout.splitlines() == [
        f"{tmp_path / 'out' / 'train'}: 6 images of 3 classes",
        f"{tmp_path / 'out' / 'val'}: 4 images of 3 classes",
    ]


def official(archives):
    return {"release": release(archives)}


def test_without_archives_it_says_which_is_missing(tmp_path):
    (tmp_path / "a.txt").write_text("no archive")
    assert "there is no archive" in refused(run("prepare-imagenet", tmp_path, tmp_path / "out"))
    assert "ILSVRC2012_img_val.tar" in refused(run("prepare-imagenet", tmp_path, tmp_path / "out", "--split", "val"))
    assert not (tmp_path / "out").exists()


def test_other_archives_are_refused_unless_nothing_is_checked(archives, tmp_path):
    (archives / "train.tar").rename(archives / "ILSVRC2012_img_train.tar")
    words = ["prepare-imagenet", archives, tmp_path / "out", "--split", "train"]
    assert "and the official one 147,897,477,120: download it again" in refused(run(*words))
    said = run(*words, "--no-check")
    assert said.exit_code == 2
    assert "holds 6 images of 3 classes, and train has 1,281,167 of 1,000" in " ".join(said.stderr.split())
