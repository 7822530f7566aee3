"""Owns the path of one execution: identity → enabled? → quarantined? → valid? → a place → cache → model → completion → answer.

Every request that carries a valid identity token ends in exactly one completion, whatever becomes of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from catalog.contract import ErrorCode, Header
from runtime import pricing
from runtime.agent import cache, prompt
from runtime.agent.cache import AnswerCache
from runtime.agent.completions import Completions
from runtime.agent.limits import Slots, give_back, overloaded, take
from runtime.agent.models.base import Answer, Call, ModelClient, ModelError
from runtime.agent.quarantine import Quarantine
from runtime.agent.served import ModelChoice, Served, overridden
from runtime.audit import Completion
from runtime.dynamic import DynamicSource
from runtime.errors import PlatformError, internal_error, invalid
from runtime.identity import Identity, TokenError, VerifyingKeys
from runtime.metrics import AgentMetrics

CALLER_GONE = "CLIENT_CLOSED_REQUEST"
CALLER_GONE_STATUS = 499
"""nginx's status for a client that closed the connection; in the audit only, since nobody is left to read it."""

log = structlog.get_logger()


class CallerGoneError(Exception):
    """The caller hung up; ``answer`` is what the model had said by then, if it had."""

    def __init__(self, answer: Answer | None = None) -> None:
        super().__init__()
        self.answer = answer


@dataclass(slots=True)
class Outcome:
    """What is known of an execution so far; becomes its completion, its log line and its metrics."""

    started: float
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    paid: bool = True
    cached: bool = False
    task: str = ""
    answer: str = ""

    def spent(self, answer: Answer) -> None:
        """Take over what ``answer`` used."""
        self.model, self.paid = answer.model, answer.paid
        self.input_tokens, self.output_tokens = answer.input_tokens, answer.output_tokens


class Executor:
    """Executes requests for the agents of one process."""

    def __init__(
        self, served: Mapping[str, Served], *, keys: VerifyingKeys, model: ModelClient, answers: AnswerCache, completions: Completions,
        metrics: AgentMetrics, dynamic: DynamicSource, quarantine: Quarantine, max_concurrency: int, keep_texts: bool,
        unavailable: Collection[str] = (),
    ) -> None:  # fmt: skip
        self._served = served
        self._only = next(iter(served)) if len(served) == 1 else None
        self._keys = keys
        self._model = model
        self._answers = answers
        self._completions = completions
        self._metrics = metrics
        self._dynamic = dynamic
        self._quarantine = quarantine
        self._unavailable = unavailable
        self._process = Slots(max_concurrency)
        self._keep_texts = keep_texts
        metrics.in_flight.set_function(lambda: self._process.running)

    async def execute(self, request: Request) -> Response:
        """The answer to one POST. Raises PlatformError before the caller is known; afterwards every error is a response."""
        started = time.perf_counter()
        agent_id = request.path_params.get("agent_id") or request.headers.get(Header.AGENT_ID) or self._only
        if agent_id is None:
            raise invalid(
                Header.AGENT_ID,
                "missing_required_field",
                f"This process serves several agents: name one in the header {Header.AGENT_ID}, or use /agents/<agent_id>/api/v1/execute",
            )
        try:
            identity = self._identify(request, agent_id)
        except PlatformError as error:
            self._count(agent_id, error.code, 0.0)
            raise
        outcome = Outcome(started)
        try:
            body = await self._run(request, agent_id, identity, outcome)
        except PlatformError as error:
            if isinstance(error, ModelError):
                outcome.input_tokens, outcome.output_tokens = error.input_tokens, error.output_tokens
            await self._finish(identity, outcome, error.status, error.code)
            return error.response()
        except (CallerGoneError, ClientDisconnect) as gone:
            if isinstance(gone, CallerGoneError) and gone.answer is not None:
                outcome.spent(gone.answer)
            await self._finish(identity, outcome, CALLER_GONE_STATUS, CALLER_GONE)
            return Response(status_code=CALLER_GONE_STATUS)
        except asyncio.CancelledError:
            # The server stops and will not wait any longer; the completion is stored at shutdown.
            self._completions.add(self._record(identity, outcome, 503, ErrorCode.SERVICE_UNAVAILABLE))
            raise
        except Exception:
            log.exception("Execution failed", agent_id=agent_id)
            unforeseen = internal_error()
            await self._finish(identity, outcome, unforeseen.status, unforeseen.code)
            return unforeseen.response()
        await self._finish(identity, outcome, 200, "")
        return Response(body, 200, media_type="application/json")

    def _identify(self, request: Request, agent_id: str) -> Identity:
        try:
            return self._keys.identity(
                request.headers.get(Header.IDENTITY, ""), agent_id=agent_id, request_id=request.state.request_id
            )
        except TokenError as error:
            log.warning("Identity token refused", reason=str(error))
            raise PlatformError(
                ErrorCode.UNAUTHENTICATED, "Call this agent through the gateway, with an access token or an API key"
            ) from None

    async def _run(self, request: Request, agent_id: str, identity: Identity, outcome: Outcome) -> bytes:
        served = self._served.get(agent_id)
        if served is None and agent_id in self._unavailable:
            raise PlatformError(ErrorCode.AGENT_UNAVAILABLE, "This agent's definition could not be loaded")
        if served is None:
            raise PlatformError(ErrorCode.AGENT_NOT_FOUND, f"There is no agent {agent_id[:64]} here")
        if agent_id in self._dynamic.current.disabled_agents:
            raise PlatformError(ErrorCode.AGENT_DISABLED, "This agent is turned off by an operator")
        refusal = self._quarantine.refusal(agent_id)
        if refusal is not None:
            raise refusal
        refusal = prompt.unsupported_media_type(request.headers.get("content-type", "").encode() or None)
        if refusal is not None:
            raise refusal
        task = prompt.parse(await request.body())
        if self._keep_texts:
            outcome.task = task.description
        full = take(served.slots, self._process)
        if full:
            self._metrics.concurrency_refusals.labels(full).inc()
            raise overloaded(full)
        try:
            async with self._quarantine.execution(agent_id):
                answer = await self._answer(request, served, self._call(served, task), identity, outcome)
        finally:
            give_back(served.slots, self._process)
        if self._keep_texts:
            outcome.answer = answer.text
        return _body(agent_id, answer, outcome, self._model.notice)

    def _call(self, served: Served, task: prompt.Task) -> Call:
        choice: ModelChoice = served.choice
        override = self._dynamic.current.model
        if override is not None and override != choice.model:
            choice = overridden(choice, override)
        rendered = prompt.render(served.spec, task, served.system)
        return Call(
            served.spec,
            choice.model,
            rendered.system,
            rendered.user,
            choice.max_tokens,
            choice.temperature,
            choice.effort,
            task.description,
            rendered.values,
        )

    async def _answer(
        self, request: Request, served: Served, call: Call, identity: Identity, outcome: Outcome
    ) -> Answer:
        outcome.model = call.model
        seconds = served.spec.cache_seconds
        if not seconds:
            answer = await self._ask(request, call)
            outcome.spent(answer)
            return answer
        name = cache.key(call, identity.user_id)
        hit = await self._answers.get(name)
        if hit is not None:
            outcome.model, outcome.cached = hit.model, True
            self._metrics.cache_hits.labels(call.agent.id).inc()
            return hit
        answer = await self._ask(request, call)
        outcome.spent(answer)
        await self._answers.put(name, answer, seconds)
        return answer

    async def _ask(self, request: Request, call: Call) -> Answer:
        """The model's answer, unless the caller hangs up first: then the call is cancelled and CallerGoneError raised."""
        asking = asyncio.ensure_future(self._model.complete(call))
        # The body is read, so the next message can only be http.disconnect.
        leaving = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            asking.cancel()
            await asyncio.wait((asking,))
            finished = not asking.cancelled() and asking.exception() is None
            raise CallerGoneError(asking.result() if finished else None)
        finally:
            asking.cancel()
            leaving.cancel()

    async def _finish(self, identity: Identity, outcome: Outcome, status: int, code: str) -> None:
        await self._completions.publish(self._record(identity, outcome, status, code))

    def _record(self, identity: Identity, outcome: Outcome, status: int, code: str) -> Completion:
        """The completion of an execution; also counts and logs it."""
        seconds = time.perf_counter() - outcome.started
        cost = (
            pricing.cost(outcome.model, outcome.input_tokens, outcome.output_tokens)
            if outcome.paid and not outcome.cached
            else pricing.NOTHING
        )
        metrics, agent_id = self._metrics, identity.agent_id
        self._count(agent_id, code, seconds)
        tokens = outcome.input_tokens + outcome.output_tokens
        if tokens and agent_id in metrics.requests:
            metrics.tokens.labels(agent_id, "input").inc(outcome.input_tokens)
            metrics.tokens.labels(agent_id, "output").inc(outcome.output_tokens)
            if cost:
                metrics.cost.labels(agent_id).inc(float(cost))
        duration_ms = round(seconds * 1000, 2)
        if code:
            log.info(
                "Request failed",
                agent_id=agent_id,
                duration_ms=duration_ms,
                tokens_used=tokens,
                status=status,
                code=code,
            )
        else:
            log.info("Request completed", agent_id=agent_id, duration_ms=duration_ms, tokens_used=tokens)
        return Completion(
            event_id=identity.event_id, status=status, error_code=code, model=outcome.model, input_tokens=outcome.input_tokens, output_tokens=outcome.output_tokens,
            cost_dollars="" if cost is None else format(cost.normalize(), "f"), duration_ms=duration_ms, completed_at=_now(), cached=outcome.cached,
            # PostgreSQL's text cannot hold a NUL.
            task=outcome.task.replace("\x00", ""), answer=outcome.answer.replace("\x00", ""),
        )  # fmt: skip

    def _count(self, agent_id: str, code: str, seconds: float) -> None:
        requests = self._metrics.requests.get(agent_id)
        if requests is None:
            return
        requests.inc()
        if code:
            self._metrics.errors.labels(agent_id, code).inc()
        if seconds:
            self._metrics.processing.observe(seconds)
            self._metrics.seconds.labels(agent_id).inc(seconds)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _body(agent_id: str, answer: Answer, outcome: Outcome, notice: str | None) -> bytes:
    metadata: dict[str, Any] = {
        "agent_id": agent_id,
        "model": answer.model,
        "tokens_used": outcome.input_tokens + outcome.output_tokens,
        "timestamp": _now(),
        "input_tokens": outcome.input_tokens,
        "output_tokens": outcome.output_tokens,
    }
    if answer.stop_reason != "end_turn":
        metadata["stop_reason"] = answer.stop_reason
    if outcome.cached:
        metadata["cached"] = True
    if notice is not None:
        metadata["notice"] = notice
    elapsed = (time.perf_counter() - outcome.started) * 1000
    return orjson.dumps({"result": answer.text, "metadata": metadata, "processing_time_ms": round(elapsed, 2)})
