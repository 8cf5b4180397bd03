"""The README and docs/: what they tell to type is taken, and what they point at is there."""

import re
import shlex
from pathlib import Path

import pytest

from resnest import get_spec
from resnest.cli import main
from resnest.cli.commands import parity
from resnest.cli.paths import Input, Output
from resnest.jobs.parity import STAGE_BOUND, Difference
from tests.support.cli import run
from tests.support.paths import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "ARCHITECTURE.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def blocks(page, language):
    """The code in a page that is in a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [code for called, code in found if called == language]


COMMANDS = [
    (page.name, line)
    for page in PAGES
    for block in blocks(page, "bash")
    for line in block.splitlines()
    if line.startswith("resnest ")
]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=str)
def test_commands_are_taken(page, line, monkeypatch):
    words = shlex.split(line, comments=True)[1:]
    begun = []
    monkeypatch.setattr(main.get_command(None, words[0]), "callback", lambda **_: begun.append(words[0]))
    for kind in (Input, Output):  # the files of an example are not here
        monkeypatch.setattr(kind, "convert", lambda self, value, param, context: Path(value))
    done = run(*words)
    assert (done.exit_code, begun) == (0, words[:1]), done.output


def test_there_are_commands_and_pages():
    assert len(COMMANDS) > 20
    assert len(PAGES) > 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_is_python_and_links_lead_somewhere(page):
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_shows_what_the_command_prints():
    printed = [line.rstrip() for line in run("list").stdout.splitlines() if line.startswith(("model ", "resnest"))]
    written = [line.rstrip() for line in (REPOSITORY / "README.md").read_text().splitlines()]
    start = written.index(printed[0])
    assert written[start : start + 14] == printed[:14]


def test_the_readme_shows_the_table_that_parity_prints(capsys):
    """But for the last digits, which depend on the processor; the bounds hold for those that are shown."""
    (shown,) = (block for block in blocks(REPOSITORY / "README.md", "") if "against" in block)
    spec = get_spec("resnest50")
    _, _, *rows = shown.splitlines()
    shapes = {**spec.cost(spec.image_size).stages, "logits": (spec.num_classes,)}
    found = {name: (float(absolute), float(relative)) for name, _, absolute, relative, *_ in map(str.split, rows)}
    differences = [Difference(name, (1, *shapes[name]), *found[name], STAGE_BOUND["float64"]) for name in found]
    report = {"model": spec.name, "size": spec.image_size, "dtype": "float64", "deploy": False}
    parity._print(report, differences, [])
    assert capsys.readouterr().out == shown
