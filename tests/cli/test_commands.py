"""The command line: what is registered, what it imports, how it fails, and the commands that need no running platform."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer

from catalog import registry
from cli.__main__ import COMMANDS, main
from cli.errors import Exit
from infra.plan import config

ROOT = Path(__file__).parents[2]
AGENT = "business_plan_agent_009"


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog of one domain to change, chosen by CATALOG_PATH."""
    folder = tmp_path / "pools"
    (folder / "business").mkdir(parents=True)
    for name in ("pool.yaml", "strategy.yaml"):
        shutil.copy(registry.POOLS_FOLDER / "business" / name, folder / "business" / name)
    monkeypatch.setenv("CATALOG_PATH", str(folder))
    return folder


def test_every_command_is_where_it_is_registered() -> None:
    for location, purpose, _ in COMMANDS.values():
        module, attribute = location.split(":")
        assert isinstance(getattr(import_module(module), attribute), typer.Typer)
        assert purpose.endswith(".")


def test_help_and_up_import_nothing_heavy() -> None:
    code = (
        "import sys; from cli.__main__ import main; main(['--help']); import cli.up, cli.local.up, cli.local.parts;"
        "print(sorted({'fastapi', 'sqlalchemy', 'anthropic', 'httpx2', 'cryptography', 'pulumi', 'psutil', 'pydantic', 'yaml_rs'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(name in done.stdout for name in COMMANDS)
    assert "Exit codes" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nope"], Exit.USAGE, "No such command 'nope'"),
        (["up", "--port", "x"], Exit.USAGE, "--port"),
        (["run"], Exit.USAGE, "Missing argument"),
        (["run", AGENT, "x", "--context", "novalue"], Exit.USAGE, "write KEY=VALUE"),
        (["agents", "show", "busines_plan_agent_009"], Exit.NOT_FOUND, "did you mean business_plan_agent_009"),
        (["status"], Exit.UNREACHABLE, ""),
        (["run", AGENT, "x"], Exit.UNREACHABLE, "does not run here: start it with fleet up"),
        (["logs"], Exit.UNREACHABLE, "has not run here"),
        (["agents", "new", "business", "nowhere"], Exit.NOT_FOUND, "business strategy"),
        (["agents", "new", "business", "strategy", "--name", "9 lives"], Exit.USAGE, "begin with a letter"),
    ],
)
def test_a_failure_is_a_line_and_a_code(
    catalog: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: Exit,
    said: str,
) -> None:
    monkeypatch.setenv("FLEET_STATE", str(tmp_path / "state"))
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "state").exists()


def test_refused_settings_read_the_same_to_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.odd.yaml").write_text("config:\n  ai-agents-platform:cloud: moon\n")
    project = config.project(tmp_path)
    monkeypatch.setattr(config, "project", lambda: project)
    told = []
    for arguments in (["render", "odd", "--output", str(tmp_path / "out")], ["doctor", "odd"]):
        assert main(arguments) == Exit.USAGE
        told.append(capsys.readouterr().err)
    assert told[0] == told[1]
    assert "odd: the stack's configuration is refused:" in told[0]
    assert "ai-agents-platform:cloud: input should be 'aws', 'gcp', 'azure' or 'existing' (got 'moon')" in told[0]


def test_a_deployed_platform_is_chosen_by_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLEET_URL", "http://127.0.0.1:9")
    assert main(["users", "list"]) == Exit.REFUSED
    assert "FLEET_API_KEY" in capsys.readouterr().err
    monkeypatch.setenv("FLEET_API_KEY", "sk-x")
    assert main(["users", "list"]) == Exit.UNREACHABLE
    assert "http://127.0.0.1:9 does not answer" in capsys.readouterr().err


def test_agents_are_searched_shown_and_described(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agents", "search", "business", "plan", "--json"]) == 0
    assert AGENT in [agent["id"] for agent in json.loads(capsys.readouterr().out)]
    assert main(["agents", "search", "zzzz"]) == Exit.NOT_FOUND
    capsys.readouterr()
    assert main(["agents", "show", "business-plan-agent-009", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["port"], shown["kubernetes_name"]) == (8209, "business-plan-agent-009")
    assert main(["agents", "readme", AGENT, "--url", "https://api.example.com"]) == 0
    assert "https://api.example.com" in capsys.readouterr().out


def test_a_new_agent_is_valid_as_it_stands_and_changes_nothing_else(
    catalog: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = catalog / "business" / "strategy.yaml"
    path.write_text(path.read_text().replace("title:", "# a comment that stays\ntitle:", 1))
    before = path.read_text()
    assert main(["agents", "new", "business", "strategy", "--name", "Board pack"]) == 0
    assert main(["agents", "check"]) == 0
    assert "nothing wrong" in capsys.readouterr().out
    assert main(["agents", "new", "business", "strategy", "--name", "Board pack"]) == 0
    assert path.read_text().startswith(before)
    numbers = {agent.number: agent.id for agent in registry.load(catalog)}
    added = [number for number, agent in numbers.items() if agent.startswith("board_pack_agent_")]
    assert added == sorted(numbers)[-2:]
    # Two that nobody has written yet are the same agent twice.
    assert main(["agents", "check"]) == Exit.FAILED
    assert "the same as" in capsys.readouterr().out


def test_check_prints_every_problem(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = catalog / "business" / "strategy.yaml"
    path.write_text(path.read_text().replace("owner:", "owners:", 1).replace("    tags:", "    tag:", 1))
    assert main(["agents", "check", "--json"]) == Exit.FAILED
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert {"owners", "owner", "tags", "tag"} <= {part for problem in problems for part in problem["field"].split(".")}


def test_two_dedicated_agents_on_one_port_are_named(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (catalog / "technology").mkdir()
    for name in ("pool.yaml", "architecture.yaml"):
        shutil.copy(registry.POOLS_FOLDER / "technology" / name, catalog / "technology" / name)
    for path in (catalog / "business" / "strategy.yaml", catalog / "technology" / "architecture.yaml"):
        path.write_text(path.read_text().replace("    prompt:\n", "    isolation: dedicated\n    prompt:\n", 1))
    assert main(["agents", "check"]) == Exit.FAILED
    said = capsys.readouterr().out
    assert "both need port" in said
    assert "competitive_landscape_agent_001" in said


def test_version_names_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == 0
    assert {"AI Agents Platform", "nginx", "PostgreSQL", "Valkey"} <= set(json.loads(capsys.readouterr().out))


def test_a_reader_that_stops_early_is_no_error() -> None:
    command = f"'{sys.executable}' -m cli agents list | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=ROOT,
        env={**os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
