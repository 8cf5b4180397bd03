"""One file from one address: whole and verified under its name, or not there at all.

pooch, the usual choice for plain addresses, starts a cut download again from the first byte and
reads the whole file a second time for its hash. A checkpoint of 400 MB over a bad line needs
neither: this module goes on where the last try ended and hashes what it writes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import filelock

CHUNK = 1 << 20
TRIES = 5
"""So many tries in a row may bring nothing; one that brings a byte starts the count anew."""

FIRST_WAIT = 0.5
"""Seconds before the second try; each wait is twice the one before."""

TIMEOUT = 20
"""Seconds without a byte after which a connection counts as cut."""

MAX_UNPACKED = 2 << 30
"""No published checkpoint is larger: a zip entry that claims more is not one."""

TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and, where the server says it, those of the whole file."""


class Unavailable(OSError):
    """An address did not give the file; another one may. The message says why."""


class Interrupted(Exception):
    """A connection was cut or not made; the next try may go better."""


@dataclass(frozen=True)
class Hash:
    """The first hexadecimal digits of a file's hash. `algorithm` is one of hashlib's names."""

    algorithm: str
    digits: str


def fetch(address: str, target: Path, expected: Hash, progress: Progress | None = None) -> Path:
    """Download the file at `address` to `target`, unless it is there, and give `target`.

    A `.zip` is unpacked: `target` is the member of that name in it. `expected` is the hash of
    `target`. Where two processes ask at once, one downloads and the other waits. Raises
    Unavailable where the address does not give the file, and OSError where it cannot be written.
    """
    if target.is_file():  # before anything is written: the folder may be read-only
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{target}.lock"):
            if not target.is_file():
                _fetch(address, target, expected, progress)
    except Unavailable:
        raise
    except OSError as error:
        raise OSError(
            f"{target} cannot be written: {error.strerror or error}; say with root= or RESNEST_HOME which other folder"
            " to download into"
        ) from error
    return target


def _fetch(address: str, target: Path, expected: Hash, progress: Progress | None) -> None:
    finished = target.with_name(f"{target.name}.part")
    if not address.endswith(".zip"):
        download(address, finished, expected, progress)
    else:
        archive = target.with_name(f"{target.name}.zip.part")
        download(address, archive, None, progress)
        try:
            unpack(archive, target.name, finished, expected)
        except Unavailable as error:
            raise Unavailable(f"{address}: {error}") from None
        finally:
            archive.unlink(missing_ok=True)
    os.replace(finished, target)


def download(address: str, path: Path, expected: Hash | None, progress: Progress | None = None) -> None:
    """Download `address` to `path`, going on behind what an earlier try left there.

    Raises Unavailable where the address does not give the file or gives another one.
    """
    with Part(path, expected) as part:
        fruitless = 0
        while not part.verified():
            before = part.size
            try:
                _receive(address, part, progress)
            except Interrupted as error:
                fruitless = 0 if part.size > before else fruitless + 1
                if fruitless == TRIES:
                    raise Unavailable(f"{address}: {error}") from error
                if fruitless:
                    time.sleep(FIRST_WAIT * 2 ** (fruitless - 1))
                continue
            if expected is None or part.verified():
                return
            found = part.digits()
            part.restart()
            if not before:  # else what an earlier try left may be to blame
                raise Unavailable(
                    f"{address}: it gives another file, with {expected.algorithm} {found} instead of {expected.digits}"
                )


def _receive(address: str, part: Part, progress: Progress | None) -> None:
    """Append to `part` what is missing; Interrupted where the connection ends before the file does."""
    with _open(address, part.size) as response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            part.restart()  # the server does not know ranges and sends the whole file
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {part.size}-"):
            raise Unavailable(f"{address}: asked for what follows byte {part.size}, the server sends something else")
        length = response.headers.get("Content-Length")
        total = part.size + int(length) if length else None
        while chunk := _read(response):
            part.write(chunk)
            if progress:
                progress(part.size, total)
    if total is not None and part.size < total:
        raise Interrupted(f"the connection ended at byte {part.size} of {total}")


def _open(address: str, start: int) -> Any:
    """The answer to a request for what follows byte `start` of a file."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        return urlopen(Request(address, headers={"User-Agent": "resnest", **headers}), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _open(address, 0)  # the server's file is shorter than what is there
        answer = f"{error.code} {error.reason}"
        if error.code in TRANSIENT:
            raise Interrupted(answer) from error
        raise Unavailable(f"{address}: {answer}") from error
    except (OSError, HTTPException) as error:
        raise Interrupted(str(getattr(error, "reason", error))) from error
    except ValueError as error:  # an address that is none
        raise Unavailable(f"{address}: {error}") from error


def _read(response: Any) -> bytes:
    try:
        return response.read1(CHUNK)  # what has arrived, so that a cut costs nothing
    except (OSError, HTTPException) as error:
        raise Interrupted(str(error)) from error


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
        with contextlib.suppress(OSError):  # a full disk: what is buffered is lost anyway
            self._file.close()
        if (isinstance(error, OSError) and error.errno in _NO_ROOM) or not self.size:
            self.path.unlink(missing_ok=True)  # a full disk is not to stay full because of half a file

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

    def verified(self) -> bool:
        """Whether the file is there to its last byte, as far as a hash was given to tell."""
        return self.expected is not None and self.digits() == self.expected.digits


def unpack(archive: Path, member: str, path: Path, expected: Hash) -> None:
    """Write the file called `member` in the zip `archive` to `path`, and nothing else anywhere.

    Raises Unavailable for an archive that is broken or holds another file under that name.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = {PurePosixPath(entry.filename).name: entry for entry in opened.infolist()}
            if member not in entries:
                raise Unavailable(f"the zip holds no {member}")
            if entries[member].file_size > MAX_UNPACKED:
                raise Unavailable(f"{member} in the zip claims {entries[member].file_size} bytes")
            path.unlink(missing_ok=True)
            with opened.open(entries[member]) as source, Part(path, expected) as part:
                _copy(source, part)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, zlib.error) as error:
        path.unlink(missing_ok=True)
        raise Unavailable(f"it gives no zip that can be read: {error}") from error


def _copy(source: IO[bytes], part: Part) -> None:
    shutil.copyfileobj(source, part, CHUNK)
    if not part.verified():
        found, expected = part.digits(), part.expected
        part.restart()
        raise Unavailable(f"the zip holds another {part.path.stem}, with hash {found} instead of {expected}")


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """A bar on the terminal for one download; nothing where standard error is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
