"""ImageNet (ILSVRC 2012) from its official archives: `train/n01440764/n01440764_10026.JPEG`, `val/n01440764/...`."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import IO

import numpy as np
from filelock import FileLock, Timeout

from resnest.data.folders import ImageFolder
from resnest.data.matlab import LARGEST, read_matlab

SPLITS = ("train", "val")


@dataclass(frozen=True)
class Archive:
    """An official file: its name, its bytes where they are known, and its MD5."""

    name: str
    md5: str
    size: int | None = None


@dataclass(frozen=True)
class Release:
    """The archives of a data set, and what is in them: images by split, classes in each of the two."""

    archives: Mapping[str, Archive]
    kit: Archive
    images: Mapping[str, int] = field(default_factory=lambda: {"train": 1_281_167, "val": 50_000})
    classes: int = 1000


ILSVRC2012 = Release(
    {
        "train": Archive("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e", 147_897_477_120),
        "val": Archive("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622", 6_744_924_160),
    },
    Archive("ILSVRC2012_devkit_t12.tar.gz", "fa75699e90414af021442c21a62c3abf"),
)
"""The classification data of 2012. Hashes: image-net.org's list of downloads, and torchvision's."""

Progress = Callable[[str, int, int], None]
"""Told what is done just now, how many bytes of it are done and how many there are."""


def imagenet_classes() -> list[str]:
    """The WordNet identifiers of the 1000 classes, in the order of the published networks."""
    return [identifier for identifier, _ in _classes()]


def imagenet_names() -> list[str]:
    """What the 1000 classes are called, in the same order."""
    return [name for _, name in _classes()]


def _classes() -> list[tuple[str, str]]:
    lines = (files("resnest") / "data" / "assets" / "imagenet.txt").read_text().splitlines()
    return [(identifier, name) for identifier, _, name in (line.partition(" ") for line in lines)]


def prepare(
    archives: Path,
    output: Path,
    splits: Iterable[str] = SPLITS,
    *,
    check: bool = True,
    release: Release = ILSVRC2012,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, ImageFolder]:
    """Unpack the archives in the folder `archives` to `output/train` and `output/val`; the images of each split.

    A split appears under its name when it is whole; until then it is in `output/SPLIT.unfinished`, where another call
    goes on after whatever ended this one. A split that is there is counted and left as it is. Unless `check` is
    false the archives' hashes are checked first. Raises FileNotFoundError for a missing archive, ValueError for one
    that is damaged or holds what is no part of ImageNet, and OSError for a disk that is full.
    """
    missing = [split for split in splits if not (output / split).exists()]
    for split in missing:
        for archive in (release.archives[split], *([release.kit] if split == "val" else [])):
            _check_size(archives / archive.name, archive.size if check else None)
    for split in missing:
        work = _unfinished(output, split)
        work.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(work / "lock", timeout=0):
                if not (output / split).exists():
                    _prepare(archives, output, split, work, release, check, progress)
        except Timeout:
            raise ValueError(f"another process is working on {output / split}: wait for it") from None
    for split in splits:
        shutil.rmtree(_unfinished(output, split), ignore_errors=True)
    return {split: _counted(output / split, split, release) for split in splits}


def _unfinished(output: Path, split: str) -> Path:
    return output / f"{split}.unfinished"


def _prepare(
    archives: Path, output: Path, split: str, work: Path, release: Release, check: bool, progress: Progress
) -> None:
    archive = release.archives[split]
    path = archives / archive.name
    if not (work / "images").exists():
        free, size = shutil.disk_usage(output).free, path.stat().st_size
        if free < size:
            raise OSError(f"{output} has room for {free / 1e9:.1f} GB, and {split} needs {size / 1e9:.1f} GB")
    if check:
        _check_hash(path, archive.md5, work / "checked.json", progress)
    if split == "train":
        entries = training_images(path)
    else:
        kit = archives / release.kit.name
        if check:
            _check_hash(kit, release.kit.md5, work / "checked_kit.json", progress)
        entries = validation_images(path, validation_classes(kit))
    size = path.stat().st_size
    try:
        _unpack(entries, work, lambda done: progress(f"{split}: unpacking", done, size))
        progress(f"{split}: unpacking", size, size)
    except tarfile.TarError as error:
        raise ValueError(f"{path} is damaged, download it again: {error}") from None
    except OSError as error:
        if error.errno not in _FULL:
            raise
        (work / "image").unlink(missing_ok=True)
        raise OSError(f"the disk of {output} is full: make room and run this again, it goes on there") from error
    _counted(work / "images", split, release)
    if hasattr(os, "sync"):  # the name is not to be on the disk before what it names
        os.sync()
    (work / "images").rename(output / split)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _counted(folder: Path, split: str, release: Release) -> ImageFolder:
    """The images in `folder`; ValueError where they are not those of `split` by their number."""
    found = ImageFolder(folder)
    expected = release.images[split], release.classes
    if (len(found), len(found.classes)) != expected:
        raise ValueError(
            f"{folder} holds {len(found):,} images of {len(found.classes):,} classes, and {split} has"
            f" {expected[0]:,} of {expected[1]:,}: remove the folder, and this begins again"
        )
    return found


def _check_size(path: Path, size: int | None) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"there is no archive {path}: image-net.org gives it to those who register")
    if size is not None and (found := path.stat().st_size) != size:
        raise ValueError(f"{path} has {found:,} bytes, and the official one {size:,}: download it again")


def _check_hash(path: Path, md5: str, note: Path, progress: Progress) -> None:
    """Raises ValueError for a file of another hash; what `note` says was checked is not read again."""
    facts = path.stat()
    checked = {"file": str(path.resolve()), "size": facts.st_size, "changed": facts.st_mtime_ns, "md5": md5}
    try:
        if json.loads(note.read_text()) == checked:
            return
    except (OSError, ValueError):
        pass  # not checked yet, or ended while the note was written
    digest, done = hashlib.md5(usedforsecurity=False), 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            done += len(chunk)
            progress(f"{path.name}: checking", done, facts.st_size)
    if digest.hexdigest() != md5:
        raise ValueError(f"{path} has the MD5 {digest.hexdigest()}, and the official one {md5}: download it again")
    note.write_text(json.dumps(checked))


@dataclass(frozen=True)
class Entry:
    """An image in an archive: where it belongs, its bytes, and the byte at which it stands."""

    name: str
    size: int
    content: IO[bytes]
    place: int


def _unpack(entries: Iterable[Entry], work: Path, progress: Callable[[int], None]) -> None:
    """Write the `entries` below `work/images`, each whole or not at all; one that is there with its size stays."""
    for entry in entries:
        path = work / "images" / entry.name
        if not (path.exists() and path.stat().st_size == entry.size):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(work / "image", "wb") as file:
                shutil.copyfileobj(entry.content, file)
            if (work / "image").stat().st_size != entry.size:
                raise tarfile.ReadError(f"{entry.name} ends too early")
            os.replace(work / "image", path)
        progress(entry.place)


def training_images(path: Path) -> Iterator[Entry]:
    """The images of the archive at `path`, in which there is another archive for each class."""
    with tarfile.open(path, "r:") as outer:
        for member, file, name in _files(outer, r"(n\d{8})\.tar", path):
            with tarfile.open(fileobj=file, mode="r:") as inner:
                for image, content, _ in _files(inner, r"n\d{8}_\d+\.JPEG", f"{member.name} in {path}"):
                    yield Entry(f"{name[1]}/{image.name}", image.size, content, member.offset_data + image.offset_data)


def validation_images(path: Path, classes: list[str]) -> Iterator[Entry]:
    """The images of the archive at `path`; the class of number 1 is the first of `classes`."""
    with tarfile.open(path, "r:") as archive:
        for member, file, name in _files(archive, r"ILSVRC2012_val_(\d{8})\.JPEG", path):
            number = int(name[1])
            if not 1 <= number <= len(classes):
                raise ValueError(f"{path} holds {member.name}, and the development kit has labels of {len(classes):,}")
            yield Entry(f"{classes[number - 1]}/{member.name}", member.size, file, member.offset_data)


def _files(
    archive: tarfile.TarFile, pattern: str, path: Path | str
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes], re.Match[str]]]:
    """The files in `archive`; ValueError for what is no file, or not called like `pattern`, which has no folders."""
    for member in archive:
        name = re.fullmatch(pattern, member.name, re.ASCII)
        plain = member.isreg() and not member.issparse()  # a sparse one has as many bytes as it likes
        content = archive.extractfile(member) if plain else None
        if name is None or content is None:
            raise ValueError(f"{path} holds {member.name!r}, which is no part of ImageNet")
        yield member, content, name


def validation_classes(kit: Path) -> list[str]:
    """The class of each validation image, by its number: WordNet identifiers out of the development kit at `kit`."""
    try:
        with tarfile.open(kit, "r:gz") as archive:
            synsets = read_matlab(_kit_file(archive, "data/meta.mat"))["synsets"]
            labels = _kit_file(archive, "data/ILSVRC2012_validation_ground_truth.txt").decode("ascii").split()
        # Of the 1860 rows those without children are classes; the rest are what these are kinds of.
        names = {int(_one(row["ILSVRC2012_ID"])): row["WNID"] for row in synsets if _one(row["num_children"]) == 0}
        classes = [names[int(label)] for label in labels]
    except (KeyError, ValueError, TypeError, EOFError, OSError, zlib.error, tarfile.TarError) as error:
        raise ValueError(f"{kit} is no development kit that can be read: {error}") from None
    for name in set(classes):
        if not re.fullmatch(r"n\d{8}", name, re.ASCII):
            raise ValueError(f"{kit} has a class {name!r}, which is no WordNet identifier")
    return classes


def _kit_file(archive: tarfile.TarFile, name: str) -> bytes:
    for member in archive:
        if member.name.endswith(f"/{name}") and (file := archive.extractfile(member)) is not None:
            return file.read(LARGEST)
    raise ValueError(f"it holds no {name}")


def _one(array: np.ndarray) -> float:
    return array.item()
