"""A file is the old one or the new one, whole, whatever happens while it is written.

Disks are filled by the system's own limit on a file's size and by small file systems, processes end by SIGKILL.
"""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from resnest import weights
from resnest.weights.formats.atomic import ABANDONED, replacing
from resnest.weights.formats.files import write_file
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny

resource = pytest.importorskip("resource", reason="Windows has no limit on a file's size")

SMALL = tiny(bottleneck_width=2, stem_width=2)
ARRAYS = {"a": np.arange(5000, dtype="f4"), "b": np.ones((10, 10))}
SUFFIXES = (".safetensors", ".npz", ".pth", ".params")


def write(path, content):
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def disk_of(size):
    """No file can grow past `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_at_any_byte_leaves_the_old_file(tmp_path):
    path, new = tmp_path / "a", os.urandom(300)
    write(path, b"old")
    for room in range(len(new)):
        with disk_of(room), pytest.raises(OSError, match=r"/a could not be written: File too large"):
            write(path, new)
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["a"]
    with disk_of(len(new)):
        write(path, new)
    assert path.read_bytes() == new


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_old_weights_and_is_named(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    write_file(path, ARRAYS)
    old = path.read_bytes()
    for room in [*range(0, len(old), 500), *range(len(old) - 20, len(old))]:
        with disk_of(room), pytest.raises(OSError, match=rf"a\{suffix} could not be written"):
            write_file(path, ARRAYS)
        assert path.read_bytes() == old
        assert os.listdir(tmp_path) == [path.name]


SMALL_DISK = """
import os, sys
from resnest.weights.formats.files import write_file
from tests.weights.formats.test_atomic import ARRAYS, SUFFIXES

folder = sys.argv[1]
for suffix in SUFFIXES:
    path = f"{folder}/a{suffix}"
    write_file(path, ARRAYS)
    old = open(path, "rb").read()
    with open(f"{folder}/filler", "wb", buffering=0) as filler:
        while os.statvfs(folder).f_bavail > 2:
            filler.write(bytes(1 << 12))
    try:
        write_file(path, ARRAYS)
    except OSError as error:
        assert "No space left on device" in str(error) and path in str(error), error
    else:
        raise AssertionError("it was written onto a full disk")
    assert open(path, "rb").read() == old
    os.remove(f"{folder}/filler")
    assert os.listdir(folder) == [f"a{suffix}"]
    os.remove(path)
print("done")
"""


def namespaces():
    """Whether a process here may mount file systems of its own."""
    return shutil.which("unshare") and not subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode


@pytest.mark.torch
@pytest.mark.skipif(not namespaces(), reason="mounting a small file system takes Linux's user namespaces")
def test_a_small_file_system_that_is_full_keeps_the_old_weights(tmp_path):
    mount = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"'
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", tmp_path, sys.executable, SMALL_DISK],
        capture_output=True,
        text=True,
    )
    assert run.stdout == "done\n", run.stderr


KILLED_AT_EVERY_STEP = """
import itertools, os, signal, sys
from resnest.weights.formats import atomic

path, old, new = sys.argv[1], b"old" * 1000, b"new" * 1000
seen = set()
for steps in range(1000):
    for left_behind in os.listdir(os.path.dirname(path)):
        os.remove(os.path.join(os.path.dirname(path), left_behind))
    with open(path, "wb") as file:
        file.write(old)
    if not (child := os.fork()):
        left = itertools.count(steps, -1)

        def trace(frame, event, argument):
            if frame.f_code.co_filename != atomic.__file__:
                return None
            if not next(left):
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        with atomic.replacing(path) as file:
            file.write(new)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    with open(path, "rb") as file:
        content = file.read()
    assert content in (old, new), steps
    seen.add(content)
    if not status:
        break
assert steps > 20 and seen == {old, new} and content == new
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_a_process_that_is_killed_at_any_step_leaves_the_old_file_or_the_new_one(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EVERY_STEP, tmp_path / "a"], capture_output=True, text=True, check=False
    )
    assert run.stdout == "done\n", run.stderr
    write(tmp_path / "a", b"the next one")  # what the killed ones left behind is in nobody's way
    assert (tmp_path / "a").read_bytes() == b"the next one"


KILLED_ANY_TIME = """
import os, random, signal, sys, time
from resnest import weights
from resnest.weights.seeded import draw_weights
from tests.weights.formats.test_atomic import SMALL

drawn = draw_weights(SMALL)
other = {name: array + 1 for name, array in drawn.items()}
weights.save(drawn, sys.argv[1])
chance = random.Random(0)
for _ in range(40):
    if not (child := os.fork()):
        while True:
            weights.save(other, sys.argv[1])
            weights.save(drawn, sys.argv[1])
    time.sleep(chance.uniform(0.002, 0.04))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    loaded = weights.load(sys.argv[1])
    whole = [all((loaded[name] == array).all() for name, array in one.items()) for one in (drawn, other)]
    assert any(whole)
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
@pytest.mark.parametrize("suffix", [".safetensors", ".params"])
def test_weights_are_whole_after_a_kill_at_any_moment(suffix, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", KILLED_ANY_TIME, tmp_path / f"a{suffix}"], capture_output=True, text=True, check=False
    )
    assert run.stdout == "done\n", run.stderr


def test_two_writers_to_one_path_both_finish_and_the_last_one_wins(tmp_path):
    with replacing(tmp_path / "a") as first:
        first.write(b"first")
        with replacing(tmp_path / "a") as second:
            second.write(b"second")
        assert (tmp_path / "a").read_bytes() == b"second"
    assert (tmp_path / "a").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a"]


def test_many_threads_that_save_weights_to_one_path_lose_none(tmp_path):
    path, failures = tmp_path / "a.safetensors", []
    drawn = draw_weights(SMALL)

    def save(number):
        try:
            for _ in range(5):
                weights.save({name: array + number for name, array in drawn.items()}, path)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=save, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    loaded = weights.load(path)
    numbers = {float(round(array.ravel()[0] - drawn[name].ravel()[0])) for name, array in loaded.items()}
    assert len(numbers) == 1  # all tensors are of one writer
    assert os.listdir(tmp_path) == [path.name]


def test_what_a_killed_process_left_is_removed_when_it_is_old_and_nothing_else_is(tmp_path):
    keep = {".a.1234.unfinished", ".a.old", "a.old.unfinished", ".ab.old.unfinished"}
    for name in {*keep, ".a.old.unfinished"}:
        (tmp_path / name).touch()
        if "old" in name:
            os.utime(tmp_path / name, (0, time.time() - ABANDONED - 10))
    write(tmp_path / "a", b"new")
    assert set(os.listdir(tmp_path)) == {*keep, "a"}


def test_an_error_in_the_block_comes_out_as_it_is_and_leaves_nothing(tmp_path):
    write(tmp_path / "a", b"old")

    def interrupted():
        with replacing(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_permissions_of_the_old_file_stay_and_a_new_one_has_the_usual_ones(tmp_path):
    write(tmp_path / "a", b"new")
    (tmp_path / "b").touch()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)
    (tmp_path / "a").chmod(0o600)
    write(tmp_path / "a", b"newer")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_device_or_pipe_is_written_to_and_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write(tmp_path / "pipe", b"content")
    reader.join()
    assert received == [b"content"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_the_longest_name_that_a_file_system_takes_is_written(tmp_path):
    for name in ("a" * 255, "ä" * 127):
        write(tmp_path / name, b"content")
        assert (tmp_path / name).read_bytes() == b"content"


def test_a_missing_folder_is_named(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match=r"no folder .*nowhere to write a into"),
        replacing(tmp_path / "nowhere" / "a"),
    ):
        pass
