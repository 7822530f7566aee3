"""Owns what AWS needs in the cluster: the load balancer controller that registers the gateway's pods.

It runs in kube-system under a service account whose pod identity the foundation made. The load balancer, its
listener and target group are the foundation's: the controller only fills the group.
"""

from __future__ import annotations

from typing import Any

from pulumi import Input, ResourceOptions

from infra import kubernetes, pods
from infra.contracts import Foundation
from infra.naming import NAMESPACE, Placement, labels
from infra.pods import Manifest
from infra.services import charts
from infra.settings import PlatformSpec

SYSTEM = "kube-system"


def attach(name: str, spec: PlatformSpec, place: Placement, foundation: Foundation, opts: ResourceOptions) -> None:
    """Register the controller and the binding of the gateway to its target group."""
    chart = charts.AWS_LOAD_BALANCER_CONTROLLER
    balancers = kubernetes.release(
        f"{name}-balancers",
        chart=chart.name,
        version=chart.version,
        repository=chart.repository,
        namespace=SYSTEM,
        values=balancer_values(spec, place, foundation.network.id),
        opts=opts,
    )
    kubernetes.apply(
        target_group_binding(foundation.edge.origin["target_group"]),
        name=f"{name}-binding",
        opts=ResourceOptions.merge(opts, ResourceOptions(depends_on=[balancers])),
    )


def target_group_binding(target_group: Input[str]) -> Manifest:
    """The gateway's pods as targets. No rules of security groups: the foundation's let the balancer in."""
    return {
        "apiVersion": "elbv2.k8s.aws/v1beta1",
        "kind": "TargetGroupBinding",
        "metadata": {"name": "gateway", "namespace": NAMESPACE, "labels": labels("gateway", "gateway")},
        "spec": {
            "serviceRef": {"name": "gateway", "port": "https"},
            "targetGroupARN": target_group,
            "targetType": "ip",
        },
    }


def balancer_values(spec: PlatformSpec, place: Placement, network: Input[str]) -> dict[str, Any]:
    """Values of the aws-load-balancer-controller chart: it fills target groups and makes nothing."""
    return {
        "clusterName": place.prefix,
        # Stated, since the metadata service they would be read from does not answer pods (hop limit 1).
        "region": spec.region,
        "vpcId": network,
        "serviceAccount": {"create": True, "name": "aws-load-balancer-controller"},
        "createIngressClassResource": False,
        "ingressClassParams": {"create": False},
        "enableShield": False,
        "enableWaf": False,
        "enableWafv2": False,
        "enableServiceMutatorWebhook": False,
        "resources": pods.resources("100m", "500m", "128Mi", "256Mi"),
        "podDisruptionBudget": {"maxUnavailable": 1},
    }
