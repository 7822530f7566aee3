"""Control's HTTP API, one module per resource. The gate has already said who calls."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from catalog.contract import ErrorCode
from runtime.openapi import refusals

KNOWN = refusals(ErrorCode.UNAUTHENTICATED, ErrorCode.RATE_LIMIT_EXCEEDED, ErrorCode.SERVICE_UNAVAILABLE)
"""Errors of every route behind the gate."""
STORABLE = r"^[^\x00]*$"
"""Pattern of a text that PostgreSQL can be asked for."""


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer. Never to be stored: it is about one caller, and may hold a credential."""
    return Response(
        orjson.dumps(body), status, {"Cache-Control": "no-store", **(headers or {})}, media_type="application/json"
    )
