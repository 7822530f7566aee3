"""Identity tokens are believed only for their agent, their request, their minute and our keys."""

from __future__ import annotations

import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from catalog.contract import IDENTITY_AUDIENCE, IDENTITY_ISSUER
from runtime.identity import Identity, SigningKeys, TokenError, VerifyingKeys, generate_key_pair, key_id

WHO = Identity("user-1", "ann", "a_agent_001", "request-1", "event-1")


def read(keys: VerifyingKeys, token: str, agent_id: str = WHO.agent_id, request_id: str = WHO.request_id) -> Identity:
    return keys.identity(token, agent_id=agent_id, request_id=request_id)


@pytest.fixture(scope="module")
def private() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="module")
def keys(private: Ed25519PrivateKey) -> SigningKeys:
    return SigningKeys([private])


def test_a_token_says_who_calls(keys: SigningKeys) -> None:
    assert read(keys, keys.identity_token(WHO)) == WHO


@pytest.mark.parametrize("binding", [{"agent_id": "b_agent_002"}, {"request_id": "request-2"}])
def test_a_token_for_another_agent_or_request_is_refused(keys: SigningKeys, binding: dict[str, str]) -> None:
    with pytest.raises(TokenError, match="for another"):
        read(keys, keys.identity_token(WHO), **binding)


def test_an_expired_token_is_refused(keys: SigningKeys) -> None:
    claims = {"agent": WHO.agent_id, "rid": WHO.request_id, "jti": WHO.event_id}
    with pytest.raises(TokenError, match="ExpiredSignature"):
        read(keys, keys.sign(IDENTITY_AUDIENCE, "user-1", -60, claims))


def test_an_access_token_is_no_identity_token(keys: SigningKeys) -> None:
    claims = {"agent": WHO.agent_id, "rid": WHO.request_id, "jti": WHO.event_id}
    with pytest.raises(TokenError, match="InvalidAudience"):
        read(keys, keys.sign("control", "user-1", 60, claims))


@pytest.mark.parametrize("missing", ["agent", "rid", "jti"])
def test_a_token_without_a_binding_is_refused(keys: SigningKeys, missing: str) -> None:
    claims = {"agent": WHO.agent_id, "rid": WHO.request_id, "jti": WHO.event_id}
    del claims[missing]
    with pytest.raises(TokenError, match="MissingRequiredClaim"):
        read(keys, keys.sign(IDENTITY_AUDIENCE, "user-1", 60, claims))


def forged(key: object, algorithm: str, kid: str) -> str:
    now = int(time.time())
    claims = {
        "iss": IDENTITY_ISSUER,
        "aud": IDENTITY_AUDIENCE,
        "sub": "u",
        "iat": now,
        "exp": now + 60,
        "agent": WHO.agent_id,
        "rid": WHO.request_id,
        "jti": "e",
    }
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})  # type: ignore[arg-type]


def test_another_key_another_algorithm_and_no_signature_are_refused(
    keys: SigningKeys, private: Ed25519PrivateKey
) -> None:
    ours = key_id(private.public_key())
    stranger = Ed25519PrivateKey.generate()
    public_bytes = private.public_key().public_bytes_raw()
    for token in (
        forged(stranger, "EdDSA", ours),
        forged(stranger, "EdDSA", "unknown"),
        forged(public_bytes, "HS256", ours),
        forged(None, "none", ours),
        "",
        ".",
        "a.b.c",
        "é.é.é",
    ):
        with pytest.raises(TokenError):
            read(keys, token)


def test_two_keys_are_believed_while_a_rotation_is_under_way(tmp_path: Path) -> None:
    (old_private, old_public), (new_private, new_public) = generate_key_pair(), generate_key_pair()
    file = tmp_path / "public.pem"
    file.write_bytes(old_public + new_public)
    verifier = VerifyingKeys.from_file(file)
    for private in (old_private, new_private):
        assert read(verifier, SigningKeys.from_pem(private, "test").identity_token(WHO)) == WHO
    file.write_bytes(new_public)
    with pytest.raises(TokenError, match="unknown key"):
        read(VerifyingKeys.from_file(file), SigningKeys.from_pem(old_private, "test").identity_token(WHO))


def test_a_key_file_without_a_fitting_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "public.pem"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"public\.pem: holds no Ed25519 public key"):
        VerifyingKeys.from_file(file)
