"""Owns Memorystore for Valkey: one instance for state, which must not be evicted, one for cached answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp
from pulumi import Output, ResourceOptions

from infra import contracts
from infra.clouds.gcp.keys import Keys
from infra.clouds.gcp.network import Network
from infra.naming import Placement
from infra.settings import PlatformSpec

NODE_TYPES: Mapping[str, str] = {"dev": "SHARED_CORE_NANO", "staging": "STANDARD_SMALL", "prod": "STANDARD_SMALL"}
PORT = 6379
EVICTION = {"state": "noeviction", "cache": "allkeys-lru"}


@dataclass(frozen=True)
class CacheArgs:
    """What the stores are made of."""

    spec: PlatformSpec
    place: Placement
    network: Network
    keys: Keys


class Cache(pulumi.ComponentResource):
    """Two Valkey instances inside the network, with TLS and encryption at rest."""

    contract: contracts.Cache

    def __init__(self, name: str, args: CacheArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:gcp:Cache", name, {}, opts)
        instances = {use: self._instance(f"{name}-{use}", use, args) for use in EVICTION}
        state, cache = (_address(instances[use]) for use in EVICTION)
        self.contract = contracts.Cache(
            state_host=state,
            state_port=PORT,
            cache_host=cache,
            cache_port=PORT,
            tls=True,
            # Reached from the cluster's network alone; Memorystore's own passwords are IAM tokens of an hour.
            password="",
            cache_password="",
            ca=_authority(instances["state"]),
        )
        self.register_outputs({"state": state, "cache": cache})

    def _instance(self, name: str, use: str, args: CacheArgs) -> gcp.memorystore.Instance:
        spec, place = args.spec, args.place
        several = spec.environment != "dev"
        protect = place.protect and use == "state"
        zones = gcp.memorystore.InstanceZoneDistributionConfigArgs(
            mode="MULTI_ZONE" if several else "SINGLE_ZONE", zone=None if several else spec.zones[0]
        )
        endpoint = gcp.memorystore.InstanceDesiredAutoCreatedEndpointArgs(
            network=args.network.id, project_id=spec.account
        )
        return gcp.memorystore.Instance(
            name,
            instance_id=f"{place.prefix}-{use}",
            location=spec.region,
            mode="CLUSTER_DISABLED",
            shard_count=1,
            replica_count=1 if several else 0,
            node_type=NODE_TYPES[spec.environment],
            engine_version="VALKEY_8_0",
            engine_configs={"maxmemory-policy": EVICTION[use]},
            authorization_mode="AUTH_DISABLED",
            transit_encryption_mode="SERVER_AUTHENTICATION",
            kms_key=args.keys.data,
            desired_auto_created_endpoints=[endpoint],
            zone_distribution_config=zones,
            persistence_config=_persistence(use),
            deletion_protection_enabled=protect,
            labels=dict(place.tags),
            opts=ResourceOptions(
                parent=self, protect=protect, depends_on=[args.network.connection_policy, *args.keys.grants]
            ),
        )


def _persistence(use: str) -> gcp.memorystore.InstancePersistenceConfigArgs:
    if use == "cache":
        return gcp.memorystore.InstancePersistenceConfigArgs(mode="DISABLED")
    return gcp.memorystore.InstancePersistenceConfigArgs(
        mode="AOF", aof_config=gcp.memorystore.InstancePersistenceConfigAofConfigArgs(append_fsync="EVERY_SEC")
    )


def _address(instance: gcp.memorystore.Instance) -> Output[str]:
    def first(endpoints: Any) -> str:
        for endpoint in endpoints or ():
            for connection in endpoint.connections or ():
                if connection.psc_auto_connection is not None:
                    return str(connection.psc_auto_connection.ip_address)
        return ""

    return instance.endpoints.apply(first)


def _authority(instance: gcp.memorystore.Instance) -> Output[str]:
    def pem(authorities: Any) -> str:
        certificates = [
            text
            for authority in authorities or ()
            for chain in authority.ca_certs or ()
            for text in chain.certificates or ()
        ]
        return "".join(certificates)

    return instance.managed_server_cas.apply(pem)
