"""What a terminal shows that is narrow, and while a status moves on it."""

import os
import pty
import re
import subprocess
import sys

import pytest

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
