import click
import pytest

from resnest.cli.group import Folder
from resnest.cli.terminal import Command
from tests.support.cli import run


def ending(monkeypatch, error, *options):
    """How `resnest list` ends where it meets `error`."""

    @click.command("list", cls=Command)
    def command():
        raise error

    monkeypatch.setattr(Folder, "get_command", lambda group, context, name: command)
    return run(*options, "list")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("size=3\n is wrong"), 2, "Error: size=3 is wrong\n"),
        (OSError(28, "No space left on device"), 2, "No space left on device\n"),
        (ImportError("pip install it"), 2, "Error: pip install it\n"),
        (MemoryError(), 2, "not memory enough"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, "give a smaller size or batch"),
        (TypeError("no such thing"), 70, "Error: a fault of this package, not of yours: TypeError: no such thing"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_the_exit_status_says_whose_fault_it_is_in_one_sentence(monkeypatch, error, status, said):
    done = ending(monkeypatch, error)
    assert done.exit_code == status
    assert said in done.stderr
    assert len(done.stderr.splitlines()) <= 1
    assert done.stdout == ""


@pytest.mark.parametrize("error", [ValueError("a"), TypeError("a")])
def test_a_traceback_is_shown_on_request(monkeypatch, error):
    done = ending(monkeypatch, error, "--traceback")
    assert "Traceback" in done.stderr
    assert done.exit_code == ending(monkeypatch, error).exit_code


def test_a_closed_pipe_is_no_error_of_the_user(monkeypatch):
    done = ending(monkeypatch, BrokenPipeError(32, "Broken pipe"))
    assert (done.exit_code, done.stderr) == (141, "")


def test_a_command_that_is_none_is_answered_with_the_closest():
    done = run("pariti")
    assert done.exit_code == 2
    assert "no command 'pariti'; did you mean parity" in done.stderr
