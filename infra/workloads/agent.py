"""Owns the Agent component: one dedicated agent, the specification's topology (section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import ResourceOptions

from catalog.registry import Registry
from catalog.schema import AgentSpec
from infra import kubernetes
from infra.workloads import manifests
from infra.workloads.manifests import RuntimeArgs


@dataclass(frozen=True)
class AgentArgs:
    """What a dedicated agent is made of."""

    agent: AgentSpec
    registry: Registry
    runtime: RuntimeArgs


class Agent(pulumi.ComponentResource):
    """Catalog ConfigMap, Deployment, Service, autoscaler and disruption budget of one agent."""

    def __init__(self, name: str, args: AgentArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:workloads:Agent", name, {}, opts)
        options = ResourceOptions(parent=self)
        # Its own ConfigMap, not its domain's: a neighbour's new prompt must not roll this agent.
        chunk = manifests.catalog_chunk(args.agent.kubernetes_name, [args.agent], args.registry)
        catalog = kubernetes.apply(chunk, name=f"{name}-catalog", opts=options)
        process = manifests.agent_process(args.agent, args.registry, chunk)
        for manifest in manifests.workload(process, args.runtime):
            kubernetes.apply(
                manifest,
                name=f"{name}-{manifest['kind'].lower()}",
                opts=ResourceOptions.merge(options, ResourceOptions(depends_on=[catalog])),
            )
        self.register_outputs({})
