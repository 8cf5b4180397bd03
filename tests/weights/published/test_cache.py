import dataclasses
import hashlib

import pytest

from resnest.weights.published import cache, pretrained
from resnest.weights.published.cache import cached, damaged, remove


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache with a whole file of the authors', a part of another, and a file of the hub."""
    rows = [next(row for row in pretrained.CHECKPOINTS if row.source == source) for source in pretrained.SOURCES]
    torch, timm, gluon = rows
    torch = dataclasses.replace(torch, hash=hashlib.sha256(b"weights").hexdigest()[:8])
    monkeypatch.setattr(cache, "CHECKPOINTS", (torch, timm, gluon))
    (tmp_path / torch.file).write_bytes(b"weights")
    (tmp_path / f"{gluon.file}.zip.part").write_bytes(b"half")
    blob = tmp_path / "hub" / f"models--timm--{timm.name}" / "blobs" / hashlib.sha256(b"hub").hexdigest()
    snapshot = blob.parents[1] / "snapshots" / "c0ffee"
    for folder in (blob.parent, snapshot, blob.parents[1] / "refs"):
        folder.mkdir(parents=True)
    blob.write_bytes(b"hub")
    (blob.parents[1] / "refs" / "main").write_text("c0ffee")
    (snapshot / timm.file).symlink_to(blob)
    return tmp_path


def test_whole_files_parts_and_the_hubs_are_listed(home):
    found = {one.row.source: one for one in cached(home)}
    assert {source: (one.bytes, one.whole) for source, one in found.items()} == {
        "authors-torch": (7, True),
        "timm": (3, True),
        "authors-gluon": (4, False),
    }


def test_a_damaged_file_is_found(home):
    found = {one.row.source: one for one in cached(home)}
    assert {source: damaged(one) for source, one in found.items()} == {
        "authors-torch": False,
        "timm": False,
        "authors-gluon": True,
    }
    for source in ("authors-torch", "timm"):
        found[source].path.resolve().write_bytes(b"other!!")
        assert damaged(found[source])


def test_what_is_removed_is_gone_with_what_belongs_to_it(home):
    for one in list(cached(home)):
        damaged(one)  # which leaves a note
        remove(one)
    assert list(cached(home)) == []
    left = [path.name for path in home.rglob("*") if path.is_file()]
    assert left == ["main"]


def test_an_empty_cache_has_nothing(tmp_path):
    assert list(cached(tmp_path)) == []
