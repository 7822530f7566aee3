"""Owns reading the audit (pages, usage) and completing its rows. Writing the hot path's rows is recorder.py's."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import ColumnElement, CursorResult, and_, case, cast, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.control.store.events import Event
from runtime.control.store.tables import audit_events

UsageBy = Literal["agent", "user", "owner", "day"]

_a = audit_events.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events are meant; None: all."""

    user_id: uuid.UUID | None = None
    username: str | None = None
    agent_id: str | None = None
    kind: str | None = None
    status: int | None = None
    unfinished: bool = False
    """Only executions that were admitted and never completed."""
    since: datetime | None = None
    until: datetime | None = None
    """Events before it."""

    def where(self) -> list[ColumnElement[bool]]:
        """As conditions."""
        conditions: list[ColumnElement[bool]] = []
        for column, value in (
            (_a.user_id, self.user_id),
            (_a.username, self.username),
            (_a.agent_id, self.agent_id),
            (_a.kind, self.kind),
            (_a.status, self.status),
        ):
            if value is not None:
                conditions.append(column == value)
        if self.unfinished:
            conditions += [_a.kind == "execution", _a.completed_at.is_(None)]
        if self.since is not None:
            conditions.append(_a.occurred_at >= self.since)
        if self.until is not None:
            conditions.append(_a.occurred_at < self.until)
        return conditions


async def insert(connection: AsyncConnection, event: Event) -> None:
    """Record ``event`` in the caller's transaction, so that an act and its record are committed together."""
    await connection.execute(audit_events.insert().values(event.row()))


async def page(
    connection: AsyncConnection, chosen: Filter, after: tuple[datetime, int] | None, limit: int
) -> list[dict[str, Any]]:
    """Up to ``limit`` events, newest first, older than the event (occurred_at, id) ``after``."""
    statement = select(audit_events).where(*chosen.where()).order_by(_a.occurred_at.desc(), _a.id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(_a.occurred_at, _a.id) < after)
    return _plain(await connection.execute(statement))


async def usage(connection: AsyncConnection, by: UsageBy, chosen: Filter) -> list[dict[str, Any]]:
    """Executions summed up by ``by``, most requests first (days: newest first).

    Per entry: key (agent id, username, owner team or UTC day), requests, errors, unfinished, cached, input_tokens,
    output_tokens, cost_dollars (Decimal, of those with a known price) and unpriced (completed without one).
    """
    day = func.to_char(cast(func.timezone("UTC", _a.occurred_at), TIMESTAMP), text("'YYYY-MM-DD'"))
    key: ColumnElement[Any] = {"agent": _a.agent_id, "user": _a.username, "owner": _a.owner, "day": day}[by]

    def count(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.count(case((condition, 1)))

    statement = (
        select(
            key.label("key"),
            func.count().label("requests"),
            count(_a.status >= 400).label("errors"),
            count(_a.completed_at.is_(None)).label("unfinished"),
            count(_a.cached).label("cached"),
            func.coalesce(func.sum(_a.input_tokens), 0).label("input_tokens"),
            func.coalesce(func.sum(_a.output_tokens), 0).label("output_tokens"),
            func.coalesce(func.sum(_a.cost_dollars), 0).label("cost_dollars"),
            count(and_(_a.completed_at.is_not(None), _a.cost_dollars.is_(None))).label("unpriced"),
        )
        .where(_a.kind == "execution", *chosen.where())
        .group_by(text("1"))
        .order_by(text("1 DESC" if by == "day" else "2 DESC, 1"))
        .limit(2000)
    )
    return _plain(await connection.execute(statement))


def _plain(result: CursorResult[Any]) -> list[dict[str, Any]]:
    # SQLAlchemy's column names are a subclass of str, which orjson does not take as keys.
    return [{str(name): value for name, value in row.items()} for row in result.mappings()]


_COMPLETE = text("""
UPDATE audit_events AS event
   SET status = done.status, error_code = done.error_code, model = done.model, input_tokens = done.input_tokens, output_tokens = done.output_tokens,
       cost_dollars = done.cost_dollars, duration_ms = done.duration_ms, completed_at = done.completed_at, cached = done.cached,
       task = done.task, answer = done.answer
  FROM json_to_recordset(cast(:completions AS json)) AS done (event_id uuid, status smallint, error_code text, model text, input_tokens bigint,
       output_tokens bigint, cost_dollars numeric(18, 9), duration_ms double precision, completed_at timestamptz, cached boolean, task text, answer text)
 WHERE event.event_id = done.event_id AND event.completed_at IS NULL
RETURNING event.event_id
""")


async def complete(connection: AsyncConnection, completions: Sequence[dict[str, Any]]) -> set[uuid.UUID]:
    """Apply completions (columns by name, at most one per event) to rows not completed yet; which were.

    A second completion of a row changes nothing.
    """
    # In order of event id, so that two replicas with overlapping batches do not deadlock.
    ordered = sorted(completions, key=lambda completion: str(completion["event_id"]))
    rows = await connection.execute(_COMPLETE, {"completions": orjson.dumps(ordered).decode()})
    return {row.event_id for row in rows}


async def known(connection: AsyncConnection, event_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Those of ``event_ids`` that have a row."""
    return {row.event_id for row in await connection.execute(select(_a.event_id).where(_a.event_id.in_(event_ids)))}
