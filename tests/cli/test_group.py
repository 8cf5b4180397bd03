"""Every command and all that it can be given, whoever adds it: what is wrong is said before any work."""

import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click import Argument

import resnest
from resnest.cli import main
from resnest.cli.paths import Input, Output
from tests.support.cli import refused, run
from tests.support.given import furnish, is_narrow, refused_values, taken
from tests.support.without import run_without


@pytest.mark.parametrize("command", [["list"], ["info", "resnest269"]])
def test_list_and_info_need_no_framework(command):
    done = run_without(["torch", "mxnet"], f"from resnest.cli import main; main({command!r})")
    assert "resnest269" in done.stdout


def test_the_version_comes_with_those_of_what_is_installed():
    said = run("--version").stdout
    assert said.startswith(f"resnest {resnest.__version__}, Python {platform.python_version()}\n")
    assert f"numpy {np.__version__}" in said
    assert "pytest" not in said


def test_the_module_runs_as_the_command():
    done = subprocess.run([sys.executable, "-m", "resnest", "--version"], capture_output=True, text=True, check=True)
    assert resnest.__version__ in done.stdout


COMMANDS = {name: main.get_command(None, name) for name in main.list_commands(None)}
PARAMS = [(name, param) for name, command in COMMANDS.items() for param in command.params]


@pytest.fixture
def folder(tmp_path):
    furnish(tmp_path)
    return tmp_path


@pytest.fixture
def begun(monkeypatch):
    """The commands that got as far as their work, which none of them does here."""
    names = []
    for name, command in COMMANDS.items():
        monkeypatch.setattr(command, "callback", lambda _name=name, **_: names.append(_name))
    return names


def words(name, folder, *, given=(), leave=()):
    """A command's words: what it must be given, the parameters `given` with their values, and not those to `leave`."""
    command, found, arguments = COMMANDS[name], [], []
    for param in command.params:
        value = dict(given).get(param.name, taken(param, folder) if param.required else None)
        if value is None or param.name in leave:
            continue
        if isinstance(param, Argument):
            arguments.append(value)
        else:
            found.append(f"{max(param.opts, key=len)}={value}")
    return [name, *found, "--", *arguments]


@pytest.mark.parametrize(("name", "param"), PARAMS, ids=str)
def test_no_parameter_takes_whatever_it_is_given(name, param):
    assert is_narrow(param), "give it a type of resnest.cli.values or resnest.cli.paths, or both ends of a range"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_that_is_taken(name, begun, monkeypatch):
    program, called, *words = shlex.split(re.search(r"Example: (.*)", COMMANDS[name].help)[1])
    for kind in (Input, Output):  # the files of an example are not here
        monkeypatch.setattr(kind, "convert", lambda self, value, param, context: Path(value))
    done = run(called, *words)
    assert (program, done.exit_code, begun) == ("resnest", 0, [name]), done.output


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_right_is_taken(name, folder, begun):
    """Without this the tests below could refuse everything."""
    given = [(param.name, taken(param, folder)) for param in COMMANDS[name].params]
    done = run(*words(name, folder, given=given))
    assert (done.exit_code, begun) == (0, [name]), done.output


@pytest.mark.torch
@pytest.mark.parametrize(("name", "param"), PARAMS, ids=str)
def test_a_bad_value_is_one_sentence_before_any_work(name, param, folder, begun):
    before = sorted(folder.rglob("*"))
    for wrong, value, said in refused_values(param):
        done = run(*words(name, folder, given=[(param.name, value(folder))]))
        assert said in refused(done), wrong
        assert begun == [], wrong
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "param"), [pair for pair in PARAMS if isinstance(pair[1].type, Input | Output)], ids=str
)
def test_what_may_not_be_read_or_written_is_refused(name, param, folder, begun, monkeypatch):
    path = taken(param, folder)
    monkeypatch.setattr("os.access", lambda asked, mode: asked not in (path, path.parent))
    done = run(*words(name, folder, given=[(param.name, path)]))
    assert re.search(r"may (not )?be (read|written)", refused(done))
    assert begun == []


@pytest.mark.parametrize(
    ("name", "read", "written"),
    [
        (name, read, written)
        for name, read in PARAMS
        for other, written in PARAMS
        if name == other and isinstance(read.type, Input) and isinstance(written.type, Output)
        if read.type.file_okay and written.type.file_okay
    ],
    ids=str,
)
def test_what_is_read_is_not_written_over(name, read, written, folder, begun):
    path = (folder / "file").rename(folder / f"mine{next(iter(written.type.suffixes), '')}")
    (folder / "file").write_text("of another parameter")
    done = run(*words(name, folder, given=[(read.name, path), (written.name, folder / "folder" / ".." / path.name)]))
    assert "would take the place of" in refused(done)
    assert begun == []


@pytest.mark.parametrize("name", COMMANDS)
def test_words_that_make_no_sense_are_one_sentence(name, folder, begun):
    params = COMMANDS[name].params
    nonsense = [[*words(name, folder, leave=[param.name])] for param in params if param.required]
    nonsense += [[name, f"{param.opts[0]}=maybe"] for param in params if getattr(param, "is_flag", False)]
    for given in [[name, "--nonsense"], *nonsense]:
        refused(run(*given))
    assert begun == []


@pytest.mark.parametrize("name", main.list_commands(None))
def test_what_is_written_may_be_said_briefly(name):
    opts = [param.opts for param in main.get_command(None, name).params if "--output" in param.opts]
    assert opts in ([], [["-o", "--output"]])
