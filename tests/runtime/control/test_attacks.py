"""Attacks seen on comparable gateways, and others; each must be a plain refusal."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from runtime.identity import key_id
from tests.runtime.control.conftest import Control, ControlProcess

INJECTIONS = [
    "' OR '1'='1' --",
    "'; DROP TABLE audit_events; --",
    "\\'; SELECT pg_sleep(5); --",
    '"; DELETE FROM users; --',
    "%s %(x)s {0} $1 :x",
]


@pytest.mark.parametrize("injection", INJECTIONS)
async def test_sql_in_the_authorization_header_is_a_401_and_reaches_no_statement(
    control: Control, injection: str
) -> None:
    """CVE-2026-42208: SQL injection through the Authorization header by way of error logging."""
    for credential in (injection, f"sk-{injection}", f"sk-{'a' * 43}{injection}", f"eyJ{injection}.x.y"):
        assert (await control.authorize(credential)).status_code == 401
    rows = control.rows("kind = 'refusal'")
    assert len(rows) == 4
    assert injection not in json.dumps(rows, default=str)
    assert (await control.authorize()).status_code == 200


@pytest.mark.parametrize("injection", INJECTIONS)
async def test_sql_anywhere_else_is_data(control: Control, injection: str) -> None:
    answer = await control.authorize(
        uri=f"/agents/{injection}/api/v1/execute",
        **{"X-Agent-Id": injection, "X-Real-IP": injection, "X-Request-Id": injection},
    )
    assert answer.headers["X-Refusal"] == "FORBIDDEN"
    assert (await control.authorize(uri="/api/v1/execute", **{"X-Agent-Id": injection})).headers[
        "X-Refusal"
    ] == "AGENT_NOT_FOUND"
    assert (await control.login(injection, injection)).status_code == 401
    for path in ("/api/v1/agents", "/api/v1/users"):
        assert (await control.ask("GET", path, params={"q": injection})).json()["total"] == 0
    assert (await control.ask("GET", "/api/v1/audit", params={"agent": injection, "kind": "execution"})).json()[
        "items"
    ] == []
    assert (await control.ask("GET", f"/api/v1/users/{injection.replace('/', '')}")).status_code == 404
    assert control.rows("error_code = 'AGENT_NOT_FOUND'")[0]["agent_id"] == injection
    assert (await control.authorize()).status_code == 200


async def test_a_credential_is_known_by_all_of_it_and_not_by_its_beginning(control: Control) -> None:
    """CVE-2026-35030: a cache keyed on the beginning of a token."""
    user = await control.user("ada")
    tokens = (await control.login("ada", user["password"])).json()
    for credential in (user["api_key"], tokens["access_token"]):
        assert (await control.authorize(credential)).status_code == 200
        last = "A" if credential[-1] != "A" else "Q"
        for other in (
            credential[:-1] + last,
            credential[:-1],
            credential + "A",
            credential[:30] + "A" * (len(credential) - 30),
        ):
            assert (await control.authorize(other)).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "control/health?", "control/health#", "x/internal/authorize?", "127.0.0.1:1@evil", "a b"]
)
async def test_the_host_header_decides_nothing(control: Control, host: str) -> None:
    """CVE-2026-48710: a Host header with a path in it poisons request.url."""
    answer = await control.ask("GET", "/api/v1/users", "", headers={"Host": host})
    assert answer.status_code == 401
    answer = await control.ask("GET", "/api/v1/agents", headers={"Host": host})
    assert answer.status_code == 200
    assert "evil" not in answer.text
    assert [row["path"] for row in control.rows("path IS NOT NULL")] == ["/api/v1/users", "/api/v1/agents"]


async def test_tokens_of_another_algorithm_are_refused(control: Control) -> None:
    """CVE-2026-85394 and its family: none, and the public key used as an HMAC secret."""
    user = await control.user("ada")
    claims = control.keys.claims((await control.login("ada", user["password"])).json()["access_token"], "control")
    private = serialization.load_pem_private_key(control.settings.signing_keys.read_bytes(), None)
    public = private.public_key()
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    header = {"kid": key_id(public)}  # type: ignore[arg-type]
    unsigned = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none", "typ": "JWT", **header}, claims)
    )
    for forged in (
        f"{unsigned}.",
        f"{unsigned}.AAAA",
        jwt.encode(claims, raw.ljust(64, b"x"), algorithm="HS256", headers=header),
    ):
        assert (await control.authorize(forged)).status_code == 401


async def test_tokens_without_a_needed_claim_are_refused(control: Control) -> None:
    user = await control.user("ada")
    claims = control.keys.claims((await control.login("ada", user["password"])).json()["access_token"], "control")
    private = serialization.load_pem_private_key(control.settings.signing_keys.read_bytes(), None)
    header = {"kid": key_id(private.public_key())}  # type: ignore[arg-type]
    for missing in ("exp", "iat", "iss", "aud", "sub", "sid"):
        token = jwt.encode(
            {name: value for name, value in claims.items() if name != missing},
            private,
            algorithm="EdDSA",
            headers=header,
        )  # type: ignore[arg-type]
        assert (await control.authorize(token)).status_code == 401, missing
    for name, value in (
        ("iss", "other"),
        ("aud", "agent"),
        ("exp", int(time.time()) - 60),
        ("iat", int(time.time()) + 600),
        ("sub", "not-a-uuid"),
        ("sid", "x"),
    ):
        token = jwt.encode({**claims, name: value}, private, algorithm="EdDSA", headers=header)  # type: ignore[arg-type]
        assert (await control.authorize(token)).status_code == 401, name


async def test_a_session_does_not_pass_for_another_user_s(control: Control) -> None:
    """A token whose subject is not its session's user: signed by us, so it would need our key, and refused all the same."""
    ada, bob = await control.user("ada"), await control.user("bob")
    sid = control.keys.claims((await control.login("ada", ada["password"])).json()["access_token"], "control")["sid"]
    crossed = control.keys.sign("control", bob["id"], 60, {"sid": sid, "name": "bob"})
    assert (await control.authorize(crossed)).status_code == 401


async def test_two_authorization_headers_are_none(control: Control) -> None:
    pair = [("Authorization", f"Bearer {control.admin['api_key']}"), ("Authorization", "Bearer x")]
    assert (await control.http.get("/auth/me", headers=pair)).status_code == 401
    assert (await control.http.get("/internal/authorize", headers=pair)).status_code == 401


@pytest.mark.parametrize(
    "value",
    [
        "Basic YWRtaW46eA==",
        "Bearer",
        "Bearer ",
        "bearer\tx",
        "Bearer a b",
        "Bearer " + "a" * 5000,
        "Token x",
        "Bearer é",
    ],
)
async def test_other_authorization_schemes_are_a_401(control: Control, value: str) -> None:
    answer = await control.http.get("/auth/me", headers={"Authorization": value.encode("latin-1")})
    assert answer.status_code == 401


async def test_what_postgresql_cannot_store_is_cleaned_and_stored(control: Control) -> None:
    answer = await control.http.get(
        "/internal/authorize",
        headers={"X-Original-Method": "POST", "X-Original-URI": b"/agents/\x01\x7f\xe9\xff" + b"x" * 2000},
    )
    assert answer.status_code == 401
    (row,) = control.rows("kind = 'refusal'")
    assert len(row["path"]) == 512
    assert "\x01" not in row["path"]
    assert (await control.ask("GET", "/api/v1/agents", params={"q": "a\x00b"})).status_code == 200
    assert (await control.ask("GET", "/api/v1/users", params={"q": "a\x00b"})).status_code == 422
    assert (await control.ask("GET", "/api/v1/audit", params={"agent": "a\x00b"})).status_code == 422
    assert (await control.ask("GET", "/api/v1/users/a%00b")).status_code == 404
    assert (await control.login("a\x00b", "x")).status_code == 401
    for body in (
        b'{"username": "\\ud800", "password": "x"}',
        b'{"username": "x", "password": "\\ud800"}',
        b'{"refresh_token": "\\ud800"}',
        b'{"\\ud800": 1}',
    ):
        path = "/auth/refresh" if b"refresh" in body else "/auth/login"
        assert (
            await control.ask("POST", path, "", content=body, headers={"Content-Type": "application/json"})
        ).status_code in (401, 422)


async def test_no_credential_is_logged(control: Control, control_process: Callable[..., ControlProcess]) -> None:
    user = await control.user("ada")
    process = control_process(LOG_LEVEL="DEBUG")
    base = f"http://127.0.0.1:{process.port}"
    async with httpx2.AsyncClient(base_url=base, timeout=60) as http:
        tokens = (await http.post("/auth/login", json={"username": "ada", "password": user["password"]})).json()
        await http.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        await http.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        await http.get("/auth/me", headers={"Authorization": f"Bearer {user['api_key']}"})
        await http.post("/auth/login", json={"username": user["password"], "password": "secret-password"})
        await control.services.redis.set("audit", "not a stream")
        await http.get("/auth/me", headers={"Authorization": f"Bearer {user['api_key']}"})
    log = process.log.read_text()
    assert "used twice" in log
    database, pepper = control.settings.database_url.get_secret_value(), control.settings.api_key_pepper.read_text()
    for secret in (
        user["password"],
        user["api_key"],
        tokens["access_token"],
        tokens["refresh_token"],
        "secret-password",
        database.split(":")[2].split("@")[0],
        pepper,
    ):
        assert secret not in log
