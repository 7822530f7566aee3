"""Owns nginx.conf: settings → text, by one template for the laptop and the cluster.

Pure: nothing is read but the template, nothing is written. Which agent lives where is routes.py's; who
writes the files and starts nginx is the caller's (cli.local, infra.services). Needs nginx 1.27.4 or newer
(``resolve`` of an upstream's server), with the realip and auth_request modules.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from catalog.contract import BODY_BYTES, GATEWAY_HTTP_PORT, ErrorCode, Header

AUTHORIZE_PATH: Final = "/internal/authorize"
"""Control's endpoint that auth_request asks."""

CONTROL_PREFIXES: Final = ("/auth/", "/api/")
"""Paths that control answers and authenticates itself."""
CONTROL_PATHS: Final = ("/openapi.json",)

_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\]")
_ADDRESS = re.compile(r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\]):[0-9]{1,5}")
_RESOLVER = re.compile(r"[A-Za-z0-9.:\[\]-]+")
_WORD = re.compile(r"[A-Za-z0-9_.-]+")


class GatewayError(ValueError):
    """The settings or routes cannot be rendered; the message names the value and what it must be."""


@dataclass(frozen=True)
class Certificate:
    """Paths, as nginx sees them, of a PEM certificate chain and its key."""

    chain: str
    key: str


@dataclass(frozen=True)
class Listener:
    """One port. ``redirect`` answers everything but /health with a 308 to HTTPS."""

    port: int = GATEWAY_HTTP_PORT
    address: str = ""
    certificate: Certificate | None = None
    redirect: bool = False
    proxy_protocol: bool = False


@dataclass(frozen=True)
class Timeouts:
    """Seconds. ``answer`` bounds the wait for an agent's first or next byte: above the agent's own limit on an
    execution (EXECUTION_TIMEOUT_SECONDS, 120), so that its clear 504 arrives before nginx gives up.
    ``upstream_idle`` is how long an unused connection to control or a pool is kept: below the 75 seconds after
    which they close it, since a request is not sent again when the other side closes at that moment.
    """

    client: int = 15
    connect: int = 3
    authorize: int = 10
    control: int = 30
    answer: int = 150
    drain: int = 150
    upstream_idle: int = 60


@dataclass(frozen=True)
class GatewaySettings:
    """Everything in which a laptop's gateway and a cluster's differ.

    ``hosts`` are the names it answers to (any other gets 421); ``control`` is control's host:port;
    ``resolver`` names the DNS server that upstream names are resolved with at request time (None where all
    addresses are numeric); ``routes`` is a folder, or a glob of folders, with the files of routes.render_routes.
    ``address_rate`` is requests a second of one client address, ``address_burst`` how many may come at once;
    None: no limit. The client's address is taken from ``client_address_header`` for ``trusted_proxies`` alone.
    """

    hosts: tuple[str, ...]
    listeners: tuple[Listener, ...]
    control: str
    routes: str
    pid: str
    temporary: str
    access_log: str = "/dev/stdout"
    error_log: str = "stderr"
    error_level: str = "warn"
    user: str | None = None
    workers: int | None = None
    connections: int = 4096
    resolver: str | None = None
    resolver_seconds: int = 10
    trusted_proxies: tuple[str, ...] = ()
    client_address_header: str = "X-Forwarded-For"
    address_rate: int | None = 50
    address_burst: int = 200
    body_bytes: int = BODY_BYTES
    timeouts: Timeouts = field(default_factory=Timeouts)
    names_agents: bool = False
    """Call agents by their own address instead of the host the client named: a service mesh routes by it."""
    version: str = "1.0.0"


@dataclass(frozen=True)
class _Refusal:
    """What one of control's X-Refusal reasons becomes."""

    code: ErrorCode
    status: int
    body: str


@dataclass(frozen=True)
class _Failure:
    """An error nginx makes: its own status, the status and body the client sees, Retry-After in seconds."""

    own: int
    status: int
    body: str
    retry_after: int | None = None


def render(settings: GatewaySettings) -> str:
    """The whole nginx.conf. Raises GatewayError for a value that nginx could not hold safely."""
    _check(settings)
    return _template().render(
        s=settings,
        t=settings.timeouts,
        header={name.name: name.value for name in Header},
        variable={name.name: name.value.lower().replace("-", "_") for name in Header},
        authorize_path=AUTHORIZE_PATH,
        control_prefixes=CONTROL_PREFIXES,
        control_paths=CONTROL_PATHS,
        failures=_FAILURES,
        refusals=_REFUSALS,
        authorization_failed=_body(ErrorCode.SERVICE_UNAVAILABLE, "Requests cannot be authorized at the moment; try again shortly", retry_after=_RETRY_SECONDS),
        agent_missing=_body(ErrorCode.INVALID_REQUEST, f"{Header.AGENT_ID} is required: name the agent, or call /agents/<agent id>/api/v1/execute", details={"field": Header.AGENT_ID, "issue": "missing_required_field"}),
        retry_seconds=_RETRY_SECONDS,
        health=json.dumps({"status": "healthy", "agent_id": "gateway", "version": settings.version, "timestamp": "$utc_timestamp"}),
        secure=any(listener.certificate for listener in settings.listeners),
    )  # fmt: skip


def quoted(value: str, what: str) -> str:
    """``value`` as one nginx word. Raises GatewayError for what cannot be written: nginx has no escape for ``$``."""
    if (
        not value
        or any(character in value for character in "\"'$\\")
        or any(ord(character) < 32 for character in value)
    ):
        raise GatewayError(
            f"{what} {value!r}: nginx cannot take an empty value, quotation marks, $, \\ or line breaks here"
        )
    return f'"{value}"'


def require_address(value: str, what: str) -> str:
    """``value`` where it is host:port. Raises GatewayError otherwise."""
    if not _ADDRESS.fullmatch(value) or not 0 < int(value.rsplit(":", 1)[1]) < 65_536:
        raise GatewayError(f"{what} {value!r} is not host:port")
    return value


def is_numeric(address: str) -> bool:
    """Whether the host of a host:port is an IP address, which needs no resolver."""
    try:
        ipaddress.ip_address(address.rsplit(":", 1)[0].strip("[]"))
    except ValueError:
        return False
    return True


def _body(
    code: ErrorCode, message: str, *, details: Mapping[str, object] | None = None, retry_after: int | str | None = None
) -> str:
    error: dict[str, object] = {"code": code.value, "message": message}
    if details is not None:
        error["details"] = details
    if retry_after is not None:
        error["retry_after"] = retry_after
    # A variable of nginx stands for a number: its quotation marks go.
    return (
        json.dumps({"error": error}, separators=(",", ":"))
        .replace('"$refused_seconds"', "$refused_seconds")
        .replace("'", "\\'")
    )


_RETRY_SECONDS = 5
_RATE_LIMITED = _body(
    ErrorCode.RATE_LIMIT_EXCEEDED,
    "Rate limit exceeded. Retry after $refused_seconds seconds",
    retry_after="$refused_seconds",
)

_REFUSALS: Final = (
    _Refusal(ErrorCode.RATE_LIMIT_EXCEEDED, 429, _RATE_LIMITED),
    _Refusal(ErrorCode.AGENT_NOT_FOUND, 404, _body(ErrorCode.AGENT_NOT_FOUND, "There is no agent $agent_id")),
    _Refusal(ErrorCode.AGENT_DISABLED, 503, _body(ErrorCode.AGENT_DISABLED, "Agent $agent_id is turned off at the moment")),
    _Refusal(ErrorCode.AGENT_UNAVAILABLE, 503, _body(ErrorCode.AGENT_UNAVAILABLE, "The definition of agent $agent_id could not be loaded")),
    _Refusal(ErrorCode.SERVICE_UNAVAILABLE, 503, _body(ErrorCode.SERVICE_UNAVAILABLE, "The service cannot take requests at the moment. Retry after $refused_seconds seconds", retry_after="$refused_seconds")),
    _Refusal(ErrorCode.FORBIDDEN, 403, _body(ErrorCode.FORBIDDEN, "You may not use this agent")),
)  # fmt: skip
"""Control's reasons (X-Refusal of its 403), in the order they are tested; the last is for any other."""

_INTERNAL = "Something went wrong here; quote the request id when you report it"
_FAILURES: Final = (
    _Failure(400, 400, _body(ErrorCode.INVALID_REQUEST, "The request is not valid HTTP")),
    _Failure(
        401, 401, _body(ErrorCode.UNAUTHENTICATED, "Send a valid access token or API key: Authorization: Bearer …")
    ),
    _Failure(403, 403, _body(ErrorCode.FORBIDDEN, "You may not do this")),
    _Failure(404, 404, _body(ErrorCode.NOT_FOUND, "There is nothing at this path")),
    _Failure(405, 405, _body(ErrorCode.METHOD_NOT_ALLOWED, "This path does not take this method")),
    _Failure(408, 408, _body(ErrorCode.TIMEOUT, "The request did not arrive in time")),
    _Failure(411, 411, _body(ErrorCode.INVALID_REQUEST, "The request needs a Content-Length")),
    _Failure(413, 413, _body(ErrorCode.REQUEST_TOO_LARGE, "The request body is too large")),
    _Failure(414, 414, _body(ErrorCode.INVALID_REQUEST, "The request's address is too long")),
    _Failure(421, 421, _body(ErrorCode.NOT_FOUND, "This server does not answer for this host")),
    _Failure(
        429, 429, _body(ErrorCode.RATE_LIMIT_EXCEEDED, "Rate limit exceeded. Retry after 1 seconds", retry_after=1), 1
    ),
    _Failure(431, 431, _body(ErrorCode.INVALID_REQUEST, "The request's headers are too large")),
    _Failure(494, 431, _body(ErrorCode.INVALID_REQUEST, "The request's headers are too large")),
    _Failure(495, 400, _body(ErrorCode.INVALID_REQUEST, "The client certificate is not valid")),
    _Failure(496, 400, _body(ErrorCode.INVALID_REQUEST, "A client certificate is required")),
    _Failure(497, 400, _body(ErrorCode.INVALID_REQUEST, "This port takes HTTPS: call https://")),
    _Failure(500, 500, _body(ErrorCode.INTERNAL_ERROR, _INTERNAL)),
    _Failure(
        501, 501, _body(ErrorCode.INVALID_REQUEST, "The request uses a part of HTTP that this server does not take")
    ),
    _Failure(502, 502, _body(ErrorCode.BAD_GATEWAY, "The agent or service behind this path did not answer")),
    _Failure(
        503,
        503,
        _body(
            ErrorCode.SERVICE_UNAVAILABLE, "The service cannot take requests at the moment", retry_after=_RETRY_SECONDS
        ),
        _RETRY_SECONDS,
    ),
    _Failure(504, 504, _body(ErrorCode.TIMEOUT, "The agent or service behind this path did not answer in time")),
    _Failure(505, 505, _body(ErrorCode.INVALID_REQUEST, "This version of HTTP is not taken")),
)
"""Every error nginx itself answers with: 494 to 497 are its own numbers, which no client sees."""


def _check(settings: GatewaySettings) -> None:
    if not settings.hosts:
        raise GatewayError("hosts: name at least one host the gateway answers to")
    for host in settings.hosts:
        if not _HOST.fullmatch(host):
            raise GatewayError(f"hosts: {host!r} is not a host name or address")
    if not settings.listeners:
        raise GatewayError("listeners: name at least one port")
    require_address(settings.control, "control")
    for network in settings.trusted_proxies:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise GatewayError(f"trusted_proxies: {network!r} is not a network such as 10.0.0.0/8: {error}") from None
    if settings.resolver is None and not is_numeric(settings.control):
        raise GatewayError(f"control {settings.control!r} is a name: set resolver to the DNS server that knows it")
    if settings.resolver is not None and not _RESOLVER.fullmatch(settings.resolver):
        raise GatewayError(f"resolver {settings.resolver!r} is not a host or address")
    for name, word in (
        ("client_address_header", settings.client_address_header),
        ("error_level", settings.error_level),
        ("version", settings.version),
    ):
        if not _WORD.fullmatch(word):
            raise GatewayError(f"{name} {word!r} is not a word")
    if settings.user is not None and not re.fullmatch(r"[A-Za-z0-9_.-]+( [A-Za-z0-9_.-]+)?", settings.user):
        raise GatewayError(f"user {settings.user!r} is not a user, or a user and a group")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 (nginx, not HTML)
    )
    environment.filters["quoted"] = quoted
    environment.globals["is_numeric"] = is_numeric
    return environment.get_template("nginx.conf.j2")
