"""Owns Istio in the cluster: namespace with its boundary, CRDs, network plugin, control plane, in that order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import ResourceOptions

from infra import kubernetes, pods
from infra.naming import NAMESPACE, labels
from infra.pods import Manifest
from infra.services import charts
from infra.services.policies.boundary import Boundary, BoundaryArgs
from infra.services.policies.roles import MESH
from infra.settings import PlatformSpec


@dataclass(frozen=True)
class MeshArgs:
    """What the mesh is made of."""

    spec: PlatformSpec


class Mesh(pulumi.ComponentResource):
    """Istio without a gateway of its own; a pod gets a sidecar by label alone."""

    def __init__(self, name: str, args: MeshArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:Mesh", name, {}, opts)
        reason = "Istio's network plugin writes the node's network configuration, so that no pod needs the right to change its own"
        boundary = Boundary(
            f"{name}-boundary",
            BoundaryArgs(args.spec, MESH, "mesh", level="privileged", reason=reason),
            opts=ResourceOptions(parent=self),
        )
        before: pulumi.Resource = boundary
        for chart, chart_values in values(args.spec).items():
            before = kubernetes.release(
                f"{name}-{chart.name}",
                chart=chart.name,
                version=chart.version,
                repository=chart.repository,
                namespace=MESH,
                values=chart_values,
                opts=ResourceOptions(parent=self, depends_on=[before]),
            )
        kubernetes.apply(
            peer_authentication(),
            name=f"{name}-peers",
            opts=ResourceOptions(parent=self, depends_on=[before]),
        )
        self.register_outputs({})


def values(spec: PlatformSpec) -> dict[charts.Chart, dict[str, Any]]:
    """Each chart's values, in the order of installation."""
    proxy = {"resources": pods.resources("50m", "500m", "64Mi", "256Mi")}
    plugin: dict[str, Any] = {"resources": pods.resources("50m", "200m", "64Mi", "256Mi")}
    if spec.cloud == "gcp":
        plugin["global"] = {"platform": "gke"}
    control = {
        "autoscaleMin": 1 if spec.environment == "dev" else 2,
        "resources": pods.resources("200m", "1", "512Mi", "1Gi"),
        "pilot": {"cni": {"enabled": True}},
        "global": {"proxy": proxy, "proxy_init": proxy},
        # A pod that asks for a sidecar gets one, and no other.
        "sidecarInjectorWebhook": {"enableNamespacesByDefault": False},
        # The sidecar sends only where the mesh knows the way; anything else goes as it would without it.
        "meshConfig": {"outboundTrafficPolicy": {"mode": "ALLOW_ANY"}, "accessLogFile": ""},
    }
    return {charts.ISTIO_BASE: {}, charts.ISTIO_CNI: plugin, charts.ISTIOD: control}


def peer_authentication() -> Manifest:
    """Sidecars take TLS from each other and plain HTTP from the rest: Prometheus and agents without one."""
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "platform", "namespace": NAMESPACE, "labels": labels("platform", "mesh")},
        "spec": {"mtls": {"mode": "PERMISSIVE"}},
    }
