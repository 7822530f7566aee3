"""Owns the Pool component: one Deployment that serves every pooled agent of a pool."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import pulumi
from pulumi import ResourceOptions

from catalog.registry import Registry
from catalog.schema import AgentSpec, PoolSpec
from infra import kubernetes
from infra.workloads import manifests
from infra.workloads.manifests import Manifest, RuntimeArgs


@dataclass(frozen=True)
class PoolArgs:
    """What a pool is made of."""

    pool: PoolSpec
    agents: tuple[AgentSpec, ...]
    """The pool's pooled agents, in catalog order."""
    registry: Registry
    runtime: RuntimeArgs


class Pool(pulumi.ComponentResource):
    """Catalog ConfigMaps by domain, Deployment, Service, autoscaler and disruption budget of one pool."""

    def __init__(self, name: str, args: PoolArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:workloads:Pool", name, {}, opts)
        chunks = catalog_chunks(args)
        options = ResourceOptions(parent=self)
        maps = [
            kubernetes.apply(chunk, name=f"{name}-catalog-{domain}", opts=options) for domain, chunk in chunks.items()
        ]
        process = manifests.pool_process(args.pool, args.agents, args.registry, chunks.values())
        for manifest in manifests.workload(process, args.runtime):
            kubernetes.apply(
                manifest,
                name=f"{name}-{manifest['kind'].lower()}",
                opts=ResourceOptions.merge(options, ResourceOptions(depends_on=maps)),
            )
        self.register_outputs({})


def catalog_chunks(args: PoolArgs) -> dict[str, Manifest]:
    """One ConfigMap a domain, by domain: the stable part of its logical name."""
    grouped = groupby(args.agents, key=lambda agent: agent.domain)
    return {
        domain: manifests.catalog_chunk(f"{args.pool.name}-{domain}", members, args.registry)
        for domain, members in grouped
    }
