"""Owns the cluster autoscaler on AWS, where nodes are not the cluster's own to add; before anything that needs nodes.

It runs in kube-system under a service account whose pod identity the foundation made. GKE and AKS scale by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import ResourceOptions

from infra import kubernetes, pods
from infra.naming import Placement
from infra.services import charts
from infra.settings import PlatformSpec


@dataclass(frozen=True)
class AutoscalingArgs:
    """What the autoscaler is made of."""

    spec: PlatformSpec
    place: Placement


class Autoscaling(pulumi.ComponentResource):
    """The cluster autoscaler, which finds the cluster's node groups by their tags."""

    def __init__(self, name: str, args: AutoscalingArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:Autoscaling", name, {}, opts)
        chart = charts.CLUSTER_AUTOSCALER
        kubernetes.release(
            f"{name}-release",
            chart=chart.name,
            version=chart.version,
            repository=chart.repository,
            namespace="kube-system",
            values=values(args.spec, args.place),
            opts=ResourceOptions(parent=self),
        )
        self.register_outputs({})


def values(spec: PlatformSpec, place: Placement) -> dict[str, Any]:
    """Values of the cluster-autoscaler chart: it finds the cluster's own node groups by their tags."""
    return {
        "cloudProvider": "aws",
        "awsRegion": spec.region,
        "autoDiscovery": {"clusterName": place.prefix},
        "rbac": {"serviceAccount": {"create": True, "name": "cluster-autoscaler"}},
        "image": {"tag": f"v{spec.cluster.version}.0"},
        "replicaCount": 2,
        "extraArgs": {
            "balance-similar-node-groups": True,
            "skip-nodes-with-system-pods": False,
            "expander": "least-waste",
        },
        "resources": pods.resources("100m", "500m", "512Mi", "1Gi"),
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "containerSecurityContext": pods.container_security(),
    }
