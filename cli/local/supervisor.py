"""Owns keeping parts alive: start in order of need, restart with back-off, drain stage by stage, replace one by another.

One thread a part. Which parts there are is parts.py's and serving.py's, when one replaces another changes.py's; what
one part is, part.py's.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.local import part as processes
from cli.local.part import Part, PartError

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0
_STEADY_SECONDS = 60.0


@dataclass(frozen=True)
class Task:
    """Something to be done once before parts that need it start, such as a migration. Raises PartError to abort the start."""

    name: str
    run: Callable[[], object]
    needs: frozenset[str] = frozenset()


@dataclass
class Kept:
    """What the supervisor knows of one part."""

    part: Part
    process: subprocess.Popen[bytes] | None = None
    state: str = "waiting"
    """waiting, starting, ready, restarting, stopping or stopped."""
    restarts: int = 0
    since: float = field(default_factory=time.time)
    ending: str = ""
    about: Mapping[str, str] = field(default_factory=dict)
    """What else the run record says of it."""
    up: threading.Event = field(default_factory=threading.Event)
    """Set once it was ready for the first time."""
    failure: PartError | None = None
    """Why it never was, of a part started beside those that run."""
    released: threading.Event = field(default_factory=threading.Event)
    """Set once it is to stop and must not be started again."""
    starting: threading.Lock = field(default_factory=threading.Lock)
    """Held while a process is started, so that one that is to stop is not missed."""

    def described(self) -> dict[str, Any]:
        """As it stands in the run record."""
        return {
            **self.about,
            "state": self.state, "pid": self.process.pid if self.process else None, "port": self.part.port,
            "restarts": self.restarts, "since": self.since, "last_ending": self.ending,
        }  # fmt: skip


class Supervisor:
    """Starts parts, keeps them running, stops them in reverse order of their stage.

    ``say`` gets one line for people; ``changed`` is called after every change of a part's state, from any thread.
    """

    def __init__(
        self, log: Callable[[str], Path], say: Callable[[str], None], changed: Callable[[], None] = lambda: None
    ) -> None:
        self._log = log
        self._say = say
        self._changed = changed
        self._kept: dict[str, Kept] = {}
        self._done: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []
        self._failure: Exception | None = None
        self._wake = threading.Condition()
        self._stopping = False
        self._started = time.monotonic()

    @property
    def parts(self) -> Mapping[str, dict[str, Any]]:
        """The state of every part, as in the run record."""
        return {name: kept.described() for name, kept in list(self._kept.items())}

    def launch(self, *items: Part | Task) -> None:
        """Start these as soon as what they need is ready (or done); returns at once. What they need may be launched later."""
        for item in items:
            if isinstance(item, Part):
                kept = self._kept[item.name] = Kept(item, up=self._event(item.name))
                self._run(item.name, self._keep, kept, self._fail)
            else:
                self._event(item.name)
                self._run(item.name, self._perform, item)

    def kept(self, name: str) -> Kept:
        """The part that goes by ``name`` now. Raises KeyError."""
        return self._kept[name]

    def begin(self, part: Part, about: Mapping[str, str] | None = None) -> Kept:
        """Start ``part`` beside those that run, as "<name> (new)" where its name is taken; returns at once.

        That it fails before it was ever ready is its own ``failure`` and ends nothing else.
        """
        label = part.name if part.name not in self._kept else f"{part.name} (new)"
        kept = self._kept[label] = Kept(part, about=about or {})

        def fail(error: PartError) -> None:
            with self._wake:
                kept.failure = error
                self._wake.notify_all()

        self._run(label, self._keep, kept, fail)
        return kept

    def wait_up(self, begun: Iterable[Kept], *, interrupted: Callable[[], bool] = lambda: False) -> bool:
        """Wait until all of ``begun`` were ready; false where ``interrupted`` said to give up. Raises PartError of the first that failed."""
        waiting = list(begun)
        with self._wake:
            while waiting := [kept for kept in waiting if not kept.up.is_set()]:
                for kept in waiting:
                    if kept.failure is not None:
                        raise kept.failure
                if interrupted():
                    return False
                self._wake.wait(0.1)
        return True

    def succeed(self, begun: Iterable[Kept]) -> None:
        """Parts that were begun take the names of those they replace, which go on as "<name> (old)"."""
        for kept in begun:
            name, names = kept.part.name, dict[str, Kept]()
            for label, other in self._kept.items():
                if label == name:
                    names[name] = kept
                if other is not kept:
                    names[f"{name} (old)" if label == name else label] = other
            self._kept = names
        self._changed()

    def retire(self, leaving: Iterable[Kept], *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Drain and stop these, together, and know them no longer."""
        chosen = list(leaving)
        self._stop_all(chosen, hurry)
        self._kept = {label: kept for label, kept in self._kept.items() if not any(kept is each for each in chosen)}
        self._changed()

    def describe(self, kept: Kept, about: Mapping[str, str]) -> None:
        """Change what the run record says of a part besides how it is."""
        kept.about = about
        self._changed()

    def wait_ready(
        self, names: Iterable[str] | None = None, *, interrupted: Callable[[], bool] = lambda: False
    ) -> bool:
        """Wait until these (default: all launched) are ready or done; false where ``interrupted`` said to give up. Raises what went wrong."""
        wanted = list(self._done) if names is None else list(names)
        with self._wake:
            while self._failure is None and not all(self._event(name).is_set() for name in wanted):
                if interrupted():
                    return False
                self._wake.wait(0.1)
            if self._failure is not None:
                raise self._failure
        return True

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop everything: the highest stage first, the parts of a stage together. ``hurry`` true: kill instead of drain."""
        self._stopping = True
        with self._wake:
            self._wake.notify_all()
        for stage in sorted({kept.part.stage for kept in self._kept.values()}, reverse=True):
            self._stop_all([kept for kept in self._kept.values() if kept.part.stage == stage], hurry)

    def _stop_all(self, chosen: Iterable[Kept], hurry: Callable[[], bool]) -> None:
        stopping = [threading.Thread(target=self._stop_one, args=(kept, hurry), daemon=True) for kept in chosen]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()

    def _stop_one(self, kept: Kept, hurry: Callable[[], bool]) -> None:
        with kept.starting:
            kept.released.set()
            process = kept.process
        if process is not None and process.poll() is None:
            self._mark(kept, "stopping")
            if not processes.stop(kept.part, process, hurry=hurry):
                self._say(
                    f"{kept.part.name} did not end within {kept.part.drain_seconds:.0f} s and was killed"
                    if not hurry()
                    else f"{kept.part.name} was killed"
                )
        self._mark(kept, "stopped")

    def _perform(self, task: Task) -> None:
        if not self._needs_met(task.needs):
            return
        began = time.monotonic()
        try:
            task.run()
        except Exception as error:
            self._fail(error)
            return
        self._say(f"{task.name} done in {time.monotonic() - began:.1f} s")
        self._set(self._event(task.name))

    def _run(self, name: str, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _keep(self, kept: Kept, fail: Callable[[PartError], None]) -> None:
        part = kept.part
        if not self._needs_met(part.needs):
            return
        pause = _FIRST_PAUSE
        while not kept.released.is_set() and not (self._stopping and not kept.up.is_set()):
            began = time.monotonic()
            try:
                self._run_once(kept)
            except PartError as error:
                if not kept.up.is_set():
                    fail(error)
                    return
                kept.ending = str(error).splitlines()[0]
            if kept.released.is_set():
                return
            pause = _FIRST_PAUSE if time.monotonic() - began > _STEADY_SECONDS else pause
            kept.restarts += 1
            self._mark(kept, "restarting")
            self._say(
                f"{kept.ending}; starting it again in {pause:g} s (restart {kept.restarts}, log {self._log(part.name)})"
            )
            kept.released.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _run_once(self, kept: Kept) -> None:
        """Start the part and return when it ended; PartError where it was never ready."""
        part, log = kept.part, self._log(kept.part.name)
        began, since = time.monotonic(), log.stat().st_size if log.exists() else 0
        with kept.starting:
            if kept.released.is_set():
                return
            process = kept.process = processes.start(part, log)
        self._mark(kept, "starting")
        try:
            if processes.wait_ready(part, process, log, stopped=kept.released.is_set, since=since):
                self._mark(kept, "ready")
                said = "is back" if kept.up.is_set() else "ready"
                self._say(f"{part.name} {said} after {time.monotonic() - began:.1f} s")
                self._set(kept.up)
                code = process.wait()
                kept.ending = f"{part.name} ended with {processes.ending(code)}"
        except PartError:
            processes.stop(part, process, hurry=lambda: True)
            raise
        finally:
            if not kept.released.is_set():
                # What a killed process leaves in its group (nginx's workers) would still hold its port.
                processes.kill_group(process.pid)

    def _needs_met(self, needs: frozenset[str]) -> bool:
        with self._wake:
            while not all(self._event(name).is_set() for name in needs):
                if self._stopping or self._failure is not None:
                    return False
                self._wake.wait(0.5)
        return not self._stopping

    def _event(self, name: str) -> threading.Event:
        return self._done.setdefault(name, threading.Event())

    def _set(self, event: threading.Event) -> None:
        with self._wake:
            event.set()
            self._wake.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._wake:
            self._failure = self._failure or error
            self._wake.notify_all()

    def _mark(self, kept: Kept, state: str) -> None:
        if kept.state != state:
            kept.state, kept.since = state, time.time()
        self._changed()
