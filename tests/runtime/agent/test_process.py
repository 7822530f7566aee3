"""The agent as a process: start with 1,500 agents, settings that are wrong, an orderly end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import orjson
import psutil
import pytest
import redis

from catalog import registry
from catalog.contract import REDIS_AUDIT_STREAM, Header
from cli.local.part import free_ports
from runtime.__main__ import main
from runtime.audit import Completion
from runtime.identity import Identity
from tests.messages_api import MessagesApi
from tests.runtime.agent.conftest import AGENT, Keys

ROOT = Path(__file__).parents[3]


def environment(**settings: object) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        **{name: str(value) for name, value in settings.items()},
    }


@contextmanager
def process(log: Path, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        child = subprocess.Popen(
            [sys.executable, "-m", "runtime", "agent"], env=environment(**settings), stderr=stream, cwd=ROOT
        )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def wait_ready(url: str, child: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert child.poll() is None, "the process ended"
        try:
            if httpx2.get(f"{url}/ready").status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.02)
    raise AssertionError("not ready in 120 s")


@pytest.fixture
def settings(keys: Keys, redis_url: str, messages_api: MessagesApi) -> dict[str, object]:
    (port,) = free_ports(1)
    return {
        "PORT": port,
        "IDENTITY_PUBLIC_KEYS": keys.public,
        "REDIS_STATE_URL": redis_url,
        "ANTHROPIC_API_KEY": "sk-ant-test",
        "ANTHROPIC_BASE_URL": messages_api.url,
    }


def test_sigterm_lets_running_requests_end_refuses_new_ones_and_exits_with_0(
    settings: dict[str, object],
    keys: Keys,
    messages_api: MessagesApi,
    tmp_path: Path,
    redis_url: str,
    write_catalog: object,
) -> None:
    assert callable(write_catalog)
    # Long enough to be asked while it drains, and again when nobody listens any more and the request still runs.
    messages_api.delay = 8
    url = f"http://127.0.0.1:{settings['PORT']}"
    log = tmp_path / "log"
    with process(log, **settings, CATALOG_PATH=write_catalog(), DRAIN_SECONDS=3) as child:
        wait_ready(url, child)
        token = keys.signing.identity_token(Identity("u", "ann", AGENT, "r-1", "event-1"))
        body = orjson.dumps({"task_description": "Plan"})
        with subprocess.Popen(
            [
                "curl",
                "-s",
                f"{url}/agents/{AGENT}/api/v1/execute",
                "-H",
                f"{Header.IDENTITY}: {token}",
                "-H",
                f"{Header.REQUEST_ID}: r-1",
                "-H",
                "Content-Type: application/json",
                "-d",
                body,
            ],
            stdout=subprocess.PIPE,
        ) as curl:
            while not messages_api.running:
                assert curl.poll() is None, "curl ended before the model was asked"
                time.sleep(0.02)
            child.send_signal(signal.SIGTERM)
            statuses = set()
            while messages_api.running:
                try:
                    statuses.add(httpx2.get(f"{url}/ready").status_code)
                except httpx2.HTTPError:
                    statuses.add(0)
                time.sleep(0.05)
            assert curl.stdout is not None
            answer = orjson.loads(curl.stdout.read())
        assert child.wait(60) == 0
    assert answer["metadata"]["agent_id"] == AGENT
    # 503 while it drains, then nobody listens; 200 may be seen before the signal arrives.
    assert {503, 0} <= statuses <= {200, 503, 0}
    with redis.Redis.from_url(redis_url) as store:
        ((_, fields),) = store.xrange(REDIS_AUDIT_STREAM)
    assert Completion.from_fields(fields).status == 200
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    assert all(list(line)[:4] == ["timestamp", "level", "agent_id", "message"] for line in lines)
    completed = next(line for line in lines if line["message"] == "Request completed")
    assert (completed["agent_id"], completed["request_id"]) == (AGENT, "r-1")
    assert {"duration_ms", "tokens_used"} <= set(completed)


def test_one_process_with_the_whole_catalog_is_ready_and_small(settings: dict[str, object], tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{settings['PORT']}"
    with process(tmp_path / "log", **settings) as child:
        wait_ready(url, child)
        # The SDK is imported after that; the size must hold with it.
        until = time.monotonic() + 30
        watched = psutil.Process(child.pid)
        while watched.cpu_percent(0.5) > 5 and time.monotonic() < until:
            pass
        assert watched.memory_info().rss < 200 * 1024 * 1024
        assert httpx2.get(f"{url}/ready").json()["agents"] == len(registry.load())


KEYS = {"IDENTITY_PUBLIC_KEYS": "/nowhere.pem"}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["IDENTITY_PUBLIC_KEYS: is required"]),
        ({**KEYS, "PORT": "eighty", "MAX_TOKENS": "0"}, ["PORT: ", "MAX_TOKENS: "]),
        ({**KEYS, "SERVE_POOL": "sales"}, ["SERVE_POOL: "]),
        ({**KEYS, "CLAUDE_MODEL": "claude-3-5-sonnet-20241022"}, ["is retired", "claude-sonnet-5-5"]),
        ({**KEYS, "TEMPERATURE": "0.7"}, ["does not take a temperature"]),
        ({**KEYS, "MODEL": "claude"}, ["MODEL=claude needs a key"]),
        ({**KEYS, "VAULT_ADDR": "http://vault:8200"}, ["VAULT_TOKEN_FILE"]),
        ({**KEYS, "PORT": "x", "ANTHROPIC_API_KEY": "sk-ant-secret"}, ["PORT"]),
    ],
)
def test_settings_that_are_wrong_are_named_without_their_values(
    settings: dict[str, str], names: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert main(["agent"]) == 2
    said = capsys.readouterr()
    for name in names:
        assert name in said.err
    assert not re.search(r"sk-ant-secret|eighty|input_value", said.err)
    assert said.out == ""


def test_files_that_are_not_there_are_named_without_a_traceback(keys: Keys) -> None:
    for settings, problem in (
        (KEYS, "IDENTITY_PUBLIC_KEYS: /nowhere.pem cannot be read"),
        ({"IDENTITY_PUBLIC_KEYS": keys.public, "CATALOG_PATH": "/nowhere"}, "/nowhere: no such folder"),
    ):
        result = subprocess.run(
            [sys.executable, "-m", "runtime", "agent"],
            env=environment(**settings),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert (result.returncode, result.stdout) == (2, "")
        assert problem in result.stderr
        assert "Traceback" not in result.stderr
