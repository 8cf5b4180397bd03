"""Run the tests with what a user may have: every Python, one backend, both or none, and the lowest versions allowed.

    python tools/versions.py [--pytest=WORDS] [ROW ...]

A row is called like 3.12-torch: the interpreter, and the backends beside the package and what needs none. ROW may be
a pattern (`3.12-*`); without any, all rows but `*-lowest` run. Each has an environment of its own, made by uv and
thrown away, with this package as a wheel. Of a backend that a row lacks, the tests are left out
(tests/support/needs.py); whatever else cannot be imported fails. The exit status is 1 where a row failed, or had no
interpreter.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).with_name("uv")

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
GLUON_UNTIL = PYTHONS.index("3.12")
"""MXNet needs NumPy below 2, of which there are no wheels for newer interpreters."""

BACKENDS: dict[str, list[str]] = {
    "neither": [],
    "torch": ["torch"],
    "gluon": ["gluon"],
    "both": ["torch", "gluon"],
    "torch-lowest": ["torch"],
    "gluon-lowest": ["gluon"],
    "both-lowest": ["torch", "gluon"],
}

EXTRAS = ["export", "bench", "train"]
EXTRAS_OF = {"torch": ["torch", "timm", "tensorboard", "detection"], "gluon": ["gluon"]}

USER = """
from resnest import get_spec

stages: tuple[int, int, int, int] = get_spec("resnest50").stage_depths
wrong: str = get_spec("resnest50").radix
"""
"""A user's file, with one mistake that only a type checker that reads our types finds."""


def rows() -> list[str]:
    """All there are; `bare` is the wheel and what it requires, nothing else."""
    every = [f"{python}-{name}" for python in PYTHONS for name in ("bare", *BACKENDS) if "lowest" not in name]
    newer = {f"{python}-{name}" for python in PYTHONS[GLUON_UNTIL + 1 :] for name in ("gluon", "both")}
    return [row for row in every if row not in newer] + [
        f"{PYTHONS[0]}-{name}" for name in BACKENDS if "lowest" in name
    ]


def run(*words: str | Path, cwd: Path = REPOSITORY) -> str:
    """What a command says; RuntimeError with the end of it where it failed."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [*map(str, words)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}\n{done.stdout[-4000:]}")
    return done.stdout


def test(row: str, wheel: Path, folder: Path, pytest: Sequence[str]) -> str:
    """What the row's tests say at the end."""
    version, _, name = row.partition("-")
    python = folder / "bin" / "python"
    run(UV, "venv", "--quiet", "--no-python-downloads", "--python", version, folder)
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", python]
    if name == "bare":
        run(*install, wheel)
        return bare(python)
    backends = BACKENDS[name]
    extras = EXTRAS + [extra for backend in backends for extra in EXTRAS_OF[backend]]
    resolution = "lowest-direct" if name.endswith("lowest") else "highest"
    asked = [word for extra in extras for word in ("--extra", extra)]
    run(*install, "--resolution", resolution, "--requirement", REPOSITORY / "pyproject.toml", *asked)
    there = folder / "there.txt"
    there.write_text(run(UV, "pip", "freeze", "--quiet", "--python", python))
    tests = ",".join(["test", *(f"test-{backend}" for backend in backends)])
    run(*install, "--constraint", there, f"resnest[{tests}] @ {wheel.as_uri()}")
    # Appended, the repository comes after the wheel: tests are found there, and the package where it is installed.
    plain = ["-p", "no:cacheprovider", "--quiet", "--disable-warnings"]
    words = ["--import-mode=append", *plain, "--backends", ",".join(backends), *pytest]
    return run(python, "-P" if version > "3.10" else "-s", "-m", "pytest", *words).strip().splitlines()[-1]


def bare(python: Path) -> str:
    """What the wheel does with nothing but what it requires; its types, as a user's type checker sees them."""
    command, elsewhere = python.with_name("resnest"), python.parent
    for words in (["--help"], ["list"], ["info", "resnest50"]):
        run(command, *words, cwd=elsewhere)
    file = elsewhere / "user.py"
    file.write_text(USER)
    mypy = [sys.executable, "-m", "mypy", "--python-executable", str(python), "--config-file", os.devnull, str(file)]
    found = subprocess.run(mypy, cwd=elsewhere, capture_output=True, text=True, check=False).stdout
    errors = [line for line in found.splitlines() if ": error: " in line]
    if len(errors) != 1 or "user.py:5: error: Incompatible types" not in errors[0]:
        raise RuntimeError(f"mypy of a user's file: {found}")
    return "--help, list, info; types are read"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--pytest", default="--numprocesses auto --dist worksteal", help="more words for pytest")
    asked = parser.parse_args()
    patterns = asked.rows or [row for row in rows() if not row.endswith("lowest")]
    chosen = [row for row in rows() if any(fnmatch(row, pattern) for pattern in patterns)]
    if not chosen:
        parser.error(f"no row is called {' or '.join(patterns)}: {' '.join(rows())}")
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        run(UV, "build", "--quiet", "--out-dir", scratch)  # the source distribution, and of that the wheel
        (wheel,) = Path(scratch).glob("*.whl")
        for row in chosen:
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                try:
                    said = test(row, wheel, Path(folder) / "venv", shlex.split(asked.pytest))
                except RuntimeError as error:
                    failed, said = 1, f"FAILED: {error}"
            print(f"{row:18}{said}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
