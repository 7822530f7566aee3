"""Dynamic settings follow a file or a real Consul, and a mistake never takes effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from catalog.contract import CONSUL_SETTINGS
from runtime.consul import Consul
from runtime.dynamic import DynamicSettings, DynamicSource, parse
from tests.runtime.servers import Server, consul


@asynccontextmanager
async def following(source: DynamicSource) -> AsyncIterator[None]:
    task = asyncio.create_task(source.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def eventually(source: DynamicSource, expected: DynamicSettings, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while source.current != expected:
            await asyncio.sleep(0.02)


def test_a_document_may_say_everything_and_an_empty_one_is_all_defaults() -> None:
    assert parse(b"") == parse(b" \n") == parse(b"{}") == DynamicSettings()
    settings = parse(
        b'{"log_level": "WARNING", "agent_log_levels": {"a_agent_001": "DEBUG"}, "disabled_agents": ["b_agent_002"], "model": "claude-haiku-5-5", "rate_limits": {"ann": 500}}'
    )
    assert (settings.log_level, settings.rate_limits["ann"], settings.disabled_agents) == (
        "WARNING",
        500,
        {"b_agent_002"},
    )


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b"{", "document"),
        (b"[]", "document"),
        (b'{"log_level": "LOUD"}', "log_level"),
        (b'{"modle": "x"}', "modle"),
        (b'{"rate_limits": {"ann": -1}}', "rate_limits.ann"),
        (b'{"model": "claude-3-5-sonnet-20241022"}', "model: .*is retired"),
    ],
)
def test_a_malformed_document_is_refused_by_field(document: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse(document)


async def test_a_subscriber_hears_the_settings_now_and_every_change_but_no_repetition() -> None:
    source, heard = DynamicSource(), []
    source.subscribe(lambda settings: heard.append(settings.log_level))
    for document in (b'{"log_level": "DEBUG"}', b'{"log_level": "DEBUG"}', b"broken", b"{}"):
        source.apply(document)
    assert heard == [None, "DEBUG", None]


async def test_without_a_source_the_settings_are_constant() -> None:
    source = DynamicSource(initial=DynamicSettings(log_level="ERROR"))
    await asyncio.wait_for(source.run(), 5)
    assert source.current.log_level == "ERROR"


async def test_a_file_is_followed_a_broken_one_is_not_and_a_removed_one_means_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"log_level": "DEBUG"}')
    source = DynamicSource(file=file)
    async with following(source):
        await eventually(source, DynamicSettings(log_level="DEBUG"))
        file.write_text('{"log_level": ')
        await asyncio.sleep(0.7)
        assert source.current.log_level == "DEBUG"
        file.write_text('{"log_level": "ERROR"}')
        await eventually(source, DynamicSettings(log_level="ERROR"))
        file.unlink()
        await eventually(source, DynamicSettings())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with consul(tmp_path_factory.mktemp("consul")) as running:
        yield running


def put(server: Server, document: str) -> None:
    assert httpx2.put(f"{server.url}/v1/kv/{CONSUL_SETTINGS}", content=document).json() is True


async def test_a_change_in_consul_takes_effect_at_once_and_a_malformed_one_never(server: Server) -> None:
    source = DynamicSource(consul=Consul(server.url))
    async with following(source):
        put(server, '{"disabled_agents": ["a_agent_001"]}')
        await eventually(source, DynamicSettings(disabled_agents=frozenset({"a_agent_001"})))
        put(server, '{"disabled_agents": "a_agent_001"')
        await asyncio.sleep(0.3)
        assert source.current.disabled_agents == {"a_agent_001"}
        put(server, '{"log_level": "DEBUG"}')
        # A blocking query, not a poll: far sooner than its wait of a minute.
        await eventually(source, DynamicSettings(log_level="DEBUG"), seconds=30)
        httpx2.delete(f"{server.url}/v1/kv/{CONSUL_SETTINGS}")
        await eventually(source, DynamicSettings())


async def test_while_consul_is_away_the_settings_stay_and_a_consul_that_lost_its_index_is_followed_again(
    tmp_path: Path,
) -> None:
    with consul(tmp_path) as first:
        port = int(first.url.rsplit(":", 1)[1])
        source = DynamicSource(consul=Consul(first.url))
        async with following(source):
            put(first, '{"log_level": "DEBUG"}')
            await eventually(source, DynamicSettings(log_level="DEBUG"))
            first.stop()
            await asyncio.sleep(0.3)
            assert source.current.log_level == "DEBUG"
            with consul(tmp_path, port) as second:
                put(second, '{"log_level": "ERROR"}')
                await eventually(source, DynamicSettings(log_level="ERROR"))
