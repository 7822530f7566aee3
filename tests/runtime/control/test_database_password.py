"""Where DATABASE_URL holds no password, control reads it from a real Vault, and follows it when it is rotated."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import hvac
import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from runtime.control import bootstrap
from runtime.control.app import create_app
from runtime.control.store.credentials import DatabasePassword, with_password
from runtime.secrets import VaultSecrets
from runtime.settings import ControlSettings, StartError
from tests.runtime.control.conftest import Control
from tests.runtime.servers import ROOT_TOKEN, Server, vault


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with vault(tmp_path) as running:
        (tmp_path / "token").write_text(ROOT_TOKEN)
        yield running


@pytest.fixture
def keeper(postgres: str) -> Iterator[str]:
    """A database user with the password "one"."""
    _execute(postgres, "CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'one'")
    yield "keeper"
    _execute(postgres, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keeper'")
    _execute(postgres, "DROP ROLE keeper")


def _execute(postgres: str, statement: str) -> None:
    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(statement)


def _store(server: Server, password: str) -> None:
    client = hvac.Client(url=server.url, token=ROOT_TOKEN)
    secret = {"username": "keeper", "password": password}
    client.secrets.kv.v2.create_or_update_secret(path="platform/database", secret=secret)


@pytest.fixture
def without(settings: ControlSettings, keeper: str, server: Server, tmp_path: Path) -> ControlSettings:
    """Settings whose URL has a user and no password, and Vault."""
    url = make_url(settings.database_url.get_secret_value()).set(username=keeper)._replace(password=None)
    update: dict[str, Any] = {
        "database_url": SecretStr(url.render_as_string(hide_password=False)),
        "vault_addr": server.url,
        "vault_token_file": tmp_path / "token",
    }
    return settings.model_copy(update=update)


def test_a_url_with_a_password_and_settings_without_vault_are_left_alone(
    settings: ControlSettings, server: Server, tmp_path: Path
) -> None:
    assert with_password(settings) is settings
    both = settings.model_copy(update={"vault_addr": server.url, "vault_token_file": tmp_path / "token"})
    assert with_password(both) is both


def test_commands_that_connect_once_put_the_password_in_or_say_what_is_missing(
    without: ControlSettings, server: Server
) -> None:
    with pytest.raises(StartError, match="platform/database/password cannot be read from Vault"):
        with_password(without)
    _store(server, "one")
    assert make_url(with_password(without).database_url.get_secret_value()).password == "one"


def test_the_migration_runs_with_vaults_password(without: ControlSettings, server: Server) -> None:
    _store(server, "one")
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": without.database_url.get_secret_value(),
        "SIGNING_KEYS": str(without.signing_keys),
        "API_KEY_PEPPER": str(without.api_key_pepper),
        "VAULT_ADDR": server.url,
        "VAULT_TOKEN_FILE": str(without.vault_token_file),
    }
    command = [sys.executable, "-m", "runtime", "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _store(server, "wrong")
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0


async def test_control_starts_before_the_password_is_there_and_follows_a_rotation(
    settings: ControlSettings,
    without: ControlSettings,
    server: Server,
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admin = bootstrap.create_admin(settings) or {}
    source = VaultSecrets(server.url, token_file=without.vault_token_file, refresh_seconds=0.2)
    monkeypatch.setattr(DatabasePassword, "from_settings", lambda _: DatabasePassword(source))
    app = create_app(without)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://control") as http,
    ):
        control = Control(app, http, admin, settings)
        refused = await control.authorize()
        assert (refused.status_code, refused.headers["X-Refusal"]) == (403, "SERVICE_UNAVAILABLE")
        _store(server, "one")
        await _works(control)
        # What a cloud's rotation does: the server takes the new password alone, open connections end one day.
        _execute(postgres, "ALTER ROLE keeper PASSWORD 'two'")
        _execute(postgres, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keeper'")
        _store(server, "two")
        await _works(control)


async def _works(control: Control) -> None:
    async with asyncio.timeout(60):
        # The first needs the pool, the second the recorder's own connection.
        while (await control.ask("GET", "/api/v1/users")).status_code != 200:
            await asyncio.sleep(0.1)
        while (await control.authorize()).status_code != 200:
            await asyncio.sleep(0.1)
