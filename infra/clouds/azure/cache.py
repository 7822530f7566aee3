"""Owns Azure Managed Redis: one instance for state, which must not be evicted, one for cached answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import Output, ResourceOptions
from pulumi_azure_native import redisenterprise

from infra import contracts
from infra.clouds.azure.group import Group, unique
from infra.clouds.azure.keys import Keys
from infra.clouds.azure.network import Network
from infra.naming import Placement
from infra.settings import PlatformSpec

SIZES: Mapping[str, str] = {"dev": "Balanced_B0", "staging": "Balanced_B1", "prod": "Balanced_B5"}
PORT = 10000
EVICTION = {"state": "NoEviction", "cache": "AllKeysLRU"}


@dataclass(frozen=True)
class CacheArgs:
    """What the stores are made of."""

    spec: PlatformSpec
    place: Placement
    group: Group
    network: Network
    keys: Keys


class Cache(pulumi.ComponentResource):
    """Two instances reached through private endpoints, with TLS, access keys and encryption by our key."""

    contract: contracts.Cache

    def __init__(self, name: str, args: CacheArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:azure:Cache", name, {}, opts)
        zone = args.network.private_zone(f"{name}-zone", "privatelink.redis.azure.net", ResourceOptions(parent=self))
        hosts, passwords = {}, {}
        for use in EVICTION:
            hosts[use], passwords[use] = self._instance(f"{name}-{use}", use, args, zone)
        self.contract = contracts.Cache(
            state_host=hosts["state"],
            state_port=PORT,
            cache_host=hosts["cache"],
            cache_port=PORT,
            tls=True,
            password=passwords["state"],
            cache_password=passwords["cache"],
            ca="",
        )
        self.register_outputs({"state": hosts["state"], "cache": hosts["cache"]})

    def _instance(self, name: str, use: str, args: CacheArgs, zone: Output[str]) -> tuple[Output[str], Output[str]]:
        spec, place = args.spec, args.place
        protect = place.protect and use == "state"
        encryption = redisenterprise.ClusterPropertiesCustomerManagedKeyEncryptionArgs(
            key_encryption_key_url=args.keys.ids["data"],
            key_encryption_key_identity=redisenterprise.ClusterPropertiesKeyEncryptionKeyIdentityArgs(
                identity_type="userAssignedIdentity", user_assigned_identity_resource_id=args.keys.data_identity
            ),
        )
        cluster = redisenterprise.RedisEnterprise(
            name,
            cluster_name=unique(place, spec, use, 40),
            resource_group_name=args.group.name,
            location=spec.region,
            sku=redisenterprise.SkuArgs(name=SIZES[spec.environment]),
            high_availability="Disabled" if spec.environment == "dev" else "Enabled",
            minimum_tls_version="1.2",
            public_network_access="Disabled",
            identity=redisenterprise.ManagedServiceIdentityArgs(
                type="UserAssigned", user_assigned_identities=[args.keys.data_identity]
            ),
            encryption=redisenterprise.ClusterPropertiesEncryptionArgs(customer_managed_key_encryption=encryption),
            tags=dict(place.tags),
            opts=ResourceOptions(parent=self, protect=protect, depends_on=[args.keys.data_grant]),
        )
        database = redisenterprise.Database(
            f"{name}-database",
            # The service knows one database a cluster, of this name.
            database_name="default",
            cluster_name=cluster.name,
            resource_group_name=args.group.name,
            client_protocol="Encrypted",
            clustering_policy="EnterpriseCluster",
            eviction_policy=EVICTION[use],
            port=PORT,
            access_keys_authentication="Enabled",
            persistence=redisenterprise.PersistenceArgs(aof_enabled=True, aof_frequency="1s")
            if use == "state"
            else None,
            opts=ResourceOptions(parent=self, protect=protect),
        )
        args.network.private_endpoint(
            f"{name}-endpoint", cluster.id, "redisEnterprise", zone, ResourceOptions(parent=self)
        )
        # The service makes the keys; they are read back as secrets once the database is there.
        keys = redisenterprise.list_database_keys_output(
            cluster_name=cluster.name,
            database_name=database.name,
            resource_group_name=args.group.name,
            opts=pulumi.InvokeOutputOptions(parent=self),
        )
        return cluster.host_name, Output.secret(keys.apply(_primary))


def _primary(keys: Any) -> str:
    return keys.primary_key or "" if keys else ""
