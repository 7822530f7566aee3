"""How requests get from each cloud's edge to the gateway: what the Service needs, and what attaches it.

``exposed`` is the gateway's Service on each cloud; ``attach`` registers what stands between, which only exists once
the Service does. The edge itself (DNS, certificates, firewalls) is the foundation's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi import ResourceOptions

from infra.contracts import Foundation
from infra.naming import Placement
from infra.pods import Manifest
from infra.services.edge import aws, azure, gcp
from infra.settings import PlatformSpec


@dataclass(frozen=True)
class ExposureArgs:
    """What the gateway is reached through."""

    spec: PlatformSpec
    place: Placement
    foundation: Foundation
    service: pulumi.Resource
    """The gateway's Service."""


class Exposure(pulumi.ComponentResource):
    """The way from the cloud's edge to the gateway's pods; empty on a cluster you have, whose entrance is yours."""

    def __init__(self, name: str, args: ExposureArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:Exposure", name, {}, opts)
        spec, edge = args.spec, args.foundation.edge
        child = ResourceOptions(parent=self, depends_on=[args.service])
        if spec.cloud == "aws":
            aws.attach(name, spec, args.place, args.foundation, child)
        elif spec.cloud == "gcp":
            gcp.attach(name, spec, edge, child)
        elif spec.cloud == "azure" and spec.components.edge:
            azure.attach(name, spec, args.place, edge, args.service, child)
        self.register_outputs({})


def exposed(spec: PlatformSpec, service: Manifest) -> Manifest:
    """The gateway's Service as the cloud's edge needs it."""
    changes: dict[str, Sequence[str] | Manifest] = {}
    if spec.cloud == "gcp":
        changes = gcp.exposed(service)
    elif spec.cloud == "azure":
        changes = azure.exposed(spec, service)
    return {**service, **changes}


__all__ = ["Exposure", "ExposureArgs", "exposed"]
