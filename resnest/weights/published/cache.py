"""What published weights are on this machine, and whether they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resnest.weights.published.pretrained import CHECKPOINTS, Checkpoint, as_on_hub, home, on_hub
from resnest.weights.published.verified import beside, verified


@dataclass(frozen=True)
class Cached:
    """A published file that is here, or a part of one that was not downloaded to its end; `bytes` are on the disk."""

    row: Checkpoint
    path: Path
    bytes: int
    whole: bool


def cached(root: str | os.PathLike | None = None) -> Iterator[Cached]:
    """The published files in the cache, in the order of the table; of the parts that are left over the size.

    The hub's files lie in the hub's own cache, which all libraries share.
    """
    for row in CHECKPOINTS:
        path = on_hub(row, root) if row.source == "timm" else home(root) / row.file
        if path is not None and path.is_file():
            yield Cached(row, path, path.stat().st_size, True)
        elif path is not None:
            for part in sorted(path.parent.glob(f"{path.name}*.part*")):
                yield Cached(row, part, part.stat().st_size, False)


def damaged(one: Cached) -> bool:
    """Read the file to its last byte: whether it is another than the published one."""
    if not one.whole:
        return True
    return not (as_on_hub(one.path) if one.row.source == "timm" else verified(one.path, one.row.expected, fully=True))


def remove(one: Cached) -> None:
    """Delete the file, and what lies beside it or behind it."""
    behind = one.path.resolve()
    one.path.unlink()
    for path in (behind, beside(one.path)):
        path.unlink(missing_ok=True)
