"""A process is in Consul's catalog while it runs, with a health check, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from runtime.consul import Consul
from runtime.discovery import Registration
from runtime.settings import AgentSettings
from tests.runtime.servers import Server, consul


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with consul(tmp_path_factory.mktemp("consul")) as running:
        yield running


@asynccontextmanager
async def running(registration: Registration) -> AsyncIterator[None]:
    task = asyncio.create_task(registration.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def entries(server: Server) -> list[dict[str, Any]]:
    async with httpx2.AsyncClient() as client:
        found: list[dict[str, Any]] = (await client.get(f"{server.url}/v1/catalog/service/agents")).json()
        return found


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.05)


@pytest.fixture
async def healthy() -> AsyncIterator[int]:
    """A process that answers Consul's check, which may come at any moment after the registration; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def test_a_process_registers_itself_with_a_health_check_and_leaves_no_trace(server: Server, healthy: int) -> None:
    settings = AgentSettings(
        identity_public_keys=Path("keys.pem"),
        consul_http_addr=server.url.removeprefix("http://"),
        advertise_address="127.0.0.1",
        port=healthy,
    )
    registration = Registration.from_settings(settings, service="agents", tags=["business_plan_agent_009"])
    assert registration is not None
    async with running(registration):
        await eventually(lambda: entries(server))
        (entry,) = await entries(server)
        assert (entry["ServiceAddress"], entry["ServicePort"], entry["ServiceTags"]) == (
            "127.0.0.1",
            healthy,
            ["business_plan_agent_009"],
        )
        async with httpx2.AsyncClient() as client:
            (check,) = (await client.get(f"{server.url}/v1/health/checks/agents")).json()
        assert (check["Type"], check["Status"]) == ("http", "passing")
    assert await entries(server) == []


async def test_a_process_that_consul_forgot_registers_again(server: Server) -> None:
    registration = Registration(Consul(server.url), service="agents", address="127.0.0.1", port=8210, check_seconds=0.1)
    async with running(registration):
        await eventually(lambda: entries(server))
        httpx2.put(f"{server.url}/v1/agent/service/deregister/{registration.service_id}")
        await eventually(lambda: entries(server))


async def test_a_consul_that_is_away_stops_nobody(tmp_path: Path) -> None:
    registration = Registration(Consul("http://127.0.0.1:1"), service="agents", address="127.0.0.1", port=8211)
    async with running(registration):
        await asyncio.sleep(0.1)


def test_without_consul_or_a_fixed_port_there_is_no_registration() -> None:
    settings = AgentSettings(identity_public_keys=Path("keys.pem"))
    assert Registration.from_settings(settings, service="agents") is None
    assert (
        Registration.from_settings(
            settings.model_copy(update={"consul_http_addr": "127.0.0.1:1", "port": 0}), service="agents"
        )
        is None
    )
