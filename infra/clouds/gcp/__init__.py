"""The foundation on Google Cloud: GKE in a network of its own, Cloud SQL, Memorystore, KMS, Cloud Armor and CDN, Backup for GKE."""

from __future__ import annotations

import pulumi_gcp as gcp
from pulumi import ResourceOptions

from infra.clouds.foundation import Layer
from infra.clouds.gcp.apis import Apis, ApisArgs
from infra.clouds.gcp.backup import Backup, BackupArgs
from infra.clouds.gcp.cache import Cache, CacheArgs
from infra.clouds.gcp.cluster import Cluster, ClusterArgs
from infra.clouds.gcp.database import Database, DatabaseArgs
from infra.clouds.gcp.edge import Edge, EdgeArgs
from infra.clouds.gcp.identity import Identity, IdentityArgs
from infra.clouds.gcp.keys import Keys, KeysArgs
from infra.clouds.gcp.network import Network, NetworkArgs
from infra.clouds.gcp.storage import Storage, StorageArgs
from infra.clouds.stores import unmanaged
from infra.contracts import Foundation
from infra.naming import Placement
from infra.settings import PlatformSpec


def foundation(spec: PlatformSpec, place: Placement) -> Foundation:
    """Register the foundation on Google Cloud and hand on its contracts."""
    layer = Layer("foundation")
    provider = gcp.Provider(
        "foundation-gcp",
        project=spec.account,
        region=spec.region,
        # Labels are set by the components; one the provider adds would be a change nobody wrote.
        add_pulumi_attribution_label=False,
        opts=ResourceOptions(parent=layer),
    )
    opts = ResourceOptions(parent=layer, provider=provider)
    apis = Apis("foundation-apis", ApisArgs(spec), opts=opts)
    enabled = ResourceOptions(parent=layer, provider=provider, depends_on=[apis])
    keys = Keys("foundation-keys", KeysArgs(spec, place, apis), opts=enabled)
    network = Network("foundation-network", NetworkArgs(spec, place), opts=enabled)
    cluster = Cluster("foundation-cluster", ClusterArgs(spec, place, network, keys), opts=enabled)
    database = None
    if spec.data == "managed":
        database = Database("foundation-database", DatabaseArgs(spec, place, network, keys), opts=enabled)
        cache = Cache("foundation-cache", CacheArgs(spec, place, network, keys), opts=enabled)
        stores = database.contract, cache.contract
    else:
        stores = unmanaged(spec, place, layer, cluster.contract)
    storage = Storage("foundation-storage", StorageArgs(spec, place, keys), opts=enabled)
    identity = Identity(
        "foundation-identity", IdentityArgs(spec, place, cluster, keys, storage, database), opts=enabled
    )
    edge = Edge("foundation-edge", EdgeArgs(spec, place), opts=enabled)
    if spec.components.backup:
        Backup("foundation-backup", BackupArgs(spec, place, cluster, keys), opts=enabled)
    return Foundation(
        network=network.contract,
        keys=keys.contract,
        cluster=cluster.contract,
        database=stores[0],
        cache=stores[1],
        edge=edge.contract,
        storage=storage.contract,
        identities=identity.contract,
    )


__all__ = ["foundation"]
