"""Owns hashing passwords: argon2id, in threads, at most a few at once.

One hash takes about 170 ms and 64 MiB with the default parameters (argon2-cffi 25.1, RFC 9106 section 4, second
recommendation): on the event loop it would stop every request, and unbounded it would take all memory.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from catalog.contract import ErrorCode
from runtime.errors import PlatformError

MIN_LENGTH = 12
"""Fewest characters of a password somebody chooses (NIST SP 800-63B-4 asks for 8 beside a second factor, 15 without)."""
MAX_LENGTH = 256
"""Most characters of a password; hashing megabytes would be a way to keep the process busy."""
_WAITING_PER_PLACE = 16

T = TypeVar("T")


class Passwords:
    """Hashes and verifies. Raises PlatformError OVERLOADED where too many already wait."""

    def __init__(self, concurrency: int, *, time_cost: int, memory_kib: int) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib)
        self._limiter: CapacityLimiter | None = None
        self._concurrency = concurrency
        self._dummy = ""
        self._inside = 0

    async def prepare(self) -> None:
        """Make the hash that unknown users are verified against; before the first ``verify``."""
        self._limiter = CapacityLimiter(self._concurrency)
        self._dummy = await self.hash(generate())

    async def hash(self, password: str) -> str:
        """The encoded hash of a password."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password: str, encoded: str | None) -> bool:
        """Whether ``password`` has this hash. None (no such user) takes as long and is false."""

        def check() -> bool:
            try:
                return self._hasher.verify(encoded or self._dummy, password)
            except (VerificationError, InvalidHashError):
                return False

        return await self._run(check) and encoded is not None

    def outdated(self, encoded: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(encoded)

    async def _run(self, work: Callable[[], T]) -> T:
        assert self._limiter is not None, "prepare() first"
        if self._inside >= self._concurrency * (1 + _WAITING_PER_PLACE):
            raise PlatformError(ErrorCode.OVERLOADED, "Too many logins at once; try again shortly", retry_after=2)
        self._inside += 1
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._inside -= 1


def generate() -> str:
    """A random password, 128 bits."""
    return secrets.token_urlsafe(16)
