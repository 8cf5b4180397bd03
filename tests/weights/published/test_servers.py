"""Servers, proxies and networks that misbehave: each ends in the file or in one sentence, and it ends."""

import hashlib
import io
import subprocess
import zipfile

import pytest

from resnest.weights.published import download
from resnest.weights.published.download import fetch
from resnest.weights.published.part import Unavailable
from resnest.weights.published.verified import Hash
from tests.support.server import serving

CONTENT = bytes(range(256)) * 1000
LENGTH = len(CONTENT)
EXPECTED = Hash("sha256", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "FIRST_WAIT", 0.001)
    with serving() as server:
        server.files["net.pth"] = CONTENT
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "net.pth"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for this machine, that nobody vouches for, with its key."""
    path = tmp_path_factory.mktemp("certificate") / "here.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", path.with_suffix(".key"), "-out", path]
    subprocess.run(["openssl", "req", "-x509", *curve, *name, *files], check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".key").read_text())
    return path


def leave(target, content):
    part = target.with_name("net.pth.part")
    part.write_bytes(content)
    return part


@pytest.mark.parametrize("left", [0, 1000])
def test_a_server_that_answers_416_whatever_is_asked_is_left(server, target, left):
    leave(target, CONTENT[:left])
    server.statuses = [416] * 5000
    with pytest.raises(Unavailable, match=r"/net\.pth: 416"):
        fetch(f"{server.address}/net.pth", target, EXPECTED)
    assert len(server.requests) == (2 if left else 1)


def test_a_source_without_ranges_that_always_cuts_is_left(server, target):
    server.ranges = False
    server.cuts = [LENGTH // 3, LENGTH // 2] * 100
    with pytest.raises(Unavailable, match="the connection ended at byte"):
        fetch(f"{server.address}/net.pth", target, EXPECTED)
    assert len(server.requests) <= 2 + download.TRIES


def test_another_file_from_a_source_that_always_cuts_is_left(server, target):
    server.files["net.pth"] = CONTENT[:-1] + b"!"
    server.cuts = [LENGTH // share for share in range(2, 100)]  # once in each download of the whole
    with pytest.raises(Unavailable, match="gives another file"):
        fetch(f"{server.address}/net.pth", target, EXPECTED)
    assert len(server.requests) <= 4


def test_a_source_that_does_not_end_is_left(server, target, monkeypatch):
    monkeypatch.setattr(download, "LARGEST", 2 * LENGTH)
    server.lengths, server.times = False, 1000
    with pytest.raises(Unavailable, match="it sends more bytes than"):
        fetch(f"{server.address}/net.pth", target, EXPECTED)
    assert not target.with_name("net.pth.part").exists()


def test_a_source_that_claims_too_much_is_left_before_a_byte_is_kept(server, target, monkeypatch):
    monkeypatch.setattr(download, "LARGEST", LENGTH - 1)
    with pytest.raises(Unavailable, match=rf"no checkpoint has the {LENGTH} bytes that it says"):
        fetch(f"{server.address}/net.pth", target, EXPECTED)


def test_what_a_server_sends_beyond_its_own_length_is_not_read(server, target):
    server.times = 2
    fetch(f"{server.address}/net.pth", target, EXPECTED)
    assert target.read_bytes() == CONTENT


def test_a_source_that_says_no_length_gives_the_file_too(server, target):
    server.lengths = False
    fetch(f"{server.address}/net.pth", target, EXPECTED)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({"Content-Type": "text/html; charset=utf-8"}, "a web page instead of the file"),
        ({"Content-Encoding": "gzip"}, "sends it packed with gzip"),
    ],
    ids=["a proxy's page", "gzip"],
)
def test_an_answer_that_cannot_be_the_file_costs_nothing_that_is_there(server, target, headers, sentence):
    server.headers, server.ranges = headers, False
    server.files["net.pth"] = b"<html>please log in</html>"
    part = leave(target, CONTENT[:1000])
    with pytest.raises(Unavailable, match=sentence):
        fetch(f"{server.address}/net.pth", target, EXPECTED)
    assert part.read_bytes() == CONTENT[:1000]
    assert len(server.requests) == 1


def test_half_of_another_zip_does_not_spoil_the_next_try(server, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("net.pth", CONTENT)
    server.files["net.zip"] = packed.getvalue()
    (tmp_path / "net.pth.zip.part").write_bytes(b"x" * 1000)
    assert fetch(f"{server.address}/net.zip", tmp_path / "net.pth", EXPECTED).read_bytes() == CONTENT


def test_a_file_that_was_cut_short_in_the_cache_is_downloaded_again(server, target):
    fetch(f"{server.address}/net.pth", target, EXPECTED)
    target.write_bytes(CONTENT[:1000])
    assert fetch(f"{server.address}/net.pth", target, EXPECTED).read_bytes() == CONTENT


@pytest.mark.parametrize("linked", ["folder", "file", "file to nowhere"])
def test_a_cache_that_is_a_link_is_followed_and_what_it_leads_to_stays(server, tmp_path, linked):
    (tmp_path / "shared").mkdir()
    shared = tmp_path / "shared" / "net.pth"
    if linked == "folder":
        (tmp_path / "cache").symlink_to(tmp_path / "shared")
    else:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "net.pth").symlink_to(shared)
    if linked == "file":
        shared.write_bytes(b"of somebody else")
    target = fetch(f"{server.address}/net.pth", tmp_path / "cache" / "net.pth", EXPECTED)
    assert target.read_bytes() == CONTENT
    if linked == "file":
        assert shared.read_bytes() == b"of somebody else"


def test_a_certificate_that_nobody_vouches_for_is_one_sentence_that_says_what_to_set(certificate, target, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with serving(certificate) as server, pytest.raises(Unavailable, match="set SSL_CERT_FILE to the file") as caught:
        fetch(f"{server.address}/net.pth", target, EXPECTED)
    assert "self-signed certificate" in str(caught.value).replace("self signed", "self-signed")
    with serving(certificate) as server:
        server.files["net.pth"] = CONTENT
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch(f"{server.address}/net.pth", target, EXPECTED).read_bytes() == CONTENT


def test_a_redirect_from_https_to_http_is_refused_and_others_are_followed(server, certificate, target, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(certificate) as safe:
        safe.files["net.pth"] = CONTENT
        safe.redirects = {"/down": f"{server.address}/net.pth", "/level": f"{safe.address}/net.pth"}
        server.redirects = {"/up": f"{safe.address}/level"}
        with pytest.raises(Unavailable, match=r"/down: it leads from https to http://127"):
            fetch(f"{safe.address}/down", target, EXPECTED)
        assert server.requests == []
        assert fetch(f"{server.address}/up", target, EXPECTED).read_bytes() == CONTENT


def test_redirects_in_a_circle_end(server, target):
    server.redirects = {"/a": "/b", "/b": "/a"}
    with pytest.raises(Unavailable, match="302"):
        fetch(f"{server.address}/a", target, EXPECTED)
