"""Owns how much a namespace may hold and one container may take: ResourceQuota and LimitRange. Pure.

A quota is a bound on accidents (a loop that makes pods, an autoscaler gone wild), not a plan of capacity: it admits
the largest fleet the settings allow, 1,500 dedicated agents at the most replicas each may have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from catalog.schema import AGENTS_PER_POOL
from catalog.values import Scaling
from infra.naming import NAMESPACE, labels
from infra.pods import Manifest
from infra.services.policies import roles
from infra.settings import PlatformSpec

POOLS: Final = 3
FLEET_PODS: Final = POOLS * AGENTS_PER_POOL * Scaling().max_replicas
"""Most pods of a dedicated fleet at its largest (specification section 4: at most 10 replicas an agent)."""
SURGE_PODS: Final = POOLS * AGENTS_PER_POOL
"""One more for each Deployment while it is rolled out (specification section 7: maxSurge 1)."""
PLATFORM_PODS: Final = 100
"""Gateway, control, migrations and pools."""


@dataclass(frozen=True)
class Room:
    """What all pods of a namespace may take together."""

    pods: int
    cpu: int
    """Requested cores."""
    memory_gib: int
    """Requested memory; limits may be twice that."""
    claims: int = 0
    balancers: int = 0


_ROOM: Final = {
    # 250m and 256Mi an agent (specification section 2); the platform's own pods ask for up to 4 cores and 8 GiB each.
    NAMESPACE: Room(
        FLEET_PODS + SURGE_PODS + PLATFORM_PODS,
        (FLEET_PODS + SURGE_PODS) // 4 + 4 * PLATFORM_PODS,
        (FLEET_PODS + SURGE_PODS) // 4 + 8 * PLATFORM_PODS,
    ),
    roles.DATA: Room(10, 8, 16, claims=6),
    roles.VAULT: Room(20, 16, 32, claims=12),
    roles.CONSUL: Room(30, 16, 32, claims=12),
    roles.MONITORING: Room(60, 64, 256, claims=30),
    roles.COLLECTORS: Room(2_000, 500, 1_000),
    roles.CERTIFICATES: Room(20, 8, 16),
    roles.MESH: Room(30, 32, 64),
}


def quota(spec: PlatformSpec, namespace: str) -> Manifest:
    """The namespace's ResourceQuota."""
    room = _ROOM[namespace]
    # Azure reaches the gateway through an internal load balancer, the others reach its pods.
    balancers = 1 if namespace == NAMESPACE and spec.cloud == "azure" else 0
    hard = {
        "pods": str(room.pods),
        "requests.cpu": str(room.cpu),
        "requests.memory": f"{room.memory_gib}Gi",
        "limits.memory": f"{2 * room.memory_gib}Gi",
        "persistentvolumeclaims": str(room.claims),
        "services.loadbalancers": str(balancers),
        # A load balancer takes a node port for each of its two ports.
        "services.nodeports": str(2 * balancers),
    }
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quota", "namespace": namespace, "labels": labels("quota", "policy")},
        "spec": {"hard": hard},
    }


def limit_range(namespace: str) -> Manifest:
    """The namespace's LimitRange: what a container without its own requests gets, and the most one may ask for."""
    container = {
        "type": "Container",
        "defaultRequest": {"cpu": "50m", "memory": "64Mi"},
        "default": {"cpu": "500m", "memory": "256Mi"},
        "max": {"cpu": "8", "memory": "32Gi"},
    }
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "limits", "namespace": namespace, "labels": labels("limits", "policy")},
        "spec": {"limits": [container]},
    }
