import errno
import gzip
import hashlib
import io
import os
import shutil
import signal
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from resnest.data import imagenet
from resnest.data.imagenet import Archive, Release, prepare

CLASSES = ("n01440764", "n01443537", "n15075141")

TRUTH = (3, 1, 1, 2)
"""Labels of the validation set, in the development kit's own order of the classes."""

KIT_ORDER = ("n01443537", "n15075141", "n01440764")


def photo(number):
    file = io.BytesIO()
    Image.new("RGB", (5 + number, 4), (number, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def write_tar(path, entries, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in entries.items():
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def tar(entries):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def kit_files(folder):
    rows = [(float(n), name, "fox, cat", "a gloss", 0.0, [], 0.0, 2.0) for n, name in enumerate(KIT_ORDER, start=1)]
    rows.append((4.0, "n00000001", "animal", "all of them", 3.0, [1.0, 2.0, 3.0], 1.0, 0.0))
    names = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "height", "images"]
    savemat(folder / "meta.mat", {"synsets": np.array(rows, [(name, "O") for name in names])[:, None]})
    return {
        "ILSVRC2012_devkit_t12/readme.txt": b"",
        "ILSVRC2012_devkit_t12/data/meta.mat": (folder / "meta.mat").read_bytes(),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": "".join(
            f"{label}\n" for label in TRUTH
        ).encode(),
    }


@pytest.fixture
def archives(tmp_path):
    folder = tmp_path / "archives"
    folder.mkdir()
    classes = {
        f"{name}.tar": tar({f"{name}_{number}.JPEG": photo(10 * row + number) for number in range(2)})
        for row, name in enumerate(CLASSES)
    }
    write_tar(folder / "train.tar", classes)
    write_tar(folder / "val.tar", {f"ILSVRC2012_val_{n:08}.JPEG": photo(50 + n) for n in range(1, 5)})
    write_tar(folder / "kit.tar.gz", kit_files(tmp_path), "w:gz")
    return folder


def release(archives):
    """What is in the folder now is taken for the official archives."""

    def official(name):
        content = (archives / name).read_bytes()
        return Archive(name, hashlib.md5(content).hexdigest(), len(content))

    splits = {"train": official("train.tar"), "val": official("val.tar")}
    return Release(splits, official("kit.tar.gz"), {"train": 6, "val": 4}, 3)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


EXPECTED = {
    **{f"train/{name}/{name}_{n}.JPEG": photo(10 * row + n) for row, name in enumerate(CLASSES) for n in range(2)},
    **{f"val/{KIT_ORDER[c - 1]}/ILSVRC2012_val_{n:08}.JPEG": photo(50 + n) for n, c in enumerate(TRUTH, start=1)},
}


def test_every_image_is_in_the_folder_of_its_class(archives, tmp_path):
    told = []
    found = prepare(archives, tmp_path / "out", release=release(archives), progress=lambda *what: told.append(what))
    assert tree(tmp_path / "out") == EXPECTED
    assert [(len(found[split]), found[split].classes) for split in ("train", "val")] == [
        (6, list(CLASSES)),
        (4, list(CLASSES)),
    ]
    kinds = dict.fromkeys(what for what, _, _ in told)
    assert [*kinds] == [
        "train.tar: checking",
        "train: unpacking",
        "val.tar: checking",
        "kit.tar.gz: checking",
        "val: unpacking",
    ]
    assert all(0 <= done <= total for _, done, total in told)


def test_what_is_there_is_counted_and_needs_no_archive(archives, tmp_path):
    official = release(archives)
    prepare(archives, tmp_path, ["train"], release=official)
    shutil.rmtree(archives)
    prepare(archives, tmp_path, ["train"], release=official)
    (tmp_path / "train" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG").unlink()
    with pytest.raises(ValueError, match=r"train holds 5 images of 3 classes, and train has 6 of 3: remove the folder"):
        prepare(archives, tmp_path, ["train"], release=official)
    with pytest.raises(FileNotFoundError, match=r"there is no archive .*val.tar"):
        prepare(archives, tmp_path, ["val"], release=official)


def killed_at(moment, work):
    """Whether a child that does `work` came to the `moment`-th touch of a file, where it was killed."""
    child = os.fork()
    if not child:
        touches = 0

        def touch(event, _):
            nonlocal touches
            if event.split(".")[0] in ("open", "os", "shutil") and event != "os.fork":
                touches += 1
                if touches == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(touch)
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_kill_at_any_moment_loses_nothing(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sync", lambda: None)  # takes seconds on a busy machine
    official = release(archives)
    moment = 0
    for moment in range(1, 1000, 3):  # each image touches some five, so that all kinds of them come about
        out = tmp_path / f"out{moment}"
        killed = killed_at(moment, lambda out=out: prepare(archives, out, release=official))
        for split in ("train", "val"):
            there = {name: content for name, content in tree(out).items() if name.startswith(f"{split}/")}
            assert there in ({}, {name: EXPECTED[name] for name in EXPECTED if name.startswith(f"{split}/")})
        prepare(archives, out, release=official)
        assert tree(out) == EXPECTED
        assert sorted(path.name for path in out.iterdir()) == ["train", "val"]
        if not killed:
            break
    assert 40 < moment < 999


def test_half_an_image_is_written_again(archives, tmp_path, monkeypatch):
    official = release(archives)

    def stop(source, target):
        target.write(source.read(100))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(archives, tmp_path / "out", release=official)
    assert tree(tmp_path / "out")["train.unfinished/image"] == photo(0)[:100]
    cut_by_the_power = tmp_path / "out" / "train.unfinished" / "images" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG"
    cut_by_the_power.write_bytes(b"")
    prepare(archives, tmp_path / "out", release=official)
    assert tree(tmp_path / "out") == EXPECTED


def test_what_was_checked_is_not_read_again(archives, tmp_path, monkeypatch):
    official = release(archives)
    told = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare(archives, tmp_path / "out", ["train"], release=official)
    prepare(archives, tmp_path / "out", ["train"], release=official, progress=lambda what, *_: told.append(what))
    assert set(told) == {"train: unpacking"}


def test_a_full_disk_is_one_sentence_and_it_goes_on_from_there(archives, tmp_path, monkeypatch):
    official = release(archives)
    written = []

    def fill(source, target):
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(target.write(source.read()))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", fill)
        with pytest.raises(OSError, match=r"^the disk of .*out is full: make room and run this again, it goes on"):
            prepare(archives, tmp_path / "out", release=official)
    assert len(tree(tmp_path / "out" / "train.unfinished" / "images")) == 3
    assert not (tmp_path / "out" / "train.unfinished" / "image").exists()
    prepare(archives, tmp_path / "out", release=official)
    assert tree(tmp_path / "out") == EXPECTED


def test_a_disk_that_is_too_small_is_known_before(archives, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"out has room for 0.0 GB, and train needs"):
        prepare(archives, tmp_path / "out", release=release(archives))


def test_another_process_is_waited_for_by_the_user(archives, tmp_path):
    from filelock import FileLock

    (tmp_path / "train.unfinished").mkdir()
    with FileLock(tmp_path / "train.unfinished" / "lock"), pytest.raises(ValueError, match="another process is"):
        prepare(archives, tmp_path, release=release(archives))


def test_archives_of_another_size_or_hash_are_refused(archives, tmp_path):
    official = release(archives)
    content = (archives / "train.tar").read_bytes()
    (archives / "train.tar").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"train.tar has [\d,]+ bytes, and the official one [\d,]+: download it again"):
        prepare(archives, tmp_path / "out", release=official)
    assert not (tmp_path / "out").exists()
    (archives / "train.tar").write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match=r"train.tar has the MD5 \w{32}, and the official one \w{32}: download it"):
        prepare(archives, tmp_path / "out", release=official)
    prepare(archives, tmp_path / "out", release=official, check=False)
    assert tree(tmp_path / "out") == EXPECTED


@pytest.mark.parametrize(
    "name", ["../n01440764_7.JPEG", "/tmp/n01440764_7.JPEG", "n01440764_7.sh", "a/n01440764_7.JPEG"]
)
@pytest.mark.parametrize("where", ["train", "class", "val"])
def test_no_entry_climbs_out(archives, tmp_path, name, where):
    bad = {name: photo(7)}
    if where == "class":
        bad = {"n01440764.tar": tar(bad)}
    write_tar(archives / f"{'val' if where == 'val' else 'train'}.tar", bad)
    with pytest.raises(ValueError, match=r"holds '.*7\.\w+', which is no part of ImageNet"):
        prepare(archives, tmp_path / "out", release=release(archives))
    assert not [path for path in tree(tmp_path) if "_7" in path]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_what_is_no_file_is_refused(archives, tmp_path, kind):
    link = tarfile.TarInfo("ILSVRC2012_val_00000001.JPEG")
    link.type, link.linkname = kind, "/etc/passwd"
    write_tar(archives / "val.tar", {link: b""})
    with pytest.raises(ValueError, match=r"holds 'ILSVRC2012_val_00000001.JPEG', which is no part of ImageNet"):
        prepare(archives, tmp_path / "out", ["val"], release=release(archives))


def test_a_class_that_would_climb_out_is_no_class(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "KIT_ORDER", ("n01443537", "n15075141", "../../evil"))
    write_tar(archives / "kit.tar.gz", kit_files(tmp_path), "w:gz")
    with pytest.raises(ValueError, match=r"kit.tar.gz has a class '../../evil', which is no WordNet identifier"):
        prepare(archives, tmp_path / "out", release=release(archives))


def test_archives_that_are_not_whole_are_named(archives, tmp_path):
    content = (archives / "train.tar").read_bytes()
    (archives / "train.tar").write_bytes(content[: len(content) // 2 - 700])
    with pytest.raises(ValueError, match=r"train.tar is damaged|holds \d images of \d classes"):
        prepare(archives, tmp_path / "out", release=release(archives))
    assert not (tmp_path / "out" / "train").exists()


@pytest.mark.parametrize("broken", ["gzip", "no gzip", "half", "no meta", "other label", "no mat"])
def test_a_development_kit_that_is_none_is_named(archives, tmp_path, broken):
    entries = kit_files(tmp_path)
    path = archives / "kit.tar.gz"
    if broken == "no meta":
        del entries["ILSVRC2012_devkit_t12/data/meta.mat"]
    if broken == "other label":
        entries["ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"] = b"4\n"
    if broken == "no mat":
        entries["ILSVRC2012_devkit_t12/data/meta.mat"] = b"no mat"
    write_tar(path, entries, "w:gz")
    if broken == "gzip":
        path.write_bytes(gzip.compress(b"no tar"))
    if broken == "no gzip":
        path.write_bytes(b"no gzip")
    if broken == "half":
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"kit.tar.gz is no development kit that can be read: ."):
        prepare(archives, tmp_path / "out", ["val"], release=release(archives))


def test_an_image_without_a_label_is_named(archives, tmp_path):
    write_tar(archives / "val.tar", {"ILSVRC2012_val_00000005.JPEG": photo(1)})
    with pytest.raises(ValueError, match=r"ILSVRC2012_val_00000005.JPEG, and the development kit has labels of 4"):
        prepare(archives, tmp_path / "out", ["val"], release=release(archives))


def test_the_official_archives_are_those_that_torchvision_knows():
    from torchvision.datasets.imagenet import ARCHIVE_META as known

    official = imagenet.ILSVRC2012
    assert {split: (one.name, one.md5) for split, one in official.archives.items()} | {
        "devkit": (official.kit.name, official.kit.md5)
    } == known
    assert len(set(imagenet.imagenet_classes())) == official.classes
    assert imagenet.imagenet_classes() == sorted(imagenet.imagenet_classes())


def test_the_labels_are_those_that_torchvision_reads(archives, monkeypatch):
    from torchvision.datasets import imagenet as datasets

    kit = release(archives).kit
    monkeypatch.setitem(datasets.ARCHIVE_META, "devkit", (kit.name, kit.md5))
    datasets.parse_devkit_archive(archives)
    _, theirs = datasets.load_meta_file(archives)
    assert imagenet.validation_classes(archives / kit.name) == theirs == [KIT_ORDER[label - 1] for label in TRUTH]


def test_every_class_has_a_name_of_its_own():
    names = imagenet.imagenet_names()
    assert len(names) == len(set(names)) == 1000
    assert [names[number] for number in (0, 281, 282, 999)] == ["tench", "tabby", "tiger cat", "toilet tissue"]
