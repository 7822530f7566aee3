"""Owns the fleet layer: the stack's agents as pools and dedicated workloads, their catalog and their routes."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi import ResourceOptions

from catalog import registry as catalog
from infra import kubernetes
from infra.contracts import Services
from infra.settings import PlatformSpec
from infra.workloads import routes, selection
from infra.workloads.component import Workload
from infra.workloads.manifests import RuntimeArgs


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
        workloads = selection.workloads(spec, registry)
        runtime = RuntimeArgs.of(
            spec,
            redis_secret=services.redis_state_secret,
            identity_keys=services.identity_keys,
            vault_address=services.vault_address,
            consul_address=services.consul_address,
        )
        options = ResourceOptions(parent=self, provider=provider)
        between: list[pulumi.Resource] = []
        for workload in workloads:
            component = Workload(f"{name}-{workload.name.removeprefix('pool-')}", workload, spec, runtime, opts=options)
            between += [component] if workload.other is not None else []
        # Requests go to a new version only once it is ready; one agent that never is must not hold up all the others.
        table = routes.config_map(routes.routes(workloads, spec), spec.fleet.shard)
        kubernetes.apply(
            table, name=f"{name}-routes", opts=ResourceOptions.merge(options, ResourceOptions(depends_on=between))
        )
        agents = selection.select(spec, registry)
        self.summary = {
            "agents": len(agents),
            "dedicated": sum(workload.serving.pool is None for workload in workloads),
            "digest": registry.digest(agents),
            "rollouts": [workload.name for workload in workloads if workload.other is not None],
            "shard": spec.fleet.shard,
        }
        self.register_outputs({"summary": self.summary})
