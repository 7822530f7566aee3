"""Owns what every HTTP exchange of both applications gets: a request id, a body limit, a last-resort 500.

Plain ASGI, since it runs on every request. The request id is the gateway's when one with a sane form
arrives, else made here; it is echoed in the response and bound to every log line of the request.
"""

from __future__ import annotations

import re
import uuid

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catalog.contract import BODY_BYTES, ErrorCode, Header
from runtime.errors import PlatformError, internal_error

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REQUEST_ID_HEADER = Header.REQUEST_ID.lower().encode()

log = structlog.get_logger()


class Envelope:
    """Outermost middleware: scope["state"]["request_id"] for the application, and an answer whatever happens."""

    def __init__(self, app: ASGIApp, *, body_bytes: int = BODY_BYTES) -> None:
        self._app = app
        self._body_bytes = body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)[Header.REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, _limited(scope, receive, self._body_bytes), send_with_id)
        except PlatformError as error:
            # Raised by _limited while a body is read; routes' own errors are answered further in.
            if started:
                raise
            await error.response()(scope, receive, send_with_id)
        except Exception:
            log.exception("Request failed", path=scope["path"], method=scope["method"])
            if started:
                raise
            await internal_error().response()(scope, receive, send_with_id)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _REQUEST_ID_HEADER:
            given: str = value.decode("latin-1")
            return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    return uuid.uuid4().hex


def _limited(scope: Scope, receive: Receive, limit: int) -> Receive:
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _too_large(limit)
        return message

    return limited


def _too_large(limit: int) -> PlatformError:
    return PlatformError(
        ErrorCode.REQUEST_TOO_LARGE, f"The request body is larger than {limit} bytes", details={"limit_bytes": limit}
    )
