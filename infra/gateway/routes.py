"""Owns the gateway's routes: which address answers for which agent, and how a new version gets its share.

Pure. A fleet's routes are two files that nginx.conf includes by pattern: ``<fleet>.map`` (agent → upstream)
and ``<fleet>.upstreams`` (pools, canaries). Each fleet mounts its own, so none can break another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from catalog.contract import Header
from catalog.schema import AGENT_ID
from infra.gateway.config import GatewayError, Timeouts, is_numeric, require_address

_FLEET = re.compile(r"[a-z][a-z0-9-]{0,62}")
_CANARY = f"$http_{Header.CANARY.lower().replace('-', '_')}"


@dataclass(frozen=True)
class Candidate:
    """A second version beside the one that serves: a canary, or the idle colour of a blue-green rollout.

    ``percent`` of requests (0 to 100, hundredths count) go to it, and every one with ``canary: true``:
    0 is the idle colour, reached by that header alone. Of its share, a request that finds it gone is answered by
    the version that serves; one that asks for it outright is told.
    """

    address: str
    percent: float = 0


@dataclass(frozen=True)
class Route:
    """Where one agent, or a pool's many agents, are answered: ``address`` is host:port.

    ``kept`` connections to a pool stay open for the next request, in each nginx worker; 0, right for one of
    hundreds of dedicated agents, resolves and connects anew each time, so that 1,500 of them cost nothing
    while nobody calls. ``fallback`` is host:port of what can answer in its place where it cannot be reached.
    """

    name: str
    agents: tuple[str, ...]
    address: str
    candidate: Candidate | None = None
    kept: int = 0
    fallback: str = ""


def render_routes(
    fleet: str, routes: Iterable[Route], *, idle_seconds: int = Timeouts().upstream_idle
) -> dict[str, str]:
    """The fleet's two files by name. Raises GatewayError for an agent routed twice, a bad id, address or share."""
    if not _FLEET.fullmatch(fleet):
        raise GatewayError(f"fleet {fleet!r}: use lower-case letters, digits and hyphens, at most 63")
    entries: dict[str, str] = {}
    blocks: list[str] = []
    names: set[str] = set()
    for route in routes:
        variable = _checked(fleet, route, names)
        target, text = _target(variable, route, idle_seconds)
        blocks += text
        for agent in route.agents:
            if not AGENT_ID.fullmatch(agent):
                raise GatewayError(f"route {route.name}: {agent!r} is not an agent id")
            if agent in entries:
                raise GatewayError(f"route {route.name}: {agent} already has a route in fleet {fleet}")
            entries[agent] = target
    lines = [f"{agent} {target};" for agent, target in sorted(entries.items())]
    return {f"{fleet}.map": "".join(f"{line}\n" for line in lines), f"{fleet}.upstreams": "\n".join(blocks)}


def _checked(fleet: str, route: Route, names: set[str]) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", route.name):
        raise GatewayError(f"route {route.name!r}: use lower-case letters, digits, _ and -")
    if route.name in names:
        raise GatewayError(f"route {route.name} is there twice in fleet {fleet}")
    names.add(route.name)
    if route.candidate is not None and not 0 <= route.candidate.percent <= 100:
        raise GatewayError(f"route {route.name}: candidate.percent {route.candidate.percent} is not within 0 and 100")
    # Two spellings may not meet in one variable (a-b and a_b), nor may two fleets' routes of one name.
    digest = hashlib.sha256(f"{fleet}/{route.name}".encode()).hexdigest()[:8]
    return f"{route.name.replace('-', '_')}_{digest}"


def _target(variable: str, route: Route, idle_seconds: int) -> tuple[str, list[str]]:
    """What the map gives for the route's agents, and the blocks that needs."""
    blocks: list[str] = []

    def upstream(name: str, *addresses: str) -> str:
        for address in addresses:
            require_address(address, f"route {route.name}: address")
        if len(addresses) == 1 and not route.kept:
            return addresses[0]
        blocks.append("".join(f"{line}\n" for line in _block(name, addresses, route.kept, idle_seconds)))
        return name

    serving = (route.address, route.fallback) if route.fallback else (route.address,)
    stable = upstream(f"route_{variable}", *serving)
    if route.candidate is None:
        return stable, blocks
    new = upstream(f"route_{variable}_new", route.candidate.address)
    otherwise = stable
    if route.candidate.percent > 0:
        otherwise = f"$share_{variable}"
        shared = upstream(f"route_{variable}_share", route.candidate.address, *serving)
        share = f"{route.candidate.percent:.2f}%"
        blocks.append(f'split_clients "$request_id" {otherwise} {{\n    {share} {shared};\n    * {stable};\n}}\n')
    blocks.append(f'map {_CANARY} $version_{variable} {{\n    "true" {new};\n    default {otherwise};\n}}\n')
    return f"$version_{variable}", blocks


def _block(name: str, addresses: tuple[str, ...], kept: int, idle_seconds: int) -> Iterator[str]:
    yield f"upstream {name} {{"
    if not all(is_numeric(address) for address in addresses):
        yield f"    zone {name} 64k;"
    for position, address in enumerate(addresses):
        # One address that failed is still the only one: never "no live upstreams" after it came back.
        named = "" if is_numeric(address) else " resolve"
        yield f"    server {address} max_fails=0{named}{' backup' if position else ''};"
    # Without kept connections a Service that now selects another version is followed by the very next request.
    yield f"    keepalive {kept};"
    if kept:
        yield f"    keepalive_timeout {idle_seconds}s;"
    yield "}"
