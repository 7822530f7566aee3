"""Owns who reaches control's own API: everything but PUBLIC needs a credential, counts against its limit and is recorded.

A middleware and not a dependency, so that no route can forget it, and an unknown path or a malformed body from
somebody unknown is still a 401. The audit row is committed before the answer leaves; where it cannot be, the
answer is a 503 instead. Routes that change something write their own row in the same transaction as the change
and say so with ``recorded``.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

import orjson
import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catalog.contract import ErrorCode
from runtime.control import authorize
from runtime.control.admission import Admission, RefusedError, unauthenticated, unavailable
from runtime.control.services import AWAY, Services, call_of, header, services
from runtime.control.store.events import Event, Kind
from runtime.errors import PlatformError, internal_error

PUBLIC: Final = frozenset({"/auth/login", "/auth/refresh", "/health", "/ready", "/metrics", authorize.PATH})
"""Paths that anybody who reaches control may ask; what they need to check they check themselves."""

log = structlog.get_logger()


def recorded(request: Request) -> None:
    """Say that the route wrote the request's audit row itself."""
    request.state.recorded = True


class Gate:
    """The middleware; inside runtime.http.Envelope, outside everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PUBLIC:
            await self._app(scope, receive, send)
            return
        control = services(scope)
        event_id = uuid.uuid4()
        try:
            admission = await control.noting(_admit(control, scope, event_id))
        except PlatformError as refusal:
            await refusal.response()(scope, receive, send)
            return
        except AWAY as error:
            log.error("Request refused: Redis or PostgreSQL is away", error=type(error).__name__)
            await unavailable().response()(scope, receive, send)
            return
        scope["state"]["principal"] = admission.principal
        answering = _Recording(control, scope, receive, send, admission, event_id)
        try:
            await self._app(scope, receive, answering)
        except Exception as error:
            # Answered here and not further out, so that these too are recorded and carry the rate limit's headers.
            if answering.started:
                raise
            if not isinstance(error, PlatformError):
                log.exception("Request failed", path=scope["path"], method=scope["method"])
            await (error if isinstance(error, PlatformError) else internal_error()).response()(
                scope, receive, answering
            )


async def _admit(control: Services, scope: Scope, event_id: uuid.UUID) -> Admission:
    try:
        admission = await control.admissions.admit(header(scope, "Authorization"), event_id)
    except RefusedError as refused:
        await control.recorder.record(
            _event(scope, event_id, None, "refusal", 401, ErrorCode.UNAUTHENTICATED, {"reason": refused.reason})
        )
        raise unauthenticated() from None
    if not admission.rate.allowed:
        control.metrics.rate_refusals.inc()
        await control.recorder.record(_event(scope, event_id, admission, "refusal", 429, ErrorCode.RATE_LIMIT_EXCEEDED))
        raise admission.rate.refusal()
    return admission


class _Recording:
    """A ``send`` that records the answer before it leaves, and adds the rate limit's headers."""

    def __init__(
        self, control: Services, scope: Scope, receive: Receive, send: Send, admission: Admission, event_id: uuid.UUID
    ) -> None:
        self._control = control
        self._scope = scope
        self._receive = receive
        self._send = send
        self._admission = admission
        self._event_id = event_id
        self._start: Message | None = None
        self._replaced = False
        self.started = False
        """Whether anything of the answer has left."""

    async def __call__(self, message: Message) -> None:
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            # Held until the body's first part, which says an error's code.
            MutableHeaders(scope=message).update(self._admission.rate.headers())
            self._start = message
            return
        if self._start is not None:
            start, self._start = self._start, None
            try:
                await self._record(start["status"], message.get("body", b""))
            except AWAY as error:
                log.error("Answer withheld: it could not be recorded", error=type(error).__name__)
                self._replaced = self.started = True
                await unavailable().response()(self._scope, self._receive, self._send)
                return
            self.started = True
            await self._send(start)
        await self._send(message)

    async def _record(self, status: int, body: bytes) -> None:
        if self._scope["state"].get("recorded"):
            return
        kind: Kind = (
            "refusal" if status == 403 else "request" if self._scope["method"] in ("GET", "HEAD") else "administration"
        )
        code = _error_code(body) if status >= 400 else None
        await self._control.noting(
            self._control.recorder.record(_event(self._scope, self._event_id, self._admission, kind, status, code))
        )


def _error_code(body: bytes) -> str | None:
    try:
        return str(orjson.loads(body)["error"]["code"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def _event(
    scope: Scope,
    event_id: uuid.UUID,
    admission: Admission | None,
    kind: Kind,
    status: int,
    code: str | None,
    details: dict[str, Any] | None = None,
) -> Event:
    call = call_of(scope)
    principal = admission.principal if admission else None
    return Event(
        kind=kind,
        event_id=event_id,
        request_id=call.request_id,
        address=call.address,
        method=call.method,
        path=call.path,
        status=status,
        error_code=code,
        details=details,
        user_id=principal.user_id if principal else None,
        username=principal.username if principal else None,
        credential=principal.credential if principal else None,
        credential_id=principal.credential_id if principal else None,
    )
