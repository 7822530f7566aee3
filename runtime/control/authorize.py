"""Owns the gateway's authorization endpoint: may this request call that agent, and in whose name.

nginx asks with a subrequest and turns only 401 and 403 into answers, so every refusal but a missing credential
is a 403 whose X-Refusal header names the error code; nginx maps that to status and body. Before a yes is said
the admitted audit row is committed. An outage of Redis or PostgreSQL is a refusal too (SERVICE_UNAVAILABLE).

Only POST to /agents/{agent_id}/api/v1/execute, or to /api/v1/execute with X-Agent-Id, executes an agent; any
other request that asks here is refused. Paths are taken literally: one that needs decoding or normalising names
no agent, and the identity token is bound to the agent decided here, whatever the gateway makes of the path.
"""

from __future__ import annotations

import re
import time
import uuid
from typing import Final

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from catalog.contract import ErrorCode, Header
from catalog.schema import AgentSpec
from runtime.control.admission import RETRY_SECONDS, Admission, RefusedError
from runtime.control.services import AWAY, Call, Services, address, header, services
from runtime.control.store.events import Event
from runtime.errors import PlatformError
from runtime.identity import Identity
from runtime.openapi import Document

PATH: Final = "/internal/authorize"
_USER_ID: Final = "X-User-Id"
REFUSALS: Final = (
    ErrorCode.FORBIDDEN,
    ErrorCode.AGENT_NOT_FOUND,
    ErrorCode.AGENT_DISABLED,
    ErrorCode.AGENT_UNAVAILABLE,
    ErrorCode.RATE_LIMIT_EXCEEDED,
    ErrorCode.SERVICE_UNAVAILABLE,
)
"""What a 403 may name."""
_POOLED = re.compile(r"/agents/([A-Za-z0-9_-]{1,64})/api/v1/execute")
_DEDICATED = "/api/v1/execute"

log = structlog.get_logger()


class _NotAllowedError(Exception):
    """The request may not be executed: the refusal's code, the agent's id as asked for, and the agent if there is one."""

    def __init__(self, code: ErrorCode, agent_id: str | None = None, agent: AgentSpec | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.agent_id = agent.id if agent else agent_id
        self.agent = agent


async def authorize(scope: Scope, receive: Receive, send: Send) -> None:
    """The endpoint, plain ASGI: it runs on every request to an agent."""
    control = services(scope)
    started = time.perf_counter()
    call = _call(scope)
    try:
        response, outcome = await control.noting(_decide(control, scope, call))
    except AWAY as error:
        log.error("Authorization refused: Redis or PostgreSQL is away", error=type(error).__name__)
        response, outcome = (
            _refusal(ErrorCode.SERVICE_UNAVAILABLE, {Header.RETRY_AFTER: str(RETRY_SECONDS)}),
            ErrorCode.SERVICE_UNAVAILABLE,
        )
    control.metrics.authorizations.labels(outcome).inc()
    control.metrics.authorization_seconds.observe(time.perf_counter() - started)
    await response(scope, receive, send)


async def _decide(control: Services, scope: Scope, call: Call) -> tuple[Response, str]:
    event_id = uuid.uuid4()
    try:
        admission = await control.admissions.admit(header(scope, "Authorization"), event_id)
    except RefusedError as refused:
        await control.recorder.record(_anonymous(call, event_id, refused.reason))
        return Response(
            status_code=401, headers={"WWW-Authenticate": 'Bearer realm="ai-agents-platform"'}
        ), ErrorCode.UNAUTHENTICATED
    headers = {_USER_ID: admission.principal.user_id, **admission.rate.headers()}
    try:
        agent = _agent(control, call, header(scope, Header.AGENT_ID))
        if not admission.rate.allowed:
            control.metrics.rate_refusals.inc()
            headers[Header.RETRY_AFTER] = str(admission.rate.retry_after)
            raise _NotAllowedError(ErrorCode.RATE_LIMIT_EXCEEDED, agent=agent)
    except _NotAllowedError as refused:
        if refused.code is ErrorCode.AGENT_DISABLED:
            headers[Header.RETRY_AFTER] = str(RETRY_SECONDS)
        await control.recorder.record(_event(call, event_id, admission, refused.agent, refused))
        return _refusal(refused.code, headers), refused.code
    await control.recorder.record(_event(call, event_id, admission, agent, None))
    identity = Identity(
        admission.principal.user_id, admission.principal.username, agent.id, call.request_id, str(event_id)
    )
    headers[Header.IDENTITY] = control.keys.identity_token(identity)
    return Response(status_code=200, headers=headers), "allowed"


def described_authorization() -> dict[str, Document]:
    """The endpoint in the OpenAPI document, which FastAPI cannot know of."""
    header_of = {"schema": {"type": "string"}}
    rate = {name.value: header_of for name in (Header.RATE_LIMIT, Header.RATE_REMAINING, Header.RATE_RESET)}
    named = {Header.ORIGINAL_METHOD: True, Header.ORIGINAL_URI: True, Header.AGENT_ID: False, "Authorization": False}
    operation = {
        "tags": ["gateway"],
        "operationId": "gateway_authorize",
        "description": "May this request execute that agent, and in whose name. The gateway's subrequest: answers have no body, and every refusal but a missing credential is a 403 that names its code.",
        "parameters": [
            {"name": str(name), "in": "header", "required": required, **header_of} for name, required in named.items()
        ],
        "responses": {
            "200": {"description": "Yes.", "headers": {Header.IDENTITY.value: header_of, _USER_ID: header_of, **rate}},
            "401": {"description": "No valid credential.", "headers": {"WWW-Authenticate": header_of}},
            "403": {
                "description": "No.",
                "headers": {
                    Header.REFUSAL.value: {"required": True, "schema": {"enum": [code.value for code in REFUSALS]}},
                    Header.RETRY_AFTER.value: header_of,
                    _USER_ID: header_of,
                    **rate,
                },
            },
        },
    }
    return {PATH: {"get": operation}}


def _agent(control: Services, call: Call, named: str | None) -> AgentSpec:
    match = _POOLED.fullmatch(call.path)
    if call.method != "POST" or not (match or call.path == _DEDICATED):
        raise _NotAllowedError(ErrorCode.FORBIDDEN)
    agent_id = match[1] if match else named or ""
    agent = control.catalog.current.get(agent_id)
    # Only the id itself: the registry also knows an agent's Kubernetes name, which the gateway's map does not.
    if agent is None or agent.id != agent_id:
        if agent_id in control.catalog.unreadable:
            raise _NotAllowedError(ErrorCode.AGENT_UNAVAILABLE, agent_id)
        raise _NotAllowedError(ErrorCode.AGENT_NOT_FOUND, agent_id or None)
    if agent.id in control.dynamic.current.disabled_agents:
        raise _NotAllowedError(ErrorCode.AGENT_DISABLED, agent=agent)
    return agent


def _call(scope: Scope) -> Call:
    uri = header(scope, Header.ORIGINAL_URI) or ""
    return Call(
        scope["state"]["request_id"], header(scope, Header.ORIGINAL_METHOD) or "", uri.partition("?")[0], address(scope)
    )


def _refusal(code: ErrorCode, headers: dict[str, str]) -> Response:
    return Response(status_code=403, headers={Header.REFUSAL: code, **headers})


def _anonymous(call: Call, event_id: uuid.UUID, reason: str) -> Event:
    return Event(
        kind="refusal", event_id=event_id, request_id=call.request_id, address=call.address, method=call.method, path=call.path,
        status=401, error_code=ErrorCode.UNAUTHENTICATED, details={"reason": reason},
    )  # fmt: skip


def _event(
    call: Call, event_id: uuid.UUID, admission: Admission, agent: AgentSpec | None, refused: _NotAllowedError | None
) -> Event:
    principal = admission.principal
    return Event(
        kind="execution" if refused is None else "refusal",
        event_id=event_id,
        request_id=call.request_id,
        user_id=principal.user_id,
        username=principal.username,
        credential=principal.credential,
        credential_id=principal.credential_id,
        address=call.address,
        method=call.method,
        path=call.path,
        agent_id=agent.id if agent else refused.agent_id if refused else None,
        owner=agent.owner if agent else None,
        status=None if refused is None else PlatformError(refused.code, "").status,
        error_code=None if refused is None else refused.code,
    )
