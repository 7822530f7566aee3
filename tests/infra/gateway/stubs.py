"""What stands behind the gateway in these tests: small HTTP servers that remember what they were asked, and a DNS server."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import socketserver
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Seen:
    """One request as it arrived: header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Stub:
    """A server's answer, which tests change, and the requests it had."""

    name: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    delay: float = 0
    cut: bool = False
    """Close the connection without an answer."""
    seen: list[Seen] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def serving(self) -> Iterator[Stub]:
        with _Server(("127.0.0.1", 0), _handler(self)) as server:
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A gateway that gave up on an answer is what some tests are about."""


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            stub.seen.append(
                Seen(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            )
            time.sleep(stub.delay)
            if stub.cut:
                self.close_connection = True
                return
            content = stub.body.replace(b"NAME", stub.name.encode())
            self.send_response(stub.status)
            for name, value in {"Content-Type": "application/json", **stub.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class Names:
    """A DNS server that knows ``records`` (name → IPv4 address) and answers NXDOMAIN for anything else."""

    def __init__(self) -> None:
        self.records: dict[str, str] = {}
        self.port = 0

    @contextlib.contextmanager
    def serving(self) -> Iterator[Names]:
        names = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                query, connection = self.request
                end = query.index(b"\0", 12) + 5
                question, kind = query[12:end], query[end - 4 : end - 2]
                labels, place = [], 12
                while query[place]:
                    labels.append(query[place + 1 : place + 1 + query[place]].decode())
                    place += query[place] + 1
                address = names.records.get(".".join(labels))
                known = address is not None
                answers = 1 if known and kind == b"\0\1" else 0
                reply = (
                    query[:2]
                    + (b"\x85\x80" if known else b"\x85\x83")
                    + b"\0\1"
                    + bytes([0, answers])
                    + b"\0\0\0\0"
                    + question
                )
                if answers and address is not None:
                    reply += b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address)
                connection.sendto(reply, self.client_address)

        with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


@dataclass(frozen=True)
class Answer:
    """A response: header names in lower case; a name that came twice holds both, comma separated."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def error(self) -> dict[str, object]:
        error = self.json["error"]
        assert isinstance(error, dict)
        return error


def raw(port: int, request: bytes, *, seconds: float = 60) -> Answer:
    """Send bytes as they are and read one whole answer."""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        connection.sendall(request)
        return read_answer(connection)


def read_answer(connection: socket.socket) -> Answer:
    """Read until the answer's Content-Length is there or the server closes."""
    received = b""
    while more := connection.recv(65536):
        received += more
        head, separator, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)
        if separator and length and len(body) >= int(length[1]):
            break
    return parsed(received)


def parsed(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = (
            f"{headers[name.lower()]}, {value.strip()}" if name.lower() in headers else value.strip()
        )
    return Answer(int(first.split()[1]), headers, body)


def request(
    port: int,
    method: str,
    path: str,
    *,
    host: str = "localhost",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """One HTTP/1.1 request on a connection of its own; the path is sent exactly as given."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return raw(port, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)
