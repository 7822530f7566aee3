"""The foundation on AWS: EKS in a network of its own, RDS, ElastiCache, KMS, CloudFront with WAF, AWS Backup."""

from __future__ import annotations

import pulumi_aws as aws
from pulumi import ResourceOptions

from infra.clouds.aws.backup import Backup, BackupArgs
from infra.clouds.aws.cache import Cache, CacheArgs
from infra.clouds.aws.cluster import Cluster, ClusterArgs
from infra.clouds.aws.database import Database, DatabaseArgs
from infra.clouds.aws.edge import Edge, EdgeArgs
from infra.clouds.aws.identity import Identity, IdentityArgs
from infra.clouds.aws.keys import Keys, KeysArgs
from infra.clouds.aws.network import Network, NetworkArgs
from infra.clouds.aws.storage import Storage, StorageArgs
from infra.clouds.foundation import Layer
from infra.clouds.stores import unmanaged
from infra.contracts import Foundation
from infra.naming import Placement
from infra.settings import PlatformSpec


def foundation(spec: PlatformSpec, place: Placement) -> Foundation:
    """Register the foundation on AWS and hand on its contracts."""
    layer = Layer("foundation")
    provider = aws.Provider(
        "foundation-aws",
        region=spec.region,
        # A wrong profile must not build a platform in somebody else's account.
        allowed_account_ids=[spec.account],
        opts=ResourceOptions(parent=layer),
    )
    opts = ResourceOptions(parent=layer, provider=provider)
    keys = Keys("foundation-keys", KeysArgs(spec, place), opts=opts)
    network = Network("foundation-network", NetworkArgs(spec, place, keys.data_arn), opts=opts)
    cluster = Cluster("foundation-cluster", ClusterArgs(spec, place, network, keys), opts=opts)
    database = None
    if spec.data == "managed":
        clients = cluster.node_security_group
        database = Database("foundation-database", DatabaseArgs(spec, place, network, keys, clients), opts=opts)
        cache = Cache("foundation-cache", CacheArgs(spec, place, network, keys, clients), opts=opts)
        stores = database.contract, cache.contract
    else:
        stores = unmanaged(spec, place, layer, cluster.contract)
    storage = Storage("foundation-storage", StorageArgs(spec, place, keys), opts=opts)
    identity = Identity("foundation-identity", IdentityArgs(spec, place, cluster, keys, storage, database), opts=opts)
    edge = Edge("foundation-edge", EdgeArgs(spec, place, network), opts=opts)
    if spec.components.backup and database is not None:
        Backup("foundation-backup", BackupArgs(spec, place, keys, database.arn), opts=opts)
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
