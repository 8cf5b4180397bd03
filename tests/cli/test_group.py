import subprocess
import sys

import pytest

import resnest
from tests.support.without import run_without


@pytest.mark.parametrize("command", [["list"], ["info", "resnest269"]])
def test_list_and_info_need_no_framework(command):
    done = run_without(["torch", "mxnet"], f"from resnest.cli import main; main({command!r})")
    assert "resnest269" in done.stdout


def test_the_module_runs_as_the_command():
    done = subprocess.run([sys.executable, "-m", "resnest", "--version"], capture_output=True, text=True, check=True)
    assert resnest.__version__ in done.stdout
