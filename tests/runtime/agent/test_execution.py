"""The path of an execution over HTTP: bodies, errors, audit, limits, cache, callers who leave."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from pydantic import SecretStr

from catalog.contract import BODY_BYTES, Header
from catalog.schema import AgentSpec
from catalog.values import Scaling
from runtime.agent.models.base import Answer, Call
from runtime.agent.models.claude import ClaudeModel
from runtime.secrets import ANTHROPIC_API_KEY, EnvironmentSecrets
from runtime.settings import AgentSettings, StartError
from tests.messages_api import INPUT_TOKENS, OUTPUT_TOKENS, TEXT, MessagesApi
from tests.runtime.agent.conftest import AGENT, OTHER, StartAgent

SPENT = INPUT_TOKENS + OUTPUT_TOKENS


def error_of(response: httpx2.Response) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"error"}
    assert response.headers["content-type"] == "application/json"
    assert response.headers[Header.REQUEST_ID]
    error: dict[str, Any] = body["error"]
    assert {"code", "message"} <= set(error) <= {"code", "message", "details", "retry_after"}
    return error


async def test_an_answer_has_the_specifications_body_and_completes_the_audit(
    start_agent: StartAgent, messages_api: MessagesApi
) -> None:
    async with start_agent() as agent:
        response = await agent.execute({"task_description": "Plan a bakery", "context": {"region": "Lyon"}})
        assert response.status_code == 200
        assert response.headers[Header.REQUEST_ID] == "request-1"
        body = response.json()
        assert set(body) == {"result", "metadata", "processing_time_ms"}
        assert body["result"] == TEXT
        metadata = body["metadata"]
        assert metadata.pop("timestamp").endswith("Z")
        assert metadata == {
            "agent_id": AGENT,
            "model": "claude-sonnet-5-5",
            "tokens_used": SPENT,
            "input_tokens": INPUT_TOKENS,
            "output_tokens": OUTPUT_TOKENS,
        }
        assert body["processing_time_ms"] > 0
        (completion,) = await agent.completions()
        assert (completion.event_id, completion.status, completion.error_code) == ("event-1", 200, "")
        assert (completion.input_tokens, completion.output_tokens, completion.model) == (
            INPUT_TOKENS,
            OUTPUT_TOKENS,
            "claude-sonnet-5-5",
        )
        assert float(completion.cost_dollars) > 0
        assert completion.task == completion.answer == ""
        datetime.fromisoformat(completion.completed_at)
    (seen,) = messages_api.requests
    assert seen.key == "sk-ant-test"
    assert seen.body["max_tokens"] == 4096
    assert "Plan a bakery" not in seen.body["system"]
    assert "Lyon" in seen.body["messages"][0]["content"]


async def test_texts_reach_the_audit_only_where_the_operator_switched_them_on(start_agent: StartAgent) -> None:
    async with start_agent(audit_texts=True) as agent:
        await agent.execute({"task_description": "Plan a bakery\u0000"})
        (completion,) = await agent.completions()
        assert (completion.task, completion.answer) == ("Plan a bakery", TEXT)


async def test_a_request_without_a_valid_identity_token_is_refused_and_never_reaches_the_model(
    start_agent: StartAgent, messages_api: MessagesApi
) -> None:
    async with start_agent() as agent:
        path, content = f"/agents/{AGENT}/api/v1/execute", b'{"task_description": "x"}'
        good = agent.headers()
        for headers in (
            {},
            {**good, Header.IDENTITY: "not-a-token"},
            {**good, Header.IDENTITY: agent.token(OTHER)},
            {**good, Header.REQUEST_ID: "another-request"},
            {**good, Header.IDENTITY: good[Header.IDENTITY][:-4] + "AAAA"},
        ):
            response = await agent.client.post(path, content=content, headers=headers)
            assert response.status_code == 401
            assert error_of(response)["code"] == "UNAUTHENTICATED"
        assert not messages_api.requests


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"{}", 422, "INVALID_REQUEST", "task_description"),
        (b"not json", 422, "INVALID_REQUEST", "body"),
        (b'{"task_description": "x", "context": {"a": null}}', 422, "INVALID_REQUEST", "context.a"),
    ],
)
async def test_an_invalid_request_is_answered_with_field_and_issue_and_is_in_the_audit(
    start_agent: StartAgent, body: bytes, status: int, code: str, field: str
) -> None:
    async with start_agent() as agent:
        response = await agent.execute(body)
        assert response.status_code == status
        error = error_of(response)
        assert (error["code"], error["details"]["field"]) == (code, field)
        (completion,) = await agent.completions()
        assert (completion.status, completion.error_code, completion.cost_dollars) == (status, code, "0")


async def test_paths_methods_types_and_sizes_that_are_wrong_get_the_envelope(start_agent: StartAgent) -> None:
    async with start_agent() as agent:
        assert error_of(await agent.client.get("/nothing"))["code"] == "NOT_FOUND"
        response = await agent.client.get("/api/v1/execute")
        assert (response.status_code, error_of(response)["code"]) == (405, "METHOD_NOT_ALLOWED")
        response = await agent.execute(agent_id="no_such_agent_001")
        assert (response.status_code, error_of(response)["code"]) == (404, "AGENT_NOT_FOUND")
        response = await agent.client.get("/agents/no_such_agent_001/health")
        assert (response.status_code, error_of(response)["code"]) == (404, "AGENT_NOT_FOUND")
        form = {**agent.headers(), "Content-Type": "application/x-www-form-urlencoded"}
        response = await agent.client.post(f"/agents/{AGENT}/api/v1/execute", content=b"a=b", headers=form)
        assert (response.status_code, error_of(response)["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
        response = await agent.execute(b" " * (BODY_BYTES + 1))
        assert (response.status_code, error_of(response)["code"]) == (413, "REQUEST_TOO_LARGE")


async def test_the_bare_path_needs_the_agents_name_where_a_process_serves_several(start_agent: StartAgent) -> None:
    async with start_agent() as agent:
        content, headers = b'{"task_description": "x"}', agent.headers()
        response = await agent.client.post("/api/v1/execute", content=content, headers=headers)
        assert (response.status_code, error_of(response)["details"]["field"]) == (422, Header.AGENT_ID)
        response = await agent.client.post(
            "/api/v1/execute", content=content, headers={**headers, Header.AGENT_ID: AGENT}
        )
        assert response.json()["metadata"]["agent_id"] == AGENT


async def test_a_process_of_one_agent_answers_on_the_specifications_path_and_knows_no_other_agent(
    start_agent: StartAgent,
) -> None:
    async with start_agent(serve_agents=(AGENT,)) as agent:
        response = await agent.client.post(
            "/api/v1/execute", content=b'{"task_description": "x"}', headers=agent.headers()
        )
        assert response.json()["metadata"]["agent_id"] == AGENT
        assert (await agent.execute(agent_id=OTHER)).status_code == 404
        health = (await agent.client.get("/health")).json()
        assert health["agent_id"] == AGENT


async def test_health_names_the_process_and_each_agent_in_the_specifications_shape(start_agent: StartAgent) -> None:
    async with start_agent(serve_pool="business") as agent:
        for path, name in (("/health", "business"), (f"/agents/{AGENT}/health", AGENT)):
            body = (await agent.client.get(path)).json()
            assert set(body) == {"status", "agent_id", "version", "timestamp"}
            assert (body["status"], body["agent_id"]) == ("healthy", name)


@pytest.mark.parametrize(
    ("behaviour", "status", "code", "retry_after"),
    [
        ("rate-limited", 503, "SERVICE_UNAVAILABLE", 7),
        ("overloaded", 503, "SERVICE_UNAVAILABLE", 10),
        ("error", 502, "MODEL_ERROR", None),
        ("malformed", 502, "MODEL_ERROR", None),
        ("incomplete", 502, "MODEL_ERROR", None),
        ("no-text", 502, "MODEL_ERROR", None),
        ("bad-request", 502, "MODEL_ERROR", None),
        ("unauthorized", 502, "MODEL_ERROR", None),
        ("unpaid", 502, "MODEL_ERROR", None),
        ("forbidden", 502, "MODEL_ERROR", None),
        ("not-found", 502, "MODEL_UNAVAILABLE", None),
        ("too-large", 413, "REQUEST_TOO_LARGE", None),
    ],
)
async def test_a_failure_of_the_model_api_is_mapped_and_says_nothing_of_its_own(
    start_agent: StartAgent, messages_api: MessagesApi, behaviour: str, status: int, code: str, retry_after: int | None
) -> None:
    async with start_agent() as agent:
        response = await agent.execute({"task_description": f"behave:{behaviour}"})
        assert response.status_code == status
        error = error_of(response)
        assert (error["code"], error.get("retry_after")) == (code, retry_after)
        assert response.headers.get("retry-after") == (str(retry_after) if retry_after else None)
        assert messages_api.counts[behaviour] == 1
        for word in ("anthropic", "x-api-key", "req_01", "Traceback"):
            assert word not in response.text
        (completion,) = await agent.completions()
        assert (completion.status, completion.error_code) == (status, code)
        if behaviour == "no-text":
            assert completion.output_tokens == OUTPUT_TOKENS


async def test_a_model_that_takes_too_long_is_a_504(start_agent: StartAgent, messages_api: MessagesApi) -> None:
    async with start_agent(execution_timeout_seconds=2) as agent:
        response = await agent.execute({"task_description": "behave:slow"})
        assert (response.status_code, error_of(response)["code"]) == (504, "TIMEOUT")
        await until(lambda: messages_api.cancelled >= 1)


async def test_refusals_and_cut_answers_are_reported_and_thinking_is_skipped(start_agent: StartAgent) -> None:
    async with start_agent() as agent:
        for behaviour, stop_reason, text in (
            ("refusal", "refusal", "The model declined to answer this request."),
            ("max-tokens", "max_tokens", TEXT[:20]),
            ("thinking", None, TEXT),
        ):
            body = (await agent.execute({"task_description": f"behave:{behaviour}"})).json()
            assert (body["result"], body["metadata"].get("stop_reason")) == (text, stop_reason)


async def test_a_caller_who_hangs_up_cancels_the_model_call_and_is_audited_as_499(
    start_agent: StartAgent, messages_api: MessagesApi
) -> None:
    async with start_agent() as agent:
        running = asyncio.create_task(agent.execute({"task_description": "behave:slow"}))
        await until(lambda: messages_api.running == 1)
        running.cancel()
        await until(lambda: messages_api.cancelled == 1)
        (completion,) = await agent.completions()
        assert (completion.status, completion.error_code) == (499, "CLIENT_CLOSED_REQUEST")
        assert "agent_executions_in_flight 0.0" in await agent.metrics()


async def test_tokens_spent_for_a_caller_who_left_at_the_last_moment_are_reported(start_agent: StartAgent) -> None:
    model = StubbornModel()
    async with start_agent(model_client=model) as agent:
        running = asyncio.create_task(agent.execute())
        await asyncio.wait_for(model.called.wait(), 60)
        running.cancel()
        (completion,) = await agent.completions()
        assert (completion.status, completion.input_tokens, completion.output_tokens) == (499, 11, 7)


class StubbornModel:
    """Answers exactly when it is cancelled, as a response that was already on its way does."""

    notice = None
    problem = None

    def __init__(self) -> None:
        self.called = asyncio.Event()

    async def complete(self, call: Call) -> Answer:
        self.called.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return Answer("late", "claude-sonnet-5-5", "end_turn", 11, 7)

    async def run(self) -> None: ...

    async def close(self) -> None: ...


async def test_executions_beyond_an_agents_concurrency_are_refused_with_retry_after(
    start_agent: StartAgent, messages_api: MessagesApi
) -> None:
    async with start_agent(spec={"scaling": Scaling(concurrency=2)}) as agent:
        slow = [asyncio.create_task(agent.execute({"task_description": "behave:slow"})) for _ in range(2)]
        await until(lambda: messages_api.running == 2)
        response = await agent.execute()
        assert (response.status_code, error_of(response)["code"], response.headers["retry-after"]) == (
            503,
            "OVERLOADED",
            "1",
        )
        assert (await agent.execute(agent_id=OTHER)).status_code == 200
        assert 'agent_concurrency_refusals_total{scope="agent"} 1.0' in await agent.metrics()
        for task in slow:
            task.cancel()
        await until(lambda: messages_api.cancelled == 2)
        assert (await agent.execute()).status_code == 200


async def test_executions_beyond_the_processs_concurrency_are_refused(
    start_agent: StartAgent, messages_api: MessagesApi
) -> None:
    async with start_agent(max_concurrency=1) as agent:
        slow = asyncio.create_task(agent.execute({"task_description": "behave:slow"}))
        await until(lambda: messages_api.running == 1)
        assert error_of(await agent.execute(agent_id=OTHER))["code"] == "OVERLOADED"
        slow.cancel()


async def test_a_cached_answer_is_the_same_principals_only_and_says_so(
    start_agent: StartAgent, messages_api: MessagesApi
) -> None:
    async with start_agent(spec={"cache_seconds": 60}) as agent:
        first = (await agent.execute()).json()
        assert "cached" not in first["metadata"]
        second = (await agent.execute(event="event-2")).json()
        assert second["metadata"]["cached"] is True
        assert (second["result"], second["metadata"]["tokens_used"]) == (first["result"], 0)
        assert messages_api.counts.total() == 1
        await agent.execute(user="user-2", event="event-3")
        await agent.execute({"task_description": "Another plan"}, event="event-4")
        assert messages_api.counts.total() == 3
        completions = {completion.event_id: completion for completion in await agent.completions(4)}
        assert completions["event-2"].cached
        assert completions["event-2"].cost_dollars == "0"
        assert f'agent_cache_hits_total{{agent_id="{AGENT}"}} 1.0' in await agent.metrics()


async def test_refusals_are_not_cached_and_a_dead_cache_is_only_a_miss(
    start_agent: StartAgent, messages_api: MessagesApi
) -> None:
    async with start_agent(spec={"cache_seconds": 60}) as agent:
        for _ in range(2):
            await agent.execute({"task_description": "behave:refusal"})
        assert messages_api.counts["refusal"] == 2
    async with start_agent(spec={"cache_seconds": 60}, redis_cache_url=SecretStr("redis://127.0.0.1:1/0")) as agent:
        assert (await agent.execute()).status_code == 200
        assert (await agent.execute()).status_code == 200


async def test_an_operator_turns_one_agent_off_and_overrides_the_model_while_it_runs(
    start_agent: StartAgent, messages_api: MessagesApi
) -> None:
    async with start_agent() as agent:
        agent.app.state.dynamic.apply(orjson.dumps({"disabled_agents": [AGENT], "model": "claude-haiku-5-5"}))
        response = await agent.execute()
        assert (response.status_code, error_of(response)["code"]) == (503, "AGENT_DISABLED")
        assert (await agent.client.get(f"/agents/{AGENT}/health")).json()["status"] == "disabled"
        assert f'agent_enabled{{agent_id="{AGENT}"}} 0.0' in await agent.metrics()
        assert (await agent.execute(agent_id=OTHER)).json()["metadata"]["model"] == "claude-haiku-5-5"
        agent.app.state.dynamic.apply(b"{}")
        assert (await agent.execute()).json()["metadata"]["model"] == "claude-sonnet-5-5"


async def test_a_credential_error_makes_the_process_unready_until_it_works_again(
    start_agent: StartAgent, messages_api: MessagesApi
) -> None:
    secrets = EnvironmentSecrets({ANTHROPIC_API_KEY: SecretStr("sk-ant-test")})
    model = ClaudeModel(secrets, base_url=messages_api.url, timeout=10, connections=4, recheck_seconds=0.05)
    async with start_agent(model_client=model) as agent:
        assert (await agent.client.get("/ready")).status_code == 200
        messages_api.keys = {"another"}
        assert (await agent.execute()).status_code == 502
        response = await agent.client.get("/ready")
        assert (response.status_code, error_of(response)["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert 'dependency_up{dependency="model"} 0.0' in await agent.metrics()
        assert (await agent.client.get("/health")).status_code == 200
        messages_api.keys = None
        await until_async(lambda: agent.client.get("/ready"), 200)


async def test_a_rotated_key_is_used_without_a_restart(
    start_agent: StartAgent, messages_api: MessagesApi, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("sk-ant-old\n")
    async with start_agent(anthropic_api_key=None, anthropic_api_key_file=file) as agent:
        await agent.execute()
        file.write_text("sk-ant-newer\n")
        await agent.execute()
    assert [seen.key for seen in messages_api.requests] == ["sk-ant-old", "sk-ant-newer"]


async def test_a_draining_process_is_not_ready_but_healthy(start_agent: StartAgent) -> None:
    async with start_agent() as agent:
        agent.app.state.draining = True
        assert (await agent.client.get("/ready")).status_code == 503
        assert (await agent.client.get("/health")).status_code == 200
        assert (await agent.execute()).status_code == 200


async def test_without_a_key_the_offline_model_answers_deterministically_and_says_so(start_agent: StartAgent) -> None:
    async with start_agent(anthropic_api_key=None) as agent:
        first, second = (await agent.execute()).json(), (await agent.execute(event="event-2")).json()
        assert first["result"] == second["result"]
        assert first["result"].startswith("[Offline answer of")
        assert first["metadata"]["model"] == "offline"
        assert "No model was called" in first["metadata"]["notice"]
        assert {completion.cost_dollars for completion in await agent.completions(2)} == {"0"}


async def test_an_unexpected_exception_is_a_500_that_says_nothing(start_agent: StartAgent) -> None:
    class Broken(StubbornModel):
        async def complete(self, call: Call) -> Answer:
            raise RuntimeError("secret detail")

    async with start_agent(model_client=Broken()) as agent:
        response = await agent.execute()
        assert (response.status_code, error_of(response)["code"]) == (500, "INTERNAL_ERROR")
        assert "secret detail" not in response.text
        (completion,) = await agent.completions()
        assert completion.status == 500


async def test_metrics_have_exactly_the_specifications_names_and_lines(start_agent: StartAgent) -> None:
    async with start_agent() as agent:
        await agent.execute()
        await agent.execute(b"{}", event="event-2")
        text = await agent.metrics()
    for line in (
        "# HELP agent_requests_total Total number of requests",
        "# TYPE agent_requests_total counter",
        f'agent_requests_total{{agent_id="{AGENT}"}} 2.0',
        f'agent_requests_total{{agent_id="{OTHER}"}} 0.0',
        "# HELP agent_processing_seconds Request processing time",
        "# TYPE agent_processing_seconds histogram",
        'agent_processing_seconds_bucket{le="+Inf"} 2.0',
        "agent_processing_seconds_count 2.0",
        f'agent_errors_total{{agent_id="{AGENT}",code="INVALID_REQUEST"}} 1.0',
        f'agent_tokens_used_total{{agent_id="{AGENT}",direction="input"}} {float(INPUT_TOKENS)}',
        f'agent_enabled{{agent_id="{AGENT}"}} 1.0',
    ):
        assert line in text.splitlines()
    assert '\nagent_processing_seconds_bucket{le="1.0"} ' in text


async def test_the_openapi_document_describes_every_endpoint_with_its_bodies(start_agent: StartAgent) -> None:
    async with start_agent() as agent:
        document = (await agent.client.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/api/v1/execute",
        "/agents/{agent_id}/api/v1/execute",
        "/health",
        "/agents/{agent_id}/health",
        "/ready",
        "/metrics",
    }
    operation = document["paths"]["/agents/{agent_id}/api/v1/execute"]["post"]
    assert {"200", "401", "404", "413", "422", "502", "503", "504"} <= set(operation["responses"])
    assert "task_description" in json.dumps(operation["requestBody"])
    assert [parameter["name"] for parameter in operation["parameters"]] == ["agent_id", Header.CANARY]
    assert document["components"]["securitySchemes"]["identity"]["name"] == Header.IDENTITY


def test_settings_that_do_not_fit_the_catalog_are_refused_by_name(
    start_agent: StartAgent, spec: AgentSpec, tmp_path: Path, keys: Any, write_catalog: Any
) -> None:
    from runtime.agent.app import create_app

    with pytest.raises(StartError, match=r"SERVE_AGENTS names agents .*: no_such_agent_001"):
        create_app(
            AgentSettings(
                catalog_path=write_catalog(), identity_public_keys=keys.public, serve_agents=("no_such_agent_001",)
            )
        )
    with pytest.raises(StartError, match=r"IDENTITY_PUBLIC_KEYS: .*missing.pem cannot be read"):
        create_app(AgentSettings(catalog_path=write_catalog(), identity_public_keys=tmp_path / "missing.pem"))
    warm = spec.model.model_copy(update={"temperature": 0.5})
    with pytest.raises(
        StartError, match=rf"agent {AGENT} with CLAUDE_MODEL=claude-sonnet-5-5: .* does not take a temperature"
    ):
        create_app(AgentSettings(catalog_path=write_catalog(model=warm), identity_public_keys=keys.public))


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def until_async(request: Any, status: int) -> None:
    async with asyncio.timeout(60):
        while (await request()).status_code != status:
            await asyncio.sleep(0.02)
