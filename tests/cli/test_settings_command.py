"""`fleet settings` writes what the runtime follows: a local file, or a real Consul with ACLs on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from cli.__main__ import main
from cli.errors import Exit
from runtime.dynamic import parse
from tests.runtime.servers import Server, consul

ROOT = Path(__file__).parents[2]
AGENT = "business_plan_agent_009"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DYNAMIC_SETTINGS_FILE", str(tmp_path / "settings.json"))
    return tmp_path / "settings.json"


def test_what_is_set_is_what_processes_read_and_unset_takes_it_back(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["settings", "set", "log_level=DEBUG", "rate_limits.alice=5", f"disabled_agents={AGENT}"]) == Exit.OK
    current = parse(file.read_bytes())
    assert (current.log_level, dict(current.rate_limits), current.disabled_agents) == ("DEBUG", {"alice": 5}, {AGENT})
    assert main(["settings", "set", "disabled_agents+=merger-integration-plan-agent-010"]) == Exit.OK
    assert parse(file.read_bytes()).disabled_agents == {AGENT, "merger_integration_plan_agent_010"}
    assert main(["settings", "unset", "rate_limits.alice", f"disabled_agents.{AGENT}", "log_level"]) == Exit.OK
    assert json.loads(file.read_text()) == {"disabled_agents": ["merger_integration_plan_agent_010"]}
    assert file.stat().st_mode & 0o777 == 0o600
    capsys.readouterr()
    assert main(["settings", "get", "disabled_agents"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == ["merger_integration_plan_agent_010"]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ("log_level=LOUD", Exit.USAGE, "log_level"),
        ("loglevel=DEBUG", Exit.NOT_FOUND, "there is no setting 'loglevel'"),
        ("disabled_agents=busines_plan_agent_009", Exit.NOT_FOUND, f"did you mean {AGENT}"),
        ("rate_limits=5", Exit.USAGE, "write rate_limits.KEY=VALUE"),
        ("rate_limits.alice=many", Exit.USAGE, "rate_limits.alice"),
        ("log_level", Exit.USAGE, "write FIELD=VALUE"),
        ("model=claude-3-5-sonnet-20241022", Exit.USAGE, "model"),
    ],
)
def test_a_wrong_change_is_refused_and_nothing_of_the_call_is_written(
    file: Path, capsys: pytest.CaptureFixture[str], change: str, code: Exit, said: str
) -> None:
    assert main(["settings", "set", "log_level=INFO", change]) == code
    assert said in capsys.readouterr().err
    assert not file.exists()


def test_without_a_file_of_its_own_it_is_the_local_platforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLEET_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("DYNAMIC_SETTINGS_FILE", raising=False)
    assert main(["settings", "set", "log_level=DEBUG"]) == Exit.OK
    assert json.loads((tmp_path / "state" / "settings.json").read_text()) == {"log_level": "DEBUG"}
    assert main(["settings", "get"]) == Exit.OK
    assert 'log_level = "DEBUG"' in capsys.readouterr().out


def test_a_malformed_document_is_said_and_not_overwritten(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('{"log_level": "LOUD"}')
    assert main(["settings", "set", "log_level=INFO"]) == Exit.FAILED
    assert "malformed" in capsys.readouterr().err
    assert file.read_text() == '{"log_level": "LOUD"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with consul(tmp_path_factory.mktemp("consul")) as running:
        yield running


def test_in_consul_two_operators_do_not_undo_each_other(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cli import settings

    monkeypatch.setenv("CONSUL_HTTP_ADDR", server.url)
    where = settings.place()
    text, version = where.read()
    assert main(["settings", "set", "rate_limits.alice=5"]) == Exit.OK
    assert where.write(text, version) is False
    assert main(["settings", "set", "rate_limits.bob=7"]) == Exit.OK
    stored = httpx2.get(f"{server.url}/v1/kv/ai-agents/settings?raw").content
    assert dict(parse(stored).rate_limits) == {"alice": 5, "bob": 7}
    capsys.readouterr()


@pytest.mark.parametrize("where", ["consul", "file"])
def test_watching_shows_each_change(server: Server, tmp_path: Path, where: str) -> None:
    chosen = (
        {"CONSUL_HTTP_ADDR": server.url} if where == "consul" else {"DYNAMIC_SETTINGS_FILE": str(tmp_path / "dynamic")}
    )
    environment = {**os.environ, **chosen}
    command = [sys.executable, "-m", "cli", "settings"]
    subprocess.run([*command, "set", "log_level=INFO"], env=environment, cwd=ROOT, check=True, capture_output=True)
    with subprocess.Popen(
        [*command, "watch", "--json"], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as watching:
        try:
            assert watching.stdout is not None
            assert json.loads(watching.stdout.readline())["log_level"] == "INFO"
            subprocess.run(
                [*command, "set", "log_level=DEBUG"], env=environment, cwd=ROOT, check=True, capture_output=True
            )
            assert json.loads(watching.stdout.readline())["log_level"] == "DEBUG"
        finally:
            watching.kill()


def test_a_consul_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
    assert main(["settings", "get"]) == Exit.UNREACHABLE
    assert "does not answer" in capsys.readouterr().err
