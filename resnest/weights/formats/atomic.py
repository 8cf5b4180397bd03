"""Writing a file so that nobody ever meets half of it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

ABANDONED = 3600.0
"""Seconds after which a temporary file that nobody writes to is taken for that of a process that was killed."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file, open for writing and reading, that takes the place of `path` when the block ends.

    Whatever happens (an error, a full disk, a killed process, a power cut), `path` is afterwards
    what it was or the new file, whole: the new one is written beside it under a hidden name that no other process or
    thread has, flushed to the disk, and renamed. Of several writers to one path the last one to finish wins. Where
    the block or the disk fails, the hidden file is removed; a killed process leaves its own behind,
    and it blocks nobody and is removed by the first to write to `path` an hour later. The file keeps the permissions
    of the one that it replaces. What is no regular file (`/dev/stdout`) is written to as it is.

    Raises FileNotFoundError where the folder is missing, and OSError naming `path` where the disk fails.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into")
    if path.exists() and not path.is_file():
        with open(path, "wb") as file:
            yield file
        return
    _remove_abandoned(path)
    unfinished = path.with_name(f"{_prefix(path)}{secrets.token_hex(8)}{_SUFFIX}")
    try:
        with open(unfinished, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, unfinished)
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno in _FULL and error.filename is None:  # a failed write does not know the file's name
            raise OSError(error.errno, f"{path} could not be written: {os.strerror(error.errno)}") from error
        raise
    finally:
        unfinished.unlink(missing_ok=True)


_SUFFIX = ".unfinished"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _prefix(path: Path) -> str:
    # File systems take names of 255 bytes, and more stands before and after this one.
    return f".{os.fsdecode(os.fsencode(path.name)[:200])}."


def _remove_abandoned(path: Path) -> None:
    now = time.time()
    for found in os.scandir(path.parent):
        if found.name.startswith(_prefix(path)) and found.name.endswith(_SUFFIX):
            with contextlib.suppress(OSError):  # another process may be removing it too
                if now - found.stat().st_mtime > ABANDONED:
                    os.unlink(found)


def _sync_folder(folder: Path) -> None:
    """Have the disk keep the new name too; systems that cannot open a folder do it by themselves."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
