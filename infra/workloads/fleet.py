"""Owns the fleet layer: the stack's agents as pools and dedicated workloads, their catalog and their routes."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pulumi
from pulumi import ResourceOptions

from catalog import registry as catalog
from infra import kubernetes
from infra.contracts import Services
from infra.settings import PlatformSpec
from infra.workloads import routes
from infra.workloads.agent import Agent, AgentArgs
from infra.workloads.manifests import RuntimeArgs
from infra.workloads.pool import Pool, PoolArgs
from infra.workloads.selection import is_dedicated, select


class Fleet(pulumi.ComponentResource):
    """The agents of one stack. ``summary`` is the stack's output."""

    summary: dict[str, Any]

    def __init__(
        self,
        name: str,
        spec: PlatformSpec,
        services: Services,
        provider: pulumi.ProviderResource,
        *,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("platform:layer:Fleet", name, {}, opts)
        registry = catalog.load()
        agents = select(spec, registry)
        runtime = runtime_args(spec, services)
        options = ResourceOptions(parent=self, provider=provider)
        dedicated = [agent for agent in agents if is_dedicated(agent, spec)]
        pooled = [agent for agent in agents if not is_dedicated(agent, spec)]
        for pool, members in groupby(pooled, key=lambda agent: agent.pool):
            args = PoolArgs(registry.pools[pool], tuple(members), registry, runtime)
            Pool(f"{name}-{pool}", args, opts=options)
        for agent in dedicated:
            Agent(f"{name}-{agent.kubernetes_name}", AgentArgs(agent, registry, runtime), opts=options)
        table = routes.config_map(routes.routes(agents, spec), spec.fleet.shard)
        kubernetes.apply(table, name=f"{name}-routes", opts=options)
        self.summary = {
            "agents": len(agents),
            "dedicated": len(dedicated),
            "digest": registry.digest(agents),
            "shard": spec.fleet.shard,
        }
        self.register_outputs({"summary": self.summary})


def runtime_args(spec: PlatformSpec, services: Services) -> RuntimeArgs:
    """What the stack's agent processes are configured with."""
    return RuntimeArgs(
        image=spec.images.runtime,
        model=spec.fleet.model,
        max_tokens=spec.fleet.max_tokens,
        log_level=spec.fleet.log_level,
        redis_secret=services.redis_state_secret,
        identity_keys=services.identity_keys,
        vault=services.vault_address if spec.components.vault else None,
        consul=services.consul_address if spec.components.consul else None,
        pull_secret=spec.images.pull_secret,
    )
