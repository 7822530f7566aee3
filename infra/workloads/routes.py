"""Owns the fleet's own routes: which Service answers for which agent, as the ConfigMap the gateway mounts.

Routes belong to the fleet and not to the gateway, so that a fleet comes, grows and goes without touching it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from catalog.contract import POOL_PORT
from catalog.schema import AgentSpec
from infra.gateway.routes import Route, render_routes
from infra.naming import NAMESPACE, labels
from infra.settings import PlatformSpec
from infra.workloads.manifests import Manifest
from infra.workloads.selection import is_dedicated

_KEPT_TO_POOL = 32


def routes(agents: Iterable[AgentSpec], spec: PlatformSpec) -> list[Route]:
    """One route a pool for its pooled agents, one an agent for dedicated ones."""
    chosen = tuple(agents)
    pooled = groupby((agent for agent in chosen if not is_dedicated(agent, spec)), key=lambda agent: agent.pool)
    found = [
        Route(
            f"pool-{pool}",
            tuple(agent.id for agent in members),
            service_address(f"pool-{pool}", POOL_PORT),
            kept=_KEPT_TO_POOL,
        )
        for pool, members in pooled
    ]
    dedicated = (agent for agent in chosen if is_dedicated(agent, spec))
    found += [
        Route(agent.kubernetes_name, (agent.id,), service_address(agent.kubernetes_name, agent.port))
        for agent in dedicated
    ]
    return found


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
