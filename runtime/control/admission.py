"""Owns the decision about a credential: who is it, is it alive, is a place left. One Redis round trip when warm.

Fails closed: without Redis there are neither sessions nor limits, and an answer would honour neither, so every
request gets 503 SERVICE_UNAVAILABLE with retry_after until Redis is back. Nothing is remembered over an outage,
and nothing has to be restarted after one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from catalog.contract import RATE_WINDOW_SECONDS, REDIS_LIMIT, ErrorCode
from runtime.control.limits import TAKE, Rate
from runtime.control.principals import (
    CredentialKind,
    Pepper,
    Principal,
    Records,
    key_name,
    key_record,
    principal_of,
    user_name,
    user_record,
)
from runtime.control.sessions import ACCESS_AUDIENCE, session_name
from runtime.control.store import users
from runtime.dynamic import DynamicSource
from runtime.errors import PlatformError
from runtime.identity import SigningKeys, TokenError
from runtime.redis import MAX_CONNECTIONS

RETRY_SECONDS: Final = 5
"""retry_after of a 503, seconds: about how long a restart of Redis or PostgreSQL takes."""
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/=-]{1,4096}) *")
_API_KEY = re.compile(r"sk-[A-Za-z0-9_-]{43}")
_KNOWN_KEYS = 10_000
_LOADING = 6
"""Most reads of PostgreSQL at once; below the database's pool, so that those who cannot be admitted never hold all of it."""
TURN_SECONDS: Final = 3.0
"""Longest wait for a turn at Redis or PostgreSQL, seconds."""
_MISS: Final[list[Any]] = [b"miss"]

# A record starts with "{"; a lease or tombstone ("?…", "!…") in its place means: ask PostgreSQL (principals.py).
_ADMIT = (
    TAKE
    + """
local function record(raw) if raw and string.byte(raw) == 123 then return cjson.decode(raw) end end
local kind, span, member, override = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local raw_credential = ARGV[5] ~= '' and ARGV[5] or redis.call('GET', KEYS[1])
local raw_user = ARGV[6] ~= '' and ARGV[6] or redis.call('GET', KEYS[2])
local credential = record(raw_credential)
if not credential then return {kind == 'session' and 'ended' or 'miss'} end
local user = record(raw_user)
if not user then return {'miss'} end
if credential.user ~= user.id then return {'unknown'} end
if kind == 'session' and credential.generation ~= user.generation then return {'ended'} end
if kind == 'key' and credential.expires > 0 and credential.expires * 1000000 <= now then return {'expired'} end
if not user.enabled then return {'disabled'} end
local limit = override >= 0 and override or user.limit
local count, reset = look(KEYS[3], limit, span)
local allowed = 0
if count < limit then
  put(KEYS[3], span, member)
  allowed, count = 1, count + 1
  if count == 1 then reset = now + span + 1 end
end
return {'ok', raw_credential, raw_user, allowed, limit, count, string.format('%.0f', reset), string.format('%.0f', now)}
"""
)


@dataclass(frozen=True, slots=True)
class Admission:
    """A living credential's principal, and what is left of their limit. Whether ``rate.allowed`` is for the caller to act on."""

    principal: Principal
    rate: Rate


class RefusedError(Exception):
    """No credential, or not a living one; ``reason`` is for the audit and not for the caller."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Credential:
    kind: CredentialKind
    name: str
    user_id: str
    username: str
    id: str
    digest: bytes = b""


def unauthenticated(
    message: str = "A valid access token or API key is required: Authorization: Bearer <token>",
) -> PlatformError:
    """A 401. The one of a refused credential does not say what was wrong with it."""
    return PlatformError(
        ErrorCode.UNAUTHENTICATED, message, headers={"WWW-Authenticate": 'Bearer realm="ai-agents-platform"'}
    )


def unavailable() -> PlatformError:
    """The 503 while Redis or PostgreSQL is away."""
    return PlatformError(
        ErrorCode.SERVICE_UNAVAILABLE, "The service is temporarily unavailable", retry_after=RETRY_SECONDS
    )


class Admissions:
    """Decides about credentials. Raises RedisError and the database's errors as they come."""

    def __init__(
        self,
        redis: Redis,
        engine: AsyncEngine,
        keys: SigningKeys,
        pepper: Pepper,
        records: Records,
        dynamic: DynamicSource,
    ) -> None:
        self._script = redis.register_script(_ADMIT)
        self._engine = engine
        self._keys = keys
        self._pepper = pepper
        self._records = records
        self._dynamic = dynamic
        # Whose a digest is never changes, so remembering it needs no invalidation; whether it lives is asked each time.
        self._known: dict[bytes, _Credential] = {}
        # In a burst requests wait here, in order, and not for a connection, which they would only do for a fraction of a second.
        self._asking = asyncio.Semaphore(MAX_CONNECTIONS // 2)
        self._loading = asyncio.Semaphore(_LOADING)

    async def admit(self, authorization: str | None, member: uuid.UUID) -> Admission:
        """Who ``authorization`` (the header's value) stands for; takes a place of their limit as ``member``. Raises RefusedError."""
        token = self._token(authorization)
        digest, credential = b"", None
        if not token.startswith("sk-"):
            credential = self._session(token)
        elif _API_KEY.fullmatch(token):
            digest = self._pepper.digest(token)
            credential = self._known.get(digest)
        else:
            raise RefusedError("malformed API key")
        answer = await self._ask(credential, member) if credential else _MISS
        if credential is None or answer[0] == b"miss":
            credential, answer = await self._admit_unknown(digest, credential, member)
        return _admission(credential, answer)

    async def _admit_unknown(
        self, digest: bytes, credential: _Credential | None, member: uuid.UUID
    ) -> tuple[_Credential, list[Any]]:
        """As ``admit``, where Redis holds no copy. Few at a time: of a hundred who miss at once most find it when it is their turn."""
        async with _turn(self._loading):
            credential = credential or self._known.get(digest)
            answer = await self._ask(credential, member) if credential else _MISS
            if credential is None or answer[0] == b"miss":
                fresh = (b"", b"")
                if credential is None or credential.kind == "key":
                    credential, fresh = await self._load_key(digest)
                else:
                    fresh = (b"", await self._load_user(credential.user_id))
                answer = await self._ask(credential, member, fresh)
        return credential, answer

    def _token(self, authorization: str | None) -> str:
        if authorization is None:
            raise RefusedError("no credential")
        match = _BEARER.fullmatch(authorization)
        if match is None:
            raise RefusedError("malformed Authorization header")
        return match[1]

    def _session(self, token: str) -> _Credential:
        try:
            claims = self._keys.claims(token, ACCESS_AUDIENCE, ("sid",))
        except TokenError as error:
            raise RefusedError(f"access token: {error}") from None
        session_id, user_id = str(claims["sid"]), str(claims["sub"])
        try:
            uuid.UUID(user_id), uuid.UUID(session_id)
        except ValueError:
            raise RefusedError("access token: not of ours") from None
        return _Credential("session", session_name(session_id), user_id, str(claims.get("name", "")), session_id)

    async def _ask(
        self, credential: _Credential, member: uuid.UUID, fresh: tuple[bytes, bytes] = (b"", b"")
    ) -> list[Any]:
        override = self._dynamic.current.rate_limits.get(credential.username, -1)
        keys = [credential.name, user_name(credential.user_id), REDIS_LIMIT.format(id=credential.user_id)]
        async with _turn(self._asking):
            answer: list[Any] = await self._script(
                keys=keys, args=[credential.kind, RATE_WINDOW_SECONDS * 1_000_000, member.bytes, override, *fresh]
            )
        return answer

    async def _load_key(self, digest: bytes) -> tuple[_Credential, tuple[bytes, bytes]]:
        name = key_name(digest)
        lease = await self._records.lease([name])
        async with self._engine.connect() as connection:
            found = await users.find_by_digest(connection, digest)
        if found is None or found[0].revoked_at is not None or not hmac.compare_digest(found[0].digest, digest):
            await self._records.fill(name, lease, b"")
            raise RefusedError("unknown API key" if found is None else "revoked API key")
        key, user = found
        credential = _Credential("key", name, str(user.id), user.username, str(key.id), digest)
        if len(self._known) >= _KNOWN_KEYS:
            self._known.clear()
        self._known[digest] = credential
        record = key_record(key)
        await self._records.fill(name, lease, record)
        # The user's copy is not filled from here: its lease would have to be taken before the read.
        return credential, (record, await self._load_user(str(user.id)))

    async def _load_user(self, user_id: str) -> bytes:
        name = user_name(user_id)
        lease = await self._records.lease([name])
        async with self._engine.connect() as connection:
            user = await users.find_by_id(connection, uuid.UUID(user_id))
        record = b"" if user is None else user_record(user)
        await self._records.fill(name, lease, record)
        if not record:
            raise RefusedError("unknown user")
        return record


@contextlib.asynccontextmanager
async def _turn(places: asyncio.Semaphore) -> AsyncIterator[None]:
    """One of ``places``. Raises redis' TimeoutError after TURN_SECONDS, so that behind an outage no queue builds up."""
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await places.acquire()
    except TimeoutError:
        raise RedisTimeoutError("no turn within the time") from None
    try:
        yield
    finally:
        places.release()


def _admission(credential: _Credential, answer: list[Any]) -> Admission:
    if answer[0] != b"ok":
        raise RefusedError(f"{credential.kind}: {answer[0].decode()}")
    _, raw_credential, raw_user, allowed, limit, count, reset, now = answer
    record = orjson.loads(raw_credential)
    if credential.kind == "key" and not hmac.compare_digest(record["digest"], credential.digest.hex()):
        raise RefusedError("unknown API key")
    principal = principal_of(credential.kind, credential.id, orjson.loads(raw_user))
    return Admission(
        principal, Rate.of(allowed=allowed == 1, limit=limit, count=count, reset_us=int(reset), now_us=int(now))
    )
