"""The gateway's authorization endpoint."""

from __future__ import annotations

import json

import pytest

from runtime.dynamic import DynamicSettings
from runtime.identity import Identity, SigningKeys, generate_key_pair
from tests.runtime.control.conftest import ADDRESS, Control

AGENT = "business_plan_agent_009"


async def test_a_living_api_key_gets_an_identity_bound_to_agent_request_and_audit_row(control: Control) -> None:
    user = await control.user("ada")
    answer = await control.authorize(user["api_key"], **{"X-Request-Id": "req-1"})
    assert answer.status_code == 200
    assert answer.headers["X-User-Id"] == user["id"]
    (row,) = control.rows("kind = 'execution'")
    identity = control.keys.identity(answer.headers["X-Identity-Token"], agent_id=AGENT, request_id="req-1")
    assert identity == Identity(user["id"], "ada", AGENT, "req-1", str(row["event_id"]))
    assert (row["username"], row["agent_id"], row["status"], row["completed_at"]) == ("ada", AGENT, None, None)
    assert (row["address"], row["credential"], str(row["credential_id"]), row["owner"]) == (
        ADDRESS,
        "key",
        user["key_id"],
        "corporate-strategy",
    )


async def test_an_access_token_is_as_good_as_an_api_key(control: Control) -> None:
    user = await control.user("ada")
    tokens = (await control.login("ada", user["password"])).json()
    answer = await control.authorize(tokens["access_token"])
    assert answer.status_code == 200
    (row,) = control.rows("kind = 'execution'")
    assert (row["credential"], row["username"]) == ("session", "ada")


async def test_the_agent_of_a_bare_execute_is_the_one_of_the_header(control: Control) -> None:
    answer = await control.authorize(uri="/api/v1/execute?x=1", **{"X-Agent-Id": AGENT})
    assert answer.status_code == 200
    (row,) = control.rows("kind = 'execution'")
    assert (row["agent_id"], row["path"]) == (AGENT, "/api/v1/execute")


async def test_the_header_does_not_change_the_agent_of_the_path(control: Control) -> None:
    answer = await control.authorize(**{"X-Agent-Id": "strategic_options_agent_003"})
    assert answer.status_code == 200
    assert control.rows("kind = 'execution'")[0]["agent_id"] == AGENT


@pytest.mark.parametrize("credential", ["", "sk-short", "sk-" + "a" * 43, "garbage", "a.b.c"])
async def test_no_or_a_bad_credential_is_a_401_that_says_how_to_authenticate(control: Control, credential: str) -> None:
    answer = await control.authorize(credential)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    (row,) = control.rows("kind = 'refusal'")
    assert (row["status"], row["error_code"], row["user_id"], row["path"]) == (
        401,
        "UNAUTHENTICATED",
        None,
        f"/agents/{AGENT}/api/v1/execute",
    )


async def test_a_token_of_a_stranger_s_key_is_refused(control: Control) -> None:
    stranger = SigningKeys.from_pem(generate_key_pair()[0], "test")
    user = await control.user("ada")
    tokens = (await control.login("ada", user["password"])).json()
    claims = control.keys.claims(tokens["access_token"], "control")
    forged = stranger.sign("control", claims["sub"], 60, {"sid": claims["sid"]})
    assert (await control.authorize(forged)).status_code == 401


async def test_an_identity_token_is_not_an_access_token(control: Control) -> None:
    identity = (await control.authorize()).headers["X-Identity-Token"]
    assert (await control.authorize(identity)).status_code == 401


async def test_an_expired_access_token_is_refused(control: Control) -> None:
    user = await control.user("ada")
    tokens = (await control.login("ada", user["password"])).json()
    claims = control.keys.claims(tokens["access_token"], "control")
    expired = control.keys.sign("control", claims["sub"], -10, {"sid": claims["sid"]})
    assert (await control.authorize(expired)).status_code == 401


@pytest.mark.parametrize("agent_id", ["no_such_agent_999", "business-plan-agent-009", "../etc/passwd"])
async def test_an_unknown_agent_is_a_403_with_its_reason(control: Control, agent_id: str) -> None:
    answer = await control.authorize(uri="/api/v1/execute", **{"X-Agent-Id": agent_id})
    assert (answer.status_code, answer.headers["X-Refusal"]) == (403, "AGENT_NOT_FOUND")
    (row,) = control.rows("kind = 'refusal'")
    assert (row["status"], row["error_code"], row["agent_id"], row["username"]) == (
        404,
        "AGENT_NOT_FOUND",
        agent_id,
        "admin",
    )


async def test_an_agent_that_an_operator_turned_off_is_refused(control: Control) -> None:
    control.services.dynamic.current = DynamicSettings(disabled_agents=frozenset({AGENT}))
    answer = await control.authorize()
    assert (answer.status_code, answer.headers["X-Refusal"]) == (403, "AGENT_DISABLED")
    assert "X-Identity-Token" not in answer.headers
    assert control.rows("kind = 'refusal'")[0]["status"] == 503
    control.services.dynamic.current = DynamicSettings()
    assert (await control.authorize()).status_code == 200


@pytest.mark.parametrize(
    ("method", "uri"),
    [
        ("GET", f"/agents/{AGENT}/api/v1/execute"),
        ("POST", f"/agents/{AGENT}/health"),
        ("POST", f"/agents/{AGENT}/api/v1/execute/"),
        ("POST", f"/agents/x/../{AGENT}/api/v1/execute"),
        ("POST", f"/agents/{AGENT}%2fapi/v1/execute"),
        ("POST", f"//agents/{AGENT}/api/v1/execute"),
        ("POST", f"http://control/agents/{AGENT}/api/v1/execute"),
        ("DELETE", "/api/v1/users/admin"),
        ("", ""),
    ],
)
async def test_only_a_post_to_execute_executes(control: Control, method: str, uri: str) -> None:
    answer = await control.authorize(uri=uri, method=method)
    assert (answer.status_code, answer.headers["X-Refusal"]) == (403, "FORBIDDEN")
    assert "X-Identity-Token" not in answer.headers


async def test_the_rate_limit_s_headers_are_on_every_answer_about_somebody_known(control: Control) -> None:
    first = await control.authorize()
    second = await control.authorize(uri="/nothing")
    for answer, remaining in ((first, "99"), (second, "98")):
        assert (answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"]) == ("100", remaining)
        assert int(answer.headers["X-RateLimit-Reset"]) > 1_700_000_000
    assert "X-RateLimit-Limit" not in (await control.authorize("")).headers


async def test_the_limit_is_refused_with_its_own_audit_row(control: Control) -> None:
    user = await control.user("ada", requests_per_minute=2)
    for _ in range(2):
        assert (await control.authorize(user["api_key"])).status_code == 200
    answer = await control.authorize(user["api_key"])
    assert (answer.status_code, answer.headers["X-Refusal"], answer.headers["X-RateLimit-Remaining"]) == (
        403,
        "RATE_LIMIT_EXCEEDED",
        "0",
    )
    assert 30 <= int(answer.headers["Retry-After"]) <= 60
    (row,) = control.rows("kind = 'refusal'")
    assert (row["status"], row["error_code"], row["agent_id"], row["username"]) == (
        429,
        "RATE_LIMIT_EXCEEDED",
        AGENT,
        "ada",
    )


async def test_an_operator_s_limit_for_one_user_goes_before_their_own(control: Control) -> None:
    user = await control.user("ada", requests_per_minute=50)
    control.services.dynamic.current = DynamicSettings(rate_limits={"ada": 1})
    assert (await control.authorize(user["api_key"])).headers["X-RateLimit-Limit"] == "1"
    assert (await control.authorize(user["api_key"])).headers["X-Refusal"] == "RATE_LIMIT_EXCEEDED"
    control.services.dynamic.current = DynamicSettings(rate_limits={"ada": 0})
    refused = await control.authorize((await control.user("bob"))["api_key"])
    assert refused.status_code == 200
    assert (await control.authorize(user["api_key"])).headers["X-Refusal"] == "RATE_LIMIT_EXCEEDED"


async def test_decisions_are_counted_by_outcome(control: Control) -> None:
    await control.authorize()
    await control.authorize("")
    await control.authorize(uri="/nothing")
    text = (await control.ask("GET", "/metrics", "")).text
    for outcome in ("allowed", "UNAUTHENTICATED", "FORBIDDEN"):
        assert f'control_authorizations_total{{outcome="{outcome}"}} 1.0' in text
    assert "control_authorization_seconds_count 3.0" in text


async def test_no_row_holds_a_credential(control: Control) -> None:
    user = await control.user("ada")
    await control.authorize(user["api_key"])
    await control.authorize(user["api_key"][:-1] + "A")
    written = json.dumps(control.rows(), default=str)
    assert user["api_key"][9:] not in written
    assert user["password"] not in written
