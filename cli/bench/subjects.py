"""Owns what is measured: the model, the minimal services, one agent process and the whole platform, each started here."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from catalog.contract import IDENTITY_AUDIENCE, Env, Header
from catalog.models import DEFAULT_MODEL
from cli.errors import CommandError
from cli.local.part import Part, free_ports, http_status, running
from cli.local.tasks import ROOT

_TASK = json.dumps({"task_description": "Plan a bakery with two employees", "context": {"venture": "a bakery"}})
_MODEL_TASK = json.dumps({"model": DEFAULT_MODEL, "max_tokens": 16, "messages": [{"role": "user", "content": "x"}]})
_AGENTS = 64
"""Agents the requests are spread over: one agent takes 16 at once (Scaling.concurrency)."""


@dataclass(frozen=True)
class Subject:
    """Something measured: its port, the requests (whole, as text) and the processes whose memory counts."""

    name: str
    port: int
    requests: list[str]
    pids: list[int]


@dataclass(frozen=True)
class Platform:
    """A platform of the benchmark's own, with a user whom no limit stops."""

    folder: Path
    port: int
    key: str
    parts: Mapping[str, Any]


class Starter:
    """Starts processes that end with ``stack``, their logs in ``folder``."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path) -> None:
        self._stack, self.folder = stack, folder

    def __call__(self, name: str, command: list[str], environment: Mapping[str, str], ready: Callable[[], bool]) -> int:
        """Start ``command`` and wait until it is ready; its process id."""
        part = Part(name, command, ready, environment, folder=ROOT, drain_seconds=5)
        return self._stack.enter_context(running(part, self.folder / f"{name}.log")).pid

    def at_end(self, call: Callable[[], object]) -> None:
        """Call it when the benchmark ends."""
        self._stack.callback(call)


def model(start: Starter, port: int, delay: float) -> Subject:
    """The Messages API that takes ``delay`` seconds."""
    command = [sys.executable, "-m", "tests.messages_api", "--port", str(port), "--delay", str(delay)]
    pid = start("model", command, {"PATH": "/usr/bin:/bin"}, functools.partial(_is_up, port, "/seen"))
    return Subject("model alone", port, [request("/v1/messages", {}, _MODEL_TASK)], [pid])


def minimal(start: Starter, transport: str, environment: Mapping[str, str]) -> Subject:
    """FastAPI + AsyncAnthropic with one of the SDK's transports."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "cli.bench.minimal", str(port), transport]
    pid = start(f"minimal-{transport}", command, environment, functools.partial(_is_up, port, "/openapi.json"))
    name = f"minimal FastAPI + AsyncAnthropic ({transport})"
    return Subject(name, port, [request("/api/v1/execute", {}, _TASK)], [pid])


def platform(start: Starter, environment: Mapping[str, str]) -> Platform:
    """`fleet up` in a folder of its own. Raises CommandError where a command fails."""
    folder = start.folder / "state"
    port, tls_port = free_ports(2)
    dropped = ("FLEET_", "VAULT_", "CONSUL_", "OTEL_", "MODEL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    variables = {**kept, **environment, "FLEET_STATE": str(folder), "LOG_LEVEL": "WARNING"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "cli", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CommandError(f"fleet {arguments[0]} failed: {done.stderr.strip()[-800:]}")
        return done.stdout

    start.at_end(functools.partial(_forget, folder))
    run("up", "--detach", "--port", str(port), "--tls-port", str(tls_port), "--address-rate", "0")
    start.at_end(functools.partial(run, "down"))
    run("users", "create", "bench", "--limit", "1000000")
    key = json.loads(run("keys", "create", "bench", "--user", "bench", "--json"))["key"]
    return Platform(folder, port, key, json.loads((folder / "run.json").read_text())["parts"])


def whole_path(of: Platform) -> Subject:
    """Through nginx with an API key, over agents of all pools."""
    headers = {"Authorization": f"Bearer {of.key}"}
    requests = [request(f"/agents/{agent}/api/v1/execute", headers, _TASK) for agent in islice(_spread(), _AGENTS)]
    return Subject("whole path", of.port, requests, [part["pid"] for part in of.parts.values()])


def agent(start: Starter, of: Platform, environment: Mapping[str, str]) -> Subject:
    """One agent process that serves every agent, called with identity tokens as nginx would.

    Its completions go to a Redis of the platform that nobody reads, so that control does no work for them.
    """
    from cli.local import valkey
    from cli.local.state import open_state
    from runtime.identity import SigningKeys

    state = open_state(of.folder, create=False)
    assert state is not None
    (port,) = free_ports(1)
    unread = valkey.url(of.parts["valkey-cache"]["port"], state.password("valkey-cache-password"))
    catalog = os.environ.get(Env.CATALOG_PATH)
    variables: dict[str, str] = {
        **environment,
        **({Env.CATALOG_PATH: catalog} if catalog else {}),
        Env.PORT: str(port),
        Env.REDIS_STATE_URL: unread,
        Env.REDIS_CACHE_URL: unread,
        Env.LOG_LEVEL: "WARNING",
        Env.IDENTITY_PUBLIC_KEYS: str(state.secrets / "identity-public-keys.pem"),
    }
    began = time.monotonic()
    pid = start(
        "agent", [sys.executable, "-m", "runtime", "agent"], variables, functools.partial(_is_up, port, "/ready")
    )
    ready = time.monotonic() - began
    keys = SigningKeys.from_file(state.secrets / "signing-keys.pem")
    requests = [_with_identity(keys, name) for name in islice(_spread(), _AGENTS)]
    return Subject(f"one agent process (every agent, ready after {ready:.1f} s)", port, requests, [pid])


def _with_identity(keys: Any, agent_id: str) -> str:
    request_id = secrets.token_hex(16)
    # An hour instead of the 60 s of a real one: one token for each connection lasts the measurement.
    claims = {"name": "bench", "agent": agent_id, "rid": request_id, "jti": str(uuid.uuid4())}
    token = keys.sign(IDENTITY_AUDIENCE, "bench", 3600, claims)
    headers = {Header.IDENTITY.value: token, Header.REQUEST_ID.value: request_id, Header.AGENT_ID.value: agent_id}
    return request(f"/agents/{agent_id}/api/v1/execute", headers, _TASK)


def request(path: str, headers: Mapping[str, str], body: str) -> str:
    """A whole POST request as text."""
    fixed = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(body.encode()))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**fixed, **headers}.items())]
    return "\r\n".join(lines) + "\r\n\r\n" + body


def _is_up(port: int, path: str) -> bool:
    return http_status(port, path) == 200


def _spread() -> Iterator[str]:
    """Pooled agents of the pools in turn."""
    from catalog import registry

    catalog = registry.load(Path(os.environ.get(Env.CATALOG_PATH) or registry.POOLS_FOLDER))
    for agents in zip(*(catalog.pool(pool) for pool in catalog.pools), strict=False):
        yield from (each.id for each in agents if each.isolation == "pooled")


def _forget(folder: Path) -> None:
    """Remove what the platform kept outside its folder."""
    from cli.local.postgres import places
    from cli.local.state import open_state

    state = open_state(folder, create=False)
    if state is not None:
        shutil.rmtree(places(folder, state.identity).root, ignore_errors=True)
