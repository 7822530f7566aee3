"""Owns the first administrator: made once, by one of any number of processes that try."""

from __future__ import annotations

import uuid
from typing import Any, Final

from argon2 import PasswordHasher
from sqlalchemy import create_engine, select, text
from sqlalchemy.pool import NullPool

from runtime.control.passwords import generate
from runtime.control.principals import Pepper
from runtime.control.store.database import CONNECT_SECONDS, database_url
from runtime.control.store.events import Event
from runtime.control.store.tables import api_keys, audit_events, users
from runtime.settings import ControlSettings

USERNAME: Final = "admin"
_LOCK: Final = 0x626F6F7473747261


def create_admin(settings: ControlSettings) -> dict[str, Any] | None:
    """The first administrator, {"username", "password", "api_key"}, both secrets shown only here; None where there is one.

    Needs the schema (store.migrate.upgrade). Raises the database's errors as they come.
    """
    pepper = Pepper.from_file(settings.api_key_pepper)
    password, (key, prefix, digest), user_id = generate(), pepper.new_key(), uuid.uuid4()
    engine = create_engine(
        database_url(settings),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"connect_timeout": CONNECT_SECONDS},
    )
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            if connection.execute(select(users.c.id).where(users.c.role == "admin").limit(1)).first() is not None:
                return None
            encoded = PasswordHasher(
                time_cost=settings.password_time_cost, memory_cost=settings.password_memory_kib
            ).hash(password)
            connection.execute(
                users.insert().values(id=user_id, username=USERNAME, password_hash=encoded, role="admin")
            )
            connection.execute(
                api_keys.insert().values(id=uuid.uuid4(), user_id=user_id, name="first", prefix=prefix, digest=digest)
            )
            event = Event(
                kind="administration",
                request_id="bootstrap",
                action="user.create",
                target=USERNAME,
                status=201,
                details={"role": "admin"},
            )
            connection.execute(audit_events.insert().values(event.row()))
    finally:
        engine.dispose()
    return {"username": USERNAME, "password": password, "api_key": key}
