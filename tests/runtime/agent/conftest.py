"""An agent application served by uvicorn in the test's own event loop, with real Redis and a local Messages API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import redis.asyncio
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from catalog import registry
from catalog.contract import REDIS_AUDIT_STREAM, Header
from catalog.schema import AgentSpec
from runtime import redis as own_redis
from runtime.agent.app import create_app
from runtime.audit import Completion
from runtime.identity import Identity, SigningKeys, generate_key_pair
from runtime.settings import AgentSettings
from tests.messages_api import MessagesApi, serving
from tests.runtime.described import described

AGENT = "business_plan_agent_009"
OTHER = "market_sizing_agent_016"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a quarter of a second is not an outage of Redis."""
    monkeypatch.setitem(own_redis.connect.__kwdefaults__, "timeout", 20.0)
    monkeypatch.setattr("runtime.agent.completions.WAIT_SECONDS", 20.0)


@pytest.fixture(scope="session")
def spec() -> AgentSpec:
    """The specification's example agent as the catalog has it."""
    (domain,) = (path for path in registry.POOLS_FOLDER.glob("business/strategy.yaml"))
    return next(agent for agent in _domain(domain) if agent.id == AGENT)


def _domain(path: Path) -> tuple[AgentSpec, ...]:
    import yaml_rs

    from catalog.schema import DomainSpec

    data: Any = yaml_rs.loads(path.read_text("utf-8"))
    implied = {"pool": "business", "domain": path.stem, "owner": data["owner"]}
    return DomainSpec.model_validate({**data, "agents": [{**implied, **agent} for agent in data["agents"]]}).agents


@pytest.fixture
def write_catalog(tmp_path: Path, spec: AgentSpec) -> Callable[..., Path]:
    """Call it for a folder with two agents in the mounted form; changes are made to the first."""

    def write(**changes: Any) -> Path:
        folder = tmp_path / "catalog"
        folder.mkdir(exist_ok=True)
        first = registry.dump_agent(spec.model_copy(update=changes))
        second = registry.dump_agent(spec.model_copy(update={"id": OTHER, "name": "Market sizing"}))
        (folder / f"{AGENT}.json").write_bytes(first)
        (folder / f"{OTHER}.json").write_bytes(second)
        return folder

    return write


@dataclass(frozen=True)
class Keys:
    """A key pair: the signer and the file that an agent verifies with."""

    signing: SigningKeys
    public: Path


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys as control and an agent share them."""
    private, public = generate_key_pair()
    file = tmp_path_factory.mktemp("keys") / "public.pem"
    file.write_bytes(public)
    return Keys(SigningKeys.from_pem(private, "test"), file)


@pytest.fixture
def messages_api() -> Iterator[MessagesApi]:
    """A local Messages API."""
    with serving() as api:
        yield api


class Agent:
    """A running agent application, and what a test needs to talk to it as the gateway would."""

    def __init__(self, app: FastAPI, url: str, keys: Keys, store: redis.asyncio.Redis) -> None:
        self.app = app
        self.url = url
        self._keys = keys
        self._store = store
        self.client = httpx2.AsyncClient(base_url=url, timeout=60, event_hooks={"response": [described(app)]})

    def token(
        self, agent_id: str = AGENT, *, request_id: str = "request-1", user: str = "user-1", event: str = "event-1"
    ) -> str:
        """An identity token as control mints it."""
        return self._keys.signing.identity_token(Identity(user, "ann", agent_id, request_id, event))

    def headers(self, agent_id: str = AGENT, **names: str) -> dict[str, str]:
        """The headers nginx sends."""
        return {
            Header.REQUEST_ID: names.get("request_id", "request-1"),
            Header.IDENTITY: self.token(agent_id, **names),
            "Content-Type": "application/json",
        }

    async def execute(self, body: object = None, agent_id: str = AGENT, **names: str) -> httpx2.Response:
        """The response to one execution."""
        content = (
            body
            if isinstance(body, bytes)
            else orjson.dumps({"task_description": "Plan a bakery"} if body is None else body)
        )
        return await self.client.post(
            f"/agents/{agent_id}/api/v1/execute", content=content, headers=self.headers(agent_id, **names)
        )

    async def completions(self, count: int = 1) -> list[Completion]:
        """The completions in the stream, once there are ``count``."""
        async with asyncio.timeout(60):
            while await self._store.xlen(REDIS_AUDIT_STREAM) < count:
                await asyncio.sleep(0.01)
        return [Completion.from_fields(fields) for _, fields in await self._store.xrange(REDIS_AUDIT_STREAM)]

    async def metrics(self) -> str:
        """The text of /metrics."""
        return (await self.client.get("/metrics")).text


StartAgent = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
def start_agent(
    keys: Keys, redis_url: str, redis_cache_url: str, messages_api: MessagesApi, write_catalog: Callable[..., Path]
) -> StartAgent:
    """Call it for a running agent process's application; keyword arguments are settings, ``spec`` changes to the agent."""

    @asynccontextmanager
    async def start(
        *, spec: dict[str, Any] | None = None, model_client: Any = None, **settings: Any
    ) -> AsyncIterator[Agent]:
        values: dict[str, Any] = {
            "catalog_path": write_catalog(**(spec or {})), "identity_public_keys": keys.public, "redis_state_url": SecretStr(redis_url),
            "redis_cache_url": SecretStr(redis_cache_url), "anthropic_api_key": SecretStr("sk-ant-test"), "anthropic_base_url": messages_api.url,
            "execution_timeout_seconds": 30.0,
        }  # fmt: skip
        app = create_app(AgentSettings(**{**values, **settings}), model=model_client)
        async with served(app) as url, redis.asyncio.Redis.from_url(redis_url) as store:
            agent = Agent(app, url, keys, store)
            async with agent.client:
                yield agent

    return start


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """``app`` served by uvicorn on a free port of the loopback interface."""
    server = uvicorn.Server(
        uvicorn.Config(
            app, port=0, log_config=None, access_log=False, ws="none", http="httptools", timeout_graceful_shutdown=1
        )
    )
    # Tests own the process's signals.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(60):
            while not server.started:
                if task.done():
                    raise RuntimeError("the application did not start")
                await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
