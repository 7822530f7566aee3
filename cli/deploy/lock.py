"""Owns that this machine never changes one stack twice at once: a lock file a stack in the state folder.

The kernel holds the lock for whoever has the file open. The engine's process inherits it, so that the stack stays
locked where `fleet` was killed and the engine it started still works. Other machines are the backend's to keep out.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cli.errors import CommandError
from cli.local.state import State, read_json

_FOLDER = "stacks"
_HOLDER = re.compile(r"created by (?P<user>\S+)@(?P<host>\S+) \(pid (?P<pid>\d+)\)")


@contextlib.contextmanager
def locked(state: State, stacks: Iterable[str], command: str) -> Iterator[Mapping[str, int]]:
    """Hold all the stacks for a with block: stack → descriptor to hand to what works on it.

    Raises CommandError saying who holds one, since when; then none is held.
    """
    folder = state.folder / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    with contextlib.ExitStack() as held:
        # In one order for everybody, so that two commands never wait for each other's half.
        yield {stack: held.enter_context(_one(folder / f"{stack}.lock", stack, command)) for stack in sorted(stacks)}


@contextlib.contextmanager
def _one(path: Path, stack: str, command: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(_held_by(path, stack)) from None
        os.ftruncate(descriptor, 0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        os.write(
            descriptor, json.dumps({"pid": os.getpid(), "user": _user(), "since": since, "command": command}).encode()
        )
        yield descriptor
    finally:
        os.close(descriptor)


def _held_by(path: Path, stack: str) -> str:
    owner = read_json(path) or {}
    pid = owner.get("pid")
    who = (
        f"`{owner.get('command', 'fleet')}` of {owner.get('user', '?')} (process {pid}) since {owner.get('since', '?')}"
    )
    if isinstance(pid, int) and not _runs(pid):
        return (
            f"{stack} is being changed: {who} is gone, but the engine it started still works. "
            f"Wait for it to end, then run this again"
        )
    return f"{stack} is being changed by {who}. Wait for it to end; two at once would spoil the stack's state"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


def of_the_backend(stack: str, words: str) -> str:
    """What is said where the backend's own lock is in the way: its words, what is known here, and what may be done."""
    return (
        f"the backend has the stack locked: {words}\n{_known_of(words)}"
        f"  `pulumi cancel --stack {stack} --yes` takes the lock away. That is right only where the process that holds "
        "it is gone (a killed machine, a lost runner); while it works, two would write one state"
    )


def _known_of(words: str) -> str:
    """What this machine knows of the process that holds a backend's lock; "" where it is another's, or many."""
    holders = list(_HOLDER.finditer(words))
    if len(holders) != 1 or holders[0]["host"] != socket.gethostname():
        return ""
    pid = int(holders[0]["pid"])
    if _runs(pid):
        return f"  process {pid} of this machine still runs: wait for it\n"
    return f"  process {pid} of this machine is gone: it was killed, and the lock is what it left\n"
