"""A platform started as a person starts it (`fleet up`), in a folder and on ports of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil

from cli.local.part import free_ports
from cli.local.postgres import places
from cli.local.state import StateError, open_state

ROOT = Path(__file__).parents[2]
AGENT = "business_plan_agent_009"
_START_SECONDS = 180.0


def fleet(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a fleet command against the platform of ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments], cwd=ROOT, env=clean({"FLEET_STATE": str(folder), **(environment or {})}), capture_output=True, text=True, check=False, **options
    )  # fmt: skip


def has_ended(pid: int) -> bool:
    """Whether a process runs no more; whoever inherited it may not have taken note yet."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def clean(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would reach a person's own platform or a paid model."""
    dropped = ("FLEET_", "ANTHROPIC_", "VAULT_", "CONSUL_", "OTEL_", "MODEL", "CLAUDE_MODEL")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(dropped)},
        "NO_COLOR": "1",
        **extra,
    }


@dataclass
class Platform:
    """A running `fleet up`."""

    folder: Path
    port: int
    tls_port: int
    process: subprocess.Popen[bytes]
    output: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def api_key(self) -> str:
        return str(json.loads((self.folder / "secrets" / "operator.json").read_text())["api_key"])

    @property
    def password(self) -> str:
        found = re.search(r"password: (\S+)", self.said)
        assert found is not None, self.said
        return found[1]

    @property
    def status(self) -> dict[str, Any]:
        value = json.loads(fleet(self.folder, "status", "--json").stdout)
        assert isinstance(value, dict)
        return value

    def part(self, name: str) -> dict[str, Any]:
        """A part's entry in the run record."""
        entry = json.loads((self.folder / "run.json").read_text())["parts"][name]
        assert isinstance(entry, dict)
        return entry

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        headers = {} if key == "" else {"Authorization": f"Bearer {key or self.api_key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, **options)

    def new_user(self, name: str, *, per_minute: int | None = None) -> str:
        """Create a user; their API key."""
        with self.client() as admin:
            made = admin.post(
                "/api/v1/users", json={"username": name, **({"requests_per_minute": per_minute} if per_minute else {})}
            )
            assert made.status_code == 201, made.text
            key = admin.post("/api/v1/keys", json={"user": name})
            assert key.status_code == 201, key.text
            return str(key.json()["key"])

    def audit(self, **query: str) -> list[dict[str, Any]]:
        """Audit entries, all pages."""
        entries: list[dict[str, Any]] = []
        cursor: str | None = None
        with self.client() as admin:
            while True:
                page = admin.get(
                    "/api/v1/audit", params={**query, "limit": "500", **({"cursor": cursor} if cursor else {})}
                )
                assert page.status_code == 200, page.text
                entries += page.json()["items"]
                cursor = page.json().get("next_cursor")
                if not cursor:
                    return entries


def wait(what: str, condition: Callable[[], bool], seconds: float = 90.0) -> None:
    """Wait until ``condition``; fails saying ``what`` did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.05)


@contextlib.contextmanager
def started(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Platform]:
    """`fleet up` in the foreground, everything ready; ended, if it still runs, with the block."""
    port, tls_port = free_ports(2)
    output = folder.with_name(f"{folder.name}-{port}.out")
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", "--port", str(port), "--tls-port", str(tls_port)],
            cwd=ROOT, env=clean({"FLEET_STATE": str(folder), **(environment or {})}), stdout=file, stderr=file, process_group=0,
        )  # fmt: skip
    platform = Platform(folder, port, tls_port, process, output, dict(environment or {}))
    try:
        wait(
            "the start",
            lambda: (
                process.poll() is not None
                or "works in another terminal" in platform.said
                or "Ready after" in platform.said
            ),
            _START_SECONDS,
        )
        assert process.poll() is None, platform.said
        yield platform
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                process.wait(20)


def shared_folder(folder: Path) -> Path | None:
    """What the platform keeps outside ``folder`` (as root), to be removed after a test."""
    try:
        state = open_state(folder, create=False)
    except StateError:
        return None
    where = places(folder, state.identity).root if state else None
    return where if where is not None and folder not in where.parents else None
