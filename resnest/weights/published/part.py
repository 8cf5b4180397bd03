"""A file on its way to the cache, whole or in a zip: written to its last byte and hashed as it is written."""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from resnest.weights.published.verified import CHUNK, Hash

LARGEST = 2 << 30
"""Bytes. No published checkpoint has more: an answer or a zip entry that claims more is none."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Unavailable(OSError):
    """An address did not give the file; another one may. The message says why."""


class Part:
    """A file that is being downloaded: how much of it is there, and the hash of that."""

    def __init__(self, path: Path, expected: Hash | None):
        self.path = path
        self.expected = expected
        self.size = 0
        self._hash = hashlib.new(expected.algorithm if expected else "sha256")
        self._file = open(path, "a+b")  # noqa: SIM115  # closed by __exit__
        self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            self._hash.update(chunk)
            self.size += len(chunk)

    def __enter__(self) -> Part:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        failed = error
        try:
            self._close(durably=error is None)
        except OSError as late:  # a full disk may show only now
            failed = error or late
        if not self.size or (isinstance(failed, OSError) and failed.errno in _NO_ROOM):
            self.path.unlink(missing_ok=True)  # a full disk is not to stay full because of half a file
        if failed is not None and failed is not error:
            raise failed

    def _close(self, durably: bool) -> None:
        try:
            if durably:
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        """Forget what is there."""
        self._file.truncate(0)
        self._hash = hashlib.new(self._hash.name)
        self.size = 0

    def digits(self) -> str:
        """The hash of what is there, as many digits as are expected."""
        return self._hash.hexdigest()[: len(self.expected.digits) if self.expected else None]

    def all_digits(self) -> str:
        """The whole hash of what is there: the expected algorithm's, or without one SHA-256."""
        return self._hash.hexdigest()

    def verified(self) -> bool:
        """Whether the file is there to its last byte, as far as a hash was given to tell."""
        return self.expected is not None and self.digits() == self.expected.digits


def unpack(archive: Path, member: str, path: Path, expected: Hash) -> str:
    """Write the file called `member` in the zip `archive` to `path`, and nothing else anywhere.

    Gives all digits of its hash. Raises Unavailable for an archive that is broken or encrypted, or
    holds another file under that name.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = {PurePosixPath(entry.filename).name: entry for entry in opened.infolist()}
            if member not in entries:
                raise Unavailable(f"the zip holds no {member}")
            if entries[member].file_size > LARGEST:
                raise Unavailable(f"{member} in the zip claims {entries[member].file_size} bytes")
            path.unlink(missing_ok=True)
            with opened.open(entries[member]) as source, Part(path, expected) as part:
                _copy(source, part)
                return part.all_digits()
    except (zipfile.BadZipFile, zipfile.LargeZipFile, RuntimeError, EOFError, zlib.error, lzma.LZMAError) as error:
        path.unlink(missing_ok=True)
        raise Unavailable(f"it gives no zip that can be read: {error}") from error


def _copy(source: IO[bytes], part: Part) -> None:
    shutil.copyfileobj(source, part, CHUNK)
    if not part.verified():
        found, expected = part.digits(), part.expected
        part.restart()
        raise Unavailable(f"the zip holds another {part.path.stem}, with hash {found} instead of {expected}")
