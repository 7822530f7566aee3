"""Owns moving a database between schema revisions; the revisions themselves are in migrations/versions.

Several processes may start at once: the work is done under a PostgreSQL advisory lock, by one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

_LOCK = 0x61696167656E7473 >> 1
"""Advisory lock number ("aiagents"), the same in every process."""


def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the database (postgresql+psycopg://…) up to ``revision``; nothing to do is fine."""
    _run(database_url, lambda config: command.upgrade(config, revision))


def downgrade(database_url: str, revision: str) -> None:
    """Take the database back to ``revision`` ("base" for none, "-1" for one step). Drops what later revisions hold."""
    _run(database_url, lambda config: command.downgrade(config, revision))


def current(connection: Connection) -> str | None:
    """The revision the database is at, None before the first."""
    return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """The newest revision of this code."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    # A % in a path would be read as interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _run(database_url: str, step: Callable[[Config], None]) -> None:
    engine = create_engine(database_url, poolclass=NullPool, connect_args={"connect_timeout": 10})
    try:
        with engine.connect() as connection:
            # Held by the session, so that it spans the migration's own transaction.
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
            connection.commit()
            config = _config()
            config.attributes["connection"] = connection
            step(config)
            connection.commit()
    finally:
        engine.dispose()
