"""A small HTTP server on this machine that misbehaves as it is told."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """Serves `files` by path.

    `cuts` are positions in a file at which the connection drops, one after the other, and `stops` where
    it sends nothing more for a minute; `statuses`
    are answered instead of a file, one after the other. `headers` go with every file, and `redirects`
    are addresses by path. Where `lengths` is false it does not say how long a file is, and sends it
    `times` over. With a `certificate`, a file with its key, it speaks HTTPS. `requests` keeps
    (path, Range header).
    """

    daemon_threads = True

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"
        self.redirects: dict[str, str] = {}
        self.lengths = True
        self.times = 1
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.stops: list[int] = []
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.ranges = True
        self.requests: list[tuple[str, str | None]] = []

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        if self.server.statuses:
            return self.refuse(self.server.statuses.pop(0))
        if self.path in self.server.redirects:
            return self.refuse(302, {"Location": self.server.redirects[self.path]})
        content = self.server.files.get(self.path.lstrip("/"))
        if content is None:
            return self.refuse(404)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start and start >= len(content):
            return self.refuse(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.server.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        else:
            self.send_header("Connection", "close")
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        if self.server.cuts and self.server.cuts[0] >= start:
            self.wfile.write(content[start : self.server.cuts.pop(0)])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return None
        if self.server.stops:
            self.wfile.write(content[start : self.server.stops.pop(0)])
            self.wfile.flush()
            self.connection.settimeout(60)
            self.connection.recv(1)  # until who asked hangs up
            self.close_connection = True
            return None
        with contextlib.suppress(ConnectionError):  # who asked has had enough
            for _ in range(self.server.times):
                self.wfile.write(content[start:])
        return None

    do_HEAD = do_GET

    def refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def serving(certificate: Path | None = None) -> Iterator[Server]:
    server = Server(certificate)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
