"""Completions reach the stream before the caller is answered, and survive a Redis that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio
from pydantic import SecretStr

from catalog.contract import REDIS_AUDIT_STREAM
from runtime.agent.completions import Completions
from runtime.audit import Completion
from runtime.metrics import AgentMetrics, new_registry
from runtime.redis import connect


def completion(event: str) -> Completion:
    return Completion(event, 200, "", "claude-sonnet-5-5", 1, 2, "0.1", 3.5, "2026-01-01T00:00:00Z")


class Gate:
    """A TCP door in front of Redis that a test can shut."""

    def __init__(self, url: str) -> None:
        self._target = redis.asyncio.connection.parse_url(url)
        self._open = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"redis://:{self._target['password']}@127.0.0.1:{self.port}/0")

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def shut(self) -> None:
        self._open = False
        for writer in self._writers:
            writer.transport.abort()

    def open(self) -> None:
        self._open = True

    async def stop(self) -> None:
        self.shut()
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self._target["host"], self._target["port"])
        self._writers |= {writer, back}
        await asyncio.gather(_pump(reader, back), _pump(there, writer))
        self._writers -= {writer, back}


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
    except OSError:
        pass
    finally:
        target.transport.abort()


@asynccontextmanager
async def gated(url: str) -> AsyncIterator[Gate]:
    gate = Gate(url)
    await gate.start()
    yield gate
    await gate.stop()


@asynccontextmanager
async def running(
    url: SecretStr, max_pending_bytes: int = 1_000_000
) -> AsyncIterator[tuple[Completions, AgentMetrics]]:
    metrics = AgentMetrics(new_registry(), ["a_agent_001"], lambda _: True)
    completions = Completions(connect(url), metrics, max_pending_bytes=max_pending_bytes)
    task = asyncio.create_task(completions.run())
    yield completions, metrics
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await completions.close(20)


async def events(url: str) -> list[str]:
    async with redis.asyncio.Redis.from_url(url) as store:
        return [Completion.from_fields(fields).event_id for _, fields in await store.xrange(REDIS_AUDIT_STREAM)]


async def test_a_published_completion_is_in_the_stream_when_publish_returns(redis_url: str) -> None:
    async with running(SecretStr(redis_url)) as (completions, _):
        await completions.publish(completion("e1"))
        assert await events(redis_url) == ["e1"]


async def test_completions_that_end_together_are_all_stored_in_order(redis_url: str) -> None:
    async with running(SecretStr(redis_url)) as (completions, _):
        await asyncio.gather(*[completions.publish(completion(f"e{n}")) for n in range(600)])
        assert await events(redis_url) == [f"e{n}" for n in range(600)]


async def test_while_redis_is_away_callers_do_not_wait_and_nothing_is_lost(redis_url: str) -> None:
    async with gated(redis_url) as gate, running(gate.url) as (completions, metrics):
        for number in range(5):
            await asyncio.wait_for(completions.publish(completion(f"e{number}")), 10)
        assert len(completions) == 5
        assert metrics.dependency_up.labels("redis")._value.get() == 0
        gate.open()
        async with asyncio.timeout(60):
            while len(completions):
                await asyncio.sleep(0.02)
        assert await events(redis_url) == [f"e{number}" for number in range(5)]
        gate.shut()
        await completions.publish(completion("e5"))
        gate.open()
        async with asyncio.timeout(60):
            while "e5" not in await events(redis_url):
                await asyncio.sleep(0.02)


async def test_what_is_pending_at_shutdown_is_stored_if_redis_is_back(redis_url: str) -> None:
    async with gated(redis_url) as gate:
        async with running(gate.url) as (completions, _):
            await completions.publish(completion("e1"))
            gate.open()
        assert await events(redis_url) == ["e1"]


async def test_the_queue_is_bounded_and_drops_the_oldest_with_a_count(redis_url: str) -> None:
    async with gated(redis_url) as gate:
        async with running(gate.url, max_pending_bytes=5_000) as (completions, metrics):
            for number in range(50):
                await completions.publish(completion(f"e{number}"))
            kept = len(completions)
            assert 0 < kept < 20
            assert metrics.completions_dropped._value.get() == 50 - kept
            gate.open()
        assert await events(redis_url) == [f"e{number}" for number in range(50 - kept, 50)]
