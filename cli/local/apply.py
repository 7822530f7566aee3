"""Owns how a running platform is asked to take over a changed catalog, and told what came of it.

The process of `fleet up` reads requests from a pipe with a name in the state folder (0600), one after another, and
answers each by lines of JSON in a file that the asking process made. A pipe nobody reads says that nothing runs, and
its name, unlike a socket's, may be as long as a path. What a change is, is changes.py's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from cli.errors import CommandError, Exit
from cli.local.state import State, write_private

_PIPE = "requests"
_ANSWERS = "answers"
_NAME = re.compile(r"[0-9a-f]{16}")
_PAUSE = 0.05


@dataclass(frozen=True)
class Applied:
    """What taking the catalog over did.

    Names of processes that were ``started``, ``stopped`` and ``kept``: versions of agents, and control;
    how many ``agents`` there are now, and the ``seconds`` until the last one to stop had ended.
    """

    started: tuple[str, ...]
    stopped: tuple[str, ...]
    kept: tuple[str, ...]
    agents: int
    seconds: float

    @property
    def is_change(self) -> bool:
        """Whether the catalog was another than what was served."""
        return bool(self.started or self.stopped)

    @property
    def words(self) -> str:
        """It in a sentence."""
        parts = [f"started {', '.join(self.started)}"] if self.started else []
        parts += [f"stopped {', '.join(self.stopped)}"] if self.stopped else []
        what = "; ".join(parts) or "only how requests are shared changed"
        return f"Applied here in {self.seconds:.1f} s: {what}."

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Applied:
        """From what JSON made of it."""
        started, stopped, kept = (tuple(data[name]) for name in ("started", "stopped", "kept"))
        return cls(started, stopped, kept, data["agents"], data["seconds"])


def apply(state: State, say: Callable[[str], None]) -> Applied:
    """Have the running platform take over the catalog as it is now, without a refused request; returns once it is done.

    ``say`` gets a line about each step. Requests of several callers are met one after another. Raises CommandError:
    with UNREACHABLE where nothing runs, else with what is wrong, and then nothing has changed.
    """
    name = secrets.token_hex(8)
    answer = state.folder / _ANSWERS / name
    pipe = _pipe(state)
    try:
        # Only now: who makes the pipe removes the answers that nobody waits for any more.
        answer.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(answer, b"")
        with answer.open("rb") as file:
            with contextlib.suppress(BrokenPipeError):
                os.write(pipe, f"{name}\n".encode())
            for message in _messages(state, file):
                if "line" in message:
                    say(message["line"])
                elif "failed" in message:
                    raise CommandError(message["failed"])
                else:
                    return Applied.read(message["applied"])
    finally:
        os.close(pipe)
        answer.unlink(missing_ok=True)
    raise CommandError(
        f"the platform stopped before it had taken the catalog over; {state.log('supervisor')} may say why, "
        "and fleet up starts it with the catalog as it is",
        Exit.UNREACHABLE,
    )


def _pipe(state: State) -> int:
    try:
        return os.open(state.folder / _PIPE, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        raise CommandError(
            "the platform does not run here, so there is nothing to apply the catalog to: fleet up starts it with the catalog as it is",
            Exit.UNREACHABLE,
        ) from None


def _messages(state: State, answer: IO[bytes]) -> Iterator[dict[str, Any]]:
    """What is answered, as it comes, until the platform has ended."""
    text, ended = b"", False
    while True:
        *lines, text = (text + answer.read()).split(b"\n")
        yield from map(json.loads, lines)
        if ended:
            return
        # What was written before the end is read after it was seen.
        ended = not state.is_locked
        time.sleep(_PAUSE)


class Requests:
    """The running platform's end: what it is asked, by others and by signals."""

    def __init__(self, state: State) -> None:
        """Make the pipe anew. The caller holds the state's lock."""
        self._folder = state.folder
        path = self._folder / _PIPE
        path.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            for left in (self._folder / _ANSWERS).iterdir():
                left.unlink()
        os.mkfifo(path, 0o600)
        # Open for writing too, so that it never ends for want of a writer.
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._text = b""

    def wake(self) -> None:
        """Have ``take`` return; for signal handlers."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._pipe, b"\n")

    def take(self) -> Iterator[Request]:
        """Wait until something is asked or ``wake`` is called; what is asked by then."""
        select.select([self._pipe], [], [])
        with contextlib.suppress(BlockingIOError):
            self._text += os.read(self._pipe, select.PIPE_BUF)
        *names, self._text = self._text.split(b"\n")
        for name in names:
            if _NAME.fullmatch(name.decode("ascii", "replace")):
                yield Request(self._folder / _ANSWERS / name.decode())

    def close(self) -> None:
        """Nobody can ask any more. Our end stays open while the process lasts: a signal that comes yet will ``wake``."""
        (self._folder / _PIPE).unlink(missing_ok=True)


@dataclass(frozen=True)
class Request:
    """One request to apply the catalog, and where its answer goes."""

    answer: Path

    def say(self, line: str) -> None:
        """A line about a step."""
        self._write({"line": line})

    def applied(self, what: Applied) -> None:
        """It is done."""
        self._write({"applied": asdict(what)})

    def failed(self, why: str) -> None:
        """It is not done."""
        self._write({"failed": why})

    def _write(self, message: dict[str, Any]) -> None:
        # Gone: whoever asked no longer listens.
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self.answer, os.O_WRONLY | os.O_APPEND)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                file.write(json.dumps(message).encode() + b"\n")
