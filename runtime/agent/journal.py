"""Owns the crash journal: which versions of agents were executing when this process's predecessor died.

A file of fixed slots, one an execution in flight, written through a shared mapping: the kernel keeps what was
written when a process is killed, so nothing is flushed and a write costs a memory copy. It must lie where it
outlives the process but not the machine's story of it: the pod's /tmp (an emptyDir outlives its containers), or
the state folder on one machine. The predecessor may have served other versions, so they are written and not only the
agents' ids. Who is to blame for what it says is blame.py's.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

_MAGIC = b"VERSIONS-RUNNING"
"""Names the layout: a file of another one names nobody."""
_RUNNING, _ENDING = b"R", b"E"
_FLAG = len(_MAGIC)
_ALONE, _AMONG = b"A", b"M"
_SLOT = 128
"""Bytes of a slot, and of the header: a version's name (served.py) has at most 69."""


class JournalError(OSError):
    """The file cannot be used; the message says why."""


class Journal:
    """The journal of one process; ``crashed`` is what its predecessor left.

    Versions in flight when it died, each once, and whether one of the executions was of a suspect that ran alone.
    """

    def __init__(self, path: Path, slots: int) -> None:
        """Take the file over, empty, with room for ``slots`` executions. Raises JournalError."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.crashed = _in_flight(os.pread(self._file, os.fstat(self._file).st_size, 0))
            size = _SLOT * (slots + 1)
            # Written, not only lengthened: a page without a block behind it is a SIGBUS once the disk is full.
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, (_MAGIC + _RUNNING).ljust(size, b"\0"), 0)
            self._map = mmap.mmap(self._file, size)
        except BlockingIOError:
            os.close(self._file)
            raise JournalError(f"{path}: another process writes it") from None
        except OSError as error:
            os.close(self._file)
            raise JournalError(f"{path}: {error.strerror}") from None
        self._free = list(range(size - _SLOT, 0, -_SLOT))

    def enter(self, version: str, *, alone: bool = False) -> int:
        """Note that an execution of it begins, ``alone`` among suspects; what ``leave`` takes, 0 where there was no room."""
        if not self._free:
            return 0
        slot = self._free.pop()
        # Padded: what a longer name left behind goes with the same copy.
        self._map[slot : slot + _SLOT] = ((_ALONE if alone else _AMONG) + version.encode()).ljust(_SLOT, b"\0")[:_SLOT]
        return slot

    def leave(self, slot: int) -> None:
        """Note that it ended, however it ended."""
        if slot:
            self._map[slot] = 0
            self._free.append(slot)

    def ending(self) -> None:
        """The process was told to stop: whatever cuts executions off from now on is no crash."""
        self._map[_FLAG : _FLAG + 1] = _ENDING

    def close(self) -> None:
        """Give the file back."""
        self.ending()
        self._map.close()
        os.close(self._file)


def _in_flight(content: bytes) -> dict[str, bool]:
    found: dict[str, bool] = {}
    if content.startswith(_MAGIC + _RUNNING):
        for at in range(_SLOT, len(content), _SLOT):
            mark, name = content[at : at + 1], content[at + 1 : at + _SLOT].rstrip(b"\0").decode("utf-8", "replace")
            if mark in (_ALONE, _AMONG):
                found[name] = found.get(name, False) or mark == _ALONE
    return found
