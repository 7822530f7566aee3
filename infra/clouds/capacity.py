"""Owns how many nodes a fleet can need: the ceiling of node autoscaling. Pure arithmetic."""

from __future__ import annotations

from math import ceil

from infra.rules import agent_count
from infra.settings import PlatformSpec

CPU_PER_REPLICA = 0.25
"""CPU a replica requests (specification section 2)."""
PLATFORM_CPU = 12.0
"""CPU the services ask for together: gateway, control, Vault, Consul, monitoring, each replicated."""
USABLE = 0.9
"""Share of a node's CPU that pods get, after the kubelet's and the daemons' own."""


def nodes_at_most(spec: PlatformSpec, node_cpu: int) -> int:
    """Most nodes of ``node_cpu`` vCPUs autoscaling may reach; cluster.nodes overrides.

    Pooled: three pools at their ten replicas. Dedicated: every agent at its two, half of them doubled,
    since never do all agents peak at once.
    """
    if spec.cluster.nodes:
        return spec.cluster.nodes
    replicas = agent_count(spec) * 3 if spec.fleet.isolation == "dedicated" else 30
    return max(4, ceil((replicas * CPU_PER_REPLICA + PLATFORM_CPU) / (node_cpu * USABLE)))
