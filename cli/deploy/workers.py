"""Owns doing one thing for several stacks side by side, and what Ctrl-C then means.

The first interrupt lets the operations under way end, the second does not wait for them; outside of work it ends the
command at once, as everywhere.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Protocol, TypeVar

from cli.deploy.progress import Board
from cli.errors import CommandError

T = TypeVar("T")
_TICK_SECONDS = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FIRST = "Interrupted: operations under way may end, nothing new begins. Again: the engine does not wait for them."
_MORE = "Interrupted again: the engine stops where it is; what it was creating may be left for the next run to settle."


class Interruptible(Protocol):
    """What runs the commands."""

    interrupts: int

    def interrupt(self) -> None:
        """Ask what runs to stop."""


class Workers:
    """At most ``parallel`` stacks at a time."""

    def __init__(self, cli: Interruptible, board: Board, parallel: int) -> None:
        self._cli = cli
        self._board = board
        self._parallel = parallel
        self._signalled = 0

    @property
    def interrupted(self) -> bool:
        """Whether somebody asked to stop."""
        return self._cli.interrupts > 0

    def gather(self, stacks: Sequence[str], work: Callable[[str], T]) -> dict[str, T]:
        """What ``work`` says of each stack. Raises CommandError with every stack's problem."""
        found: dict[str, T] = {}

        def one(stack: str) -> None:
            found[stack] = work(stack)

        self.each(stacks, one)
        if self.interrupted:
            raise KeyboardInterrupt
        return found

    def each(
        self, stacks: Sequence[str], work: Callable[[str], object], stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Call ``work`` for each, beginning nothing more once ``stop`` says so or somebody interrupts."""
        waiting = list(stacks)
        running: set[Future[object]] = set()
        problems: list[str] = []
        with self._signals(), ThreadPoolExecutor(self._parallel) as pool:
            while running or (waiting and not stop() and not self.interrupted and not problems):
                while waiting and len(running) < self._parallel and not (stop() or self.interrupted or problems):
                    running.add(pool.submit(work, waiting.pop(0)))
                done, running = wait(running, _TICK_SECONDS, return_when="FIRST_COMPLETED")
                self._pass_on()
                problems += [str(problem) for future in done if (problem := _problem(future))]
                self._board.tick()
        if problems and not self.interrupted:
            raise CommandError("\n".join(problems))

    def _pass_on(self) -> None:
        while self._signalled > self._cli.interrupts:
            self._cli.interrupt()
            self._board.say(_FIRST if self._cli.interrupts == 1 else _MORE)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def interrupted(*_: object) -> None:
            # No more than this: the code a handler interrupts may hold the locks that telling the engine needs.
            self._signalled += 1

        before = {each: signal.signal(each, interrupted) for each in _SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _problem(future: Future[object]) -> CommandError | None:
    error = future.exception()
    if error is None:
        return None
    if isinstance(error, CommandError):
        return error
    raise error
