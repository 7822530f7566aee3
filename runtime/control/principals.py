"""Owns who a credential stands for: reading, caching and un-caching users and API keys.

Redis holds a copy of a user (``user:<id>``) and of an API key (``key:<digest>``) for RECORD_SECONDS, so that
PostgreSQL is not asked on every request. A copy can never outlive a revocation:

- A reader fills a key only under a lease: it puts a random token in the empty key, reads PostgreSQL, and replaces
  the token (compare and set). Whatever happened to the key in between, the copy it read is then not stored.
- A writer puts a tombstone in the key before its transaction and deletes the key after the commit. While the
  tombstone stands nobody takes a lease and every request reads PostgreSQL; the delete also ends older leases.

When a writer dies between commit and delete its tombstone stands until it expires, by which time the transaction
is over (the server ends statements after 5 s). One window is left: two writers change the same user at once and
one dies in just that gap; then a copy may be RECORD_SECONDS old.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from catalog.contract import DEFAULT_RATE_LIMIT, REDIS_API_KEY, REDIS_USER
from runtime.control.store.users import ApiKey, Role, User

RECORD_SECONDS = 60
_LEASE_MS = 5_000
_TOMBSTONE_MS = 15_000
PEPPER_BYTES = 32
"""Fewest bytes of the pepper."""

CredentialKind = Literal["session", "key"]

_FILL = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
return 1
"""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request, and by which credential."""

    user_id: str
    username: str
    role: Role
    credential: CredentialKind
    credential_id: str
    """Id of the session or API key."""

    @property
    def admin(self) -> bool:
        """Whether they administer the platform."""
        return self.role == "admin"


def user_record(user: User) -> bytes:
    """The cached copy of a user."""
    limit = DEFAULT_RATE_LIMIT if user.requests_per_minute is None else user.requests_per_minute
    return orjson.dumps(
        {
            "id": str(user.id),
            "username": user.username,
            "role": user.role,
            "enabled": user.enabled,
            "limit": limit,
            "generation": user.generation,
        }
    )


def key_record(key: ApiKey) -> bytes:
    """The cached copy of an API key; expires is in epoch seconds, 0 for never."""
    return orjson.dumps(
        {
            "id": str(key.id),
            "user": str(key.user_id),
            "expires": key.expires_at.timestamp() if key.expires_at else 0,
            "digest": key.digest.hex(),
        }
    )


def principal_of(kind: CredentialKind, credential_id: str, user: Mapping[str, Any]) -> Principal:
    """The principal of a decoded user record."""
    return Principal(user["id"], user["username"], user["role"], kind, credential_id)


class Pepper:
    """Makes API keys and their digests. The digest is an HMAC: a stolen table alone verifies no guess."""

    def __init__(self, pepper: bytes) -> None:
        if len(pepper) < PEPPER_BYTES:
            raise ValueError(f"the API key pepper has {len(pepper)} bytes; it needs {PEPPER_BYTES} or more")
        self._pepper = pepper

    def __repr__(self) -> str:
        return "Pepper(***)"

    @classmethod
    def from_file(cls, path: Path) -> Pepper:
        """Raises ValueError naming the file where it is too short."""
        try:
            return cls(path.read_bytes().strip())
        except ValueError as error:
            raise ValueError(f"API_KEY_PEPPER: {path}: {error}") from None

    def new_key(self) -> tuple[str, str, bytes]:
        """A new API key: (key, prefix for display, digest)."""
        key = "sk-" + secrets.token_urlsafe(32)
        return key, key[:9], self.digest(key)

    def digest(self, key: str) -> bytes:
        """HMAC-SHA-256 of a key, 32 bytes."""
        return hmac.digest(self._pepper, key.encode(), "sha256")

    def mac(self, purpose: bytes, message: bytes) -> bytes:
        """HMAC-SHA-256 of ``message`` under a key of its own for ``purpose``, 32 bytes."""
        return hmac.digest(hmac.digest(self._pepper, b"purpose:" + purpose, "sha256"), message, "sha256")


class Records:
    """The cached copies: see the module's docstring for why they are never stale after a change."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._fill = redis.register_script(_FILL)

    async def lease(self, names: Iterable[str]) -> bytes:
        """Take the empty ones of ``names``; the token to fill them with, after reading PostgreSQL."""
        token = b"?" + secrets.token_bytes(16)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.set(name, token, nx=True, px=_LEASE_MS)
            await pipeline.execute()
        return token

    async def fill(self, name: str, token: bytes, record: bytes) -> None:
        """Store what was read, unless the lease is gone; an empty record gives the lease back."""
        await self._fill(keys=[name], args=[token, record, RECORD_SECONDS])

    @contextlib.asynccontextmanager
    async def changing(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Around a transaction that changes what ``names`` are copies of: after it nobody sees the old."""
        chosen = list(names)
        tombstone = b"!" + secrets.token_bytes(8)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in chosen:
                pipeline.set(name, tombstone, px=_TOMBSTONE_MS)
            await pipeline.execute()
        try:
            yield
        finally:
            await self._redis.delete(*chosen)


def user_name(user_id: str | uuid.UUID) -> str:
    """Redis key of a user's copy."""
    return REDIS_USER.format(id=user_id)


def key_name(digest: bytes) -> str:
    """Redis key of an API key's copy."""
    return REDIS_API_KEY.format(digest=digest.hex())


def text_digest(text: str) -> str:
    """SHA-256 of a secret with full entropy, 64 hexadecimal digits."""
    return sha256(text.encode()).hexdigest()
