"""Owns which nodes a fleet runs on and how many it can need: node types by cloud, the ceiling of autoscaling. Pure.

The clouds' cluster modules, the price of a fleet without its foundation and `fleet doctor` all read them here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from infra.rules import agent_count
from infra.settings import PlatformSpec


@dataclass(frozen=True)
class NodeType:
    """A node type of a cloud."""

    name: str
    cpu: int
    """vCPUs."""


NODES: Final[Mapping[str, Mapping[str, NodeType]]] = {
    "aws": {
        "dev": NodeType("m7i.large", 2),
        "staging": NodeType("m7i.xlarge", 4),
        "prod": NodeType("m7i.2xlarge", 8),
    },
    "gcp": {
        "dev": NodeType("e2-standard-4", 4),
        "staging": NodeType("n2-standard-4", 4),
        "prod": NodeType("n2-standard-8", 8),
    },
    "azure": {
        "dev": NodeType("Standard_D2as_v5", 2),
        "staging": NodeType("Standard_D4as_v5", 4),
        "prod": NodeType("Standard_D8as_v5", 8),
    },
}
"""By cloud and environment: 4 GiB a vCPU, near the fleet's request of 1 GiB a vCPU plus monitoring and caches."""
CPU_PER_REPLICA = 0.25
"""CPU a replica requests (specification section 2)."""
PLATFORM_CPU = 12.0
"""CPU the services ask for together: gateway, control, Vault, Consul, monitoring, each replicated."""
USABLE = 0.9
"""Share of a node's CPU that pods get, after the kubelet's and the daemons' own."""


def node_type(spec: PlatformSpec) -> NodeType:
    """What the stack's nodes are; only where its cluster is made (KeyError on one you have)."""
    return NODES[spec.cloud][spec.environment]


def nodes_at_most(spec: PlatformSpec) -> int:
    """Most nodes autoscaling may reach; cluster.nodes overrides.

    Pooled: three pools at their ten replicas. Dedicated: every agent at its two, half of them doubled,
    since never do all agents peak at once.
    """
    if spec.cluster.nodes:
        return spec.cluster.nodes
    replicas = agent_count(spec) * 3 if spec.fleet.isolation == "dedicated" else 30
    return max(4, ceil((replicas * CPU_PER_REPLICA + PLATFORM_CPU) / (node_type(spec).cpu * USABLE)))
