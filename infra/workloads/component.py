"""Owns the component of one workload: a pool's or a dedicated agent's objects, registered under it."""

from __future__ import annotations

import pulumi
from pulumi import ResourceOptions

from catalog.versions import Workload as Versions
from infra import kubernetes
from infra.settings import PlatformSpec
from infra.workloads import rollout
from infra.workloads.manifests import RuntimeArgs


class Workload(pulumi.ComponentResource):
    """Catalog ConfigMaps, Deployment, Service, autoscaler and disruption budget, of each version there is."""

    def __init__(
        self,
        name: str,
        versions: Versions,
        spec: PlatformSpec,
        runtime: RuntimeArgs,
        *,
        opts: ResourceOptions | None = None,
    ) -> None:
        kind = "Agent" if versions.serving.pool is None else "Pool"
        super().__init__(f"platform:workloads:{kind}", name, {}, opts)
        applied: dict[str, pulumi.Resource] = {}
        for item in rollout.objects(versions, spec, runtime):
            before = [applied[each] for each in item.after]
            options = ResourceOptions(parent=self, depends_on=before)
            applied[item.name] = kubernetes.apply(item.manifest, name=f"{name}{item.name}", opts=options)
        self.register_outputs({})
