"""Owns the load generator: a fixed number of HTTP/1.1 connections that each send the next request when the last is answered.

``python -m cli.bench.load`` reads a Plan as JSON from standard input and prints a Result as JSON, in a process
of its own, so that what it measures shares nothing with it but the cores. No HTTP library: it must cost little.
"""

from __future__ import annotations

import asyncio
import functools
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop


@dataclass(frozen=True)
class Plan:
    """What to send: ``requests`` are whole requests as text, one for each connection in turn; seconds for the rest."""

    port: int
    requests: list[str]
    connections: int = 64
    warm_seconds: float = 2.0
    seconds: float = 8.0


@dataclass(frozen=True)
class Result:
    """What came back: times in milliseconds, ``per_second`` of answers with status 200, ``others`` by status.

    ``answered`` counts those measured, ``in_all`` those while warming too.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    answered: int
    in_all: int
    others: dict[str, int] = field(default_factory=dict)


class _Connection(asyncio.Protocol):
    """One connection, sending its request again and again."""

    def __init__(
        self, request: bytes, times: list[tuple[float, float]], others: Counter[str], ended: asyncio.Event
    ) -> None:
        self._request, self._times, self._others, self._ended = request, times, others, ended
        self._received = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        length = _whole(self._received)
        if length is None or len(self._received) < length:
            return
        now = time.perf_counter()
        status = self._received[9:12]
        self._received = b""
        if status == b"200":
            self._times.append((now, now - self._sent))
        else:
            self._others[status.decode("ascii", "replace")] += 1
        if not self._ended.is_set():
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.is_set():
            self._others["closed"] += 1

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _whole(received: bytes) -> int | None:
    """How long the whole answer is, once its head is here."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = received[:end].lower()
    place = head.find(b"\r\ncontent-length:")
    if place >= 0:
        line_end = head.find(b"\r\n", place + 2)
        return end + 4 + int(head[place + 17 : line_end if line_end > 0 else end])
    if b"\r\ntransfer-encoding: chunked" in head:
        last = received.find(b"\r\n0\r\n\r\n", end)
        return last + 7 if last >= 0 else None
    return end + 4


async def measure(plan: Plan) -> Result:
    """Send for the plan's time and sum up what came after its warming."""
    loop = asyncio.get_running_loop()
    times: list[tuple[float, float]] = []
    others: Counter[str] = Counter()
    ended = asyncio.Event()
    requests = [request.encode() for request in plan.requests]
    began = time.perf_counter()
    connections = []
    for number in range(plan.connections):
        connection = _Connection(requests[number % len(requests)], times, others, ended)
        await loop.create_connection(functools.partial(_same, connection), "127.0.0.1", plan.port)
        connections.append(connection)
    await asyncio.sleep(plan.warm_seconds + plan.seconds)
    ended.set()
    until = time.perf_counter()
    for connection in connections:
        connection.close()
    since = began + plan.warm_seconds
    taken = sorted(spent for at, spent in times if since <= at <= until)
    if not taken:
        return Result(0, 0, 0, 0, 0, dict(others))
    per_second = len(taken) / (until - since)
    p50, p99 = _percentile(taken, 0.5), _percentile(taken, 0.99)
    return Result(per_second, p50, p99, len(taken), len(times), dict(others))


def _same(connection: _Connection) -> _Connection:
    return connection


def _percentile(taken: list[float], share: float) -> float:
    return taken[min(len(taken) - 1, int(len(taken) * share))] * 1000


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(measure(Plan(**json.load(sys.stdin)))))))
