"""Owns what a catalog is on one machine: a process for each version of its agents, and the gateway's routes to them.

The same workloads and versions as a cluster's Deployments and Services (catalog.versions). The stores and control are
parts.py's; starting and replacing what is described here, changes.py's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog import versions
from catalog.contract import Env
from catalog.registry import Registry, digest_of
from catalog.versions import Version, Workload
from cli.errors import CommandError
from cli.local import certificate, nginx, tasks
from cli.local.part import LOOPBACK, Part, http_status
from cli.local.parts import DRAIN_SECONDS, Ports, dynamic_environment, keys, redis_environment
from cli.local.settings import LocalSettings, inherited
from cli.local.state import State
from cli.local.tasks import ROOT
from infra.gateway.config import Certificate, GatewaySettings, Listener
from infra.gateway.routes import Candidate, Route

_KEPT = 64


class PortConflictError(CommandError):
    """Two dedicated agents need the same port of this machine; the message says which."""


@dataclass(frozen=True)
class Site:
    """Where the platform runs here and what is the same for every catalog."""

    state: State
    settings: LocalSettings
    ports: Ports
    shared: Path
    """Folder that unprivileged processes can enter, where the platform is started as root."""
    certified: certificate.LocalCertificate

    @property
    def gateway(self) -> Path:
        """The gateway's folder."""
        return self.state.folder / "nginx"


def workloads(catalog: Registry) -> tuple[Workload, ...]:
    """What runs for a catalog. Raises PortConflictError."""
    dedicated_ports(catalog)
    return versions.workloads(catalog, catalog.pools, is_dedicated=lambda agent: agent.isolation == "dedicated")


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


def own_port(version: Version) -> int | None:
    """The port a version is documented to answer on: a dedicated agent's own, while the version is the one that serves."""
    if version.pool is not None or version.beside or version.agents[0].isolation != "dedicated":
        return None
    return version.agents[0].port


def digest(version: Version) -> str:
    """SHA-256 (64 hexadecimal digits) of everything a version runs by: where it differs, a process is another."""
    return hashlib.sha256(f"{digest_of(version.agents)} {_concurrency(version)}".encode()).hexdigest()


def about(workload: Workload, version: Version) -> dict[str, str]:
    """What the run record says of a version: its part in the workload, and its agents' digest (12 digits)."""
    role = "serving"
    if version.beside:
        role = f"canary {workload.percent}%" if workload.strategy == "canary" else "idle"
    return {"workload": workload.name, "role": role, "digest": digest_of(version.agents)[:12]}


def part(site: Site, version: Version, content: Path, port: int) -> Part:
    """The process of a version, which serves what the folder ``content`` holds."""
    _, public, _ = keys(site.state)
    pool = version.pool
    serves = (Env.SERVE_AGENTS, version.agents[0].id) if pool is None else (Env.SERVE_POOL, pool.name)
    return Part(
        name=version.name,
        command=tasks.module("agent"),
        ready=lambda: http_status(port, "/ready") == 200,
        environment={
            **dynamic_environment(site.state),
            Env.MAX_CONCURRENCY: str(_concurrency(version)),
            **inherited(agent=True),
            **redis_environment(site.state, site.ports),
            serves[0]: serves[1],
            Env.SERVICE_NAME: version.name,
            Env.CATALOG_PATH: str(content),
            Env.PORT: str(port),
            # Not one for the versions of a workload: what is in flight in one is no crash of the other.
            Env.CRASH_JOURNAL: str(journals(site.state) / f"{content.name}.journal"),
            Env.IDENTITY_PUBLIC_KEYS: str(public),
        },
        needs=frozenset({"valkey-state", "valkey-cache"}),
        stage=2,
        folder=ROOT,
        port=port,
        drain_seconds=DRAIN_SECONDS,
    )


def journals(state: State) -> Path:
    """The folder of crash journals, ``<name of the content's folder>.*``."""
    folder = state.folder / "journals"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def routes(running: Iterable[Workload], ports: Mapping[str, int]) -> list[Route]:
    """One route a workload; ``ports`` says where each version answers, by its name."""
    listed = tuple(running)
    addresses = {each.name: f"{LOOPBACK}:{ports[each.serving.name]}" for each in listed}
    return [
        Route(
            each.name,
            each.agents,
            addresses[each.name],
            candidate=Candidate(f"{LOOPBACK}:{ports[each.other.name]}", each.percent) if each.other else None,
            kept=0 if each.strategy == "blue-green" else _KEPT,
            fallback=addresses.get(each.fallback, ""),
        )
        for each in listed
    ]


def gateway_settings(site: Site, control: int, table: Path) -> GatewaySettings:
    """In what the laptop's gateway differs from a cluster's; ``control`` is control's port, ``table`` the routes' folder."""
    state, settings, certified = site.state, site.settings, site.certified
    return GatewaySettings(
        hosts=("localhost", "127.0.0.1", "[::1]"),
        listeners=(
            Listener(settings.http_port, LOOPBACK),
            Listener(settings.tls_port, LOOPBACK, Certificate(str(certified.chain), str(certified.key))),
        ),
        control=f"{LOOPBACK}:{control}",
        routes=str(table),
        pid=str(site.gateway / "nginx.pid"),
        temporary=str(nginx.temporary_folder(site.gateway, site.shared)),
        access_log=str(state.log("nginx")),
        user=nginx.worker_user(),
        workers=1,
        address_rate=settings.address_rate,
        address_burst=settings.address_burst,
    )


def _concurrency(version: Version) -> int:
    return version.pool.concurrency if version.pool is not None else version.agents[0].scaling.concurrency
