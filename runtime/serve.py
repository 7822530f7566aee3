"""Owns how an application is served: uvicorn, its limits, and an orderly end.

On SIGTERM or SIGINT /ready answers 503 first (``app.state.draining``, ``app.state.on_drain`` is called) while requests are still taken for
settings.drain_seconds; then the listener closes, running requests end within settings.shutdown_seconds, and
the process exits with 0. A second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from runtime.settings import ProcessSettings

KEEP_ALIVE_SECONDS = 75
"""Above nginx's upstream keepalive_timeout (60 s), so that nginx, not we, closes idle connections."""

log = structlog.get_logger()


def is_draining(app: FastAPI) -> bool:
    """Whether ``app``'s process was told to stop; its /ready then answers 503."""
    return bool(getattr(app.state, "draining", False))


class Server(uvicorn.Server):
    """uvicorn, but draining first, and exiting with 0 after a signal (uvicorn raises the signal again)."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT while the server runs."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: drain; second: end at once."""
        if is_draining(self._app):
            self.should_exit = self.force_exit = True
            return
        self._app.state.draining = True
        on_drain: Callable[[], None] | None = getattr(self._app.state, "on_drain", None)
        if on_drain is not None:
            on_drain()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.should_exit = True
            return
        if self._drain_seconds > 0:
            loop.call_soon_threadsafe(loop.call_later, self._drain_seconds, self._exit)
        else:
            self.should_exit = True

    def _exit(self) -> None:
        self.should_exit = True


def serve(app: FastAPI, settings: ProcessSettings) -> None:
    """Serve ``app`` on settings.host and settings.port until a signal; returns when everything has ended.

    Raises SystemExit with a code other than 0 where the port is taken or the application's start fails.
    """
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, math.ceil(settings.shutdown_seconds)),
        h11_max_incomplete_event_size=64 * 1024,
    )
    app.state.draining = False
    Server(config, app, settings.drain_seconds).run()
