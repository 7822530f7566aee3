"""Control's own API: who gets in, how it is limited and recorded, and the envelope of every error."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.runtime.control.conftest import Control, error_of


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/agents",
        "/api/v1/audit",
        "/api/v1/users",
        "/api/v1/keys",
        "/auth/me",
        "/no/such/path",
        "/api/v1/openapi.json",
        "/",
    ],
)
async def test_nothing_but_the_public_paths_answers_somebody_unknown(control: Control, path: str) -> None:
    answer = await control.ask("GET", path, "")
    assert answer.status_code == 401
    assert error_of(answer)["code"] == "UNAUTHENTICATED"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert control.rows("kind = 'refusal'")[0]["path"] == path


async def test_the_specification_s_429(control: Control) -> None:
    user = await control.user("ada", requests_per_minute=1)
    assert (await control.ask("GET", "/auth/me", user["api_key"])).status_code == 200
    answer = await control.ask("GET", "/auth/me", user["api_key"])
    seconds = error_of(answer)["retry_after"]
    assert answer.status_code == 429
    assert answer.json() == {
        "error": {
            "code": "RATE_LIMIT_EXCEEDED",
            "message": f"Rate limit exceeded. Retry after {seconds} seconds",
            "retry_after": seconds,
        }
    }
    assert answer.headers["Retry-After"] == str(seconds)
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert control.rows("kind = 'refusal'")[0]["status"] == 429


async def test_control_s_own_requests_and_executions_share_one_limit(control: Control) -> None:
    await control.ask("GET", "/auth/me")
    assert (await control.authorize()).headers["X-RateLimit-Remaining"] == "98"
    assert (await control.ask("GET", "/auth/me")).headers["X-RateLimit-Remaining"] == "97"


async def test_the_rate_limit_s_headers_are_on_errors_too(control: Control) -> None:
    for path, status in (("/api/v1/agents/none", 404), ("/api/v1/agents?limit=x", 422), ("/nothing", 404)):
        answer = await control.ask("GET", path)
        assert (answer.status_code, answer.headers["X-RateLimit-Limit"]) == (status, "100")


async def test_every_request_of_somebody_known_is_recorded_with_its_status(control: Control) -> None:
    await control.ask("GET", "/api/v1/agents", headers={"X-Request-Id": "one"})
    await control.ask("GET", "/api/v1/agents/none", headers={"X-Request-Id": "two"})
    await control.ask("POST", "/api/v1/users", json={}, headers={"X-Request-Id": "three"})
    seen = [
        (row["kind"], row["status"], row["error_code"], row["username"])
        for row in control.rows("request_id IN ('one', 'two', 'three')")
    ]
    assert seen == [
        ("request", 200, None, "admin"),
        ("request", 404, "AGENT_NOT_FOUND", "admin"),
        ("administration", 422, "INVALID_REQUEST", "admin"),
    ]


async def test_what_a_user_may_not_do_is_refused_and_recorded(control: Control) -> None:
    user = await control.user("ada")
    answer = await control.ask("POST", "/api/v1/users", user["api_key"], json={"username": "eve"})
    assert (answer.status_code, error_of(answer)["code"]) == (403, "FORBIDDEN")
    (row,) = control.rows("kind = 'refusal'")
    assert (row["username"], row["error_code"], row["path"]) == ("ada", "FORBIDDEN", "/api/v1/users")


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/nothing", {}, 404, "NOT_FOUND"),
        ("DELETE", "/api/v1/agents", {}, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/api/v1/users", {"content": b"x" * (1024 * 1024 + 1)}, 413, "REQUEST_TOO_LARGE"),
        ("POST", "/api/v1/users", {"content": b"{"}, 422, "INVALID_REQUEST"),
        ("POST", "/api/v1/users", {"json": {"username": "x", "unknown": 1}}, 422, "INVALID_REQUEST"),
        ("POST", "/api/v1/users", {"json": {"username": "admin"}}, 409, "CONFLICT"),
        ("GET", "/api/v1/users/nobody", {}, 404, "NOT_FOUND"),
        ("GET", "/api/v1/audit?cursor=x", {}, 422, "INVALID_REQUEST"),
        ("GET", "/api/v1/audit?since=yesterday", {}, 422, "INVALID_REQUEST"),
        ("DELETE", "/api/v1/keys/not-an-id", {}, 422, "INVALID_REQUEST"),
    ],
)
async def test_every_class_of_error_has_the_envelope(
    control: Control, method: str, path: str, options: dict[str, object], status: int, code: str
) -> None:
    answer = await control.ask(method, path, **options)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)


async def test_a_body_that_only_turns_out_too_large_has_the_envelope_too(control: Control) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 64 * 1024

    answer = await control.ask("POST", "/api/v1/users", content=chunks())
    assert (answer.status_code, error_of(answer)["code"]) == (413, "REQUEST_TOO_LARGE")


async def test_what_nobody_foresaw_is_a_500_that_says_nothing_and_is_recorded(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(type(control.services.catalog.current), "search", broken)
    answer = await control.ask("GET", "/api/v1/agents")
    assert (answer.status_code, error_of(answer)["code"]) == (500, "INTERNAL_ERROR")
    assert "secret detail" not in answer.text
    assert control.rows("path = '/api/v1/agents'")[0]["status"] == 500


async def test_a_validation_error_names_field_and_issue_and_not_the_value(control: Control) -> None:
    answer = await control.ask("POST", "/api/v1/users", json={"username": "ada", "password": "hunter2"})
    error = error_of(answer)
    assert error["details"]["field"] == "password"
    assert "hunter2" not in answer.text


async def test_answers_about_somebody_are_not_to_be_stored(control: Control) -> None:
    assert (await control.ask("GET", "/auth/me")).headers["Cache-Control"] == "no-store"
