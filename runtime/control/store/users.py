"""Owns the statements over users and API keys. Callers bring the connection, and so the transaction."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.control.store.tables import api_keys, users

Role = Literal["user", "admin"]


@dataclass(frozen=True, slots=True)
class User:
    """One user."""

    id: uuid.UUID
    username: str
    role: Role
    enabled: bool
    requests_per_minute: int | None
    """None: the platform's default."""
    generation: int
    """Sessions begun under an older generation are dead."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One API key, without the key."""

    id: uuid.UUID
    user_id: uuid.UUID
    username: str
    name: str
    prefix: str
    digest: bytes
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class UsernameTakenError(Exception):
    """There is a user of that name."""


class LastAdminError(Exception):
    """The change would leave no enabled administrator."""


_USER = (
    users.c.id,
    users.c.username,
    users.c.role,
    users.c.enabled,
    users.c.requests_per_minute,
    users.c.generation,
    users.c.created_at,
)
_KEY = (
    api_keys.c.id, api_keys.c.user_id, users.c.username, api_keys.c.name, api_keys.c.prefix, api_keys.c.digest,
    api_keys.c.created_at, api_keys.c.expires_at, api_keys.c.revoked_at,
)  # fmt: skip


def _user(row: Any) -> User | None:
    return None if row is None else User(*row[: len(_USER)])


async def find(connection: AsyncConnection, name: str) -> User | None:
    """The user of that id or username, or None."""
    if "\0" in name:  # no name, and PostgreSQL refuses the question
        return None
    return _user((await connection.execute(select(*_USER).where(_is(name)))).first())


async def find_by_id(connection: AsyncConnection, user_id: uuid.UUID) -> User | None:
    """The user of that id, or None."""
    return _user((await connection.execute(select(*_USER).where(users.c.id == user_id))).first())


async def find_for_login(connection: AsyncConnection, username: str) -> tuple[User, str] | None:
    """The user of that name and the hash of their password, or None."""
    if "\0" in username:
        return None
    row = (await connection.execute(select(*_USER, users.c.password_hash).where(users.c.username == username))).first()
    return None if row is None else (User(*row[: len(_USER)]), str(row[-1]))


async def page(connection: AsyncConnection, text: str, after: str, limit: int) -> tuple[list[User], int]:
    """Up to ``limit`` users whose name contains ``text``, in order of name after ``after``; and how many match in all."""
    matching = users.c.username.contains(text.lower(), autoescape=True)
    total = (await connection.execute(select(func.count()).select_from(users).where(matching))).scalar_one()
    rows = await connection.execute(
        select(*_USER).where(matching, users.c.username > after).order_by(users.c.username).limit(limit)
    )
    return [User(*row) for row in rows], total


async def create(
    connection: AsyncConnection, username: str, password_hash: str, role: Role, requests_per_minute: int | None
) -> User:
    """A new, enabled user. Raises UsernameTakenError; the transaction is then over."""
    values = {
        "id": uuid.uuid4(),
        "username": username,
        "password_hash": password_hash,
        "role": role,
        "requests_per_minute": requests_per_minute,
    }
    try:
        row = (await connection.execute(users.insert().values(values).returning(*_USER))).one()
    except IntegrityError:
        raise UsernameTakenError(username) from None
    return User(*row)


async def change(connection: AsyncConnection, user: User, *, end_sessions: bool = False, **values: Any) -> User:
    """``user`` with new values of columns; ``end_sessions`` also kills every session there is.

    Raises LastAdminError where no enabled administrator would remain.
    """
    if user.role == "admin" and (values.get("enabled") is False or values.get("role") == "user"):
        # All administrators' rows are locked in one order: two who remove each other take turns.
        admins = (
            select(users.c.id).where(users.c.role == "admin", users.c.enabled).order_by(users.c.id).with_for_update()
        )
        others = [row.id for row in await connection.execute(admins) if row.id != user.id]
        if not others:
            raise LastAdminError(user.username)
    if end_sessions:
        values["generation"] = users.c.generation + 1
    return User(
        *(await connection.execute(update(users).where(users.c.id == user.id).values(values).returning(*_USER))).one()
    )


async def upgrade_hash(connection: AsyncConnection, user_id: uuid.UUID, old: str, new: str) -> None:
    """Replace the hash of an unchanged password by one of today's parameters; nothing where it changed meanwhile."""
    await connection.execute(
        update(users).where(users.c.id == user_id, users.c.password_hash == old).values(password_hash=new)
    )


async def create_key(
    connection: AsyncConnection, user: User, name: str, prefix: str, digest: bytes, expires_at: datetime | None
) -> ApiKey:
    """A new API key of ``user``."""
    values = {
        "id": uuid.uuid4(),
        "user_id": user.id,
        "name": name,
        "prefix": prefix,
        "digest": digest,
        "expires_at": expires_at,
    }
    row = (
        await connection.execute(api_keys.insert().values(values).returning(api_keys.c.id, api_keys.c.created_at))
    ).one()
    return ApiKey(row.id, user.id, user.username, name, prefix, digest, row.created_at, expires_at, None)


async def keys(connection: AsyncConnection, user_id: uuid.UUID | None) -> list[ApiKey]:
    """The API keys of one user, or of all for None, newest first; revoked ones too."""
    chosen = (
        select(*_KEY)
        .join(users, users.c.id == api_keys.c.user_id)
        .order_by(api_keys.c.created_at.desc(), api_keys.c.id)
    )
    if user_id is not None:
        chosen = chosen.where(api_keys.c.user_id == user_id)
    return [ApiKey(*row) for row in await connection.execute(chosen)]


async def find_key(connection: AsyncConnection, key_id: uuid.UUID) -> ApiKey | None:
    """The API key of that id, or None."""
    row = (
        await connection.execute(
            select(*_KEY).join(users, users.c.id == api_keys.c.user_id).where(api_keys.c.id == key_id)
        )
    ).first()
    return None if row is None else ApiKey(*row)


async def find_by_digest(connection: AsyncConnection, digest: bytes) -> tuple[ApiKey, User] | None:
    """The API key of that digest with its user, revoked and expired ones too, or None."""
    row = (
        await connection.execute(
            select(*_KEY, *_USER).join(users, users.c.id == api_keys.c.user_id).where(api_keys.c.digest == digest)
        )
    ).first()
    return None if row is None else (ApiKey(*row[: len(_KEY)]), User(*row[len(_KEY) :]))


async def revoke_key(connection: AsyncConnection, key_id: uuid.UUID) -> bool:
    """End an API key: whether it was alive."""
    done = await connection.execute(
        update(api_keys)
        .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(api_keys.c.id)
    )
    return done.first() is not None


def _is(name: str) -> Any:
    named = users.c.username == name.lower()
    try:
        return or_(users.c.id == uuid.UUID(name), named)
    except ValueError:
        return named
