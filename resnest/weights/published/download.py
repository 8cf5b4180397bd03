"""One file from one address: whole and verified under its name, or not there at all.

pooch, the usual choice for plain addresses, starts a cut download again from the first byte and
reads the whole file a second time for its hash. A checkpoint of 400 MB over a bad line needs
neither: this module goes on where the last try ended and hashes what it writes.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, InvalidURL
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import filelock

from resnest.weights.published.part import CHUNK, LARGEST, Hash, Part, Unavailable, unpack
from resnest.weights.published.verified import note, verified

TRIES = 5
"""So many tries in a row may bring nothing; one that brings a byte starts the count anew."""

FIRST_WAIT = 0.5
"""Seconds before the second try; each wait is twice the one before."""

TIMEOUT = 20
"""Seconds without a byte after which a connection counts as cut."""

UNTRUSTED = (
    "the certificate that it shows is not trusted here; where your network has its own, set SSL_CERT_FILE to the file"
    " that has them (REQUESTS_CA_BUNDLE too, for what is on the hub)"
)
"""What to do about a certificate that nobody vouches for."""

TRANSIENT = (408, 425, 429, 500, 502, 503, 504)

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and, where the server says it, those of the whole file."""


class Interrupted(Exception):
    """A connection was cut or not made; the next try may go better."""


def fetch(address: str, target: Path, expected: Hash, progress: Progress | None = None) -> Path:
    """Download the file at `address` to `target`, unless it is there, and give `target`.

    A `.zip` is unpacked: `target` is the member of that name in it. `expected` is the hash of
    `target`; a file with another one, or with another size than it was verified with, is downloaded
    again. Where two processes ask at once, one downloads and the other waits. Raises Unavailable
    where the address does not give the file, and OSError where it cannot be written.
    """
    if verified(target, expected):  # before anything is written: the folder may be read-only
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{target}.lock"):
            if not verified(target, expected):
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
        digits = download(address, finished, expected, progress)
    else:
        archive = target.with_name(f"{target.name}.zip.part")
        left = archive.exists()
        download(address, archive, None, progress)
        try:
            digits = unpack(archive, target.name, finished, expected)
        except Unavailable as error:
            if not left:
                raise Unavailable(f"{address}: {error}") from None
            archive.unlink()  # half of another zip may have been left by an earlier try
            return _fetch(address, target, expected, progress)
        finally:
            archive.unlink(missing_ok=True)
    os.replace(finished, target)
    return note(target, Hash(expected.algorithm, digits))


def download(address: str, path: Path, expected: Hash | None, progress: Progress | None = None) -> str:
    """Download `address` to `path`, going on behind what an earlier try left there, and give all digits of its hash.

    Raises Unavailable where the address does not give the file or gives another one.
    """
    with Part(path, expected) as part:
        most, fruitless = part.size, 0
        joined, again = part.size > 0, False
        while not part.verified():
            try:
                _receive(address, part, progress)
            except Interrupted as error:
                # Against the most there ever was, because a server without ranges begins anew each time.
                fruitless = 0 if part.size > most else fruitless + 1
                most, joined = max(most, part.size), True
                if fruitless == TRIES:
                    raise Unavailable(f"{address}: {error}") from error
                if fruitless:
                    time.sleep(FIRST_WAIT * 2 ** (fruitless - 1))
                continue
            if expected is None or part.verified():
                break
            found = part.digits()
            part.restart()
            if not joined or again:
                raise Unavailable(
                    f"{address}: it gives another file, with {expected.algorithm} {found} instead of {expected.digits}"
                )
            most, again = 0, True  # what an earlier try left may be to blame: once more, from the first byte
        return part.all_digits()


def _receive(address: str, part: Part, progress: Progress | None) -> None:
    """Append to `part` what is missing; Interrupted where the connection ends before the file does."""
    with _open(address, part) as response:
        total = _total(address, response, part.size)
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            part.restart()  # the server does not know ranges and sends the whole file
        while chunk := _read(response):
            if part.size + len(chunk) > (LARGEST if total is None else total):
                part.restart()
                limit = f"the {LARGEST} that no checkpoint has" if total is None else f"the {total} that it says"
                raise Unavailable(f"{address}: it sends more bytes than {limit}")
            part.write(chunk)
            if progress:
                progress(part.size, total)
    if total is not None and part.size < total:
        raise Interrupted(f"the connection ended at byte {part.size} of {total}")


def _total(address: str, response: Any, start: int) -> int | None:
    """The bytes of the whole file, where the answer to a request for what follows byte `start` says it.

    Raises Unavailable, before anything that is there is thrown away, for an answer that cannot be the file.
    """
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise Unavailable(f"{address}: it gives a web page instead of the file, as a proxy or a login in between does")
    if (encoding := headers.get("Content-Encoding", "identity")) != "identity":
        raise Unavailable(f"{address}: asked for the file as it is, the server sends it packed with {encoding}")
    span, _, whole = headers.get("Content-Range", "").partition("/")
    length = headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        if not span.startswith(f"bytes {start}-"):
            raise Unavailable(f"{address}: asked for what follows byte {start}, the server sends something else")
        total = int(whole) if whole.isdecimal() else None if total is None else start + total
    if total is not None and total > LARGEST:
        raise Unavailable(f"{address}: no checkpoint has the {total} bytes that it says")
    return total


class _Redirects(HTTPRedirectHandler):
    """Follows a redirect unless it leaves the encrypted way: the hash of a file may be known by 8 digits only."""

    def redirect_request(
        self, request: Request, answer: IO[bytes], code: int, message: str, headers: HTTPMessage, address: str
    ) -> Request | None:
        if request.type == "https" and urlsplit(address).scheme != "https":
            answer.close()
            raise Unavailable(f"it leads from https to {address}, where anybody in between could change the file")
        return super().redirect_request(request, answer, code, message, headers, address)


def _open(address: str, part: Part) -> Any:
    """The answer to a request for what is missing in `part`."""
    headers = {"Range": f"bytes={part.size}-"} if part.size else {}
    try:
        request = Request(address, headers={"User-Agent": "resnest", **headers})
        return build_opener(_Redirects).open(request, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and part.size:
            part.restart()  # the server's file is shorter than what is there
            return _open(address, part)
        answer = f"{error.code} {error.reason}"
        if error.code in TRANSIENT:
            raise Interrupted(answer) from error
        raise Unavailable(f"{address}: {answer}") from error
    except Unavailable as error:
        raise Unavailable(f"{address}: {error}") from None
    except (ValueError, InvalidURL) as error:  # an address that is none
        raise Unavailable(f"{address}: {error}") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise Unavailable(f"{address}: {UNTRUSTED} ({reason.verify_message})") from error
        raise Interrupted(str(reason)) from error


def _read(response: Any) -> bytes:
    try:
        return response.read1(CHUNK)  # what has arrived, so that a cut costs nothing
    except (OSError, HTTPException) as error:
        raise Interrupted(str(error)) from error


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
