import contextlib
import json
import logging
import math
import os
import pty
import re
import signal
import subprocess
import sys
import time

import click
import pytest

from resnest import __main__, weights
from resnest.cli.group import Folder
from resnest.cli.terminal import Command, console, make_table, one_line, print_json
from resnest.weights.seeded import draw_weights
from tests.support.cli import run
from tests.support.specs import tiny


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


def test_a_warning_is_printed_once_a_run(monkeypatch):
    @click.command("list", cls=Command)
    def command():
        for number in (1, 2, 1, 1, 2):
            logging.getLogger("resnest.weights").warning("file %d is odd", number)

    monkeypatch.setattr(Folder, "get_command", lambda group, context, name: command)
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own
    for _ in range(2):
        assert run("list").stderr == "file 1 is odd\nfile 2 is odd\n"


@pytest.mark.parametrize(("code", "status"), [(None, 0), (0, 0), (3, 3)])
def test_what_ends_by_itself_keeps_its_status(code, status):
    @click.command(cls=Command)
    def command():
        sys.exit(code)

    with pytest.raises(SystemExit) as ended:
        command.main([])
    assert ended.value.code == status


def test_a_closed_pipe_is_no_error_of_the_user(monkeypatch):
    done = ending(monkeypatch, BrokenPipeError(32, "Broken pipe"))
    assert (done.exit_code, done.stderr) == (141, "")


def test_a_command_that_is_none_is_answered_with_the_closest():
    done = run("pariti")
    assert done.exit_code == 2
    assert "no command 'pariti'; did you mean parity" in done.stderr


WRITES = """
import sys, click
from resnest.cli.terminal import Command

@click.command(cls=Command)
def command():
    sys.stdout.write("a row")

command()
"""


@pytest.mark.parametrize(
    "words", [["-c", WRITES], *(["-m", "resnest", *words] for words in (["list"], ["recipe", "resnest50"], ["--help"]))]
)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_pipe_that_nobody_reads_ends_it_with_141_and_a_full_disk_with_2(monkeypatch, words, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    reader, pipe = os.pipe()
    os.close(reader)
    disk = os.open("/dev/full", os.O_WRONLY)
    for place, status, said in [(pipe, 141, b""), (disk, 2, b"Error: [Errno 28] No space left on device\n")]:
        done = subprocess.run([sys.executable, *words], stdout=place, stderr=subprocess.PIPE, check=False)
        os.close(place)
        assert (done.returncode, done.stderr) == (status, said)


def resnest(*words, shell="{}", **changes):
    """The command in a process of its own; `shell` says where its output goes."""
    command = " ".join([sys.executable, "-m", "resnest", *words])
    return subprocess.run(
        ["bash", "-c", shell.format(command)], capture_output=True, check=False, env={**os.environ, **changes}
    )


@pytest.mark.parametrize(
    ("shell", "status", "said"),
    [
        ("{} | head -1; exit ${{PIPESTATUS[0]}}", (0, 141), b""),  # 0 where head waited for all of it
        ("{} > /dev/full", (2,), b"Error: [Errno 28] No space left on device\n"),
        ("{} >&-", (0,), b""),
        ("{} 2>&-", (0,), b""),
    ],
)
@pytest.mark.parametrize("words", [["recipe", "resnest50"], ["info", "--help"]], ids=" ".join)
def test_where_nobody_reads_what_it_says_nothing_breaks(words, shell, status, said):
    done = resnest(*words, shell=shell)
    assert done.returncode in status
    assert done.stderr == said


@pytest.mark.parametrize(
    "changes",
    [{"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "COLUMNS": "20"}, {"TERM": "dumb", "NO_COLOR": "1"}],
    ids=str,
)
def test_a_file_gets_whole_lines_without_colours_whatever_the_terminal_is(changes):
    done = resnest("info", "resnest50", **changes)
    assert done.returncode == 0, done.stderr
    assert b"layer4" in done.stdout
    assert b"activations 14,360,776; FLOPs as the model index counts them" in done.stdout
    assert b"\x1b" not in done.stdout


def test_signs_that_an_encoding_lacks_are_escaped(tmp_path):
    weights.save(draw_weights(tiny()), tmp_path / "a.npz")
    done = resnest("convert", str(tmp_path / "a.npz"), str(tmp_path / "\u20ac.npz"), PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert b"\\u20ac.npz: " in done.stdout
    assert (tmp_path / "\u20ac.npz").is_file()


def test_names_of_files_mean_nothing_to_the_terminal(capsys):
    name = "a [/red] :smile:\n\x1b[31m\udcff"
    assert one_line(name) == r"a [/red] :smile: \x1b[31m\udcff"
    table = make_table("file")
    table.add_row(name)
    with console.capture() as shown, console.status(name):
        console.print(table)
    assert r"a [/red] :smile: \x1b[31m\udcff" in shown.get()


def test_json_has_no_word_that_json_does_not_know(capsys):
    print_json({"a": [math.nan, 1.5, (math.inf, True)], "b": "nan"})
    printed = capsys.readouterr().out
    assert json.loads(printed, parse_constant=pytest.fail) == {"a": [None, 1.5, [None, True]], "b": "nan"}


@pytest.mark.torch
def test_ctrl_c_ends_it_with_130_and_nothing_half_written(tmp_path):
    """In the middle of the work: the photo is a pipe that nothing is written into."""
    photo = tmp_path / "a.png"
    os.mkfifo(photo)
    (tmp_path / "a.npz").write_text("never read")
    process = subprocess.Popen(
        [sys.executable, "-m", "resnest", "segment", photo, "--weights", tmp_path / "a.npz"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a job in the background has none
    )
    try:
        pipe = opened_by(process, photo)
        while process.poll() is None:  # Python loses an interrupt that comes while it opens a file
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        said = process.communicate()
        os.close(pipe)
    finally:
        process.kill()
    assert (process.returncode, *said) == (130, b"", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "a.png"]


def opened_by(process, path):
    """The end to write into of the pipe at `path`, as soon as the process has the other one."""
    while process.poll() is None:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.02)
    pytest.fail(process.communicate()[1].decode())


@pytest.mark.parametrize("words", [["-m", "resnest"], ["-c", "from resnest.__main__ import main; main()"]], ids=str)
def test_ctrl_c_ends_it_with_130_while_it_is_still_loaded(tmp_path, words):
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


SAY = """
from resnest.cli.terminal import console, errors, make_table
with errors.status("looking at") as status:
    status.update(spinner="dots")  # draws at once
    console.print("a row of its own")
table = make_table("what", "shape", "relative")
table.add_row("logits", "1x1000", "1.4e-15")
console.print(table)
"""


@pytest.fixture(scope="module")
def shown():
    """What a terminal of 16 columns is sent by `SAY`."""
    ours, theirs = pty.openpty()
    changes = {"COLUMNS": "16", "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", SAY], stdout=theirs, stderr=theirs, env=os.environ | changes)
    os.close(theirs)
    sent = b""
    try:
        while part := os.read(ours, 4096):
            sent += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0, sent
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", sent.decode())


def test_a_line_does_not_land_behind_a_status_that_moves(shown):
    assert "looking at" in shown.partition("a row of")[0]
    assert "a row of its own" in re.split(r"[\r\n]+", shown)


def test_no_figure_of_a_table_is_cut_off(shown):
    assert "logits  1x1000   1.4e-15" in shown
    assert "…" not in shown


def test_ctrl_c_ends_it_with_130_while_it_ends(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["resnest", "list"])
    monkeypatch.setattr("resnest.cli.terminal._let_go", interrupted)
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 130
