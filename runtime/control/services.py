"""Owns the things a control process is made of, and hands them to routes and middleware as one object."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.types import Scope

from catalog.contract import ErrorCode, Header
from runtime.control.admission import Admissions
from runtime.control.catalog import CatalogSource
from runtime.control.completions import Drain
from runtime.control.limits import LoginAttempts
from runtime.control.passwords import Passwords
from runtime.control.principals import Pepper, Principal, Records
from runtime.control.sessions import Sessions
from runtime.control.store.database import UNAVAILABLE
from runtime.control.store.recorder import Recorder, RecorderUnavailableError
from runtime.dynamic import DynamicSource
from runtime.errors import PlatformError
from runtime.identity import SigningKeys
from runtime.metrics import ControlMetrics
from runtime.settings import ControlSettings

T = TypeVar("T")

_DATABASE_AWAY: tuple[type[Exception], ...] = (RecorderUnavailableError, *UNAVAILABLE)
AWAY: tuple[type[Exception], ...] = (RedisError, *_DATABASE_AWAY)
"""Exceptions that mean 503: Redis or PostgreSQL is away, so a request can be neither judged nor recorded."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a request may need. Made by app.create_app; opened and closed by its lifespan."""

    settings: ControlSettings
    catalog: CatalogSource
    engine: AsyncEngine
    redis: Redis
    keys: SigningKeys
    pepper: Pepper
    records: Records
    admissions: Admissions
    sessions: Sessions
    passwords: Passwords
    logins: LoginAttempts
    recorder: Recorder
    drain: Drain
    dynamic: DynamicSource
    registry: CollectorRegistry
    metrics: ControlMetrics

    @property
    def name(self) -> str:
        """What the process answers /health under."""
        return self.settings.service_name or "control"

    async def noting(self, work: Awaitable[T]) -> T:
        """``work``, with the dependency gauges set by how it went."""
        try:
            result = await work
        except RedisError:
            self.metrics.dependency_up.labels("redis").set(0)
            raise
        except _DATABASE_AWAY:
            self.metrics.dependency_up.labels("database").set(0)
            raise
        return result


@dataclass(frozen=True, slots=True)
class Call:
    """What of an HTTP request goes into the audit."""

    request_id: str
    method: str
    path: str
    address: str


def services(scope: Scope) -> Services:
    """The services of the application that serves ``scope``."""
    found: Services = scope["app"].state.services
    return found


def header(scope: Scope, name: str) -> str | None:
    """The value of a request header, None where it is missing or given more than once."""
    wanted = name.lower().encode()
    values = [value for key, value in scope["headers"] if key == wanted]
    return values[0].decode("latin-1") if len(values) == 1 else None


def address(scope: Scope) -> str:
    """The client's address as the gateway saw it. Control is only reachable through the gateway, which sets the header."""
    return header(scope, Header.CLIENT_ADDRESS) or (scope["client"][0] if scope.get("client") else "")


def call_of(scope: Scope) -> Call:
    """The call that ``scope`` is. The path is the one of the request line; the Host header plays no part."""
    return Call(scope["state"]["request_id"], scope["method"], scope["path"], address(scope))


def principal(request: Request) -> Principal:
    """Who makes the request; the gate has let nobody else through to this route."""
    found: Principal = request.state.principal
    return found


def admin(request: Request) -> Principal:
    """Who makes the request, an administrator. Raises PlatformError FORBIDDEN."""
    found = principal(request)
    if not found.admin:
        raise forbidden("Only administrators may do this")
    return found


Who = Annotated[Principal, Depends(principal)]
"""A route's parameter: whoever calls."""
Admin = Annotated[Principal, Depends(admin)]
"""A route's parameter: whoever calls, refused unless an administrator."""


def forbidden(message: str) -> PlatformError:
    """A 403."""
    return PlatformError(ErrorCode.FORBIDDEN, message)
