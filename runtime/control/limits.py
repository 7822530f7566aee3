"""Owns the limits: requests a minute per user, and login attempts. One atomic Redis step, shared by all replicas.

A sliding window log: one sorted-set entry per admitted request, at Redis' own clock in microseconds, so that
replicas with different clocks agree. Entries older than the window go first, then a place is taken if one is
left. In no window of 60 s, ends included, are more than ``limit`` requests admitted. Every key expires.

What this leans on: Redis keeps its data (append-only file, no eviction). A power cut may lose the last second
of entries and admit those places again; a clock that jumps forward shortens one window by the jump. A request
whose reply was lost keeps its place: refused once too often rather than admitted once too often.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from dataclasses import dataclass
from uuid import UUID

from redis.asyncio import Redis

from catalog.contract import REDIS_LOGIN, ErrorCode, Header
from runtime.errors import PlatformError

TAKE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local function look(key, limit, span)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('(%.0f', now - span))
  local count = redis.call('ZCARD', key)
  local frees = redis.call('ZRANGE', key, math.max(count - limit, 0), math.max(count - limit, 0), 'WITHSCORES')[2]
  return count, (frees and tonumber(frees) or now) + span + 1
end
local function put(key, span, member)
  redis.call('ZADD', key, string.format('%.0f', now), member)
  redis.call('PEXPIRE', key, math.ceil(span / 1000) + 1000)
end
"""
"""Lua: ``look`` gives the places taken and the microsecond at which the next is free; ``put`` takes one."""

_LOGIN = (
    TAKE
    + """
local limit, span = tonumber(ARGV[1]), tonumber(ARGV[2])
local wait = 0
for _, key in ipairs(KEYS) do
  local count, reset = look(key, limit, span)
  if count >= limit then wait = math.max(wait, reset - now) end
end
if wait > 0 then return wait end
for _, key in ipairs(KEYS) do put(key, span, ARGV[3]) end
return 0
"""
)


@dataclass(frozen=True, slots=True)
class Rate:
    """What is left of a user's limit, as of one request."""

    allowed: bool
    limit: int
    """Requests a minute."""
    remaining: int
    reset: int
    """Epoch seconds (rounded up) at which the oldest request leaves the window and its place is free again."""
    retry_after: int
    """Seconds (rounded up, at least 1) until then."""

    @classmethod
    def of(cls, *, allowed: bool, limit: int, count: int, reset_us: int, now_us: int) -> Rate:
        """From the script's numbers: places taken after this request, and microseconds."""
        return cls(
            allowed,
            limit,
            max(limit - count, 0),
            math.ceil(reset_us / 1e6),
            max(1, math.ceil((reset_us - now_us) / 1e6)),
        )

    def headers(self) -> dict[str, str]:
        """The three X-RateLimit headers (specification section 3)."""
        return {
            Header.RATE_LIMIT: str(self.limit),
            Header.RATE_REMAINING: str(self.remaining),
            Header.RATE_RESET: str(self.reset),
        }

    def refusal(self) -> PlatformError:
        """The 429 of the specification, section 3."""
        return too_many("Rate limit exceeded. Retry after", self.retry_after, self.headers())


def too_many(sentence: str, seconds: int, headers: dict[str, str] | None = None) -> PlatformError:
    """A 429 with Retry-After."""
    return PlatformError(
        ErrorCode.RATE_LIMIT_EXCEEDED, f"{sentence} {seconds} seconds", retry_after=seconds, headers=headers
    )


class LoginAttempts:
    """Failed logins per username and per address in a sliding window.

    An attempt takes a place with both before the password is looked at, and gives it back when it was right:
    any number of attempts at once cannot try more passwords than the limit. Whoever fails often locks the
    name for the window for everybody; that is the price of a limit per user.
    """

    def __init__(self, redis: Redis, attempts: int, window_seconds: int) -> None:
        self._redis = redis
        self._script = redis.register_script(_LOGIN)
        self._attempts = attempts
        self._span = window_seconds * 1_000_000

    async def begin(self, username: str, address: str, attempt: UUID) -> int:
        """0 where the attempt may be made, else seconds to wait."""
        wait: int = await self._script(
            keys=self._keys(username, address), args=[self._attempts, self._span, attempt.bytes]
        )
        return math.ceil(wait / 1e6)

    async def succeeded(self, username: str, address: str, attempt: UUID) -> None:
        """Give the attempt's places back."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            for key in self._keys(username, address):
                pipeline.zrem(key, attempt.bytes)
            await pipeline.execute()

    def _keys(self, username: str, address: str) -> list[str]:
        # The name is whatever was typed, perhaps a password in the wrong field: only its digest is kept.
        digest = hashlib.sha256(username.encode("utf-8", "replace")).hexdigest()[:32]
        return [
            REDIS_LOGIN.format(kind="user", value=digest),
            REDIS_LOGIN.format(kind="address", value=network(address)),
        ]


def network(address: str) -> str:
    """What login attempts from ``address`` are counted under: the address, of IPv6 its /64 (one subscriber has them all)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.IPv6Network((parsed, 64), strict=False).network_address)
    return str(parsed)
