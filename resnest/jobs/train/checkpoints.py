"""Checkpoints: folders of safetensors and JSON that are there whole or not at all.

`step-00000120/` holds a file of arrays for each part of a trainer's state ("weights", "velocity", ...) and
`run.json`, which has everything else and the hash of each of those files. It is written under another name,
flushed to the disk, and then renamed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resnest.weights.formats import files

FACTS = "run.json"
KEPT = 2
"""How many of the last checkpoints stay, beside the best one."""

State = dict[str, dict[str, np.ndarray]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A trainer's `state` after `step` steps, and the `facts` (ready for JSON) that the run needs to go on."""

    step: int
    state: State
    facts: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """Those in one `folder`, which is made when the first is saved."""

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """The steps that there are checkpoints of, first to last."""
        if not self.folder.is_dir():
            return []
        names = [re.fullmatch(r"step-(\d+)", path.name) for path in self.folder.iterdir()]
        return sorted(int(name[1]) for name in names if name)

    def save(self, checkpoint: Checkpoint, best: int | None = None) -> Path:
        """Write the checkpoint and give its path; then only it, the one before and that of the step `best` stay.

        Raises OSError, saying which is the last good one, where it cannot be written; nothing of it is left then.
        """
        target = self.path(checkpoint.step)
        unfinished = target.with_name(f".{target.name}.unfinished")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            unfinished.mkdir()
            _write(unfinished, checkpoint)
            if target.exists():  # a broken one, which the run has gone back before
                target.rename(target.with_name(f".{target.name}.replaced"))
            unfinished.rename(target)
            _flush(self.folder)
        except OSError as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            others = [step for step in self.steps() if step != checkpoint.step]
            last = f"the last good one is {self.path(others[-1])}" if others else "there is none before it"
            raise OSError(
                f"the checkpoint {target} could not be written ({error.strerror or error}); {last}"
            ) from error
        for step in self.steps()[:-KEPT]:
            if step != best:
                self._remove(step)
        self._sweep()
        return target

    def backend(self) -> str | None:
        """What the last training was in, as far as its checkpoints tell, without reading their arrays."""
        for step in reversed(self.steps()):
            try:
                return str(json.loads((self.path(step) / FACTS).read_text())["backend"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return None

    def load(self, step: int) -> Checkpoint:
        """The checkpoint of `step`; ValueError, saying what is wrong, where it is broken."""
        path = self.path(step)
        try:
            facts = json.loads((path / FACTS).read_text())
            state: State = {}
            for name, digest in facts.pop("files").items():
                file = path / name
                if _digest(file) != digest:
                    raise ValueError(f"{name} in it is not what was written")
                with files.open_file(file) as arrays:
                    state[file.stem] = dict(arrays)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the checkpoint {path} is broken: {error}") from error
        return Checkpoint(step, state, facts)

    def latest(self) -> Checkpoint | None:
        """The last one that is whole, a warning for each that is not; None where there is none at all.

        Raises ValueError where there are some and all are broken.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.load(step)
            except ValueError as error:
                logger.warning("%s; going back to the one before", error)
        if steps:
            raise ValueError(f"every checkpoint in {self.folder} is broken: start again with another output")
        return None

    def _remove(self, step: int) -> None:
        """Take the name away first: what is half deleted is no checkpoint."""
        path = self.path(step)
        gone = path.with_name(f".{path.name}.replaced")
        path.rename(gone)
        shutil.rmtree(gone)

    def _sweep(self) -> None:
        """Delete what an ended process left half written or half deleted."""
        for path in self.folder.glob(".step-*"):
            shutil.rmtree(path, ignore_errors=True)


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    digests = {}
    for part, arrays in checkpoint.state.items():
        path = folder / f"{part}.safetensors"
        files.write_file(path, arrays)
        digests[path.name] = _digest(path)
    path = folder / FACTS
    path.write_text(json.dumps({**checkpoint.facts, "files": digests}, indent=1) + "\n")
    _flush(path)
    _flush(folder)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    """Wait until the file, or the names in the folder, are on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders, and flushes their names by itself
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
