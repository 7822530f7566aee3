"""Owns the hot path's only write: audit events, many requests' rows in one INSERT and one commit.

Whoever records waits until its row is on disk: nothing runs unrecorded. While one commit is under way the
rows of other requests gather, so the number of commits a second stays that of the disk and not that of
the requests. A row whose commit was cut off is inserted again under its event id, which changes nothing
if the first one counted.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, LiteralString

import orjson
import psycopg
import structlog
from sqlalchemy import URL

from runtime.control.store.database import CONNECT_SECONDS, UNAVAILABLE, Password
from runtime.control.store.events import Event

BATCH_ROWS = 256
"""Most rows of one INSERT."""
WAITING_ROWS = 2048
"""Most rows waiting; beyond it recording fails at once instead of queueing for seconds."""
COMMIT_SECONDS = 2.0
"""Longest wait for one batch's commit, seconds."""

# Explicit columns and types: the JSON document is data, whatever a client put in it.
_INSERT: LiteralString = """
INSERT INTO audit_events (event_id, occurred_at, kind, request_id, user_id, username, credential, credential_id, address, method, path,
                          agent_id, owner, action, target, status, error_code, details, completed_at)
SELECT * FROM json_to_recordset(%s::json) AS event (event_id uuid, occurred_at timestamptz, kind text, request_id text, user_id uuid, username text,
    credential text, credential_id uuid, address text, method text, path text, agent_id text, owner text, action text, target text,
    status smallint, error_code text, details jsonb, completed_at timestamptz)
ON CONFLICT (event_id) DO NOTHING
"""

log = structlog.get_logger()


class RecorderUnavailableError(Exception):
    """The event could not be recorded: the database is away, too slow, or too many wait for it."""


class Recorder:
    """One connection, one writer task; ``start`` before use, ``stop`` writes what waits."""

    def __init__(self, url: URL, password: Password | None = None) -> None:
        """``password`` is asked at every new connection; without it the URL's own is used."""
        self._password = password
        self._url = url.set(drivername="postgresql")
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._abandoned: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the writer in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="audit-recorder")

    async def stop(self) -> None:
        """Write what waits, then close the connection."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._abandoned:
            await asyncio.wait(self._abandoned, timeout=COMMIT_SECONDS)
        if self._connection is not None:
            await _close(self._connection)

    async def record(self, event: Event) -> None:
        """Return when ``event`` is committed. Raises RecorderUnavailableError where it is not (or not known to be)."""
        if len(self._waiting) >= WAITING_ROWS or self._stopping:
            raise RecorderUnavailableError(
                "too many audit events are waiting to be written" if not self._stopping else "shutting down"
            )
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((event, done))
        self._wake.set()
        await done

    def _conninfo(self) -> str:
        url = self._url if self._password is None else self._url.set(password=self._password())
        return url.render_as_string(hide_password=False)

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                if self._stopping:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            batch, self._waiting = self._waiting[:BATCH_ROWS], self._waiting[BATCH_ROWS:]
            failure = await self._write([event for event, _ in batch])
            for _, done in batch:
                if done.done():  # its request was cancelled meanwhile; the row stays
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(RecorderUnavailableError(failure))

    async def _write(self, events: list[Event]) -> str | None:
        """None when committed, else why not."""
        insertion = asyncio.get_running_loop().create_task(
            self._insert(orjson.dumps([event.row() for event in events]).decode())
        )
        await asyncio.wait((insertion,), timeout=COMMIT_SECONDS)
        if not insertion.done():
            # Not awaited: cancelling asks the server to cancel, which takes seconds where it does not answer.
            insertion.cancel()
            self._abandoned.add(insertion)
            insertion.add_done_callback(self._abandoned.discard)
            log.error(
                "Audit events not written: the database did not answer in time",
                events=len(events),
                seconds=COMMIT_SECONDS,
            )
            return "the database did not answer in time"
        error = insertion.exception()
        if error is None:
            return None
        # The class alone: a message may quote a row.
        log.error(
            "Audit events not written",
            events=len(events),
            error=type(error).__name__,
            sqlstate=getattr(error, "sqlstate", None),
        )
        return type(error).__name__

    async def _insert(self, document: str) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.execute(_INSERT, (document,))
            except UNAVAILABLE:
                # An old connection: the server may have restarted since, so a fresh one gets a second try.
                await _close(connection)
            except BaseException:
                await _close(connection)
                raise
            else:
                self._connection = connection
                return
        connection = await psycopg.AsyncConnection.connect(
            self._conninfo(), autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="control-recorder"
        )
        try:
            await connection.execute(_INSERT, (document,))
        except BaseException:
            await _close(connection)
            raise
        self._connection = connection


async def _close(connection: psycopg.AsyncConnection[Any]) -> None:
    with contextlib.suppress(psycopg.Error, OSError):
        await connection.close()
