"""Owns what both applications' OpenAPI documents have in common: the error envelope, headers, credentials, names.

A route says which errors it can answer with (``refusals``) and what its answers look like; ``describe`` finishes the
document. It is a description alone: nothing here runs when a request does. Tests hold every answer of the real
applications against it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from types import ModuleType
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from catalog.contract import STATUS, ErrorCode, Header
from runtime.errors import envelope

Document = dict[str, Any]
_REFERENCE: Final = "#/components/schemas/{model}"
_METHODS: Final = ("get", "post", "put", "patch", "delete")


class Answer(BaseModel):
    """Base of the shapes of answers: what a shape does not name is not there."""

    model_config = ConfigDict(extra="forbid")


class ErrorBody(Answer):
    """What went wrong."""

    code: ErrorCode = Field(description="Decide by this one.")
    message: str = Field(description="A sentence for people.")
    details: dict[str, Any] | None = Field(default=None, description="Facts, such as field and issue.")
    retry_after: int | None = Field(default=None, ge=1, description="Seconds; also in the header Retry-After.")


class ErrorEnvelope(Answer):
    """The body of every 4xx and 5xx."""

    error: ErrorBody


_FIELD = {"field": "task_description", "issue": "missing_required_field"}
_EXAMPLES: Final[dict[ErrorCode, tuple[str, Mapping[str, Any] | None, int | None]]] = {
    ErrorCode.INVALID_REQUEST: ("Task description is required", _FIELD, None),
    ErrorCode.UNAUTHENTICATED: (
        "A valid access token or API key is required: Authorization: Bearer <token>",
        None,
        None,
    ),
    ErrorCode.FORBIDDEN: ("Only administrators may do this", None, None),
    ErrorCode.NOT_FOUND: ("There is no such user", {"field": "user", "issue": "not_found"}, None),
    ErrorCode.AGENT_NOT_FOUND: (
        "There is no such agent; GET /api/v1/agents?q=… finds agents",
        {"field": "agent_id", "issue": "not_found"},
        None,
    ),
    ErrorCode.METHOD_NOT_ALLOWED: ("This path does not take this method", None, None),
    ErrorCode.CONFLICT: ("There is already a user of that name", {"field": "username", "issue": "taken"}, None),
    ErrorCode.REQUEST_TOO_LARGE: (
        "The request body is larger than 1048576 bytes",
        {"limit_bytes": 1_048_576},
        None,
    ),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: ("Send the request body as application/json", None, None),
    ErrorCode.RATE_LIMIT_EXCEEDED: ("Rate limit exceeded. Retry after 42 seconds", None, 42),
    ErrorCode.INTERNAL_ERROR: (
        "Something went wrong here; quote the request id when you report it",
        None,
        None,
    ),
    ErrorCode.MODEL_ERROR: ("The model API failed", None, None),
    ErrorCode.MODEL_UNAVAILABLE: ("The model API does not know this agent's model", None, None),
    ErrorCode.AGENT_DISABLED: ("This agent is turned off by an operator", None, None),
    ErrorCode.AGENT_QUARANTINED: (
        "This agent is held back because executing it ended its process several times. It is tried again in 840 seconds",
        None,
        840,
    ),
    ErrorCode.AGENT_UNAVAILABLE: ("This agent's definition could not be loaded", None, None),
    ErrorCode.OVERLOADED: ("This agent is at its limit of concurrent executions. Retry after 1 second", None, 1),
    ErrorCode.SERVICE_UNAVAILABLE: ("The service is temporarily unavailable", None, 5),
    ErrorCode.BAD_GATEWAY: ("The agent is not reachable at the moment", None, None),
    ErrorCode.TIMEOUT: ("The model did not answer in time", None, None),
}
"""Of each code: a message, details and seconds as they may be answered."""

ANYWHERE: Final = (ErrorCode.INTERNAL_ERROR,)
"""What any route may answer with."""
WITH_BODY: Final = (ErrorCode.REQUEST_TOO_LARGE, ErrorCode.INVALID_REQUEST)
"""What a route that takes a body may answer with beside it."""

_RATE: Final = {
    Header.RATE_LIMIT: "Requests a minute of the user.",
    Header.RATE_REMAINING: "How many are left.",
    Header.RATE_RESET: "When the oldest request leaves the window and its place is free again, Unix seconds.",
}
_UNLIMITED: Final = frozenset({"401", "413", "500", "502", "503", "504"})
"""Statuses that may be answered before a limit is known."""


def refusals(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route that may answer with these codes: by status, an example for each code."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in sorted({*codes, *ANYWHERE}, key=lambda each: (STATUS[each], each)):
        status = STATUS[code]
        message, details, retry_after = _EXAMPLES[code]
        # By reference and not as FastAPI's "model", which would put it under a route's own media type.
        media: Document = {"schema": {"$ref": _REFERENCE.format(model="ErrorEnvelope")}, "examples": {}}
        response = by_status.setdefault(status, {"content": {"application/json": media}})
        examples = response["content"]["application/json"]["examples"]
        examples[code.value] = {"value": envelope(code, message, details=details, retry_after=retry_after)}
        response["description"] = f"{HTTPStatus(status).phrase}: {', '.join(f'`{each}`' for each in examples)}"
        if retry_after is not None:
            response.setdefault("headers", {})[Header.RETRY_AFTER.value] = _header("Seconds to wait.", "integer")
        if status == HTTPStatus.UNAUTHORIZED:
            response["headers"] = {"WWW-Authenticate": _header("Bearer, with the realm.")}
    return by_status


def resolved(document: Document, node: Document) -> Document:
    """``node`` itself, or what it refers to in ``document``."""
    while "$ref" in node:
        found = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def operation_id(route: APIRoute) -> str:
    """``generate_unique_id_function`` of control: the tag and the endpoint's name."""
    return "_".join((*map(str, route.tags[:1]), route.name))


def describe(
    app: FastAPI,
    *,
    public: Collection[str],
    shapes: ModuleType,
    schemes: Mapping[str, Document],
    limits: bool = True,
    more: Callable[[], Mapping[str, Document]] = dict,
) -> None:
    """Make ``app.openapi`` give the finished document, made at its first call.

    ``public`` are paths without a credential (and so without a rate limit); the others take any of ``schemes``.
    ``shapes`` is the module that holds the answers' models.
    ``limits`` false: the rate limit's headers are the gateway's to add. ``more`` are paths that are no FastAPI routes.
    """

    def openapi() -> Document:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
            )  # fmt: skip
            document["paths"] |= more()
            document["security"] = [{name: []} for name in schemes]
            components = document.setdefault("components", {})
            components["securitySchemes"] = dict(schemes)
            _, common = models_json_schema([(ErrorEnvelope, "serialization")], ref_template=_REFERENCE)
            components["schemas"] |= common["$defs"]
            for path, item in document["paths"].items():
                for method in _METHODS:
                    if method in item:
                        _finish(item[method], components, known=path not in public, limits=limits)
            for name in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(name, None)
            _restore_examples(shapes, components["schemas"])
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _restore_examples(shapes: ModuleType, schemas: Document) -> None:
    # FastAPI takes every null out of the document, out of examples too, where null is an answer.
    for name, schema in schemas.items():
        extra = getattr(getattr(shapes, name, None), "model_config", {}).get("json_schema_extra", {})
        if "examples" in extra:
            schema["examples"] = extra["examples"]


def _finish(operation: Document, components: Document, *, known: bool, limits: bool) -> None:
    if "description" in operation:
        text = " ".join(operation["description"].replace("``", "`").split())
        # The docstring's first sentence says what the route is for.
        operation["summary"], operation["description"] = text.partition(". ")[0].removesuffix("."), text
    if not known:
        operation["security"] = []
    # FastAPI adds a 422 of its own shape to every route with parameters; a route that can answer one says so.
    if "HTTPValidationError" in str(operation["responses"].get("422")):
        del operation["responses"]["422"]
    for status, response in sorted(operation.pop("responses").items()):
        _finish_response(status, response, known=known, limits=limits)
        codes = response.get("content", {}).get("application/json", {}).get("examples")
        if status >= "400" and codes:
            # Said once: the same few errors belong to every operation.
            name = ".".join((*codes, *(() if known else ("unlimited",))))
            components.setdefault("responses", {})[name] = response
            response = {"$ref": f"#/components/responses/{name}"}
        operation.setdefault("responses", {})[status] = response


def _finish_response(status: str, response: Document, *, known: bool, limits: bool) -> None:
    headers = response.setdefault("headers", {})
    headers[Header.REQUEST_ID.value] = {**_header("Id of the request in logs and audit."), "required": True}
    if known:
        for name, meaning in _RATE.items():
            headers[name.value] = {**_header(meaning, "integer"), "required": limits and status not in _UNLIMITED}
    content = response.get("content", {})
    # FastAPI gives a 204, or an answer of another type, an empty schema of JSON.
    if content.get("application/json", {}).get("schema") == {}:
        del content["application/json"]
    if not content:
        response.pop("content", None)


def _header(description: str, kind: str = "string") -> Document:
    return {"description": description, "schema": {"type": kind}}


ACCESS_TOKEN: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "An access token of POST /auth/login, EdDSA-signed, good for an hour.",
}
API_KEY: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "sk-…",
    "description": "An API key of POST /api/v1/keys, sent as a bearer token.",
}
