"""Owns the error envelope (specification section 3): every 4xx and 5xx of both applications has it.

An error carries what a caller may know. What went wrong inside goes to the log under the request id,
never into a body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from catalog.contract import STATUS, ErrorCode, Header

_BY_STATUS = {
    401: ErrorCode.UNAUTHENTICATED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    409: ErrorCode.CONFLICT,
    413: ErrorCode.REQUEST_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    429: ErrorCode.RATE_LIMIT_EXCEEDED,
    503: ErrorCode.SERVICE_UNAVAILABLE,
    504: ErrorCode.TIMEOUT,
}
_MESSAGES = {
    ErrorCode.NOT_FOUND: "There is nothing at this path",
    ErrorCode.METHOD_NOT_ALLOWED: "This path does not take this method",
    ErrorCode.INTERNAL_ERROR: "Something went wrong here; quote the request id when you report it",
}
# Pydantic's error types, said in the specification's words where it has some.
_ISSUES = {
    "missing": "missing_required_field",
    "json_invalid": "invalid_json",
    "extra_forbidden": "unknown_field",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
}


class PlatformError(Exception):
    """An error a caller is told about.

    ``code`` decides the HTTP status (catalog.contract.STATUS); ``message`` is a sentence without internals;
    ``details`` are extra facts such as {"field": …, "issue": …}; ``retry_after`` is in seconds and also
    becomes the Retry-After header; ``headers`` are added to the response.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details
        self.retry_after = retry_after
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        """HTTP status of the error's code."""
        return STATUS[self.code]

    def response(self) -> Response:
        """The HTTP response: the envelope, with Retry-After where there is one."""
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers[Header.RETRY_AFTER] = str(self.retry_after)
        body = envelope(self.code, self.message, details=self.details, retry_after=self.retry_after)
        return Response(orjson.dumps(body), self.status, headers, media_type="application/json")


def invalid(field: str, issue: str, message: str) -> PlatformError:
    """A 422 that names the field and what is wrong with it, in the specification's shape."""
    return PlatformError(ErrorCode.INVALID_REQUEST, message, details={"field": field, "issue": issue})


def envelope(
    code: ErrorCode, message: str, *, details: Mapping[str, Any] | None = None, retry_after: int | None = None
) -> dict[str, Any]:
    """The body of an error: {"error": {"code", "message", "details"?, "retry_after"?}} (seconds)."""
    error: dict[str, Any] = {"code": code, "message": message}
    if details is not None:
        error["details"] = details
    if retry_after is not None:
        error["retry_after"] = retry_after
    return {"error": error}


def from_validation(errors: Sequence[Mapping[str, Any]]) -> PlatformError:
    """The 422 of the first of Pydantic's errors; the others follow under details.errors.

    Never echoes the value that was refused: it may be a secret.
    """
    described = [_described(error) for error in errors]
    first = described[0]
    details: dict[str, Any] = {"field": first["field"], "issue": first["issue"]}
    if len(described) > 1:
        details["errors"] = [{"field": entry["field"], "issue": entry["issue"]} for entry in described]
    return PlatformError(ErrorCode.INVALID_REQUEST, first["message"], details=details)


def _described(error: Mapping[str, Any]) -> dict[str, str]:
    kind = str(error["type"])
    location = [str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")]
    if kind == "json_invalid":
        return {"field": "body", "issue": "invalid_json", "message": "The request body is not valid JSON"}
    field = ".".join(location) or "body"
    label = field.replace("_", " ").capitalize()
    issue = _ISSUES.get(kind, kind)
    if kind == "missing":
        message = f"{label} is required"
    elif kind == "extra_forbidden":
        message = f"{label} is not a field of this request"
    else:
        text = str(error["msg"]).removeprefix("Value error, ")
        message = f"{label}: {text[0].lower()}{text[1:]}"
    return {"field": field, "issue": issue, "message": message}


def install(app: FastAPI) -> None:
    """Give ``app`` the envelope for everything its routes raise; unexpected exceptions are runtime.http's."""

    async def on_platform_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, PlatformError)
        return error.response()

    async def on_validation_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return from_validation(error.errors()).response()

    async def on_http_exception(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _BY_STATUS.get(
            error.status_code, ErrorCode.INTERNAL_ERROR if error.status_code >= 500 else ErrorCode.INVALID_REQUEST
        )
        response = PlatformError(code, _MESSAGES.get(code, str(error.detail)), headers=error.headers).response()
        if code not in _BY_STATUS.values():
            response.status_code = error.status_code
        return response

    app.add_exception_handler(PlatformError, on_platform_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)


def internal_error() -> PlatformError:
    """The 500 of an exception nobody foresaw; says nothing of it."""
    return PlatformError(ErrorCode.INTERNAL_ERROR, _MESSAGES[ErrorCode.INTERNAL_ERROR])
