"""Owns the stores and control of the embedded target: which processes, and what each is configured with.

Stages, stopped from the highest: gateway 3, agents 2, control 1, stores 0. Agents and gateway are serving.py's,
which needs the catalog: what is here starts before that is understood. How processes are kept running is supervisor.py's.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from catalog.contract import Env
from cli.local import postgres, tasks, valkey
from cli.local.part import LOOPBACK, Part, free_ports, http_status
from cli.local.settings import inherited
from cli.local.state import State
from cli.local.supervisor import Task
from cli.local.tasks import DATABASE, ROOT

DRAIN_SECONDS = 45.0
"""Above the runtime's own shutdown_seconds (30), so that it ends by itself."""


@dataclass(frozen=True)
class Ports:
    """Loopback ports of the stores, which nothing outside the platform uses."""

    postgres: int
    state: int
    cache: int

    @classmethod
    def chosen(cls, *, but: Collection[int]) -> Ports:
        """Free ones, none of ``but``: what is chosen for others that do not listen yet."""
        return cls(*free_ports(3, but=but))


def stores(state: State, ports: Ports) -> tuple[list[Part | Task], postgres.Places]:
    """PostgreSQL with its database, and both Valkeys; prepares their folders. Raises PostgresError or ValkeyError."""
    where = postgres.places(state.folder, state.identity)
    if postgres.prepare(where, state.password("postgres-password")):
        # A new database (the first, or its folder was lost) knows no administrator.
        state.forget_operator()
    configured = {
        use: valkey.prepare(state.folder / f"valkey-{use}", use, port, state.password(f"valkey-{use}-password"))
        for use, port in _valkeys(ports)
    }
    return [
        postgres.part(where, ports.postgres),
        *(
            valkey.part(use, configured[use], port, state.password(f"valkey-{use}-password"))
            for use, port in _valkeys(ports)
        ),
        Task(
            "database", functools.partial(tasks.ensure_database, state, where, ports.postgres), frozenset({"postgres"})
        ),
    ], where


def control_plane(state: State, control: Part) -> list[Part | Task]:
    """Migration, the first administrator where there is none yet, and ``control``. Needs what ``stores`` starts."""
    migration = functools.partial(tasks.run_module, control, "migrate", state.log("migration"))
    items: list[Part | Task] = [Task("migration", migration, frozenset({"database"}))]
    needed = "migration"
    if not state.operator:
        needed = "administrator"
        create = functools.partial(tasks.first_administrator, control, state)
        items.append(Task(needed, create, frozenset({"migration", "valkey-state"})))
    return [*items, replace(control, needs=frozenset({needed, "valkey-state"}))]


def keys(state: State) -> tuple[Path, Path, Path]:
    """Files, made on first use: (signing keys, their public keys, pepper of API keys)."""
    private, public = state.secrets / "signing-keys.pem", state.secrets / "identity-public-keys.pem"
    if not private.exists() or not public.exists():
        from runtime.identity import generate_key_pair

        made_private, made_public = generate_key_pair()
        private.unlink(missing_ok=True)
        public.unlink(missing_ok=True)
        state.secret(private.name, lambda: made_private)
        state.secret(public.name, lambda: made_public)
    return state.secret(private.name), state.secret(public.name), state.secret("api-key-pepper")


def _valkeys(ports: Ports) -> tuple[tuple[valkey.Use, int], tuple[valkey.Use, int]]:
    return ("state", ports.state), ("cache", ports.cache)


def redis_environment(state: State, ports: Ports) -> dict[str, str]:
    """Variables every process of the runtime gets: both Redis URLs, the address to listen on."""
    state_url, cache_url = (valkey.url(port, state.password(f"valkey-{use}-password")) for use, port in _valkeys(ports))
    return {
        Env.REDIS_STATE_URL: state_url,
        Env.REDIS_CACHE_URL: cache_url,
        Env.HOST: LOOPBACK,
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
    }


def dynamic_environment(state: State) -> dict[str, str]:
    """Where operators change settings without a restart, unless Consul is configured."""
    return {Env.DYNAMIC_SETTINGS_FILE: str(state.folder / "settings.json")}


def control_part(state: State, ports: Ports, catalog: Path, port: int) -> Part:
    """Control of the catalog at ``catalog``, on ``port``."""
    private, _, pepper = keys(state)
    environment = {
        **dynamic_environment(state), **inherited(), **redis_environment(state, ports), Env.CATALOG_PATH: str(catalog), Env.PORT: str(port), Env.SIGNING_KEYS: str(private), Env.API_KEY_PEPPER: str(pepper),
        Env.DATABASE_URL: postgres.url(ports.postgres, state.password("database-password"), DATABASE, DATABASE),
    }  # fmt: skip
    return Part(
        name="control",
        command=tasks.module("control"),
        ready=lambda: http_status(port, "/ready") == 200,
        environment=environment,
        stage=1,
        folder=ROOT,
        port=port,
        drain_seconds=DRAIN_SECONDS,
    )
