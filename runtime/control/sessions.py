"""Owns sessions: access tokens, and refresh tokens that work once each.

A session is one login and everything refreshed from it (a family), kept in Redis under ``session:<id>``. It ends
by logout, by time, when its user's generation moves on (disabled, password changed), or when a refresh token is
presented that was used before: then the real one or a stolen copy is in other hands, and the family is revoked.
A refresh token carries a MAC, so only a token that was really issued can revoke anything.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import uuid
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from catalog.contract import REDIS_SESSION
from runtime.control.principals import Pepper, text_digest
from runtime.control.store.users import User
from runtime.identity import SigningKeys

ACCESS_AUDIENCE = "control"
"""Audience of access tokens; identity tokens have another, so neither passes for the other."""
_RANDOM_BYTES = 32
_MAC_BYTES = 16

# Compare and replace in one step: of two requests with one token exactly one wins, the other is reuse.
_ROTATE = """
local raw = redis.call('GET', KEYS[1])
if not raw then return 'gone' end
local session = cjson.decode(raw)
if session.refresh ~= ARGV[1] then redis.call('DEL', KEYS[1]) return 'reused' end
if session.user ~= ARGV[3] or session.generation ~= tonumber(ARGV[4]) then redis.call('DEL', KEYS[1]) return 'gone' end
session.refresh = ARGV[2]
redis.call('SET', KEYS[1], cjson.encode(session), 'EX', ARGV[5])
return 'rotated'
"""

Rotation = Literal["rotated", "reused", "gone"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login or refresh gives."""

    session_id: str
    access_token: str
    refresh_token: str
    expires_in: int
    """Life of the access token, seconds."""

    def body(self) -> dict[str, Any]:
        """As a response body (the shape of RFC 6749, section 5.1)."""
        return {
            "access_token": self.access_token,
            "token_type": "bearer",
            "expires_in": self.expires_in,
            "refresh_token": self.refresh_token,
        }


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token of ours: the MAC was right. Whether it is the current one is Redis' to say."""

    session_id: str
    digest: str


class Sessions:
    """Begins, refreshes and ends sessions."""

    def __init__(
        self, redis: Redis, keys: SigningKeys, pepper: Pepper, access_seconds: int, refresh_seconds: int
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._pepper = pepper
        self._access_seconds = access_seconds
        self._refresh_seconds = refresh_seconds
        self._rotate = redis.register_script(_ROTATE)

    async def begin(self, user: User) -> Tokens:
        """A new session of ``user``."""
        tokens = self._tokens(user, str(uuid.uuid4()))
        session = {"user": str(user.id), "generation": user.generation, "refresh": text_digest(tokens.refresh_token)}
        await self._redis.set(session_name(tokens.session_id), orjson.dumps(session), ex=self._refresh_seconds)
        return tokens

    def parse(self, refresh_token: str) -> RefreshToken | None:
        """The refresh token, if it was ever issued here."""
        session_id, _, encoded = refresh_token.partition(".")
        try:
            # Canonical forms only: of one token there is one spelling, and so one digest.
            secret = base64.b64decode(encoded, altchars=b"-_", validate=True)
            canonical = (
                str(uuid.UUID(session_id)) == session_id and base64.urlsafe_b64encode(secret).decode() == encoded
            )
        except (ValueError, binascii.Error):
            return None
        random, mac = secret[:_RANDOM_BYTES], secret[_RANDOM_BYTES:]
        if not canonical or not secrets.compare_digest(mac, self._mac(session_id, random)):
            return None
        return RefreshToken(session_id, text_digest(refresh_token))

    async def owner(self, session_id: str) -> str | None:
        """Id of the session's user, None where there is no such session (any more)."""
        raw = await self._redis.get(session_name(session_id))
        return None if raw is None else str(orjson.loads(raw)["user"])

    async def rotate(self, token: RefreshToken, user: User) -> tuple[Rotation, Tokens]:
        """Trade ``token`` for new ones; they count only where the answer is "rotated"."""
        tokens = self._tokens(user, token.session_id)
        args: list[str | int] = [
            token.digest,
            text_digest(tokens.refresh_token),
            str(user.id),
            user.generation,
            self._refresh_seconds,
        ]
        outcome: bytes = await self._rotate(keys=[session_name(token.session_id)], args=args)
        answers: dict[bytes, Rotation] = {b"rotated": "rotated", b"reused": "reused", b"gone": "gone"}
        return answers[outcome], tokens

    async def end(self, session_id: str) -> bool:
        """End a session: whether it was alive."""
        return bool(await self._redis.delete(session_name(session_id)))

    def _tokens(self, user: User, session_id: str) -> Tokens:
        access = self._keys.sign(
            ACCESS_AUDIENCE, str(user.id), self._access_seconds, {"sid": session_id, "name": user.username}
        )
        random = secrets.token_bytes(_RANDOM_BYTES)
        refresh = f"{session_id}.{base64.urlsafe_b64encode(random + self._mac(session_id, random)).decode()}"
        return Tokens(session_id, access, refresh, self._access_seconds)

    def _mac(self, session_id: str, random: bytes) -> bytes:
        return self._pepper.mac(b"refresh", session_id.encode() + random)[:_MAC_BYTES]


def session_name(session_id: str) -> str:
    """Redis key of a session."""
    return REDIS_SESSION.format(id=session_id)
