"""Owns talking to a running platform: the embedded one of this folder, or any other by FLEET_URL and FLEET_API_KEY."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cli.errors import CommandError, Exit
from cli.local.state import default_folder, open_state

_SECONDS = 180.0
"""Above what the gateway waits for an agent's answer."""
_EXITS = {
    401: Exit.REFUSED,
    403: Exit.REFUSED,
    404: Exit.NOT_FOUND,
    429: Exit.REFUSED,
    502: Exit.UNREACHABLE,
    503: Exit.UNREACHABLE,
    504: Exit.UNREACHABLE,
}


class ApiError(CommandError):
    """The platform's answer was an error; ``code`` is the envelope's."""

    def __init__(self, code: str, message: str, exit_code: Exit) -> None:
        super().__init__(message, exit_code)
        self.code = code


def target() -> tuple[str, str]:
    """(base URL, API key) of the platform commands speak to. Raises CommandError where there is none."""
    url, key = os.environ.get("FLEET_URL"), os.environ.get("FLEET_API_KEY")
    if url and not key:
        raise CommandError(
            "FLEET_URL is set and FLEET_API_KEY is not: set it to an API key of that platform", Exit.REFUSED
        )
    if url and key:
        return url.rstrip("/"), key
    state = open_state(default_folder(), create=False)
    if state is None or not state.is_locked:
        raise CommandError(
            "the platform does not run here: start it with fleet up, or set FLEET_URL and FLEET_API_KEY to use another",
            Exit.UNREACHABLE,
        )
    known = key or state.operator.get("api_key")
    if not known:
        raise CommandError(
            f"{state.secrets / 'operator.json'} holds no API key: set FLEET_API_KEY to one (log in as an administrator and POST /api/v1/keys)",
            Exit.REFUSED,
        )
    return str(state.run["url"]), known


def call(
    method: str,
    path: str,
    *,
    body: Mapping[str, Any] | None = None,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """One request; the answer's JSON, None where it has none. Raises ApiError for 4xx and 5xx, CommandError where nobody answers."""
    import httpx2 as httpx

    url, key = target()
    try:
        answer = httpx.request(
            method, f"{url}{path}", json=body, params={name: value for name, value in (query or {}).items() if value is not None},
            headers={"Authorization": f"Bearer {key}", **(headers or {})}, timeout=_SECONDS,
        )  # fmt: skip
    except httpx.TransportError as error:
        raise CommandError(f"{url} does not answer: {error}", Exit.UNREACHABLE) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise CommandError(f"FLEET_URL {url!r} is not a URL: {error}", Exit.USAGE) from None
    if answer.status_code < 400:
        return answer.json() if answer.content else None
    try:
        told = answer.json()["error"]
        details = told.get("details") or {}
        where = f" ({details['field']}: {details['issue']})" if "field" in details and "issue" in details else ""
        message, code = f"{told['message']}{where}", str(told["code"])
    except (ValueError, KeyError, TypeError):
        message, code = f"{url}{path} answered {answer.status_code} without a reason; is that the platform?", ""
    request_id = answer.headers.get("X-Request-Id")
    said = f"{message} [{answer.status_code} {code}{f', request {request_id}' if request_id and answer.status_code >= 500 else ''}]"
    raise ApiError(code, said, _EXITS.get(answer.status_code, Exit.FAILED))
