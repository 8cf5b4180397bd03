"""The command line in this process."""

from __future__ import annotations

import inspect

from click.testing import CliRunner, Result

from resnest.cli import main

APART = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
"""Click keeps the two outputs apart since 8.2, and before where it is asked to."""


class Apart(Result):
    """What Click below 8.2 gives, with `output` as it is since: both of them."""

    output = property(lambda said: said.stdout + said.stderr)


def run(*words: object) -> Result:
    said = CliRunner(**APART).invoke(main, [str(word) for word in words])
    if APART:
        said.__class__ = Apart
    return said


def refused(result: Result) -> str:
    """The one sentence that bad input was answered with."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("Error: ")
    return result.stderr
