"""The foundation on a cluster you have: nothing of the cluster itself is made or changed."""

from __future__ import annotations

from infra import contracts
from infra.clouds.foundation import Layer
from infra.clouds.stores import unmanaged
from infra.contracts import Foundation
from infra.naming import Placement
from infra.settings import PlatformSpec


def foundation(spec: PlatformSpec, place: Placement) -> Foundation:
    """Register the stores where they are in-cluster, and hand on the contracts of what there is."""
    layer = Layer("foundation")
    database, cache = unmanaged(spec, place, layer, None)
    return Foundation(
        network=contracts.Network(id="", private_subnets=[], public_subnets=[], database_subnets=[]),
        keys=contracts.Keys(cluster="", data="", vault=""),
        cluster=contracts.Cluster(name=spec.cluster.context, endpoint="", kubeconfig="", issuer=""),
        database=database,
        cache=cache,
        edge=contracts.Edge(hostname=spec.api_host, certificate="", zone="", origin={}, trusted_cidrs=[]),
        storage=contracts.Storage(kind="filesystem", logs="", snapshots=""),
        identities=contracts.Identities(vault={}, bootstrap={}, loki={}, backup={}, database={}),
    )


__all__ = ["foundation"]
