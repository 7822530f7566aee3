"""Owns what Azure needs in the cluster: the gateway's Service as an internal load balancer with a private link.

Front Door reaches the private link and nothing else; origin and route are Azure's own resources
(infra.clouds.azure.origin). Source: cloud-provider-azure, topics/pls-integration.
"""

from __future__ import annotations

from importlib import import_module

import pulumi
from pulumi import ResourceOptions

from infra.contracts import Edge
from infra.naming import Placement
from infra.pods import Manifest
from infra.settings import PlatformSpec

LINK = "gateway"
"""Name of the private link service, which Azure makes in the nodes' resource group."""
_PREFIX = "service.beta.kubernetes.io"


def attach(
    name: str, spec: PlatformSpec, place: Placement, edge: Edge, service: pulumi.Resource, opts: ResourceOptions
) -> None:
    """Register Front Door's origin and route, after the gateway's Service."""
    # The cloud's SDK is imported by its own package alone.
    origin = import_module("infra.clouds.azure.origin")
    origin.Origin(f"{name}-origin", origin.OriginArgs(spec, place, edge, LINK, service), opts=opts)


def exposed(spec: PlatformSpec, manifest: Manifest) -> Manifest:
    """The Service as a load balancer: internal behind Front Door, else public.

    externalTrafficPolicy Local: a hop over another node would hide the address network policies judge by.
    """
    annotations = {}
    if spec.components.edge:
        annotations = {
            f"{_PREFIX}/azure-load-balancer-internal": "true",
            f"{_PREFIX}/azure-pls-create": "true",
            f"{_PREFIX}/azure-pls-name": LINK,
            # Front Door's end of the link is in a subscription of Microsoft's; it still has to be approved.
            f"{_PREFIX}/azure-pls-visibility": "*",
        }
    changed = {**manifest["spec"], "type": "LoadBalancer", "externalTrafficPolicy": "Local"}
    return {"metadata": {**manifest["metadata"], "annotations": annotations}, "spec": changed}
