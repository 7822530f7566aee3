"""Owns the connection pool of everything but the hot insert (recorder.py), and what counts as the database being away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import sqlalchemy.exc
from sqlalchemy import URL, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from runtime.settings import ControlSettings

Password = Callable[[], str | None]
"""The database's password now; None where it is not known yet."""
CONNECT_SECONDS = 3
STATEMENT_SECONDS = 5
"""Longest statement of a request, seconds; the server ends it (PostgreSQL statement_timeout)."""

UNAVAILABLE: tuple[type[Exception], ...] = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)
"""Exceptions that mean: not reachable, too slow or shutting down, so 503 and worth another try later."""

_OPTIONS = f"-c statement_timeout={STATEMENT_SECONDS * 1000} -c idle_in_transaction_session_timeout={STATEMENT_SECONDS * 1000} -c lock_timeout={STATEMENT_SECONDS * 1000}"


def database_url(settings: ControlSettings) -> URL:
    """The settings' database URL. Raises ValueError, without repeating it, where it is not one for psycopg."""
    try:
        url = make_url(settings.database_url.get_secret_value())
    except sqlalchemy.exc.ArgumentError:
        raise ValueError(
            "DATABASE_URL: not a database URL; it must look like postgresql+psycopg://user:password@host:5432/name"
        ) from None
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ValueError(f"DATABASE_URL: {url.drivername} is not served; it must start with postgresql+psycopg://")
    return url.set(drivername="postgresql+psycopg")


def open_engine(settings: ControlSettings, password: Password | None = None) -> AsyncEngine:
    """A pool of at most ``database_pool`` connections, made on first use and checked before each.

    ``password`` is asked at every new connection; without it the URL's own is used.
    """
    engine = create_async_engine(
        database_url(settings),
        pool_size=settings.database_pool,
        max_overflow=0,
        pool_timeout=2,
        pool_pre_ping=True,
        # Values of a failed statement may be secrets or personal data: they stay out of exceptions and so of logs.
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "options": _OPTIONS,
            "application_name": settings.service_name or "control",
        },
    )
    if password is not None:

        @event.listens_for(engine.sync_engine, "do_connect")
        def _with_the_password_of_now(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
            parameters["password"] = password()

    return engine
