"""Owns bringing completions from the Redis stream into PostgreSQL: each counts once, none is lost.

Agents add a completion to the stream ``audit``; control processes are consumers of one group. A batch is applied
in one transaction (only rows not completed yet change, so a repeated delivery changes nothing), and acknowledged
and deleted from the stream after the commit. What a process took and did not acknowledge, because it was killed
or PostgreSQL was away, is taken over by another after ``claim_seconds``. Entries that cannot be applied (not a
completion, or of an event there is no row of) are logged and set aside in the stream ``audit:aside``, so that
one bad entry does not hold up the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import time
import uuid
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy.exc import DataError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from catalog.contract import REDIS_AUDIT_GROUP, REDIS_AUDIT_STREAM
from runtime.audit import Completion
from runtime.control.store import audit
from runtime.control.store.events import clean
from runtime.metrics import ControlMetrics

ASIDE: Final = f"{REDIS_AUDIT_STREAM}:aside"
ASIDE_ENTRIES: Final = 10_000
"""About as many entries are kept aside; older ones go."""
BATCH: Final = 500
TEXT_LENGTH: Final = 1_000_000
"""Most characters kept of a task or answer."""
BLOCK_MS: Final = 1_000
"""Longest wait for new entries in Redis, milliseconds."""
_ROUND_SECONDS: Final = 5.0
_LONGEST_PAUSE: Final = 5.0
_FORGET_MS: Final = 3_600_000
_MOST: Final = 2**53
_MOST_DOLLARS: Final = 10**9

log = structlog.get_logger()
Entry = tuple[bytes, dict[bytes, bytes]]


class Drain:
    """One consumer of the stream; ``run`` until cancelled. ``redis`` waits longer than BLOCK_MS for an answer."""

    def __init__(
        self, redis: Redis, engine: AsyncEngine, metrics: ControlMetrics, *, claim_seconds: float, texts: bool
    ) -> None:
        self._redis = redis
        self._engine = engine
        self._metrics = metrics
        self._claim_ms = int(claim_seconds * 1000)
        self._texts = texts
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._held: list[Entry] = []
        self._next_round = 0.0

    async def run(self) -> None:
        """Drain until cancelled. Outages are waited out; what was taken before one is applied after it."""
        pause = 0.0
        task = asyncio.current_task()
        assert task is not None
        try:
            # Asked each time: the Redis client loses a cancellation that comes while it connects.
            while not task.cancelling():
                try:
                    await self._step()
                    pause = 0.0
                except (RedisError, SQLAlchemyError, OSError) as error:
                    pause = min(_LONGEST_PAUSE, pause * 2 or 0.1)
                    if isinstance(error, ResponseError) and str(error).startswith("NOGROUP"):
                        # The first process ever, or Redis came back empty.
                        with contextlib.suppress(RedisError):
                            await self._ensure_group()
                    else:
                        log.warning(
                            "Completions wait: Redis or PostgreSQL does not take part",
                            error=type(error).__name__,
                            pause_seconds=pause,
                        )
                    await asyncio.sleep(pause)
        finally:
            with contextlib.suppress(RedisError, OSError):
                await self._leave()

    async def _step(self) -> None:
        if self._held:
            await self._apply(self._held)
            self._held = []
        if time.monotonic() >= self._next_round:
            await self._take_over()
            await self._measure()
            self._next_round = time.monotonic() + min(self._claim_ms / 2000, _ROUND_SECONDS)
        block = min(BLOCK_MS, max(1, int((self._next_round - time.monotonic()) * 1000)))
        answer: Any = await self._redis.xreadgroup(
            REDIS_AUDIT_GROUP, self._name, {REDIS_AUDIT_STREAM: ">"}, count=BATCH, block=block
        )
        self._held = [entry for _, entries in answer or [] for entry in entries]

    async def _take_over(self) -> None:
        start: Any = "0-0"
        while True:
            start, entries, _ = await self._redis.xautoclaim(
                REDIS_AUDIT_STREAM,
                REDIS_AUDIT_GROUP,
                self._name,
                min_idle_time=self._claim_ms,
                start_id=start,
                count=BATCH,
            )
            if entries:
                log.info("Took over completions another process did not finish", completions=len(entries))
                await self._apply(entries)
            if start == b"0-0":
                break
        for consumer in await self._redis.xinfo_consumers(REDIS_AUDIT_STREAM, REDIS_AUDIT_GROUP):
            if consumer["pending"] == 0 and consumer["idle"] > _FORGET_MS:
                await self._redis.xgroup_delconsumer(REDIS_AUDIT_STREAM, REDIS_AUDIT_GROUP, consumer["name"])

    async def _measure(self) -> None:
        # Applied entries are deleted, so what the stream holds is what waits, oldest first.
        self._metrics.audit_pending.set(await self._redis.xlen(REDIS_AUDIT_STREAM))
        oldest: Any = await self._redis.xrange(REDIS_AUDIT_STREAM, count=1)
        self._metrics.audit_lag.set(max(0.0, time.time() - int(oldest[0][0].split(b"-")[0]) / 1000) if oldest else 0.0)

    async def _apply(self, entries: list[Entry]) -> None:
        good: dict[uuid.UUID, dict[str, Any]] = {}
        ids: dict[bytes, uuid.UUID] = {}
        bad: dict[bytes, str] = {}
        contents = dict(entries)
        for entry_id, fields in entries:
            try:
                columns = _columns(Completion.from_fields(fields), texts=self._texts)
            except (ValueError, TypeError, InvalidOperation) as error:
                bad[entry_id] = f"not a completion ({type(error).__name__})"
                continue
            ids[entry_id] = columns["event_id"]
            good.setdefault(columns["event_id"], columns)
        refused = await self._complete(good)
        bad.update({entry_id: refused[event_id] for entry_id, event_id in ids.items() if event_id in refused})
        async with self._redis.pipeline(transaction=True) as pipeline:
            for entry_id, reason in bad.items():
                log.error("Completion set aside", entry=entry_id.decode(), reason=reason, stream=ASIDE)
                fields = {**contents[entry_id], b"reason": reason.encode()}
                pipeline.xadd(ASIDE, fields, maxlen=ASIDE_ENTRIES, approximate=True)  # type: ignore[arg-type]
            pipeline.xack(REDIS_AUDIT_STREAM, REDIS_AUDIT_GROUP, *contents)
            pipeline.xdel(REDIS_AUDIT_STREAM, *contents)
            await pipeline.execute()

    async def _complete(self, good: dict[uuid.UUID, dict[str, Any]]) -> dict[uuid.UUID, str]:
        """Apply and commit; the events that could not be, with the reason."""
        if not good:
            return {}
        try:
            async with self._engine.begin() as connection:
                missing = set(good) - await audit.complete(connection, list(good.values()))
                known = await audit.known(connection, list(missing)) if missing else set()
        except DataError:
            if len(good) == 1:
                return dict.fromkeys(good, "refused by the database")
            refused: dict[uuid.UUID, str] = {}
            for event_id, columns in good.items():
                refused.update(await self._complete({event_id: columns}))
            return refused
        return dict.fromkeys(missing - known, "no such event")

    async def _ensure_group(self) -> None:
        try:
            await self._redis.xgroup_create(REDIS_AUDIT_STREAM, REDIS_AUDIT_GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _leave(self) -> None:
        # Deleting a consumer drops what it still holds, so only one that holds nothing goes.
        for consumer in await self._redis.xinfo_consumers(REDIS_AUDIT_STREAM, REDIS_AUDIT_GROUP):
            if consumer["name"] == self._name.encode() and consumer["pending"] == 0:
                await self._redis.xgroup_delconsumer(REDIS_AUDIT_STREAM, REDIS_AUDIT_GROUP, self._name)


def _columns(completion: Completion, *, texts: bool) -> dict[str, Any]:
    """As column values. Raises ValueError, TypeError or InvalidOperation for what no row can hold."""
    values = asdict(completion)
    completed_at = datetime.fromisoformat(completion.completed_at)
    cost = Decimal(completion.cost_dollars) if completion.cost_dollars else None
    numbers = (completion.input_tokens, completion.output_tokens)
    if not 100 <= completion.status <= 599 or completed_at.tzinfo is None or not math.isfinite(completion.duration_ms):
        raise ValueError("status, completed_at or duration_ms")
    if not all(0 <= number <= _MOST for number in numbers) or (cost is not None and not 0 <= cost < _MOST_DOLLARS):
        raise ValueError("tokens or cost")
    values["event_id"] = uuid.UUID(completion.event_id)
    values["cost_dollars"] = None if cost is None else str(cost)
    values["error_code"] = clean(completion.error_code, 64) or None
    values["model"] = clean(completion.model, 128) or None
    for name in ("task", "answer"):
        text = str(values[name])[:TEXT_LENGTH].replace("\x00", "") if texts else ""
        values[name] = text or None
    return values
