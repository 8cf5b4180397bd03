"""What becomes of a training's processes; here they are scripts that train nothing."""

import os
import signal
import subprocess
import sys
import time

import pytest

from resnest.backends import training
from resnest.jobs.train import launch as launching
from resnest.jobs.train.launch import LostProcess, launch


class Alike:
    """Processes that differ by their rank alone."""

    def environments(self, number, port):
        return [{"RANK": str(rank)} for rank in range(number)]


@pytest.fixture(autouse=True)
def alike(monkeypatch):
    monkeypatch.setattr(training, "joining", lambda backend: Alike())


def script(code):
    return [sys.executable, "-c", f"import os, signal, sys, time; rank = os.environ['RANK']\n{code}"]


def test_all_of_them_end_well():
    assert launch(script("assert os.environ['RESNEST_JOINED']"), 2, "torch") == 0


def test_a_lost_one_ends_the_others_with_one_sentence(tmp_path):
    killed, other = "os.kill(os.getpid(), signal.SIGKILL)", f"time.sleep(60) or open({str(tmp_path / 'on')!r}, 'w')"
    code = f"{killed} if rank == '1' else {other}"
    with pytest.raises(LostProcess, match="process 2 of 2 was ended by SIGKILL, and so are the others: go on with"):
        launch(script(code), 2, "torch")
    assert not (tmp_path / "on").exists()


def test_one_that_heeds_nothing_is_ended_too(monkeypatch):
    monkeypatch.setattr(launching, "SECONDS_TO_END", 0.2)
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(LostProcess):
        launch(script(f"if rank == '0': {stubborn}\ntime.sleep(1); os.kill(os.getpid(), signal.SIGKILL)"), 2, "torch")


def test_the_sentence_of_one_that_failed_by_itself_is_told_once(capfd):
    code = "time.sleep(60) if rank == '0' else sys.exit(print('no such image', file=sys.stderr) or 2)"
    assert launch(script(code), 3, "torch") == 2
    assert capfd.readouterr().err == "no such image\n"


def test_a_signal_is_handed_on_and_all_end_as_they_wish(tmp_path):
    code = f"""
import os, signal, sys, threading, time
from resnest.backends import training
from tests.jobs.train.test_launch import Alike, script
from resnest.jobs.train.launch import launch
training.joining = lambda backend: Alike()
def ask():
    while len(os.listdir(r"{tmp_path}")) < 2:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=ask).start()
heed = "signal.signal(15, lambda *_: sys.exit(open(r'{tmp_path}/heeded' + rank, 'w').close() or 143))"
sys.exit(launch(script(heed + "; open(r'{tmp_path}/ready' + rank, 'w').close(); time.sleep(300)"), 2, "torch"))
"""
    ran = subprocess.run([sys.executable, "-c", code], check=False, timeout=300)
    assert ran.returncode == 143
    assert sorted(os.listdir(tmp_path)) == ["heeded0", "heeded1", "ready0", "ready1"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_none_outlives_a_launcher_that_is_killed():
    code = """
from resnest.backends import training
from tests.jobs.train.test_launch import Alike, script
from resnest.jobs.train.launch import launch
training.joining = lambda backend: Alike()
launch(script("print(os.getpid(), flush=True); time.sleep(60)"), 1, "torch")
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as launcher:
        pid = int(launcher.stdout.readline())
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
        for _ in range(100):
            state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
            if state.stdout.strip()[:1] in ("", "Z"):
                break
            time.sleep(0.1)
        else:
            raise AssertionError(f"{pid} is still there")
