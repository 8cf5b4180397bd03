"""What a weight file is, told from its headers: no framework, and no tensor is read."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from resnest.specs.networks import Network
from resnest.weights.formats import files
from resnest.weights.formats.tensors import Tensors, printable, stored
from resnest.weights.names.dialect import NOT_WEIGHTS, WRAPPERS, unwrap
from resnest.weights.recognition.check import check, check_real
from resnest.weights.store import detect

CHUNK = 1 << 20


@dataclass(frozen=True)
class Inspection:
    """What is known of a weight file.

    `hashes` are SHA-256 and SHA-1 by name; `dtypes` says how many numbers there are of each. `wrappers` were taken off
    the names; `dialect` they are in, and `network` they are of. `left_over` are tensors that are none of the network's.
    `complaint` says why the file cannot be opened as weights, None where it can.
    """

    path: Path
    bytes: int
    hashes: Mapping[str, str]
    tensors: int
    dtypes: Mapping[str, int]
    wrappers: tuple[str, ...] = ()
    dialect: str | None = None
    network: Network | None = None
    left_over: tuple[str, ...] = ()
    complaint: str | None = None


def inspect(path: str | os.PathLike, *, which: str | None = None) -> Inspection:
    """What the weight file at `path` is; `which` chooses between the networks in it, as in `resnest.weights.load`.

    Raises FileNotFoundError, and ValueError for a file that is broken or of no known format.
    """
    path = Path(path)
    with files.open_file(path, which) as opened:
        names = unwrap(opened)
        dtypes: Counter[str] = Counter()
        for shape, dtype in opened.headers.values():
            dtypes[stored(dtype)] += prod(shape)
        parts = {part for name in set(names.values()) - set(names) for part in name.split(".")}
        return Inspection(
            path,
            path.stat().st_size,
            digests(path),
            len(opened),
            dict(dtypes),
            tuple(sorted(parts & WRAPPERS)),
            **_understand(opened.renamed(names)),
        )


def _understand(tensors: Tensors) -> dict[str, Any]:
    """As far as the tensors are understood, and what stopped it."""
    found: dict[str, Any] = {}
    try:
        task, dialect = detect(tensors)
        found["dialect"] = dialect.name
        canonical = dialect.to_canonical(tensors)
        left_over = (name for name in tensors if name not in canonical and not name.endswith(NOT_WEIGHTS))
        found["left_over"] = tuple(map(printable, left_over))
        shapes = {ours: dialect.canonical_shape(tensors.headers[theirs].shape) for theirs, ours in canonical.items()}
        found["network"] = spec = task.recognise(shapes, dialect)
        check(shapes, spec.tensors(), spec.name)
        check_real((name, tensors.headers[name].dtype) for name in canonical)
    except ValueError as error:
        found["complaint"] = printable(str(error))
    return found


def digests(path: Path) -> dict[str, str]:
    """The file's SHA-256 and SHA-1, which between them all published files are known by."""
    hashes = {name: hashlib.new(name) for name in ("sha256", "sha1")}
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            for one in hashes.values():
                one.update(chunk)
    return {name: one.hexdigest() for name, one in hashes.items()}
