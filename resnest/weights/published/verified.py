"""Whether a file in the cache is the published one: it is read once, and known by a note beside it from then on."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


@dataclass(frozen=True)
class Hash:
    """The first hexadecimal digits of a file's hash. `algorithm` is one of hashlib's names."""

    algorithm: str
    digits: str


def verified(path: Path, expected: Hash, *, fully: bool = False) -> bool:
    """Whether there is a file at `path` and it is the `expected` one.

    A file of the size and the time of its last change that the note beside it has was verified
    before; `fully` reads it all the same. The note has every digit of the hash, so that a file known
    by 8 digits is the very one that was downloaded. Nothing has to be writable.
    """
    if not path.is_file():
        return False
    noted = _noted(path)
    known = noted.get(expected.algorithm)
    if not isinstance(known, str) or not known.startswith(expected.digits):
        known = None
    if known and not fully and noted == _described(path, Hash(expected.algorithm, known)):
        return True
    digits = digest(path, expected.algorithm)
    if not digits.startswith(known or expected.digits):
        _write(
            path, {expected.algorithm: known} if known else {}
        )  # that it is damaged stays known, and by which digits
        return False
    note(path, Hash(expected.algorithm, digits))
    return True


def note(path: Path, found: Hash) -> None:
    """Write beside the file at `path` that it was verified, with all digits of its hash."""
    _write(path, _described(path, found))


def digest(path: Path, algorithm: str) -> str:
    """All hexadecimal digits of a file's hash."""
    found = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def beside(path: Path) -> Path:
    """Where it is noted that the file at `path` was verified."""
    return path.with_name(f"{path.name}.verified")


def _described(path: Path, found: Hash) -> dict[str, Any]:
    """What tells without reading a file that it is the one with the hash `found`, as far as that can be told."""
    status = path.stat()
    return {"bytes": status.st_size, "changed_ns": status.st_mtime_ns, found.algorithm: found.digits}


def _write(path: Path, noted: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # a read-only cache or a full disk: the file is read again the next time
        beside(path).write_text(json.dumps(noted) + "\n")


def _noted(path: Path) -> dict[str, Any]:
    try:
        noted = json.loads(beside(path).read_text())
    except (OSError, ValueError):  # no note, or half of one
        return {}
    return noted if isinstance(noted, dict) else {}
