"""What real failures leave: limits of the system and signals, not patched functions."""

import hashlib
import io
import resource
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from resnest.weights.published.part import Part, Unavailable, unpack
from resnest.weights.published.verified import Hash
from tests.support.server import serving

CONTENT = bytes(range(256)) * 1000

FETCH = """
import resource, signal, sys
from pathlib import Path
from resnest.weights.published import download
from resnest.weights.published.verified import Hash
address, target, digits, limit = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background does not have
download.CHUNK = 1000  # so that the last bytes wait in a buffer when the file is closed
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    download.fetch(address, Path(target), Hash("sha256", digits))
except OSError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def server():
    with serving() as server:
        server.files["net.pth"] = CONTENT
        yield server


def start(server, target, limit=resource.RLIM_INFINITY, name="net.pth"):
    digits = hashlib.sha256(CONTENT).hexdigest()
    command = [sys.executable, "-c", FETCH, f"{server.address}/{name}", str(target), digits, str(limit)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("limit", [0, 5000, len(CONTENT) - 1], ids=["none", "some", "all but one"])
def test_a_disk_that_is_full_at_any_byte_leaves_no_file_and_no_half(server, tmp_path, limit):
    process = start(server, tmp_path / "net.pth", limit)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "net.pth cannot be written: File too large" in said
    assert {path.name for path in tmp_path.iterdir()} <= {"net.pth.lock"}


def test_a_disk_that_is_full_after_the_file_has_it_all_the_same(server, tmp_path):
    process = start(server, tmp_path / "net.pth", len(CONTENT))
    assert process.wait(300) == 0
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_ctrl_c_in_the_middle_leaves_what_came_and_the_next_call_goes_on(server, tmp_path):
    server.stops = [len(CONTENT) // 2]
    process = start(server, tmp_path / "net.pth")
    part = tmp_path / "net.pth.part"
    until = time.monotonic() + 300
    while not (part.exists() and part.stat().st_size) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert said.strip().endswith("KeyboardInterrupt")
    assert not (tmp_path / "net.pth").exists()
    assert 0 < part.stat().st_size <= len(CONTENT) // 2
    assert start(server, tmp_path / "net.pth").wait(300) == 0
    assert server.requests[-1][1] is not None
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_part_without_a_byte_is_not_kept_even_where_somebody_else_removed_it(tmp_path):
    for removed in (False, True):
        with Part(tmp_path / "net.pth.part", None):
            if removed:
                (tmp_path / "net.pth.part").unlink()
        assert list(tmp_path.iterdir()) == []


def test_an_encrypted_zip_is_refused(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("net.params", CONTENT)
    content = bytearray(packed.getvalue())
    for at in (6, content.index(b"PK\x01\x02") + 8):
        content[at] |= 1
    (tmp_path / "net.zip").write_bytes(content)
    with pytest.raises(Unavailable, match=r"no zip that can be read: .*encrypted"):
        unpack(tmp_path / "net.zip", "net.params", tmp_path / "net.params", Hash("sha256", "00"))
    assert [path.name for path in tmp_path.iterdir()] == ["net.zip"]
