"""Owns the Boundary component: a namespace and what surrounds it before anything runs in it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import ResourceOptions

from infra import kubernetes, pods
from infra.naming import labels
from infra.services.policies import networks, quotas
from infra.settings import PlatformSpec


@dataclass(frozen=True)
class BoundaryArgs:
    """What the boundary surrounds."""

    spec: PlatformSpec
    namespace: str
    component: str
    """Value of the namespace's component label."""
    level: str = "restricted"
    """Pod Security Standard that is enforced; anything else needs a reason."""
    reason: str = ""
    made: pulumi.Resource | None = None
    """The namespace, where somebody else made it."""


class Boundary(pulumi.ComponentResource):
    """A namespace with its network policies, quota and limits. What runs in it depends on this."""

    def __init__(self, name: str, args: BoundaryArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:Boundary", name, {}, opts)
        made = args.made or kubernetes.apply(
            namespace(args), name=f"{name}-namespace", opts=ResourceOptions(parent=self)
        )
        inside = ResourceOptions(parent=self, depends_on=[made])
        for manifest in networks.policies(args.spec, args.namespace):
            kubernetes.apply(manifest, name=f"{name}-network-{manifest['metadata']['name']}", opts=inside)
        kubernetes.apply(quotas.quota(args.spec, args.namespace), name=f"{name}-quota", opts=inside)
        kubernetes.apply(quotas.limit_range(args.namespace), name=f"{name}-limits", opts=inside)
        self.register_outputs({})


def namespace(args: BoundaryArgs) -> pods.Manifest:
    """The namespace; a level below restricted says why."""
    manifest = pods.namespace(args.namespace, labels(args.namespace, args.component), args.level)
    if args.level != "restricted":
        manifest["metadata"]["annotations"] = {"ai-agents/pod-security-exception": args.reason}
    return manifest
