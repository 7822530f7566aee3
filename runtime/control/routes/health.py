"""Owns /health, /ready and /metrics. Liveness asks nothing of others; readiness asks Redis and PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from sqlalchemy import text
from starlette.responses import PlainTextResponse, Response

from catalog.contract import ErrorCode
from runtime import __version__
from runtime.control import answers
from runtime.control.admission import RETRY_SECONDS
from runtime.control.bodies import timestamp
from runtime.control.routes import answer
from runtime.control.services import Services, services
from runtime.errors import PlatformError
from runtime.metrics import exposition
from runtime.openapi import refusals
from runtime.serve import is_draining

router = APIRouter(tags=["health"])

CHECK_SECONDS = 1.0
"""Longest wait for a dependency, seconds."""


@router.get("/health", response_model=answers.Health, responses=refusals())
async def health(request: Request) -> Response:
    """The process runs (specification section 3)."""
    now = timestamp(datetime.now(UTC).replace(microsecond=0))
    return answer(
        {"status": "healthy", "agent_id": services(request.scope).name, "version": __version__, "timestamp": now}
    )


@router.get("/ready", response_model=answers.Ready, responses=refusals(ErrorCode.SERVICE_UNAVAILABLE))
async def ready(request: Request) -> Response:
    """The process can judge and record requests: 503 while it is draining or Redis or PostgreSQL is away."""
    checks = await _checks(services(request.scope))
    states = {name: "up" if up else "down" for name, up in checks.items()}
    if is_draining(request.app):
        raise PlatformError(ErrorCode.SERVICE_UNAVAILABLE, "Shutting down", details=states, retry_after=RETRY_SECONDS)
    if not all(checks.values()):
        raise PlatformError(
            ErrorCode.SERVICE_UNAVAILABLE,
            f"Not ready: {', '.join(name for name, up in checks.items() if not up)}",
            details=states,
            retry_after=RETRY_SECONDS,
        )
    return answer({"status": "ready", **states})


@router.get("/metrics", response_class=PlainTextResponse, responses=refusals())
async def metrics(request: Request) -> Response:
    """Prometheus' text format; collected after a look at the dependencies."""
    control = services(request.scope)
    await _checks(control)
    return exposition(control.registry)


async def _checks(control: Services) -> dict[str, bool]:
    async def redis() -> None:
        await control.redis.ping()

    async def database() -> None:
        async with control.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    tasks = {"redis": asyncio.ensure_future(redis()), "database": asyncio.ensure_future(database())}
    await asyncio.wait(tasks.values(), timeout=CHECK_SECONDS)
    results = {}
    for name, task in tasks.items():
        results[name] = task.done() and not task.cancelled() and task.exception() is None
        task.cancel()
        control.metrics.dependency_up.labels(name).set(int(results[name]))
    return results
