"""Owns the agent application: its endpoints, what it is assembled from, and its start and end.

Execution is ``execution.py``'s. The endpoints bypass FastAPI's dependency machinery, which costs time on every
request and would decide nothing here, but stay FastAPI routes, so that the OpenAPI document is complete.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from catalog.contract import ErrorCode
from runtime import __version__, errors, pricing, redis, secrets
from runtime.agent import schemas
from runtime.agent.blame import Rules
from runtime.agent.cache import AnswerCache
from runtime.agent.completions import Completions
from runtime.agent.execution import Executor
from runtime.agent.models.base import ModelClient
from runtime.agent.models.deferred import DeferredModel
from runtime.agent.models.offline import OfflineModel
from runtime.agent.quarantine import Quarantine
from runtime.agent.served import Served, assemble, service_name
from runtime.discovery import Registration
from runtime.dynamic import DynamicSource
from runtime.errors import PlatformError
from runtime.http import Envelope
from runtime.identity import VerifyingKeys
from runtime.metrics import AgentMetrics, exposition, new_registry
from runtime.openapi import ACCESS_TOKEN, API_KEY, describe, refusals
from runtime.serve import is_draining
from runtime.settings import AgentSettings, StartError
from runtime.tracing import TraceRequests, Tracing

log = structlog.get_logger()


class DirectRoute(APIRoute):
    """A route whose endpoint takes the Request and returns the Response itself."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint as it is."""
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


def create_app(settings: AgentSettings, *, model: ModelClient | None = None) -> FastAPI:
    """The agent application of ``settings``; ``model`` replaces the one they ask for (tests).

    Reads the catalog and the public keys. Raises CatalogError or StartError where that fails.
    """
    keys = _keys(settings)
    served, unavailable = assemble(settings)
    name = service_name(settings)
    dynamic = DynamicSource.from_settings(settings)
    registry = new_registry()
    metrics = AgentMetrics(registry, served, lambda agent_id: agent_id not in dynamic.current.disabled_agents)
    for agent_id in unavailable:
        metrics.unavailable.labels(agent_id).set(1)
    tracing = Tracing.from_endpoint(settings.otel_exporter_otlp_endpoint, name)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        source = secrets.for_agent(settings)
        client = model or _model(settings, source, tracing)
        completions = Completions(redis.connect(settings.redis_state_url), metrics)
        answers = AnswerCache(redis.connect(settings.redis_cache_url) if settings.redis_cache_url else None)
        quarantine = _quarantine(settings, name, served, metrics, dynamic)
        await quarantine.start()
        app.state.model = client
        app.state.quarantine = quarantine
        app.state.executor = Executor(
            served, keys=keys, model=client, answers=answers, completions=completions, metrics=metrics, dynamic=dynamic, quarantine=quarantine,
            max_concurrency=settings.max_concurrency, keep_texts=settings.audit_texts, unavailable=unavailable,
        )  # fmt: skip
        app.state.on_drain = quarantine.ending
        jobs = [
            dynamic.run(),
            quarantine.run(),
            client.run(),
            asyncio.to_thread(pricing.cost, settings.claude_model, 1, 1),
        ]
        if isinstance(source, secrets.VaultSecrets):
            jobs.append(source.run())
        registration = Registration.from_settings(
            settings, service="agents", tags=[name, *(served if len(served) == 1 else ())]
        )
        if registration is not None:
            jobs.append(registration.run())
        tasks = [asyncio.create_task(_supervised(job)) for job in jobs]
        storing = asyncio.create_task(_supervised(completions.run()))
        # What is loaded by now lives as long as the process: no collection need look at it again.
        gc.collect()
        gc.freeze()
        try:
            yield
        finally:
            for task in (*tasks, storing):
                task.cancel()
            await asyncio.gather(*tasks, storing, return_exceptions=True)
            await completions.close()
            await quarantine.close()
            await answers.close()
            await client.close()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)
            gc.unfreeze()

    app = FastAPI(
        title="Agent API",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        description="Executing agents. A client sends its credential to the gateway, which asks control and passes the request on.",
        openapi_tags=[
            {
                "name": "execution",
                "description": "Through the gateway, which also answers with some of the errors itself.",
            },
            {"name": "health", "description": "On the process's own port; the gateway passes one agent's health on."},
        ],
    )
    app.router.route_class = DirectRoute
    app.state.dynamic = dynamic
    app.state.registry = registry
    errors.install(app)
    if tracing is not None:
        app.add_middleware(TraceRequests, tracing=tracing)
    app.add_middleware(Envelope)

    async def execute(request: Request) -> Response:
        executor: Executor = app.state.executor
        return await executor.execute(request)

    async def health(_: Request) -> Response:
        return _health(name)

    async def agent_health(request: Request) -> Response:
        agent_id = request.path_params["agent_id"]
        if agent_id in unavailable:
            return _health(agent_id, "unavailable")
        if agent_id not in served:
            raise PlatformError(ErrorCode.AGENT_NOT_FOUND, f"There is no agent {agent_id[:64]} here")
        if agent_id in dynamic.current.disabled_agents:
            return _health(agent_id, "disabled")
        return _health(agent_id, "quarantined" if agent_id in app.state.quarantine.quarantined else "healthy")

    async def ready(_: Request) -> Response:
        problem = "the process is stopping" if is_draining(app) else app.state.model.problem
        if problem is not None:
            raise PlatformError(ErrorCode.SERVICE_UNAVAILABLE, f"Not ready: {problem}")
        quarantined = app.state.quarantine.quarantined
        return _json(
            {
                "status": "ready",
                "agents": len(served),
                **({"unavailable": unavailable} if unavailable else {}),
                **({"quarantined": quarantined} if quarantined else {}),
            }
        )

    async def metrics_text(_: Request) -> Response:
        metrics.dependency_up.labels("model").set(app.state.model.problem is None)
        return exposition(registry)

    _add_routes(app, execute, health, agent_health, ready, metrics_text)
    return app


Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def _add_routes(
    app: FastAPI, execute: Endpoint, health: Endpoint, agent_health: Endpoint, ready: Endpoint, metrics_text: Endpoint
) -> None:
    """Give ``app`` its routes, with what the OpenAPI document says of each."""
    execution: dict[str, Any] = {
        "methods": ["POST"], "tags": ["execution"], "response_model": schemas.ExecuteResponse, "responses": schemas.EXECUTION_ERRORS,
    }  # fmt: skip
    probe: dict[str, Any] = {"tags": ["health"]}
    app.add_api_route(
        "/agents/{agent_id}/api/v1/execute", execute, summary="Execute a task", operation_id="execute_agent", **execution,
        openapi_extra={**schemas.REQUEST_BODY, "parameters": [schemas.path_parameter("agent_id"), schemas.CANARY_PARAMETER]},
    )  # fmt: skip
    app.add_api_route(
        "/api/v1/execute", execute, summary="Execute a task of the process's one agent, or of the one the header names", operation_id="execute", **execution,
        openapi_extra={**schemas.REQUEST_BODY, "parameters": [schemas.AGENT_PARAMETER, schemas.CANARY_PARAMETER]},
    )  # fmt: skip
    app.add_api_route(
        "/agents/{agent_id}/health", agent_health, response_model=schemas.Health, responses=refusals(ErrorCode.AGENT_NOT_FOUND),
        summary="Whether the agent is served", operation_id="agent_health", openapi_extra={"parameters": [schemas.path_parameter("agent_id")]}, **probe,
    )  # fmt: skip
    app.add_api_route(
        "/health", health, response_model=schemas.Health, responses=refusals(), operation_id="health",
        summary="Whether the process is alive; asks no dependency", **probe,
    )  # fmt: skip
    app.add_api_route(
        "/ready", ready, response_model=schemas.Ready, responses=refusals(ErrorCode.SERVICE_UNAVAILABLE), operation_id="ready",
        summary="Whether the process takes requests", **probe,
    )  # fmt: skip
    app.add_api_route(
        "/metrics", metrics_text, response_class=PlainTextResponse, responses=refusals(), operation_id="metrics",
        summary="Metrics for Prometheus", **probe,
    )  # fmt: skip
    describe(
        app,
        public={"/health", "/agents/{agent_id}/health", "/ready", "/metrics"},
        shapes=schemas,
        schemes={"accessToken": ACCESS_TOKEN, "apiKey": API_KEY, "identity": schemas.IDENTITY},
        limits=False,
    )


def _quarantine(
    settings: AgentSettings, name: str, served: Mapping[str, Served], metrics: AgentMetrics, dynamic: DynamicSource
) -> Quarantine:
    rules = Rules(settings.quarantine_strikes, settings.quarantine_window_seconds, settings.quarantine_seconds)
    return Quarantine(
        redis.connect(settings.redis_state_url),
        metrics,
        service=name,
        versions={agent_id: each.version for agent_id, each in served.items()},
        rules=rules,
        journal=settings.crash_journal,
        slots=settings.max_concurrency,
        exempt=lambda: dynamic.current.quarantine_exempt,
    )


def _keys(settings: AgentSettings) -> VerifyingKeys:
    try:
        return VerifyingKeys.from_file(settings.identity_public_keys)
    except OSError as error:
        raise StartError(
            f"IDENTITY_PUBLIC_KEYS: {settings.identity_public_keys} cannot be read ({error.strerror})"
        ) from None
    except ValueError as error:
        raise StartError(
            f"IDENTITY_PUBLIC_KEYS: {settings.identity_public_keys} is not a PEM file of Ed25519 public keys ({error})"
        ) from None


def _model(settings: AgentSettings, source: secrets.SecretSource | None, tracing: Tracing | None) -> ModelClient:
    if settings.model == "offline" or (settings.model == "auto" and source is None):
        log.warning(
            "The offline model answers: no API key is set"
            if settings.model == "auto"
            else "The offline model answers, as configured"
        )
        return OfflineModel()
    assert source is not None, "settings refuse MODEL=claude without a key"

    def load() -> ModelClient:
        from runtime.agent.models.claude import ClaudeModel

        seconds, connections = settings.execution_timeout_seconds, settings.max_concurrency
        provider = tracing.provider if tracing is not None else None
        return ClaudeModel(
            source,
            base_url=settings.anthropic_base_url,
            timeout=seconds,
            connections=connections,
            tracer_provider=provider,
        )

    return DeferredModel(load)


async def _supervised(job: Coroutine[Any, Any, Any]) -> None:
    """Run ``job``; an unexpected end is logged, since nobody awaits it before shutdown."""
    with suppress(asyncio.CancelledError):
        try:
            await job
        except Exception:
            log.exception("A background job ended unexpectedly")


def _health(agent_id: str, status: str = "healthy") -> Response:
    timestamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _json({"status": status, "agent_id": agent_id, "version": __version__, "timestamp": timestamp})


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
