import hashlib
import os

import pytest

from resnest.weights.published import verified as module
from resnest.weights.published.verified import Hash, verified

CONTENT = b"weights" * 1000
WHOLE = hashlib.sha256(CONTENT).hexdigest()
EXPECTED = Hash("sha256", WHOLE[:8])


@pytest.fixture
def path(tmp_path):
    (tmp_path / "net.pth").write_bytes(CONTENT)
    return tmp_path / "net.pth"


@pytest.fixture
def reads(monkeypatch):
    """How often a file was read to its last byte."""
    read, whole = [], module.digest
    monkeypatch.setattr(module, "digest", lambda *asked: read.append(asked) or whole(*asked))
    return read


def test_a_file_is_read_once_and_then_known_without(path, reads):
    assert [verified(path, EXPECTED) for _ in range(3)] == [True] * 3
    assert len(reads) == 1


def test_on_request_it_is_read_again(path, reads):
    assert [verified(path, EXPECTED, fully=True) for _ in range(2)] == [True] * 2
    assert len(reads) == 2


@pytest.mark.parametrize("content", [CONTENT[:-1], b"", CONTENT + b"x"], ids=["short", "empty", "long"])
def test_a_file_that_lost_or_won_bytes_since_is_not_the_one(path, content):
    assert verified(path, EXPECTED)
    state = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not verified(path, EXPECTED)


def test_a_file_that_rotted_in_place_is_found_out_on_request(path):
    assert verified(path, EXPECTED)
    state = path.stat()
    path.write_bytes(CONTENT[:-1] + b"!")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert verified(path, EXPECTED)  # what cheap means
    assert not verified(path, EXPECTED, fully=True)
    assert not verified(path, EXPECTED)  # from then on


def test_a_file_that_was_touched_is_read_again_and_noted(path, reads):
    assert verified(path, EXPECTED)
    os.utime(path)
    assert [verified(path, EXPECTED) for _ in range(2)] == [True] * 2
    assert len(reads) == 2


def test_a_file_known_by_8_digits_has_to_keep_all_that_it_was_noted_with(path):
    module.note(path, Hash("sha256", WHOLE[:8] + "0" * 56))  # another file with the same first digits was here
    assert [verified(path, EXPECTED, fully=fully) for fully in (True, True, False)] == [False] * 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sha256": 3}', '{"sha256": "00"}', '{"bytes": 7000}'])
def test_half_a_note_or_none_means_that_the_file_is_read(path, reads, text):
    (path.parent / "net.pth.verified").write_text(text)
    assert verified(path, EXPECTED)
    assert len(reads) == 1


def test_a_link_is_followed_and_one_to_nowhere_is_no_file(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    assert verified(tmp_path / "link", EXPECTED)
    assert not verified(tmp_path / "nowhere", EXPECTED)
    assert not verified(tmp_path, EXPECTED)
