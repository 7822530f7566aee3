"""A running nginx takes another configuration over, or goes on with the one it has."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cli.local import nginx
from cli.local.part import running
from infra.gateway.config import GatewaySettings
from infra.gateway.routes import Route
from tests.e2e.platform import has_ended
from tests.infra.gateway.conftest import folder, settings_for  # noqa: F401 (a fixture)

BEFORE, AFTER = (
    Route(name, ("a_agent_001",), f"127.0.0.1:{port}") for name, port in (("one", 20_001), ("two", 20_002))
)


@pytest.fixture
def settings(folder: Path) -> GatewaySettings:  # noqa: F811
    folder.mkdir(exist_ok=True)
    (folder / "temporary").mkdir()
    return settings_for(folder, "127.0.0.1:20000")


@pytest.fixture
def started(folder: Path, settings: GatewaySettings) -> Iterator[subprocess.Popen[bytes]]:  # noqa: F811
    configured = nginx.prepare(folder, settings, [BEFORE])
    port = settings.listeners[0].port
    part = nginx.part(folder, configured, port, needs=frozenset(), stage=0, drain_seconds=5)
    with running(part, folder / "log") as process:
        yield process


def workers(process: subprocess.Popen[bytes]) -> set[int]:
    """Those that run: the master takes note of one that ended a moment later."""
    return {child.pid for child in psutil.Process(process.pid).children() if not has_ended(child.pid)}


def test_only_workers_that_have_read_the_configuration_are_left(
    folder: Path,  # noqa: F811
    settings: GatewaySettings,
    started: subprocess.Popen[bytes],
) -> None:
    before = workers(started)
    nginx.prepare(folder, settings, [AFTER])
    is_draining = nginx.take_over(lambda: started.pid)
    while is_draining():
        pass
    assert workers(started)
    assert not workers(started) & before


def test_a_configuration_nginx_does_not_take_leaves_the_workers_it_has(
    folder: Path,  # noqa: F811
    started: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nginx, "_TAKEOVER_SECONDS", 1.0)
    before = workers(started)
    (folder / "nginx.conf").write_text("nonsense;")
    with pytest.raises(nginx.NginxError, match="goes on with those before"):
        nginx.take_over(lambda: started.pid)
    assert workers(started) == before
    with pytest.raises(nginx.NginxError, match="unknown directive"):
        nginx.check(folder, folder / "nginx.conf")


def test_a_master_that_died_has_nothing_to_take_over_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nginx, "_TAKEOVER_SECONDS", 0.2)
    gone = subprocess.Popen(["true"], env=os.environ)
    gone.wait()
    with pytest.raises(nginx.NginxError):
        nginx.take_over(lambda: gone.pid)
