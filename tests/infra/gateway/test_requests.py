"""Requests through the real nginx: who is asked, what they are told, what the caller gets."""

from __future__ import annotations

import re

import pytest

from tests.infra.gateway.conftest import ALLOWED, Gateway, hasty
from tests.infra.gateway.stubs import Answer, raw, request

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


def assert_envelope(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.error["message"]
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value


def test_an_allowed_request_reaches_its_agent_with_the_identity_control_gave(gateway: Gateway) -> None:
    answer = gateway.execute()
    assert (answer.status, answer.json) == (200, {"answered_by": "pool"})
    (seen,) = gateway.pool.seen
    assert (seen.method, seen.path, seen.body) == (
        "POST",
        "/agents/pooled_agent_001/api/v1/execute",
        b'{"task_description": "x"}',
    )
    assert seen.headers["x-identity-token"] == ALLOWED["X-Identity-Token"]
    assert seen.headers["x-user-id"] == "7"
    assert seen.headers["x-agent-id"] == "pooled_agent_001"


def test_control_agent_and_caller_see_one_request_id_made_by_the_gateway(gateway: Gateway) -> None:
    answer = gateway.execute(headers={"Authorization": "Bearer x", "X-Request-Id": "chosen-by-caller"})
    ids = {
        gateway.control.seen[0].headers["x-request-id"],
        gateway.pool.seen[0].headers["x-request-id"],
        answer.headers["x-request-id"],
    }
    assert len(ids) == 1
    assert "chosen-by-caller" not in ids
    assert gateway.log()[-1]["client_request_id"] == "chosen-by-caller"


def test_control_is_told_what_is_asked_for_and_gets_no_body(gateway: Gateway) -> None:
    gateway.execute()
    (seen,) = gateway.control.seen
    assert (seen.method, seen.path, seen.body) == ("GET", "/internal/authorize", b"")
    told = {
        name: seen.headers[name]
        for name in ("x-original-method", "x-original-uri", "x-agent-id", "x-real-ip", "authorization")
    }
    assert told == {
        "x-original-method": "POST", "x-original-uri": "/agents/pooled_agent_001/api/v1/execute", "x-agent-id": "pooled_agent_001",
        "x-real-ip": "127.0.0.1", "authorization": "Bearer sk-secret",
    }  # fmt: skip


def test_the_callers_credential_and_forged_identity_reach_no_agent(gateway: Gateway) -> None:
    forged = {
        "Authorization": "Bearer sk-secret", "Cookie": "session=1", "X-Identity-Token": "forged", "X-User-Id": "1", "X-Agent-Id": "other_agent_009", "X-Real-IP": "6.6.6.6",
        "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil", "X-Forwarded-Proto": "https", "Forwarded": "for=6.6.6.6", "X-Original-URI": "/x", "X-Invented": "later",
    }  # fmt: skip
    gateway.execute(headers=forged)
    agent, control = gateway.pool.seen[0].headers, gateway.control.seen[0].headers
    assert "authorization" not in agent
    assert agent["x-identity-token"] == ALLOWED["X-Identity-Token"]
    assert (agent["x-user-id"], agent["x-agent-id"], agent["x-forwarded-for"], agent["x-forwarded-proto"]) == (
        "7",
        "pooled_agent_001",
        "127.0.0.1",
        "http",
    )
    assert {"cookie", "forwarded", "x-forwarded-host", "x-invented"}.isdisjoint(agent)
    assert (control["x-real-ip"], control["x-agent-id"], control["x-original-uri"]) == (
        "127.0.0.1",
        "pooled_agent_001",
        "/agents/pooled_agent_001/api/v1/execute",
    )
    assert {"x-identity-token", "x-user-id", "cookie"}.isdisjoint(control)


def test_an_agent_can_be_named_by_header(gateway: Gateway) -> None:
    answer = request(gateway.port, "POST", "/api/v1/execute", headers={"X-Agent-Id": "dedicated_agent_003"}, body=b"{}")
    assert answer.json == {"answered_by": "other"}
    assert gateway.other.seen[0].path == "/agents/dedicated_agent_003/api/v1/execute"


@pytest.mark.parametrize("named", [{}, {"X-Agent-Id": '"}; return 200 "'}, {"X-Agent-Id": "../x"}])
def test_without_a_well_formed_agent_nobody_is_asked(gateway: Gateway, named: dict[str, str]) -> None:
    answer = request(gateway.port, "POST", "/api/v1/execute", headers=named, body=b"{}")
    assert_envelope(answer, 422, "INVALID_REQUEST")
    assert answer.error["details"] == {"field": "X-Agent-Id", "issue": "missing_required_field"}
    assert gateway.control.seen == []


def test_rate_limit_headers_are_on_every_authenticated_response(gateway: Gateway) -> None:
    expected = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "99", "x-ratelimit-reset": "1705318200"}
    gateway.pool.status = 500
    for answer in (gateway.execute(), gateway.execute("gone_agent_006"), gateway.execute("unrouted_agent_007")):
        assert {name: answer.headers[name] for name in expected} == expected


def test_a_rate_limited_caller_gets_the_specified_body(gateway: Gateway) -> None:
    gateway.control.status = 403
    gateway.control.headers = {
        "X-Refusal": "RATE_LIMIT_EXCEEDED",
        "Retry-After": "42",
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1",
    }
    answer = gateway.execute()
    assert_envelope(answer, 429, "RATE_LIMIT_EXCEEDED")
    assert answer.json == {
        "error": {
            "code": "RATE_LIMIT_EXCEEDED",
            "message": "Rate limit exceeded. Retry after 42 seconds",
            "retry_after": 42,
        }
    }
    assert (answer.headers["retry-after"], answer.headers["x-ratelimit-remaining"]) == ("42", "0")
    assert gateway.pool.seen == []


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        ("FORBIDDEN", 403, "FORBIDDEN"), ("AGENT_NOT_FOUND", 404, "AGENT_NOT_FOUND"), ("AGENT_DISABLED", 503, "AGENT_DISABLED"),
        ("AGENT_UNAVAILABLE", 503, "AGENT_UNAVAILABLE"),
        ("SERVICE_UNAVAILABLE", 503, "SERVICE_UNAVAILABLE"), ("SOMETHING_NEW", 403, "FORBIDDEN"), ("", 403, "FORBIDDEN"),
    ],
)  # fmt: skip
def test_each_refusal_has_its_status(gateway: Gateway, refusal: str, status: int, code: str) -> None:
    gateway.control.status = 403
    gateway.control.headers = {"X-Refusal": refusal} if refusal else {}
    assert_envelope(gateway.execute(), status, code)
    assert gateway.pool.seen == []


def test_an_unavailable_service_says_when_to_come_back(gateway: Gateway) -> None:
    gateway.control.status = 403
    gateway.control.headers = {"X-Refusal": "SERVICE_UNAVAILABLE", "Retry-After": "7"}
    answer = gateway.execute()
    assert (answer.headers["retry-after"], answer.error["retry_after"]) == ("7", 7)


def test_an_unknown_caller_gets_401_and_how_to_authenticate(gateway: Gateway) -> None:
    gateway.control.status = 401
    gateway.control.headers = {"WWW-Authenticate": "Bearer"}
    answer = gateway.execute()
    assert_envelope(answer, 401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_with_control_failing_the_answer_is_503_and_the_agent_is_not_called(gateway: Gateway) -> None:
    for status in (500, 404, 302):
        gateway.control.status = status
        answer = gateway.execute()
        assert_envelope(answer, 503, "SERVICE_UNAVAILABLE")
        assert answer.headers["retry-after"] == "5"
    assert gateway.pool.seen == []


def test_an_authorization_is_asked_for_once_even_when_the_connection_breaks(gateway: Gateway) -> None:
    gateway.execute()
    gateway.control.cut = True
    assert_envelope(gateway.execute(), 503, "SERVICE_UNAVAILABLE")
    assert len(gateway.control.seen) == 2


def test_an_authorization_that_takes_too_long_is_503(gateway: Gateway) -> None:
    gateway.control.delay = 10
    with hasty(gateway, authorize=1) as impatient:
        assert_envelope(impatient.execute(), 503, "SERVICE_UNAVAILABLE")


def test_an_execution_is_never_repeated(gateway: Gateway) -> None:
    gateway.execute()
    gateway.pool.cut = True
    assert_envelope(gateway.execute(), 502, "BAD_GATEWAY")
    assert len(gateway.pool.seen) == 2


def test_an_agent_that_does_not_answer_is_502_and_a_slow_one_504(gateway: Gateway) -> None:
    assert_envelope(gateway.execute("gone_agent_006"), 502, "BAD_GATEWAY")
    gateway.pool.delay = 10
    with hasty(gateway, answer=1) as impatient:
        assert_envelope(impatient.execute(), 504, "TIMEOUT")


def test_an_agent_nobody_routes_is_502_for_that_agent_alone(gateway: Gateway) -> None:
    assert_envelope(gateway.execute("unrouted_agent_007"), 502, "BAD_GATEWAY")
    assert gateway.execute().status == 200


def test_an_agents_own_error_passes_as_it_is(gateway: Gateway) -> None:
    gateway.pool.status, gateway.pool.body, gateway.pool.headers = (
        500,
        b'{"error": {"code": "INTERNAL_ERROR", "message": "m"}}',
        {"Retry-After": "9"},
    )
    answer = gateway.execute()
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (500, gateway.pool.body, "9")


def test_the_path_that_is_authorized_is_the_path_that_is_executed(gateway: Gateway) -> None:
    gateway.execute("pooled_agent_001/../pooled_agent_002")
    gateway.execute("pooled_agent_00%32")
    for control, agent in zip(gateway.control.seen, gateway.pool.seen, strict=True):
        assert control.headers["x-original-uri"] == agent.path == "/agents/pooled_agent_002/api/v1/execute"
        assert control.headers["x-agent-id"] == agent.headers["x-agent-id"] == "pooled_agent_002"


@pytest.mark.parametrize("path", ["/internal/authorize", "/_authorize", "/_refused", "/_error/404", "/api/../internal/authorize", "/api/v1/..%2f..%2finternal/authorize", "/metrics", "/agents/pooled_agent_001/metrics", "/", "/agents/X/health"])  # fmt: skip
def test_what_is_inside_is_not_found_from_outside(gateway: Gateway, path: str) -> None:
    assert_envelope(gateway.get(path), 404, "NOT_FOUND")
    assert gateway.control.seen == gateway.pool.seen == []


def test_everything_else_of_the_api_goes_to_control_with_the_callers_credential(gateway: Gateway) -> None:
    answer = gateway.get(
        "/api/v1/agents?q=plan&page=2",
        headers={"Authorization": "Bearer x", "X-Identity-Token": "forged", "X-Real-IP": "6.6.6.6"},
    )
    assert answer.json == {"answered_by": "control"}
    (seen,) = gateway.control.seen
    assert (seen.path, seen.headers["authorization"], seen.headers["x-real-ip"]) == (
        "/api/v1/agents?q=plan&page=2",
        "Bearer x",
        "127.0.0.1",
    )
    assert "x-identity-token" not in seen.headers
    request(
        gateway.port, "POST", "/auth/login", headers={"Content-Type": "application/json"}, body=b'{"username": "a"}'
    )
    assert (gateway.control.seen[1].path, gateway.control.seen[1].body) == ("/auth/login", b'{"username": "a"}')


def test_controls_own_rate_limit_headers_pass_once(gateway: Gateway) -> None:
    answer = gateway.get("/api/v1/usage")
    assert answer.headers["x-ratelimit-limit"] == "100"
    assert "x-identity-token" not in answer.headers


def test_an_identity_token_never_reaches_the_caller(gateway: Gateway) -> None:
    gateway.pool.headers = {"X-Identity-Token": "echoed"}
    assert "x-identity-token" not in gateway.execute().headers


def test_an_agents_health_needs_no_credential(gateway: Gateway) -> None:
    assert gateway.get("/agents/pooled_agent_002/health").json == {"answered_by": "pool"}
    assert gateway.pool.seen[0].path == "/agents/pooled_agent_002/health"
    assert gateway.control.seen == []
    assert_envelope(gateway.get("/agents/unrouted_agent_007/health"), 502, "BAD_GATEWAY")


def test_the_gateways_own_health_has_the_specified_shape_for_any_host(gateway: Gateway) -> None:
    for host in ("localhost", "10.0.0.7"):
        health = gateway.get("/health", host=host).json
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(health.pop("timestamp")))
        assert health == {"status": "healthy", "agent_id": "gateway", "version": "1.0.0"}


def test_an_unknown_host_is_refused(gateway: Gateway) -> None:
    assert_envelope(gateway.execute(host="evil.example.com"), 421, "NOT_FOUND")
    assert_envelope(gateway.get("/api/v1/agents", host="127.0.0.2"), 421, "NOT_FOUND")
    assert gateway.control.seen == []
    assert gateway.execute(host="api.example.com").status == 200


def test_another_method_than_post_is_405_and_says_which_is_taken(gateway: Gateway) -> None:
    answer = gateway.get("/agents/pooled_agent_001/api/v1/execute")
    assert_envelope(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "POST"
    assert_envelope(request(gateway.port, "TRACE", "/auth/login"), 405, "METHOD_NOT_ALLOWED")
    assert gateway.control.seen == []


def test_a_body_over_the_limit_is_413_before_anybody_is_asked(gateway: Gateway) -> None:
    head = b"POST /agents/pooled_agent_001/api/v1/execute HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    assert_envelope(raw(gateway.port, head + b"Content-Length: 1048577\r\n\r\n"), 413, "REQUEST_TOO_LARGE")
    assert gateway.control.seen == []
    # One that does not say its length is counted while it arrives.
    chunks = b"".join(b"10000\r\n" + b"x" * 65536 + b"\r\n" for _ in range(17)) + b"0\r\n\r\n"
    assert_envelope(raw(gateway.port, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks), 413, "REQUEST_TOO_LARGE")
    assert gateway.pool.seen == []


def test_a_body_of_exactly_the_limit_passes(gateway: Gateway) -> None:
    assert gateway.execute(body=b"x" * 1048576).status == 200
    assert len(gateway.pool.seen[0].body) == 1048576


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Big: " + b"x" * 20000 + b"\r\n\r\n", 431),
        (b"GET /health HTTP/3.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)  # fmt: skip
def test_a_malformed_request_gets_the_envelope_too(gateway: Gateway, sent: bytes, status: int) -> None:
    assert_envelope(raw(gateway.port, sent), status, "INVALID_REQUEST")


def test_the_access_log_is_json_and_knows_no_secret(gateway: Gateway) -> None:
    gateway.execute(headers={"Authorization": "Bearer sk-secret", "User-Agent": 'quote " and \\ \x01'})
    gateway.get("/api/v1/agents?token=sk-secret")
    entries = gateway.log(2)
    assert entries[0]["agent_id"] == "pooled_agent_001"
    assert (entries[0]["status"], entries[0]["user_id"], entries[0]["path"]) == (
        "200",
        "7",
        "/agents/pooled_agent_001/api/v1/execute",
    )
    assert entries[0]["user_agent"].startswith('quote " and')
    assert "sk-secret" not in (gateway.folder / "access.log").read_text()


def test_a_streamed_answer_arrives_as_it_is_written(gateway: Gateway) -> None:
    # Buffering is off: what the agent has sent so far is there although the answer is not complete.
    import socket
    import threading

    listener = socket.create_server(("127.0.0.1", 0))
    released = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nfirst")
        released.wait(60)
        connection.sendall(b"second")
        connection.close()

    threading.Thread(target=serve, daemon=True).start()
    import dataclasses

    from infra.gateway.routes import Route
    from tests.infra.gateway.conftest import settings_for, started

    folder = gateway.folder / "streaming"
    settings = dataclasses.replace(settings_for(folder, gateway.control.address))
    with (
        started(
            folder, settings, [Route("stream", ("stream_agent_001",), f"127.0.0.1:{listener.getsockname()[1]}")]
        ) as port,
        socket.create_connection(("127.0.0.1", port), 60) as client,
    ):
        client.sendall(
            b"POST /agents/stream_agent_001/api/v1/execute HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
        )
        received = b""
        while not received.endswith(b"first"):
            more = client.recv(4096)
            assert more, received
            received += more
        released.set()
        while more := client.recv(4096):
            received += more
        assert received.endswith(b"firstsecond")
    listener.close()
