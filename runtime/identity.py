"""Owns the platform's signed tokens: identity tokens (control → agent) and access tokens (control → user).

Both are Ed25519 JWTs (RFC 8037, ``alg: EdDSA`` pinned) of one issuer, told apart by audience. A key file
is PEM: several keys one after another, so that two are valid while a rotation is under way; the first signs.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from catalog.contract import IDENTITY_AUDIENCE, IDENTITY_ISSUER, IDENTITY_SECONDS

_ALGORITHM = "EdDSA"
_LEEWAY_SECONDS = 5
_END = "-----END "


class TokenError(Exception):
    """A token that is not to be believed; the message is for the log, not for the caller."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request is from, as control established it, bound to one agent and one request."""

    user_id: str
    username: str
    agent_id: str
    request_id: str
    event_id: str
    """Id of the request's audit row; the agent completes it under this id."""


class VerifyingKeys:
    """Public keys by key id; verifies tokens signed with any of them."""

    def __init__(self, keys: Sequence[Ed25519PublicKey]) -> None:
        if not keys:
            raise ValueError("no public key: the key file holds none")
        self._keys = {key_id(key): key for key in keys}

    @classmethod
    def from_file(cls, path: Path) -> VerifyingKeys:
        """Keys of a PEM file of public keys. Raises ValueError naming the file where it holds none."""
        keys = [serialization.load_pem_public_key(block) for block in _pem_blocks(path)]
        chosen = [key for key in keys if isinstance(key, Ed25519PublicKey)]
        if not chosen:
            raise ValueError(f"{path}: holds no Ed25519 public key")
        return cls(chosen)

    def claims(self, token: str, audience: str, required: Sequence[str] = ()) -> dict[str, Any]:
        """The verified claims of ``token``. Raises TokenError for anything but a valid, unexpired one."""
        try:
            key = self._keys.get(_named_key(token.partition(".")[0]))
            if key is None:
                raise TokenError("signed with an unknown key")
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=[_ALGORITHM], audience=audience, issuer=IDENTITY_ISSUER, leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub", *required]},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise TokenError(type(error).__name__) from None
        return claims

    def identity(self, token: str, *, agent_id: str, request_id: str) -> Identity:
        """The identity in ``token``, which must be for this agent and this request. Raises TokenError."""
        claims = self.claims(token, IDENTITY_AUDIENCE, ("agent", "rid", "jti"))
        if claims["agent"] != agent_id:
            raise TokenError("for another agent")
        if claims["rid"] != request_id:
            raise TokenError("for another request")
        return Identity(claims["sub"], str(claims.get("name", "")), agent_id, request_id, claims["jti"])


class SigningKeys(VerifyingKeys):
    """Private keys: the first signs, all of them verify."""

    def __init__(self, keys: Sequence[Ed25519PrivateKey]) -> None:
        super().__init__([key.public_key() for key in keys])
        self._signer = keys[0]
        self._signer_id = key_id(keys[0].public_key())

    @classmethod
    def from_file(cls, path: Path) -> SigningKeys:
        """Keys of a PEM file of private keys. Raises ValueError naming the file where it holds none."""
        return cls.from_pem(path.read_bytes(), str(path))

    @classmethod
    def from_pem(cls, pem: bytes, source: str) -> SigningKeys:
        """Keys of PEM text that came from ``source``. Raises ValueError naming it where it holds none."""
        keys = [serialization.load_pem_private_key(block, None) for block in _blocks(pem)]
        chosen = [key for key in keys if isinstance(key, Ed25519PrivateKey)]
        if not chosen:
            raise ValueError(f"{source}: holds no Ed25519 private key")
        return cls(chosen)

    def sign(self, audience: str, subject: str, seconds: int, claims: dict[str, Any]) -> str:
        """A token for ``subject`` that ``audience`` believes for ``seconds``."""
        now = int(time.time())
        standard = {"iss": IDENTITY_ISSUER, "aud": audience, "sub": subject, "iat": now, "exp": now + seconds}
        return jwt.encode({**claims, **standard}, self._signer, algorithm=_ALGORITHM, headers={"kid": self._signer_id})

    def identity_token(self, identity: Identity) -> str:
        """The 60-second token with which an agent knows who calls."""
        claims = {
            "name": identity.username,
            "agent": identity.agent_id,
            "rid": identity.request_id,
            "jti": identity.event_id,
        }
        return self.sign(IDENTITY_AUDIENCE, identity.user_id, IDENTITY_SECONDS, claims)


@lru_cache(maxsize=64)
def _named_key(header: str) -> str:
    # There are as many different headers as keys, so this is nearly always remembered; PyJWT would decode the
    # whole token twice. Only chooses the key: jwt.decode checks the header itself, algorithm included.
    try:
        return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])
    except (ValueError, KeyError, TypeError):
        return ""


def generate_key_pair() -> tuple[bytes, bytes]:
    """A new key as PEM: (private, public)."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def key_id(key: Ed25519PublicKey) -> str:
    """The key's id: the first 16 hexadecimal digits of its SHA-256."""
    return sha256(key.public_bytes_raw()).hexdigest()[:16]


def _pem_blocks(path: Path) -> list[bytes]:
    return _blocks(path.read_bytes())


def _blocks(pem: bytes) -> list[bytes]:
    blocks: list[bytes] = []
    current: list[str] = []
    for line in pem.decode("ascii").splitlines():
        current.append(line)
        if line.startswith(_END):
            blocks.append("\n".join(current).strip().encode())
            current = []
    return blocks
