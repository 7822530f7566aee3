"""Owns handing completions to control: one entry a completion in the Redis stream, before the caller is answered.

Requests that end together go in one pipeline. While Redis is away, callers do not wait: completions stay in a
bounded queue here and are tried again, also at shutdown. What is lost all the same is visible: control's
admitted row stays unfinished. An entry may be delivered twice; control applies it once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from catalog.contract import REDIS_AUDIT_STREAM
from runtime.audit import Completion
from runtime.consul import backoff
from runtime.metrics import AgentMetrics

MAX_PENDING_BYTES = 16 * 1024 * 1024
"""Most bytes of completions kept while Redis is away: some 18,000 without texts."""
BATCH = 256
WAIT_SECONDS = 0.5
"""Longest a caller's answer waits for its completion to be stored."""
_ENTRY_BYTES = 640
"""What an entry takes beside its text: dict, future, queue (measured)."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Pending:
    fields: dict[Any, Any]
    stored: asyncio.Future[None]

    @property
    def size(self) -> int:
        return _ENTRY_BYTES + sum(map(len, self.fields.values()))


class Completions:
    """The queue and the task (``run``) that empties it."""

    def __init__(self, redis: Redis, metrics: AgentMetrics, *, max_pending_bytes: int = MAX_PENDING_BYTES) -> None:
        self._redis = redis
        self._metrics = metrics
        self._max_bytes = max_pending_bytes
        self._queue: deque[_Pending] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._failures = 0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, completion: Completion) -> asyncio.Future[None]:
        """Queue ``completion``; the future is done when it is stored, or when Redis turned out to be away."""
        # Copied: orjson's bytes hold on to a 4 KiB buffer, fifteen times their length (measured with orjson 3.13).
        fields = {name: bytes(memoryview(value)) for name, value in completion.fields().items()}
        pending = _Pending(fields, asyncio.get_running_loop().create_future())
        self._queue.append(pending)
        self._bytes += pending.size
        if self._failures:
            pending.stored.set_result(None)
            self._metrics.completions_pending.set(len(self._queue))
        while self._bytes > self._max_bytes:
            dropped = self._queue.popleft()
            self._bytes -= dropped.size
            if not dropped.stored.done():
                dropped.stored.set_result(None)
            self._metrics.completions_dropped.inc()
        self._filled.set()
        return pending.stored

    async def publish(self, completion: Completion) -> None:
        """Queue ``completion`` and wait until it is stored, but not while Redis is away. Never raises."""
        stored = self.add(completion)
        if not stored.done():
            # wait() neither cancels the future nor raises at the end of the time.
            await asyncio.wait((stored,), timeout=WAIT_SECONDS)

    async def run(self) -> None:
        """Empty the queue into the stream until cancelled, backing off while Redis is away."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._queue:
                if not await self._store():
                    await asyncio.sleep(backoff(self._failures))

    async def close(self, seconds: float = 5.0) -> None:
        """After ``run`` was cancelled: store what is left, trying for ``seconds``, and close the connections."""
        try:
            async with asyncio.timeout(seconds):
                while self._queue:
                    if not await self._store():
                        await asyncio.sleep(0.2)
        except TimeoutError:
            log.error("Completions could not be stored; their audit rows stay unfinished", count=len(self._queue))
        await self._redis.aclose()

    async def _store(self) -> bool:
        batch = [self._queue[index] for index in range(min(BATCH, len(self._queue)))]
        try:
            if len(batch) == 1:
                await self._redis.xadd(REDIS_AUDIT_STREAM, batch[0].fields)
            else:
                pipeline = self._redis.pipeline(transaction=False)
                for pending in batch:
                    pipeline.xadd(REDIS_AUDIT_STREAM, pending.fields)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            self._failed(error)
            return False
        # Entries may have been dropped from the front meanwhile; what is left of the batch is still there.
        done = set(map(id, batch))
        while self._queue and id(self._queue[0]) in done:
            self._bytes -= self._queue.popleft().size
        for pending in batch:
            if not pending.stored.done():
                pending.stored.set_result(None)
        if self._failures:
            log.info("Redis is back; completions are stored")
            self._failures = 0
        self._metrics.completions_pending.set(len(self._queue))
        self._metrics.dependency_up.labels("redis").set(1)
        return True

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            log.warning("Redis is away; completions are kept and tried again", error=type(error).__name__)
        for pending in self._queue:
            if not pending.stored.done():
                pending.stored.set_result(None)
        self._metrics.completions_pending.set(len(self._queue))
        self._metrics.dependency_up.labels("redis").set(0)
