import subprocess
import sys

import pytest

from tests.support.cli import refused, run


@pytest.mark.parametrize(("shell", "line"), [("bash", "complete "), ("zsh", "#compdef resnest"), ("fish", "complete ")])
def test_each_shell_gets_a_script_that_asks_resnest(shell, line):
    done = run("completion", shell)
    assert done.exit_code == 0
    assert line in done.stdout
    assert "_RESNEST_COMPLETE" in done.stdout


@pytest.mark.parametrize(("words", "found"), [("resnest ver", "verify"), ("resnest info resnest10", "resnest101")])
def test_what_the_script_asks_is_answered(words, found):
    number = len(words.split()) - 1
    asks = {"_RESNEST_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number), "PATH": ""}
    code = "from resnest.cli import main; main(prog_name='resnest')"
    done = subprocess.run([sys.executable, "-c", code], env=asks, capture_output=True, text=True, check=True)
    assert f"plain,{found}" in done.stdout.splitlines()


def test_another_shell_is_refused():
    assert "did you mean zsh or fish" in refused(run("completion", "tcsh"))
