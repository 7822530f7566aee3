"""The foundation on Azure: AKS in a network of its own, PostgreSQL, Managed Redis, Key Vault, Front Door with WAF, Backup vault."""

from __future__ import annotations

import pulumi_azure_native as azure
from pulumi import ResourceOptions

from infra.clouds.azure.backup import Backup, BackupArgs
from infra.clouds.azure.cache import Cache, CacheArgs
from infra.clouds.azure.cluster import Cluster, ClusterArgs
from infra.clouds.azure.database import Database, DatabaseArgs
from infra.clouds.azure.edge import Edge, EdgeArgs
from infra.clouds.azure.group import Group, GroupArgs
from infra.clouds.azure.identity import Identity, IdentityArgs
from infra.clouds.azure.keys import Keys, KeysArgs
from infra.clouds.azure.network import Network, NetworkArgs
from infra.clouds.azure.storage import Storage, StorageArgs
from infra.clouds.foundation import Layer
from infra.clouds.stores import unmanaged
from infra.contracts import Foundation
from infra.naming import Placement
from infra.settings import PlatformSpec


def foundation(spec: PlatformSpec, place: Placement) -> Foundation:
    """Register the foundation on Azure and hand on its contracts."""
    layer = Layer("foundation")
    provider = azure.Provider(
        "foundation-azure",
        subscription_id=spec.account,
        tenant_id=spec.tenant,
        location=spec.region,
        opts=ResourceOptions(parent=layer),
    )
    opts = ResourceOptions(parent=layer, provider=provider)
    group = Group("foundation-group", GroupArgs(spec, place), opts=opts)
    keys = Keys("foundation-keys", KeysArgs(spec, place, group), opts=opts)
    network = Network("foundation-network", NetworkArgs(spec, place, group), opts=opts)
    storage = Storage("foundation-storage", StorageArgs(spec, place, group, network, keys), opts=opts)
    network.log_flows(storage.account_id)
    cluster = Cluster("foundation-cluster", ClusterArgs(spec, place, group, network, keys), opts=opts)
    database = None
    if spec.data == "managed":
        database = Database("foundation-database", DatabaseArgs(spec, place, group, network, keys), opts=opts)
        cache = Cache("foundation-cache", CacheArgs(spec, place, group, network, keys), opts=opts)
        stores = database.contract, cache.contract
    else:
        stores = unmanaged(spec, place, layer, cluster.contract)
    identity = Identity(
        "foundation-identity", IdentityArgs(spec, place, group, cluster, keys, storage, database), opts=opts
    )
    edge = Edge("foundation-edge", EdgeArgs(spec, place, group), opts=opts)
    if spec.components.backup and database is not None:
        Backup("foundation-backup", BackupArgs(spec, place, group, database.id), opts=opts)
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
