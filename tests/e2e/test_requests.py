"""The whole path, as a client sees it: nginx, control, an agent, and what the audit says afterwards."""

from __future__ import annotations

import re
import socket
import ssl
import warnings
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.platform import AGENT, Platform, wait

EXECUTE = f"/agents/{AGENT}/api/v1/execute"
TASK = {"task_description": "Plan a bakery with two employees"}
RATE_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


def assert_envelope(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    error: dict[str, Any] = answer.json()["error"]
    return error


def test_log_in_list_agents_and_run_one_by_token_and_by_key(platform: Platform) -> None:
    with platform.client("") as anonymous:
        login = anonymous.post("/auth/login", json={"username": "admin", "password": platform.password})
        assert login.status_code == 200, login.text
        token = login.json()["access_token"]
    with platform.client(token) as client:
        listed = client.get("/api/v1/agents", params={"q": "business plan"})
        assert AGENT in [agent["id"] for agent in listed.json()["items"]]
        by_token = client.post(EXECUTE, json=TASK)
    with platform.client() as client:
        by_key = client.post(EXECUTE, json={**TASK, "context": {"venture": "a bakery"}})
    for answer in (by_token, by_key):
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"result", "metadata", "processing_time_ms"}
        assert answer.json()["metadata"]["agent_id"] == AGENT
        assert answer.json()["metadata"]["model"] == "offline"
        assert all(name in answer.headers for name in RATE_HEADERS)
    ids = {by_token.headers["x-request-id"], by_key.headers["x-request-id"]}
    wait(
        "completion in the audit",
        lambda: len([e for e in platform.audit() if e["request_id"] in ids and e["status"] == 200]) == 2,
    )


def test_an_agent_is_found_by_header_too(platform: Platform) -> None:
    with platform.client() as client:
        assert (
            client.post("/api/v1/execute", json=TASK, headers={"X-Agent-Id": AGENT}).json()["metadata"]["agent_id"]
            == AGENT
        )
        assert_envelope(client.post("/api/v1/execute", json=TASK), 422, "INVALID_REQUEST")


def test_the_101st_request_in_a_minute_is_refused_as_specified(platform: Platform) -> None:
    key = platform.new_user("hundred")
    with platform.client(key) as client:
        statuses = [client.post(EXECUTE, json=TASK).status_code for _ in range(100)]
        assert statuses == [200] * 100
        refused = client.post(EXECUTE, json=TASK)
    error = assert_envelope(refused, 429, "RATE_LIMIT_EXCEEDED")
    seconds = error["retry_after"]
    assert refused.json() == {
        "error": {
            "code": "RATE_LIMIT_EXCEEDED",
            "message": f"Rate limit exceeded. Retry after {seconds} seconds",
            "retry_after": seconds,
        }
    }
    assert 1 <= seconds <= 60
    assert refused.headers["retry-after"] == str(seconds)
    assert (refused.headers["x-ratelimit-limit"], refused.headers["x-ratelimit-remaining"]) == ("100", "0")
    wait(
        "the refusal in the audit",
        lambda: any(entry["request_id"] == refused.headers["x-request-id"] for entry in platform.audit(user="hundred")),
    )


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"json": {}}, 422, "INVALID_REQUEST"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "INVALID_REQUEST"),
        ({"json": {"task_description": "x" * 5001}}, 422, "INVALID_REQUEST"),
        ({"json": {**TASK, "context": {f"k{number}": "v" for number in range(51)}}}, 422, "INVALID_REQUEST"),
        ({"json": {**TASK, "unknown": 1}}, 422, "INVALID_REQUEST"),
        ({"content": b"x" * 1_048_577}, 413, "REQUEST_TOO_LARGE"),
        ({"method": "GET"}, 405, "METHOD_NOT_ALLOWED"),
        ({"method": "PUT", "json": TASK}, 405, "METHOD_NOT_ALLOWED"),
        ({"url": "/agents/no_such_agent_009/api/v1/execute", "json": TASK}, 404, "AGENT_NOT_FOUND"),
        ({"url": "/agents/no-such/api/v1/execute", "json": TASK}, 404, "NOT_FOUND"),
        ({"url": "/nowhere", "json": TASK}, 404, "NOT_FOUND"),
        ({"url": "/api/v1/nowhere", "json": TASK}, 404, "NOT_FOUND"),
        ({"url": "/internal/authorize", "method": "GET"}, 404, "NOT_FOUND"),
        ({"json": TASK, "headers": {"Authorization": "Bearer nonsense"}}, 401, "UNAUTHENTICATED"),
        ({"json": TASK, "headers": {"Authorization": "Bearer sk-nonsense"}}, 401, "UNAUTHENTICATED"),
        ({"json": TASK, "headers": {"Host": "evil.example.com"}}, 421, "NOT_FOUND"),
        ({"url": "/auth/login", "json": {"username": "admin", "password": "wrong"}}, 401, "UNAUTHENTICATED"),
    ],
)  # fmt: skip
def test_every_error_has_the_envelope(platform: Platform, request_: dict[str, Any], status: int, code: str) -> None:
    with platform.client() as client:
        answer = client.request(**{"method": "POST", "url": EXECUTE, **request_})
    error = assert_envelope(answer, status, code)
    if status == 422:
        assert {"field", "issue"} <= set(error["details"])


def test_nobody_becomes_somebody_by_headers(platform: Platform) -> None:
    forged = {
        "X-Identity-Token": "eyJhbGciOiJub25lIn0.e30.",
        "X-User-Id": "1",
        "X-Real-IP": "10.0.0.1",
        "X-Forwarded-For": "10.0.0.1",
        "X-Request-Id": "mine",
    }
    with platform.client("") as client:
        assert_envelope(client.post(EXECUTE, json=TASK, headers=forged), 401, "UNAUTHENTICATED")
    key = platform.new_user("forger")
    with platform.client(key) as client:
        answer = client.post(EXECUTE, json=TASK, headers=forged)
    assert answer.status_code == 200, answer.text
    request_id = answer.headers["x-request-id"]
    assert request_id != "mine"
    wait(
        "the entry in the audit",
        lambda: any(entry["request_id"] == request_id for entry in platform.audit(user="forger")),
    )
    (entry,) = (entry for entry in platform.audit(user="forger") if entry["request_id"] == request_id)
    assert entry["username"] == "forger"
    assert "10.0.0.1" not in str(entry)


def test_tls_is_served_with_the_local_certificate_and_nothing_older_than_1_2(platform: Platform) -> None:
    trusted = ssl.create_default_context(cafile=str(platform.folder / "tls" / "ca.pem"))
    for host in ("localhost", "127.0.0.1"):
        answer = httpx.get(f"https://{host}:{platform.tls_port}/health", verify=trusted, timeout=30)
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"].startswith("max-age=")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", platform.tls_port), 30) as connection,
        pytest.raises(ssl.SSLError, match=r"(?i)protocol"),
    ):
        old.wrap_socket(connection)


def test_plain_http_on_the_tls_port_gets_the_envelope(platform: Platform) -> None:
    assert_envelope(httpx.get(f"http://127.0.0.1:{platform.tls_port}/health", timeout=30), 400, "INVALID_REQUEST")


def test_agents_answer_for_their_health_and_the_gateway_for_its_own(platform: Platform) -> None:
    with platform.client("") as client:
        assert client.get(f"/agents/{AGENT}/health").json()["agent_id"] == AGENT
        assert client.get("/health").json()["agent_id"] == "gateway"
