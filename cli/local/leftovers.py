"""Owns what a killed supervisor left behind: parts that still run, found by the run record."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from cli.local.part import kill_group
from cli.local.state import State

_SECONDS = 10.0
_TOLERANCE = 3.0


def stop(state: State, say: Callable[[str], None]) -> int:
    """Stop parts of the last run that outlived their supervisor; how many there were. The caller holds the lock."""
    recorded = [
        (name, part.get("pid"), part.get("since", 0))
        for name, part in state.run.get("parts", {}).items()
        if part.get("state") != "stopped"
    ]
    alive = [(name, pid) for name, pid, since in recorded if isinstance(pid, int) and _is(pid, since)]
    for name, pid in alive:
        say(f"{name} still runs from a start whose supervisor was killed; stopping it (process {pid})")
        os.kill(pid, signal.SIGINT if name == "postgres" else signal.SIGTERM)
    deadline = time.monotonic() + _SECONDS
    while any(_exists(pid) for _, pid in alive) and time.monotonic() < deadline:
        time.sleep(0.05)
    for _, pid in alive:
        kill_group(pid)
    return len(alive)


def _is(pid: int, since: float) -> bool:
    """Whether the process is the one recorded and not another with its number: it began before the record's last change and leads its group."""
    import psutil

    try:
        process = psutil.Process(pid)
        return (
            process.create_time() <= since + _TOLERANCE
            and os.getpgid(pid) == pid
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.Error, ProcessLookupError):
        return False


def _exists(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
