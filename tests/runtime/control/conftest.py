"""A control application over real PostgreSQL and Valkey, in process or as processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from fastapi import FastAPI

from catalog.registry import POOLS_FOLDER
from cli.local.part import free_ports, http_status
from runtime import logs
from runtime.control import bootstrap
from runtime.control.app import create_app
from runtime.control.services import Services
from runtime.control.store import migrate
from runtime.identity import SigningKeys, generate_key_pair
from runtime.settings import ControlSettings
from tests.runtime.described import described

ADDRESS = "203.0.113.7"


@pytest.fixture(scope="session", autouse=True)
def _logs() -> None:
    """Logs as in production, not structlog's default with its local variables."""
    logs.configure("control", "INFO")


@pytest.fixture(scope="session")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(signing keys, pepper)."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "signing.pem").write_bytes(generate_key_pair()[0])
    (folder / "pepper").write_bytes(b"p" * 40)
    return folder / "signing.pem", folder / "pepper"


@pytest.fixture(scope="session")
def migrated(postgres: str) -> str:
    """URL of a database with the newest schema, for one test after the other."""
    name = "control"
    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = f"{postgres.rsplit('/', 1)[0]}/{name}"
    migrate.upgrade(url)
    return url


@pytest.fixture
def control_database(migrated: str) -> str:
    """URL of a database with the newest schema and nothing in it."""
    with psycopg.connect(migrated.replace("+psycopg", "")) as connection:
        connection.execute("TRUNCATE users, api_keys, audit_events RESTART IDENTITY")
    return migrated


@pytest.fixture(scope="session")
def small_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains of the catalog: what is tested here does not depend on how many agents there are."""
    folder = tmp_path_factory.mktemp("catalog")
    for file in ("business/pool.yaml", "business/strategy.yaml", "knowledge/pool.yaml", "knowledge/wellbeing.yaml"):
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copy(POOLS_FOLDER / file, folder / file)
    return folder


@pytest.fixture
def settings(
    control_database: str, redis_url: str, key_files: tuple[Path, Path], small_catalog: Path, tmp_path: Path
) -> ControlSettings:
    """Settings of a control process; cheap passwords, a file of dynamic settings that does not exist yet."""
    return ControlSettings(
        database_url=control_database,
        redis_state_url=redis_url,
        signing_keys=key_files[0],
        api_key_pepper=key_files[1],
        catalog_path=small_catalog,
        password_time_cost=1,
        password_memory_kib=256,
        audit_claim_seconds=0.5,
        dynamic_settings_file=tmp_path / "dynamic.json",
    )


@dataclass
class Control:
    """A running control application and its first administrator."""

    app: FastAPI
    http: httpx2.AsyncClient
    admin: dict[str, Any]
    settings: ControlSettings

    @property
    def services(self) -> Services:
        """What the application is made of."""
        services: Services = self.app.state.services
        return services

    async def ask(self, method: str, path: str, token: str | None = None, **options: Any) -> httpx2.Response:
        """A request as the gateway forwards it; ``token`` defaults to the administrator's API key, "" for none."""
        bearer = self.admin["api_key"] if token is None else token
        headers = {
            "X-Real-IP": ADDRESS,
            **({"Authorization": f"Bearer {bearer}"} if bearer else {}),
            **options.pop("headers", {}),
        }
        return await self.http.request(method, path, headers=headers, **options)

    async def authorize(
        self,
        token: str | None = None,
        uri: str = "/agents/business_plan_agent_009/api/v1/execute",
        method: str = "POST",
        **headers: str,
    ) -> httpx2.Response:
        """The gateway's authorization subrequest."""
        own = {"X-Original-Method": method, "X-Original-URI": uri, **headers}
        return await self.ask("GET", "/internal/authorize", token, headers=own)

    async def user(self, username: str, **body: Any) -> dict[str, Any]:
        """A new user, with "password" and "api_key"."""
        made = await self.ask("POST", "/api/v1/users", json={"username": username, **body})
        assert made.status_code == 201, made.text
        key = await self.ask("POST", "/api/v1/keys", json={"user": username, "name": "test"})
        assert key.status_code == 201, key.text
        return {
            "password": body.get("password"),
            **made.json(),
            "api_key": key.json()["key"],
            "key_id": key.json()["id"],
        }

    async def login(self, username: str, password: str, **headers: str) -> httpx2.Response:
        """POST /auth/login."""
        return await self.ask(
            "POST", "/auth/login", "", json={"username": username, "password": password}, headers=headers
        )

    def rows(self, where: str = "true", *values: Any) -> list[dict[str, Any]]:
        """Audit rows, oldest first."""
        with psycopg.connect(
            self.settings.database_url.get_secret_value().replace("+psycopg", ""), row_factory=psycopg.rows.dict_row
        ) as connection:
            return connection.execute(f"SELECT * FROM audit_events WHERE {where} ORDER BY id", values).fetchall()

    @property
    def keys(self) -> SigningKeys:
        """The signing keys."""
        return SigningKeys.from_file(self.settings.signing_keys)


@contextlib.asynccontextmanager
async def serving(settings: ControlSettings) -> AsyncIterator[Control]:
    """A control application in this process, its background tasks running."""
    admin = bootstrap.create_admin(settings) or {}
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app),
            base_url="http://control",
            event_hooks={"response": [described(app)]},
        ) as http,
    ):
        yield Control(app, http, admin, settings)


@pytest.fixture
async def control(settings: ControlSettings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Control]:
    """A control application in this process; a machine that stands still for a second is no outage here."""
    monkeypatch.setattr("runtime.control.app.REDIS_SECONDS", 20.0)
    monkeypatch.setattr("runtime.control.admission.TURN_SECONDS", 20.0)
    monkeypatch.setattr("runtime.control.store.recorder.COMMIT_SECONDS", 20.0)
    async with serving(settings) as running:
        yield running


@dataclass
class ControlProcess:
    """A control process of its own, as in production."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


def environment(settings: ControlSettings, **more: str) -> dict[str, str]:
    """The settings as environment variables."""
    values = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_STATE_URL": settings.redis_state_url.get_secret_value(),
        "SIGNING_KEYS": str(settings.signing_keys),
        "API_KEY_PEPPER": str(settings.api_key_pepper),
        "CATALOG_PATH": str(settings.catalog_path),
        "PASSWORD_TIME_COST": "1",
        "PASSWORD_MEMORY_KIB": "256",
        "AUDIT_CLAIM_SECONDS": "0.5",
        "SHUTDOWN_SECONDS": "2",
        **more,
    }
    return {"PATH": os.environ["PATH"], **values}


@pytest.fixture
def control_process(settings: ControlSettings, tmp_path: Path) -> Iterator[Callable[..., ControlProcess]]:
    """Call it for another control process over the same PostgreSQL and Valkey; killed after the test."""
    started: list[ControlProcess] = []

    def start(**more: str) -> ControlProcess:
        (port,) = free_ports(1)
        log = tmp_path / f"control-{port}.log"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "runtime", "control"]
            process = subprocess.Popen(
                command,
                env=environment(settings, PORT=str(port), **more),
                stdout=output,
                stderr=output,
                cwd=Path(__file__).parents[3],
            )
        running = ControlProcess(process, port, log)
        started.append(running)
        until = time.monotonic() + 120
        while http_status(port, "/health") != 200:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, f"control did not start: {log.read_text()}"
            time.sleep(0.05)
        return running

    yield start
    for running in started:
        if running.process.poll() is None:
            running.kill()


def error_of(response: httpx2.Response) -> dict[str, Any]:
    """The error of an envelope, which must be the whole body."""
    body = json.loads(response.content)
    assert list(body) == ["error"], body
    assert {"code", "message"} <= set(body["error"]) <= {"code", "message", "details", "retry_after"}
    assert response.headers["X-Request-Id"]
    error: dict[str, Any] = body["error"]
    return error
