"""Owns the part of the embedded target that serves requests: the agents' processes and the gateway before them.

One process for each pool, one for each dedicated agent of the catalog. The stores and control are parts.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from catalog.contract import Env
from catalog.registry import Registry
from cli.errors import CommandError
from cli.local import certificate, nginx, tasks
from cli.local.part import LOOPBACK, Part, http_status
from cli.local.parts import DRAIN_SECONDS, Ports, dynamic_environment, keys, redis_environment
from cli.local.settings import LocalSettings, inherited
from cli.local.state import State
from cli.local.supervisor import Task
from cli.local.tasks import ROOT
from infra.gateway.config import Certificate, GatewaySettings, Listener
from infra.gateway.routes import Route

_GATEWAY_DRAIN = 150.0
_KEPT = 64


class PortConflictError(CommandError):
    """Two dedicated agents need the same port of this machine; the message says which."""


def data_plane(
    state: State,
    settings: LocalSettings,
    ports: Ports,
    catalog: Registry,
    shared: Path,
    certified: certificate.LocalCertificate,
) -> list[Part | Task]:
    """The agents, and nginx before them and control. Raises PortConflictError or GatewayError."""
    agents, routes = _agents(state, ports, catalog)
    folder = state.folder / "nginx"
    folder.mkdir(mode=0o700, exist_ok=True)
    configured = nginx.prepare(folder, gateway_settings(state, settings, ports, folder, shared, certified), routes)
    behind = frozenset({"control", *(part.name for part in agents)})
    front = nginx.part(folder, configured, settings.http_port, needs=behind, stage=3, drain_seconds=_GATEWAY_DRAIN)
    return [*agents, front]


def gateway_settings(
    state: State,
    settings: LocalSettings,
    ports: Ports,
    folder: Path,
    shared: Path,
    certified: certificate.LocalCertificate,
) -> GatewaySettings:
    """In what the laptop's gateway differs from a cluster's."""
    return GatewaySettings(
        hosts=("localhost", "127.0.0.1", "[::1]"),
        listeners=(
            Listener(settings.http_port, LOOPBACK),
            Listener(settings.tls_port, LOOPBACK, Certificate(str(certified.chain), str(certified.key))),
        ),
        control=f"{LOOPBACK}:{ports.control}",
        routes=str(folder / "routes"),
        pid=str(folder / "nginx.pid"),
        temporary=str(nginx.temporary_folder(folder, shared)),
        access_log=str(state.log("nginx")),
        user=nginx.worker_user(),
        workers=1,
        address_rate=settings.address_rate,
        address_burst=settings.address_burst,
    )


def dedicated_ports(catalog: Registry) -> dict[int, str]:
    """Agents that run in a process of their own, by its port. Raises PortConflictError where two ask for one port."""
    found: dict[int, str] = {}
    for agent in catalog:
        if agent.isolation == "dedicated":
            other = found.setdefault(agent.port, agent.id)
            if other != agent.id:
                raise PortConflictError(
                    f"{other} and {agent.id} are both dedicated and both have number {agent.number:03d}, so on one machine both need port {agent.port}: "
                    "set isolation: pooled for one of them, or give it another number"
                )
    return found


def _agents(state: State, ports: Ports, catalog: Registry) -> tuple[list[Part], list[Route]]:
    parts, routes = [], []
    for pool, port in ports.pools.items():
        pooled = tuple(agent.id for agent in catalog.pool(pool) if agent.isolation == "pooled")
        if pooled:
            parts.append(_agent(state, ports, f"agents-{pool}", {Env.SERVE_POOL: pool}, port))
            routes.append(Route(f"pool-{pool}", pooled, f"{LOOPBACK}:{port}", kept=_KEPT))
    for port, dedicated in dedicated_ports(catalog).items():
        parts.append(_agent(state, ports, f"agent-{dedicated}", {Env.SERVE_AGENTS: dedicated}, port))
        routes.append(Route(dedicated, (dedicated,), f"{LOOPBACK}:{port}", kept=_KEPT))
    return parts, routes


def _agent(state: State, ports: Ports, name: str, serves: Mapping[str, str], port: int) -> Part:
    _, public, _ = keys(state)
    return Part(
        name=name,
        command=tasks.module("agent"),
        ready=lambda: http_status(port, "/ready") == 200,
        environment={
            **dynamic_environment(state),
            **inherited(agent=True),
            **redis_environment(state, ports),
            **serves,
            Env.PORT: str(port),
            Env.IDENTITY_PUBLIC_KEYS: str(public),
        },
        needs=frozenset({"valkey-state", "valkey-cache"}),
        stage=2,
        folder=ROOT,
        port=port,
        drain_seconds=DRAIN_SECONDS,
    )
