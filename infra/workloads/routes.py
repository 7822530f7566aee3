"""Owns the fleet's own routes: which Service answers for which agent, as the ConfigMap the gateway mounts.

Routes belong to the fleet and not to the gateway, so that a fleet comes, grows and goes without touching it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from catalog.contract import POOL_PORT
from catalog.versions import Version, Workload
from infra.gateway.routes import Candidate, Route, render_routes
from infra.naming import NAMESPACE, labels
from infra.settings import PlatformSpec
from infra.workloads.manifests import Manifest

_KEPT_TO_POOL = 32


def routes(workloads: Iterable[Workload], spec: PlatformSpec) -> list[Route]:
    """One route a workload. Where the stack has a mesh, Istio splits a canary and nginx sends to its Service alone."""
    found = []
    for workload in workloads:
        one = route(workload)
        in_mesh = spec.components.mesh == "istio" and workload.strategy == "canary"
        found.append(replace(one, candidate=None) if in_mesh else one)
    return found


def route(workload: Workload) -> Route:
    """How requests of a workload's agents are shared between its versions."""
    serving, other = workload.serving, workload.other
    colours = workload.strategy == "blue-green"
    return Route(
        workload.name,
        workload.agents,
        service_address(workload.name, _port(serving)),
        candidate=Candidate(service_address(other.name, _port(other)), workload.percent) if other else None,
        # A kept connection would stay with a colour that no longer serves.
        kept=_KEPT_TO_POOL if serving.pool is not None and not colours else 0,
        fallback=service_address(workload.fallback, POOL_PORT) if workload.fallback else "",
    )


def _port(version: Version) -> int:
    return version.agents[0].port if version.pool is None else POOL_PORT


def service_address(name: str, port: int) -> str:
    """host:port of a Service of the fleet, fully qualified so that one lookup answers."""
    return f"{name}.{NAMESPACE}.svc.cluster.local:{port}"


def config_map(table: Iterable[Route], shard: str) -> Manifest:
    """The ConfigMap of a fleet's routes; its name is stable, its content changes and the gateway reloads."""
    fleet = shard or "fleet"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"routes-{fleet}",
            "namespace": NAMESPACE,
            "labels": {**labels(f"routes-{fleet}", "routes"), "ai-agents/routes": "true"},
        },
        "data": render_routes(fleet, table),
    }
