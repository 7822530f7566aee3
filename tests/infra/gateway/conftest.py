"""The real nginx with the rendered configuration, in front of stubs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.local import nginx
from cli.local.part import free_ports, http_status, running
from infra.gateway.config import GatewaySettings, Listener, Timeouts
from infra.gateway.routes import Candidate, Route
from tests.infra.gateway.stubs import Answer, Stub, request

ALLOWED = {
    "X-Identity-Token": "identity-of-ada", "X-User-Id": "7", "X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "99", "X-RateLimit-Reset": "1705318200",
}  # fmt: skip


@dataclasses.dataclass
class Gateway:
    """A running nginx and what it talks to."""

    port: int
    folder: Path
    control: Stub
    pool: Stub
    new: Stub
    other: Stub
    settings: GatewaySettings

    def execute(self, agent: str = "pooled_agent_001", **options: Any) -> Answer:
        options.setdefault("headers", {"Authorization": "Bearer sk-secret", "Content-Type": "application/json"})
        options.setdefault("body", b'{"task_description": "x"}')
        return request(self.port, "POST", f"/agents/{agent}/api/v1/execute", **options)

    def get(self, path: str, **options: Any) -> Answer:
        return request(self.port, "GET", path, **options)

    def log(self, count: int = 1) -> list[dict[str, Any]]:
        """The access log's entries once there are ``count``: nginx writes one just after its answer was read."""
        deadline = time.monotonic() + 20
        while (text := (self.folder / "access.log").read_text()).count("\n") < count:
            assert time.monotonic() < deadline, f"not {count} entries: {text}"
            time.sleep(0.01)
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a space in its name; as root, one that nginx's unprivileged workers can enter."""
    if os.geteuid() != 0:
        yield tmp_path / "with space"
        return
    made = Path("/tmp") / f"gateway test {secrets.token_hex(6)}"
    made.mkdir(mode=0o755)
    yield made
    shutil.rmtree(made)


def settings_for(folder: Path, control: str, **changes: Any) -> GatewaySettings:
    """Settings on a free port. Nothing here takes seconds, so that a timeout is one that a test is about."""
    (port,) = free_ports(1)
    settings = GatewaySettings(
        hosts=("localhost", "127.0.0.1", "api.example.com"),
        listeners=(Listener(port, "127.0.0.1"),),
        control=control,
        routes=str(folder / "routes"),
        pid=str(folder / "nginx.pid"),
        temporary=str(folder / "temporary"),
        access_log=str(folder / "access.log"),
        user=nginx.worker_user(),
        workers=1,
        address_rate=None,
        timeouts=Timeouts(client=20, connect=10, authorize=20, control=20, answer=20, drain=20),
    )
    return dataclasses.replace(settings, **changes)


@contextlib.contextmanager
def started(folder: Path, settings: GatewaySettings, routes: list[Route], *, port: int | None = None) -> Iterator[int]:
    """nginx with these, its own check of the configuration included, for a with block; its first port."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "temporary").mkdir(exist_ok=True)
    configured = nginx.prepare(folder, settings, routes)
    check(folder, configured)
    at = port or settings.listeners[0].port
    part = nginx.part(folder, configured, at, needs=frozenset(), stage=0, drain_seconds=20)
    with running(
        dataclasses.replace(part, ready=lambda: http_status(at, "/health") in (200, 400)), folder / "error.log"
    ):
        yield at


@contextlib.contextmanager
def hasty(gateway: Gateway, **seconds: int) -> Iterator[Gateway]:
    """The gateway once more, with these timeouts and one agent."""
    folder = gateway.folder / "hasty"
    timeouts = dataclasses.replace(gateway.settings.timeouts, **seconds)
    settings = settings_for(folder, gateway.control.address, timeouts=timeouts)
    with started(folder, settings, [Route("pool-business", ("pooled_agent_001",), gateway.pool.address)]) as port:
        yield dataclasses.replace(gateway, port=port, folder=folder, settings=settings)


def check(folder: Path, configured: Path) -> None:
    """nginx -t, without a warning."""
    checked = subprocess.run(
        [nginx.binary(), "-t", "-q", "-p", folder, "-c", configured, "-e", "stderr"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.fixture
def stubs() -> Iterator[tuple[Stub, Stub, Stub, Stub]]:
    with contextlib.ExitStack() as stack:
        names = ("control", "pool", "new", "other")
        control, pool, new, other = (
            stack.enter_context(Stub(name, body=b'{"answered_by": "NAME"}').serving()) for name in names
        )
        control.headers = dict(ALLOWED)
        yield control, pool, new, other


@pytest.fixture
def gateway(folder: Path, stubs: tuple[Stub, Stub, Stub, Stub]) -> Iterator[Gateway]:
    """Pooled, dedicated, canary and blue-green routes in front of stubs; changing a stub changes what it answers."""
    control, pool, new, other = stubs
    settings = settings_for(folder, control.address)
    (closed,) = free_ports(1, but=(settings.listeners[0].port,))
    routes = [
        Route("pool-business", ("pooled_agent_001", "pooled_agent_002"), pool.address, kept=4),
        Route("dedicated", ("dedicated_agent_003",), other.address),
        Route("half", ("half_agent_004",), pool.address, Candidate(new.address, 50), kept=4),
        Route("colours", ("colours_agent_005",), pool.address, Candidate(new.address)),
        Route("gone", ("gone_agent_006",), f"127.0.0.1:{closed}"),
    ]
    with started(folder, settings, routes) as port:
        yield Gateway(port, folder, control, pool, new, other, settings)


StartedGateway = Callable[..., Any]
