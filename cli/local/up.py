"""Owns one run of the embedded target in the foreground: checks, start, serving, changes of the catalog, drain.

Speaks to people through ``say`` alone; the command line (cli/platform.py) owns how that looks.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from catalog.contract import Env
from cli.errors import CommandError
from cli.local import leftovers, parts
from cli.local.apply import Requests
from cli.local.part import LOOPBACK, PartError
from cli.local.settings import LocalSettings
from cli.local.state import State, read_json
from cli.local.supervisor import Supervisor

if TYPE_CHECKING:
    from cli.local.changes import Changes


class UpError(CommandError):
    """The platform cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class Started:
    """What a person needs to know once everything is ready; ``administrator`` (username, password, api_key) only after the first start."""

    url: str
    tls_url: str
    authority: Path
    agents: int
    seconds: float
    administrator: dict[str, Any] | None


def serve(state: State, settings: LocalSettings, say: Callable[[str], None], started: Callable[[Started], None]) -> int:
    """Run the platform until SIGINT, SIGTERM or a failed start; returns the exit code. The caller holds the state's lock.

    Raises UpError, PartError, and what preparing the parts raises, after everything that had started is stopped.
    """
    began = time.monotonic()
    leftovers.stop(state, say)
    _require_free(settings)
    requests = Requests(state)
    asked = _Asked(requests.wake)
    supervisor = Supervisor(state.log, say, lambda: record())
    run: dict[str, Any] = {
        "pid": os.getpid(),
        "started": time.time(),
        "ready": False,
        "http_port": settings.http_port,
        "tls_port": settings.tls_port,
    }
    recording = threading.Lock()

    def record() -> None:
        with recording:
            state.record_run(
                {
                    **run,
                    "url": _url("http", settings.http_port),
                    "tls_url": _url("https", settings.tls_port),
                    "parts": supervisor.parts,
                }
            )

    with asked.listening():
        try:
            _rotate(state)
            changes, shown = _start(state, settings, supervisor, asked, began)
            if shown is not None:
                run["ready"] = True
                record()
                started(shown)
                (state.secrets / "first-administrator.json").unlink(missing_ok=True)
                _serve_requests(requests, changes, asked, say)
            return 0
        finally:
            requests.close()
            run["ready"] = False
            running = any(part["pid"] for part in supervisor.parts.values())
            if running and asked.count:
                say("Stopping: requests in progress may end. Once more stops at once.")
            supervisor.stop(hurry=lambda: asked.count > 1)
            record()


def _start(
    state: State, settings: LocalSettings, supervisor: Supervisor, asked: _Asked, began: float
) -> tuple[Changes, Started | None]:
    from cli.local import certificate

    certified = certificate.ensure(state.folder / "tls", datetime.datetime.now(datetime.UTC))
    # The stores and control start while the catalog is read: control is what takes longest.
    ports = parts.Ports.chosen(but=(settings.http_port, settings.tls_port))
    items, where = parts.stores(state, ports)
    supervisor.launch(*items)
    from catalog import registry
    from cli.local.changes import Changes
    from cli.local.serving import Site

    named = os.environ.get(Env.CATALOG_PATH)
    site = Site(state, settings, ports, where.root, certified)
    changes = Changes(site, supervisor, Path(named) if named else registry.POOLS_FOLDER)
    changes.launch_control()
    catalog = changes.launch_agents()
    if not supervisor.wait_ready(interrupted=lambda: asked.count > 0):
        return changes, None
    return changes, Started(
        _url("http", settings.http_port), _url("https", settings.tls_port), certified.authority, len(catalog), time.monotonic() - began,
        read_json(state.secrets / "first-administrator.json"),
    )  # fmt: skip


def _serve_requests(requests: Requests, changes: Changes, asked: _Asked, say: Callable[[str], None]) -> None:
    """Take over changed catalogs as asked, one after another, until told to stop."""
    while not asked.count:
        for request in requests.take():
            if asked.count:
                request.failed("the platform is told to stop: nothing has changed")
                continue
            say("Taking over the catalog as it is now")
            try:
                changed = changes.apply(request.say, lambda: asked.count > 0)
            except CommandError as error:
                say(f"The catalog is not taken over: {error}")
                request.failed(str(error))
            except Exception as error:
                # A platform that serves does not end for a change it could not make, whatever the reason.
                traceback.print_exc()
                request.failed(
                    f"{type(error).__name__}: {error}; the platform goes on, and its own output says where this happened"
                )
            else:
                say(f"The catalog is taken over after {changed.seconds:.1f} s: started {_names(changed.started)}, stopped {_names(changed.stopped)}")  # fmt: skip
                request.applied(changed)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"


def _url(scheme: str, port: int) -> str:
    return f"{scheme}://localhost:{port}"


def _require_free(settings: LocalSettings) -> None:
    if settings.http_port == settings.tls_port:
        raise UpError(
            f"HTTP and HTTPS cannot both be on port {settings.http_port}: choose another with --port or --tls-port"
        )
    for option, port in (("--port", settings.http_port), ("--tls-port", settings.tls_port)):
        if reason := _taken(port):
            raise UpError(f"port {port} on {LOOPBACK} {reason}, or choose another with {option}")


def _taken(port: int) -> str:
    import errno
    import socket

    with socket.socket() as probe:
        # As nginx itself will: a port with connections of a former run in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EACCES:
                return "needs a right this user does not have: ports below 1024 do"
            return f"is taken: stop what listens there (lsof -i :{port})"
    return ""


class _Asked:
    """How often we were told to stop, by signal; ``wake`` is called each time."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.count = 0
        self._wake = wake

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self._wake()


_LOG_BYTES = 20 * 1024 * 1024


def _rotate(state: State) -> None:
    """Begin a new log where one has grown large; the one before is kept."""
    for log in state.logs.glob("*.log"):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))


__all__ = ["PartError", "Started", "UpError", "serve"]
