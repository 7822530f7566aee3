"""Owns cert-manager in the cluster: namespace with its boundary, and the chart. Who asks it for what is the asker's.

On Azure the gateway's certificate must come from a public authority (infra.clouds.azure.origin), so cert-manager may
prove the domain there; everywhere else it signs with a private one and needs no right outside the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pulumi
from pulumi import Input, Output, ResourceOptions

from infra import kubernetes, pods
from infra.contracts import Foundation
from infra.naming import Placement
from infra.services import charts
from infra.services.policies import roles
from infra.services.policies.boundary import Boundary, BoundaryArgs
from infra.settings import PlatformSpec

ACCOUNT = "cert-manager"


@dataclass(frozen=True)
class CertificateManagerArgs:
    """What cert-manager is made of."""

    spec: PlatformSpec
    place: Placement
    foundation: Foundation


class CertificateManager(pulumi.ComponentResource):
    """cert-manager with its CRDs; what asks for certificates depends on it."""

    release: pulumi.CustomResource
    client_id: Output[str] | None = None
    """Of the Azure identity that may prove the domain; None elsewhere."""

    def __init__(self, name: str, args: CertificateManagerArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:CertificateManager", name, {}, opts)
        child = ResourceOptions(parent=self)
        boundary = Boundary(f"{name}-boundary", BoundaryArgs(args.spec, roles.CERTIFICATES, "certificates"), opts=child)
        if proves_domain(args.spec):
            origin = import_module("infra.clouds.azure.origin")
            edge, issuer = args.foundation.edge, args.foundation.cluster.issuer
            prover = origin.ProverArgs(args.spec, args.place, edge, issuer, roles.CERTIFICATES, ACCOUNT)
            self.client_id = origin.Prover(f"{name}-prover", prover, opts=child).client_id
        chart = charts.CERT_MANAGER
        self.release = kubernetes.release(
            f"{name}-release",
            chart=chart.name,
            version=chart.version,
            repository=chart.repository,
            namespace=roles.CERTIFICATES,
            values=values(args.spec, self.client_id),
            opts=ResourceOptions(parent=self, depends_on=[boundary]),
        )
        self.register_outputs({})


def proves_domain(spec: PlatformSpec) -> bool:
    """Whether the gateway's certificate comes from a public authority."""
    return spec.cloud == "azure"


def values(spec: PlatformSpec, client_id: Input[str] | None) -> dict[str, Any]:
    """The chart's values: restricted pods are its default; resources and replicas are not."""
    several = {} if spec.environment == "dev" else {"replicaCount": 2, "podDisruptionBudget": _budget()}
    small = pods.resources("20m", "200m", "64Mi", "256Mi")
    identity: Mapping[str, Any] = {}
    if client_id is not None:
        use = {"azure.workload.identity/use": "true"}
        account = {"labels": use, "annotations": {"azure.workload.identity/client-id": client_id}}
        # Proofs are looked for by the cluster's own DNS: no other DNS server is open to it.
        identity = {
            "podLabels": use,
            "serviceAccount": account,
            "extraArgs": ["--dns01-recursive-nameservers-only"],
        }
    return {
        "crds": {"enabled": True, "keep": True},
        "global": {"priorityClassName": "ai-agents-platform"},
        "resources": small,
        **several,
        **identity,
        # Not the default 10250, which is the kubelets' port, and open to Prometheus on every address of the network.
        "webhook": {"securePort": roles.WEBHOOK_PORT, "resources": small, **several},
        "cainjector": {"resources": small, **several},
        "startupapicheck": {"resources": small},
        "prometheus": {"enabled": True, "servicemonitor": {"enabled": False}},
    }


def _budget() -> dict[str, Any]:
    return {"enabled": True, "maxUnavailable": 1, "minAvailable": ""}
