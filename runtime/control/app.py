"""Owns the wiring of a control process: settings → services → application. Decides nothing itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from redis.asyncio import Redis
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from runtime import __version__, errors, metrics, openapi
from runtime.control import answers, completions
from runtime.control.admission import Admissions, unavailable
from runtime.control.authorize import PATH as AUTHORIZE_PATH
from runtime.control.authorize import authorize, described_authorization
from runtime.control.catalog import CatalogSource
from runtime.control.completions import Drain
from runtime.control.gate import PUBLIC, Gate
from runtime.control.limits import LoginAttempts
from runtime.control.passwords import Passwords
from runtime.control.principals import Pepper, Records
from runtime.control.routes import agents, audit, auth, health, keys, users
from runtime.control.services import AWAY, Services
from runtime.control.sessions import Sessions
from runtime.control.store.credentials import DatabasePassword
from runtime.control.store.database import database_url, open_engine
from runtime.control.store.recorder import Recorder
from runtime.discovery import Registration
from runtime.dynamic import DynamicSource
from runtime.http import Envelope
from runtime.identity import SigningKeys
from runtime.redis import connect
from runtime.settings import ControlSettings
from runtime.tracing import TraceRequests, Tracing

REDIS_SECONDS: Final = 1.0
"""Longest wait for Redis, seconds. Above what the event loop may be held up under load: a reply that has arrived
and was not yet looked at counts as late too."""

_TAGS: Final = {
    "auth": "Sessions and one's own password.",
    "keys": "API keys.",
    "users": "Users and their limits; administrators only, but for one's own limit.",
    "agents": "The catalog.",
    "audit": "What happened and what it cost: one's own, for administrators everybody's.",
    "health": "For probes and Prometheus, on the process's own port alone.",
    "gateway": "For the gateway alone; it passes no such path on.",
}

log = structlog.get_logger()


def create_app(settings: ControlSettings) -> FastAPI:
    """The control plane's application. Connections are made on first use, background tasks run within the lifespan.

    Raises ValueError for keys, pepper or URLs that are not right, CatalogError for a broken catalog.
    """
    tracing = Tracing.from_endpoint(settings.otel_exporter_otlp_endpoint, settings.service_name or "control")
    drain_redis = connect(settings.redis_state_url, timeout=completions.BLOCK_MS / 1000 + 2)
    password = DatabasePassword.from_settings(settings)
    services = _services(settings, drain_redis, password)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await services.passwords.prepare()
        services.recorder.start()
        registration = Registration.from_settings(settings, service=services.name)
        runs = [services.drain.run(), services.dynamic.run(), services.catalog.run()]
        runs += [part.run() for part in (registration, password) if part is not None]
        tasks = [asyncio.create_task(run) for run in runs]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await services.recorder.stop()
            await services.engine.dispose()
            for client in (services.redis, drain_redis):
                with contextlib.suppress(Exception):
                    await client.aclose()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)

    app = FastAPI(
        title="AI Agents Platform: control",
        version=__version__,
        lifespan=lifespan,
        middleware=[
            Middleware(Envelope),
            *([Middleware(TraceRequests, tracing=tracing)] if tracing else []),
            Middleware(Gate),
        ],
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
        description="Users, API keys, limits, the catalog, audit and usage of the platform.",
        openapi_tags=[{"name": name, "description": meaning} for name, meaning in _TAGS.items()],
    )
    openapi.describe(
        app,
        public=PUBLIC,
        shapes=answers,
        schemes={"accessToken": openapi.ACCESS_TOKEN, "apiKey": openapi.API_KEY},
        more=described_authorization,
    )
    app.state.services = services
    app.state.dynamic = services.dynamic
    errors.install(app)
    app.add_exception_handler(HTTPException, _said_while_reading(app.exception_handlers[HTTPException]))
    for kind in AWAY:
        app.add_exception_handler(kind, _on_away)
    # A plain route, first: it runs on every request to an agent.
    app.router.routes.insert(0, Route(AUTHORIZE_PATH, _Authorize()))
    for module in (health, auth, keys, users, agents, audit):
        app.include_router(module.router)
    return app


class _Authorize:
    """The endpoint as an ASGI application, so that Starlette does not wrap it in a Request."""

    __call__ = staticmethod(authorize)


def _services(settings: ControlSettings, drain_redis: Redis, password: DatabasePassword | None) -> Services:
    redis = connect(settings.redis_state_url, timeout=REDIS_SECONDS)
    engine = open_engine(settings, password)
    signing = SigningKeys.from_file(settings.signing_keys)
    pepper = Pepper.from_file(settings.api_key_pepper)
    records = Records(redis)
    dynamic = DynamicSource.from_settings(settings)
    collectors = metrics.new_registry()
    control_metrics = metrics.ControlMetrics(collectors)
    return Services(
        settings=settings,
        catalog=CatalogSource(settings.catalog_path),
        engine=engine,
        redis=redis,
        keys=signing,
        pepper=pepper,
        records=records,
        admissions=Admissions(redis, engine, signing, pepper, records, dynamic),
        sessions=Sessions(redis, signing, pepper, settings.access_seconds, settings.refresh_seconds),
        passwords=Passwords(
            settings.password_concurrency,
            time_cost=settings.password_time_cost,
            memory_kib=settings.password_memory_kib,
        ),
        logins=LoginAttempts(redis, settings.login_attempts, settings.login_window_seconds),
        recorder=Recorder(database_url(settings), password),
        drain=Drain(
            drain_redis, engine, control_metrics, claim_seconds=settings.audit_claim_seconds, texts=settings.audit_texts
        ),
        dynamic=dynamic,
        registry=collectors,
        metrics=control_metrics,
    )


def _said_while_reading(
    otherwise: Callable[[Request, Exception], Any],
) -> Callable[[Request, Exception], Awaitable[Response]]:
    """FastAPI makes a 400 of whatever is raised while it reads a body; what we raised there (413) is still the cause."""

    async def handler(request: Request, error: Exception) -> Response:
        if isinstance(error.__cause__, errors.PlatformError):
            return error.__cause__.response()
        answer: Response = await otherwise(request, error)
        return answer

    return handler


async def _on_away(request: Request, error: Exception) -> Response:
    log.error("Request refused: Redis or PostgreSQL is away", error=type(error).__name__, path=request.scope["path"])
    return unavailable().response()
