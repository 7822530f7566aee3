"""Owns one process of the embedded target: how it is started, known to be ready and stopped.

Knows nothing of which processes there are (parts.py) or of restarting them (supervisor.py).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.errors import CommandError

LOOPBACK = "127.0.0.1"

# Below the range from which Linux (32768) and macOS (49152) take outgoing ports: a connection that happens
# to leave from a part's port would keep the part from coming back after a crash.
_INTERNAL_PORTS = range(20_000, 30_000)


class PartError(CommandError):
    """A part did not start; the message says which, why, and where its log is."""


@dataclass(frozen=True)
class User:
    """An operating system user to run as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Part:
    """One process: what to run and how to tell that it serves.

    ``ready`` is asked again and again until true and answers within a second or so; ``drain`` is the
    signal that lets it finish its work, ``drain_seconds`` how long that may take before it is killed.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    needs: frozenset[str] = frozenset()
    stage: int = 0
    """Stopped before every part of a lower stage."""
    folder: Path | None = None
    user: User | None = None
    port: int | None = None
    drain: signal.Signals = signal.SIGTERM
    drain_seconds: float = 15.0
    start_seconds: float = 60.0


def start(part: Part, log: Path) -> subprocess.Popen[bytes]:
    """Start ``part`` in a process group of its own, its output appended to ``log`` (mode 0600)."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            part.command,
            env=dict(part.environment),
            cwd=part.folder,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            process_group=0,
            user=part.user.uid if part.user else None,
            group=part.user.gid if part.user else None,
            extra_groups=[] if part.user else None,
        )
    except OSError as error:
        raise PartError(f"{part.name} cannot be started: {error}") from None
    finally:
        os.close(descriptor)


def wait_ready(
    part: Part,
    process: subprocess.Popen[bytes],
    log: Path,
    *,
    stopped: Callable[[], bool] = lambda: False,
    since: int = 0,
) -> bool:
    """Wait until ``part`` is ready: true, or false where ``stopped`` said to give up.

    Raises PartError, with the end of its log from byte ``since`` on, if it ends or takes longer than ``start_seconds``.
    """
    deadline = time.monotonic() + part.start_seconds
    pause = 0.01
    while not stopped():
        code = process.poll()
        if code is not None:
            raise PartError(f"{part.name} ended with {ending(code)} before it was ready. {_tail(log, since)}")
        if part.ready():
            return True
        if time.monotonic() > deadline:
            raise PartError(f"{part.name} was not ready within {part.start_seconds:.0f} s. {_tail(log, since)}")
        time.sleep(pause)
        pause = min(pause * 1.3, 0.1)
    return False


def stop(part: Part, process: subprocess.Popen[bytes], *, hurry: Callable[[], bool] = lambda: False) -> bool:
    """Let ``part`` finish and end; kill its whole group when that takes too long or ``hurry`` says so. True if it ended by itself."""
    deadline = time.monotonic() + part.drain_seconds
    by_itself = True
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(part.drain)
        while by_itself:
            try:
                process.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                by_itself = time.monotonic() < deadline and not hurry()
    kill_group(process.pid)
    process.wait(10)
    return by_itself


def kill_group(group: int) -> None:
    """Kill what is left of a process group; quiet where nothing is."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def running(part: Part, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``part`` started and ready for the length of a with block."""
    process = start(part, log)
    try:
        wait_ready(part, process, log)
        yield process
    finally:
        stop(part, process)


def free_ports(count: int, *, but: Collection[int] = ()) -> list[int]:
    """``count`` different loopback TCP ports nothing listens on now, none of ``but``."""
    held: list[socket.socket] = []
    try:
        for port in random.sample(_INTERNAL_PORTS, len(_INTERNAL_PORTS)):
            if len(held) == count:
                break
            if port in but:
                continue
            listener = socket.socket()
            try:
                listener.bind((LOOPBACK, port))
                listener.listen()
            except OSError:
                listener.close()
                continue
            held.append(listener)
        return [listener.getsockname()[1] for listener in held]
    finally:
        for listener in held:
            listener.close()


def listens(port: int, *, host: str = LOOPBACK, seconds: float = 0.5) -> bool:
    """Whether something accepts TCP connections there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), seconds):
        return True
    return False


def http_status(port: int, path: str, *, seconds: float = 1.0) -> int:
    """Status of GET http://127.0.0.1:port/path, 0 where there is no answer. No HTTP library: this runs while starting."""
    with (
        contextlib.suppress(OSError, ValueError, IndexError),
        socket.create_connection((LOOPBACK, port), seconds) as connection,
    ):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return int(connection.recv(64).split(None, 2)[1])
    return 0


def ending(code: int) -> str:
    """How a process ended, in words."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _tail(log: Path, since: int, lines: int = 5) -> str:
    with contextlib.suppress(OSError):
        with log.open("rb") as file:
            file.seek(since)
            said = file.read().decode("utf-8", "replace").strip().splitlines()
        # The version before may go on answering, and writes what went well into the same log.
        last = ([line for line in said if '"level":"INFO"' not in line] or said)[-lines:]
        if last:
            return f"Its log {log} ends:\n" + "\n".join(f"  {line[:400]}" for line in last)
    return f"Its log is {log}."
