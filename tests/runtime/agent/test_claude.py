"""Calls to the Messages API: what is sent, what is retried, what a broken connection is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import SecretStr

from catalog.contract import ErrorCode
from catalog.schema import AgentSpec
from runtime.agent.models.base import Call, ModelError
from runtime.agent.models.claude import ClaudeModel, read_answer, retry_after
from runtime.secrets import ANTHROPIC_API_KEY, EnvironmentSecrets
from tests.messages_api import TEXT, MessagesApi, message


@pytest.fixture
async def claude(messages_api: MessagesApi) -> AsyncIterator[ClaudeModel]:
    model = ClaudeModel(
        EnvironmentSecrets({ANTHROPIC_API_KEY: SecretStr("sk-ant-test")}),
        base_url=messages_api.url,
        timeout=30,
        connections=4,
    )
    yield model
    await model.close()


def call(spec: AgentSpec, user: str = "Plan", *, temperature: float | None = None, effort: str | None = None) -> Call:
    return Call(spec, "claude-opus-4-6", "You plan.", user, 1000, temperature, effort)


async def test_temperature_and_effort_are_sent_only_where_they_are_set(
    claude: ClaudeModel, messages_api: MessagesApi, spec: AgentSpec
) -> None:
    await claude.complete(call(spec))
    await claude.complete(call(spec, temperature=0.3, effort="low"))
    plain, tuned = (seen.body for seen in messages_api.requests)
    assert set(plain) == {"model", "max_tokens", "system", "messages"}
    assert (tuned["temperature"], tuned["output_config"]) == (0.3, {"effort": "low"})


async def test_a_passing_failure_is_retried_and_the_caller_never_knows(
    claude: ClaudeModel, messages_api: MessagesApi, spec: AgentSpec
) -> None:
    assert (await claude.complete(call(spec, "behave:flaky"))).text == TEXT
    assert messages_api.counts["flaky"] == 2


@pytest.mark.parametrize("behaviour", ["cut", "cut-midway"])
async def test_a_connection_that_breaks_is_a_502_after_bounded_retries(
    messages_api: MessagesApi, spec: AgentSpec, behaviour: str
) -> None:
    secrets = EnvironmentSecrets({ANTHROPIC_API_KEY: SecretStr("sk-ant-test")})
    model = ClaudeModel(secrets, base_url=messages_api.url, timeout=30, connections=4, max_retries=1)
    with pytest.raises(ModelError) as caught:
        await model.complete(call(spec, f"behave:{behaviour}"))
    await model.close()
    assert (caught.value.code, caught.value.status) == (ErrorCode.BAD_GATEWAY, 502)
    assert messages_api.counts[behaviour] == 2


async def test_nobody_listening_is_a_502(spec: AgentSpec) -> None:
    model = ClaudeModel(
        EnvironmentSecrets({ANTHROPIC_API_KEY: SecretStr("k")}),
        base_url="http://127.0.0.1:1",
        timeout=30,
        connections=4,
        max_retries=0,
    )
    with pytest.raises(ModelError) as caught:
        await model.complete(call(spec))
    await model.close()
    assert caught.value.code == ErrorCode.BAD_GATEWAY


async def test_a_missing_secret_is_a_502_and_unready(messages_api: MessagesApi, spec: AgentSpec) -> None:
    model = ClaudeModel(EnvironmentSecrets({}), base_url=messages_api.url, timeout=30, connections=4)
    with pytest.raises(ModelError) as caught:
        await model.complete(call(spec))
    await model.close()
    assert (caught.value.status, messages_api.counts.total()) == (502, 0)
    assert model.problem is not None


def test_tokens_written_to_and_read_from_the_prompt_cache_are_input_tokens() -> None:
    body = (
        message("claude-sonnet-5-5")
        .replace(b'"cache_read_input_tokens":0', b'"cache_read_input_tokens":1000')
        .replace(b'"cache_creation_input_tokens":0', b'"cache_creation_input_tokens":null')
    )
    assert read_answer(body).input_tokens == 1412


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"content": 5}', b'{"content": [], "usage": {}}', b'{"content": [{"type": "text"}]}', b"\xff"],
)
def test_a_body_that_is_no_message_is_a_model_error(body: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        read_answer(body)
    assert caught.value.code == ErrorCode.MODEL_ERROR


def test_retry_after_is_read_in_seconds_and_as_a_date() -> None:
    later = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)})
    assert later is not None
    assert 80 < later <= 90
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
