"""Owns cached answers in Redis: what makes two requests the same, and reading and writing within a time to live.

Answers are of one principal only. The cache is a convenience: while its Redis is away every look-up is a miss.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from catalog.contract import REDIS_ANSWER
from runtime.agent.models.base import Answer, Call

PAUSE_SECONDS = 5.0
"""How long the cache is left alone after a failure, so that a dead Redis does not slow every request."""

log = structlog.get_logger()


def key(call: Call, principal: str) -> str:
    """The Redis key of ``call``'s answer for ``principal``: a digest of everything the answer depends on."""
    parts = [
        call.agent.id,
        call.model,
        call.system,
        call.user,
        call.max_tokens,
        call.temperature,
        call.effort,
        principal,
    ]
    return REDIS_ANSWER.format(digest=hashlib.sha256(orjson.dumps(parts)).hexdigest())


class AnswerCache:
    """Answers by key. Without a Redis every look-up is a miss."""

    def __init__(self, redis: Redis | None) -> None:
        self._redis = redis
        self._paused_until = 0.0

    async def get(self, name: str) -> Answer | None:
        """The answer under ``name`` or None."""
        if self._redis is None or time.monotonic() < self._paused_until:
            return None
        try:
            stored = await self._redis.get(name)
            return None if stored is None else Answer(**orjson.loads(stored))
        except (RedisError, OSError) as error:
            self._pause(error)
        except (ValueError, TypeError):
            log.warning("A cached answer is malformed; it is ignored")
        return None

    async def put(self, name: str, answer: Answer, seconds: int) -> None:
        """Keep ``answer`` for ``seconds``, if it is a complete one; a refusal or a cut answer is not."""
        if self._redis is None or answer.stop_reason != "end_turn" or time.monotonic() < self._paused_until:
            return
        try:
            await self._redis.set(name, orjson.dumps(asdict(answer)), ex=seconds)
        except (RedisError, OSError) as error:
            self._pause(error)

    def _pause(self, error: Exception) -> None:
        self._paused_until = time.monotonic() + PAUSE_SECONDS
        log.warning("The cache is away", error=type(error).__name__)

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()
