"""Owns how something is changed: the change and its audit row in one transaction, cached copies dropped around it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request

from catalog.contract import ErrorCode
from runtime.control.gate import recorded
from runtime.control.principals import Principal
from runtime.control.services import Services, call_of
from runtime.control.store import audit, users
from runtime.control.store.events import Event, Kind
from runtime.errors import PlatformError


@dataclass(slots=True)
class Act:
    """A change under way: ``connection`` is its transaction; ``status`` is what will be answered."""

    connection: AsyncConnection
    target: str
    status: int = 200
    details: Mapping[str, Any] | None = None


@contextlib.asynccontextmanager
async def act(
    control: Services,
    request: Request,
    who: Principal,
    action: str,
    target: str,
    *,
    stale: Iterable[str] = (),
    status: int = 200,
) -> AsyncIterator[Act]:
    """Around a change of ``target`` by ``who``. ``stale`` names the cached copies of what changes (principals.py)."""
    names = list(stale)
    # In this order: the copies are dropped when the transaction is over.
    async with (
        control.records.changing(names) if names else contextlib.nullcontext(),
        control.engine.begin() as connection,
    ):
        change = Act(connection, target, status)
        yield change
        await audit.insert(
            connection,
            event(
                request,
                "administration",
                change.status,
                action=action,
                target=change.target,
                details=change.details,
                who=who,
            ),
        )
    recorded(request)


def event(
    request: Request,
    kind: Kind,
    status: int,
    *,
    action: str,
    target: str | None = None,
    error_code: str | None = None,
    details: Mapping[str, Any] | None = None,
    who: Principal | None = None,
) -> Event:
    """The audit event of a request."""
    call = call_of(request.scope)
    return Event(
        kind=kind,
        request_id=call.request_id,
        address=call.address,
        method=call.method,
        path=call.path,
        action=action,
        target=target,
        status=status,
        error_code=error_code,
        details=details,
        user_id=who.user_id if who else None,
        username=who.username if who else None,
        credential=who.credential if who else None,
        credential_id=who.credential_id if who else None,
    )


async def required_user(connection: AsyncConnection, name: str) -> users.User:
    """The user of that id or username. Raises PlatformError NOT_FOUND."""
    user = await users.find(connection, name)
    if user is None:
        raise PlatformError(
            ErrorCode.NOT_FOUND, "There is no such user", details={"field": "user", "issue": "not_found"}
        )
    return user
