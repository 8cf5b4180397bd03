import errno
import hashlib
import io
import os
import subprocess
import sys
import zipfile

import filelock
import pytest

from resnest.weights.published import download, part
from resnest.weights.published.download import fetch
from resnest.weights.published.part import Unavailable
from resnest.weights.published.verified import Hash
from tests.support.server import serving

CONTENT = bytes(range(256)) * 4000  # a megabyte, so that it comes in more than one piece
TENTHS = [len(CONTENT) * tenth // 10 for tenth in range(10)]


def sha256(content=CONTENT):
    return Hash("sha256", hashlib.sha256(content).hexdigest()[:8])


def sha1(content=CONTENT):
    return Hash("sha1", hashlib.sha1(content).hexdigest())


def zipped(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "/"), content)
    return packed.getvalue()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "FIRST_WAIT", 0.001)
    with serving() as server:
        server.files["net.pth"] = CONTENT
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "net.pth"


def left_beside(target):
    return {path.name for path in target.parent.iterdir()} - {f"{target.name}.lock", f"{target.name}.verified"}


def test_a_file_arrives_whole_under_its_name_and_nothing_else_stays(server, target):
    assert fetch(f"{server.address}/net.pth", target, sha256()) == target
    assert target.read_bytes() == CONTENT
    assert left_beside(target) == {"net.pth"}


def test_what_is_there_is_not_asked_for_again(server, target):
    for _ in range(2):
        fetch(f"{server.address}/net.pth", target, sha256())
    assert len(server.requests) == 1


@pytest.mark.parametrize("tenth", range(10))
def test_a_cut_at_any_tenth_of_the_file_is_gone_on_from_there(server, target, tenth):
    server.cuts = [TENTHS[tenth]]
    fetch(f"{server.address}/net.pth", target, sha256())
    assert target.read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, f"bytes={TENTHS[tenth]}-" if tenth else None]


def test_cuts_at_every_tenth_of_the_file_in_turn_are_survived(server, target):
    server.cuts = TENTHS[1:]
    fetch(f"{server.address}/net.pth", target, sha256())
    assert target.read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, *(f"bytes={cut}-" for cut in TENTHS[1:])]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server, target):
    server.cuts = [TENTHS[7]] * (1 + download.TRIES)
    with pytest.raises(Unavailable, match=rf"net\.pth: the connection ended at byte {TENTHS[7]} of {len(CONTENT)}$"):
        fetch(f"{server.address}/net.pth", target, sha256())
    assert left_beside(target) == {"net.pth.part"}
    fetch(f"{server.address}/net.pth", target, sha256())
    assert server.requests[-1] == ("/net.pth", f"bytes={TENTHS[7]}-")
    assert target.read_bytes() == CONTENT


def test_a_download_that_was_killed_before_it_got_its_name_is_not_repeated(server, target):
    target.parent.mkdir()
    target.with_name("net.pth.part").write_bytes(CONTENT)
    fetch(f"{server.address}/net.pth", target, sha256())
    assert server.requests == []
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"x" * 1000, CONTENT + b"x"], ids=["another file", "a longer file"])
def test_half_of_another_file_is_thrown_away(server, target, left):
    target.parent.mkdir()
    target.with_name("net.pth.part").write_bytes(left)
    fetch(f"{server.address}/net.pth", target, sha256())
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_is_asked_for_the_whole_file_again(server, target):
    server.ranges = False
    server.cuts = [TENTHS[5]]
    fetch(f"{server.address}/net.pth", target, sha256())
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_server_is_asked_again(server, target, status):
    server.statuses = [status] * (download.TRIES - 1)
    fetch(f"{server.address}/net.pth", target, sha256())
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final(server, target, status):
    server.statuses = [status]
    with pytest.raises(Unavailable, match=rf"/net\.pth: {status}"):
        fetch(f"{server.address}/net.pth", target, sha256())
    assert len(server.requests) == 1
    assert left_beside(target) == set()


def test_a_server_that_is_not_there_is_named(target, monkeypatch):
    monkeypatch.setattr(download, "FIRST_WAIT", 0.001)
    with pytest.raises(Unavailable, match=r"^http://127\.0\.0\.1:9/net\.pth: .*refused$"):
        fetch("http://127.0.0.1:9/net.pth", target, sha256())


def test_each_wait_is_twice_the_one_before(server, target, monkeypatch):
    waits = []
    monkeypatch.setattr(download, "FIRST_WAIT", 0.5)
    monkeypatch.setattr(download.time, "sleep", waits.append)
    server.cuts = [0] * download.TRIES
    with pytest.raises(Unavailable, match="the connection ended at byte 0"):
        fetch(f"{server.address}/net.pth", target, sha256())
    assert waits == [0.5, 1, 2, 4]


def test_a_terminal_sees_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes a terminal of what is none
    monkeypatch.setenv("COLUMNS", "120")
    with download.progress_bar("net.pth") as progress:
        progress(2_000_000, 5_000_000)
    assert "net.pth" in (said := capsys.readouterr().err)
    assert "2.0/5.0 MB" in said


def test_a_file_with_another_hash_is_refused_and_thrown_away(server, target):
    server.files["net.pth"] = CONTENT[:-1] + b"!"
    with pytest.raises(Unavailable, match=r"gives another file, with sha256 [0-9a-f]{8} instead of [0-9a-f]{8}$"):
        fetch(f"{server.address}/net.pth", target, sha256())
    assert left_beside(target) == set()


def test_a_file_that_was_replaced_between_its_halves_is_fetched_once_more(server, target):
    class Replaced(dict):
        def get(self, name):
            return CONTENT if server.requests[1:] else b"x" * len(CONTENT)

    server.files = Replaced()
    server.cuts = [TENTHS[5]]
    fetch(f"{server.address}/net.pth", target, sha256())
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 3


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence_and_is_not_kept_full(server, target, monkeypatch, code):
    write = download.Part.write

    def fails_late(part, chunk):
        if part.size:
            raise OSError(code, os.strerror(code))
        write(part, chunk[:1000])

    monkeypatch.setattr(download, "CHUNK", 100_000)
    monkeypatch.setattr(download.Part, "write", fails_late)
    with pytest.raises(OSError, match=rf"net\.pth cannot be written: {os.strerror(code)}; say with root=") as caught:
        fetch(f"{server.address}/net.pth", target, sha256())
    assert not isinstance(caught.value, Unavailable)  # another address would not help
    assert left_beside(target) == set()


def test_a_read_only_cache_gives_what_it_has(server, target, monkeypatch):
    def refuse(path, text):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    target.parent.mkdir()
    target.write_bytes(CONTENT)
    monkeypatch.setattr(filelock, "FileLock", lambda path: pytest.fail("wrote into a read-only folder"))
    monkeypatch.setattr(type(target), "write_text", refuse)
    before = sorted(target.parent.iterdir())
    assert fetch(f"{server.address}/net.pth", target, sha256()).read_bytes() == CONTENT
    assert sorted(target.parent.iterdir()) == before


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_read_only_cache_that_lacks_the_file_is_one_sentence(server, target, monkeypatch, code):
    def refuse(path):
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(filelock, "FileLock", refuse)
    with pytest.raises(OSError, match=rf"net\.pth cannot be written: {os.strerror(code)}; say with root= or RESNEST_"):
        fetch(f"{server.address}/net.pth", target, sha256())
    assert server.requests == []


def test_a_cache_whose_place_is_taken_by_a_file_is_one_sentence(server, tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(OSError, match=r"net\.pth cannot be written: File exists"):
        fetch(f"{server.address}/net.pth", tmp_path / "cache" / "net.pth", sha256())


def test_two_processes_that_ask_at_once_download_once(server, target):
    code = (
        "import sys; from pathlib import Path; from resnest.weights.published.download import Hash, fetch;"
        "fetch(sys.argv[1], Path(sys.argv[2]), Hash('sha256', sys.argv[3]))"
    )
    command = [sys.executable, "-c", code, f"{server.address}/net.pth", str(target), sha256().digits]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(300) for process in processes] == [0, 0, 0]
    assert [path for path, _ in server.requests] == ["/net.pth"]
    assert target.read_bytes() == CONTENT


def test_progress_is_told_of_what_is_there_and_of_the_whole(server, target, monkeypatch):
    monkeypatch.setattr(download, "CHUNK", 100_000)
    server.cuts = [TENTHS[5]]
    told = []
    fetch(f"{server.address}/net.pth", target, sha256(), lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert {total for _, total in told} == {len(CONTENT)}
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_the_file_in_a_zip_is_unpacked_verified_and_the_zip_thrown_away(server, tmp_path):
    server.files["net.zip"] = zipped(**{"net.params": CONTENT, "readme.txt": b"words"})
    server.cuts = [1000]
    target = fetch(f"{server.address}/net.zip", tmp_path / "net.params", sha1())
    assert target.read_bytes() == CONTENT
    assert left_beside(target) == {"net.params"}


@pytest.mark.parametrize(
    "name", ["../net.params", "/etc/net.params", "a/../../net.params", "..\\net.params", "C:\\net"]
)
def test_nothing_is_unpacked_under_an_entrys_name(server, tmp_path, name):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inner/net.params", CONTENT)
        archive.writestr(name, CONTENT)
    server.files["net.zip"] = packed.getvalue()
    target = tmp_path / "deep" / "cache" / "net.params"
    assert fetch(f"{server.address}/net.zip", target, sha1()).read_bytes() == CONTENT
    assert left_beside(target) == {"net.params"}
    assert {path.name for path in tmp_path.rglob("*")} - {"net.params.lock", "net.params.verified"} == {
        "deep",
        "cache",
        "net.params",
    }


@pytest.mark.parametrize(
    ("packed", "sentence"),
    [
        (b"<html>not found</html>", "no zip that can be read"),
        (zipped(**{"net.params": CONTENT})[:-500], "no zip that can be read"),
        (zipped(**{"other.params": CONTENT}), r"the zip holds no net\.params"),
        (zipped(**{"net.params": b"other"}), r"the zip holds another net\.params"),
    ],
    ids=["a page", "cut off", "another name", "another file"],
)
def test_a_zip_that_is_not_the_published_one_is_refused(server, tmp_path, packed, sentence):
    server.files["net.zip"] = packed
    target = tmp_path / "net.params"
    with pytest.raises(Unavailable, match=rf"/net\.zip: .*{sentence}"):
        fetch(f"{server.address}/net.zip", target, sha1())
    assert left_beside(target) == set()


def test_a_zip_entry_that_claims_to_be_huge_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(part, "LARGEST", 1000)
    server.files["net.zip"] = zipped(**{"net.params": CONTENT})
    with pytest.raises(Unavailable, match=rf"net\.params in the zip claims {len(CONTENT)} bytes"):
        fetch(f"{server.address}/net.zip", tmp_path / "net.params", sha1())
