"""Redis or PostgreSQL away: refused, never answered unjudged or unrecorded; and well again by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil
import psycopg
import pytest
from pydantic import SecretStr

from cli.local import postgres as local_postgres
from cli.local import valkey as local_valkey
from cli.local.part import Part, free_ports, kill_group, start, stop, wait_ready
from runtime.control.store import migrate
from runtime.settings import ControlSettings
from tests.runtime.control.conftest import Control, ControlProcess, error_of, serving
from tests.runtime.control.test_completions import completion


@dataclass
class Server:
    """A server that a test may take away and bring back."""

    part: Part
    log: Path
    url: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    def up(self) -> None:
        """Start it and wait until it answers."""
        self.process = start(self.part, self.log)
        wait_ready(self.part, self.process, self.log)

    def down(self) -> None:
        """Stop it in order."""
        if self.process is not None:
            stop(self.part, self.process)
            self.process = None

    def freeze(self) -> None:
        """Connections stay, nothing answers any more."""
        assert self.process is not None
        for pid in _family(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        assert self.process is not None
        for pid in _family(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _family(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


@pytest.fixture(scope="module")
def servers(servers_folder: Path) -> Iterator[tuple[Server, Server]]:
    """(PostgreSQL, Valkey) of these tests alone."""
    folder = servers_folder / "outages"
    folder.mkdir()
    password = secrets.token_urlsafe(16)
    port, redis_port = free_ports(2)
    where = local_postgres.places(folder, f"outages-{secrets.token_hex(6)}")
    local_postgres.prepare(where, password, durable=False)
    postgres = Server(
        local_postgres.part(where, port, durable=False), folder / "postgres.log", local_postgres.url(port, password)
    )
    configured = local_valkey.prepare(folder / "state", "state", redis_port, password)
    valkey = Server(
        local_valkey.part("state", configured, redis_port, password),
        folder / "valkey.log",
        local_valkey.url(redis_port, password),
    )
    try:
        for server in (postgres, valkey):
            server.up()
        migrate.upgrade(postgres.url)
        yield postgres, valkey
    finally:
        for server in (postgres, valkey):
            if server.process is not None:
                kill_group(server.process.pid)
                server.process.wait(10)
        shutil.rmtree(where.root, ignore_errors=True)


@pytest.fixture
async def fragile(servers: tuple[Server, Server], settings: ControlSettings) -> AsyncIterator[Control]:
    """A control application over the servers that go away, with an administrator whose key is not cached anywhere."""
    postgres, valkey = servers
    with psycopg.connect(postgres.url.replace("+psycopg", "")) as connection:
        connection.execute("TRUNCATE users, api_keys, audit_events")
    async with serving(
        settings.model_copy(update={"database_url": SecretStr(postgres.url), "redis_state_url": SecretStr(valkey.url)})
    ) as control:
        yield control


async def _refused_everywhere(control: Control, user: dict[str, str]) -> None:
    answer = await control.authorize()
    assert (answer.status_code, answer.headers["X-Refusal"]) == (403, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) > 0
    assert "X-Identity-Token" not in answer.headers
    for own in (await control.ask("GET", "/api/v1/agents"), await control.login("ada", user["password"])):
        error = error_of(own)
        assert (own.status_code, error["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert own.headers["Retry-After"] == str(error["retry_after"])


async def _well_again(control: Control, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while (await control.ask("GET", "/ready", "")).status_code != 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    for _ in range(3):
        assert (await control.authorize()).status_code == 200


async def test_without_redis_everything_is_refused_until_it_is_back(
    fragile: Control, servers: tuple[Server, Server]
) -> None:
    _, valkey = servers
    user = await fragile.user("ada")
    assert (await fragile.authorize()).status_code == 200
    valkey.down()
    try:
        await _refused_everywhere(fragile, user)
        ready = await fragile.ask("GET", "/ready", "")
        assert (ready.status_code, error_of(ready)["details"]) == (503, {"redis": "down", "database": "up"})
        assert (await fragile.ask("GET", "/health", "")).status_code == 200
        assert 'dependency_up{dependency="redis"} 0.0' in (await fragile.ask("GET", "/metrics", "")).text
    finally:
        valkey.up()
    await _well_again(fragile)


async def test_without_postgresql_everything_is_refused_until_it_is_back_and_completions_wait(
    fragile: Control, servers: tuple[Server, Server]
) -> None:
    postgres, _ = servers
    user = await fragile.user("ada")
    assert (await fragile.authorize()).status_code == 200
    event_id = str(fragile.rows("kind = 'execution'")[0]["event_id"])
    postgres.down()
    try:
        await fragile.services.redis.xadd("audit", completion(event_id).fields())
        await _refused_everywhere(fragile, user)
        ready = await fragile.ask("GET", "/ready", "")
        assert (ready.status_code, error_of(ready)["details"]) == (503, {"redis": "up", "database": "down"})
    finally:
        postgres.up()
    await _well_again(fragile)
    deadline = time.monotonic() + 60
    while fragile.rows("event_id = %s", event_id)[0]["status"] != 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_a_postgresql_that_does_not_answer_is_as_good_as_away(
    fragile: Control, servers: tuple[Server, Server]
) -> None:
    postgres, _ = servers
    assert (await fragile.authorize()).status_code == 200
    postgres.freeze()
    try:
        started = time.monotonic()
        answers = await asyncio.gather(*(fragile.authorize() for _ in range(5)))
        assert {answer.headers["X-Refusal"] for answer in answers} == {"SERVICE_UNAVAILABLE"}
        assert time.monotonic() - started < 10
    finally:
        postgres.thaw()
    await _well_again(fragile)


async def test_a_redis_that_does_not_answer_is_as_good_as_away(
    fragile: Control, servers: tuple[Server, Server]
) -> None:
    _, valkey = servers
    user = await fragile.user("ada")
    assert (await fragile.authorize()).status_code == 200
    valkey.freeze()
    try:
        await _refused_everywhere(fragile, user)
        started = time.monotonic()
        answers = await asyncio.gather(*(fragile.authorize() for _ in range(300)))
        assert {answer.headers["X-Refusal"] for answer in answers} == {"SERVICE_UNAVAILABLE"}
        assert time.monotonic() - started < 10  # no queue: 300 times the timeout, a few at a time, would be longer
    finally:
        valkey.thaw()
    await _well_again(fragile)


async def test_an_answer_that_cannot_be_recorded_does_not_leave(
    fragile: Control, servers: tuple[Server, Server]
) -> None:
    """PostgreSQL goes away while control's own answer is being made: nothing of it is seen."""
    postgres, _ = servers
    assert (await fragile.ask("GET", "/api/v1/agents")).status_code == 200
    postgres.down()
    try:
        answer = await fragile.ask("GET", "/api/v1/agents")
        assert answer.status_code == 503
        assert list(answer.json()) == ["error"]
    finally:
        postgres.up()
    await _well_again(fragile)


async def test_killing_control_under_load_leaves_no_admitted_request_without_its_row(
    control: Control, control_process: Callable[..., ControlProcess]
) -> None:
    user = await control.user("ada", requests_per_minute=1_000_000)
    victim = control_process()
    admitted: list[str] = []
    headers = {
        "Authorization": f"Bearer {user['api_key']}",
        "X-Original-Method": "POST",
        "X-Original-URI": "/agents/business_plan_agent_009/api/v1/execute",
    }

    async def caller(number: int, http: httpx2.AsyncClient) -> None:
        for count in range(10_000):
            request_id = f"load-{number}-{count}"
            answer = await http.get(
                f"http://127.0.0.1:{victim.port}/internal/authorize", headers={**headers, "X-Request-Id": request_id}
            )
            if answer.status_code == 200:
                admitted.append(request_id)

    async with httpx2.AsyncClient(timeout=60) as http:
        callers = [asyncio.create_task(caller(number, http)) for number in range(16)]
        while len(admitted) < 200:
            assert not any(each.done() for each in callers), "a caller gave up before the kill"
            await asyncio.sleep(0.01)
        victim.kill()
        await asyncio.gather(*callers, return_exceptions=True)
    recorded = {row["request_id"] for row in control.rows("kind = 'execution'")}
    assert len(admitted) >= 200
    assert set(admitted) <= recorded
