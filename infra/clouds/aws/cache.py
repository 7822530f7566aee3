"""Owns Valkey on ElastiCache: one group for state, which must not be evicted, one for cached answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
import pulumi_random as random
from pulumi import Input, Output, ResourceOptions

from infra import contracts
from infra.clouds.aws.groups import store_group
from infra.clouds.aws.keys import Keys
from infra.clouds.aws.network import Network
from infra.naming import Placement
from infra.settings import PlatformSpec

NODE_TYPES: Mapping[str, str] = {"dev": "cache.t4g.small", "staging": "cache.m7g.large", "prod": "cache.m7g.large"}
PORT = 6379
EVICTION = {"state": "noeviction", "cache": "allkeys-lru"}


@dataclass(frozen=True)
class CacheArgs:
    """What the stores are made of."""

    spec: PlatformSpec
    place: Placement
    network: Network
    keys: Keys
    clients: Input[str]


class Cache(pulumi.ComponentResource):
    """Two Valkey replication groups with TLS, a password and encryption at rest."""

    contract: contracts.Cache

    def __init__(self, name: str, args: CacheArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:aws:Cache", name, {}, opts)
        child = ResourceOptions(parent=self)
        tags = {**args.place.tags, "Name": f"{args.place.prefix}-cache"}
        subnets = aws.elasticache.SubnetGroup(
            f"{name}-subnets", subnet_ids=list(args.network.database_subnets), tags=tags, opts=child
        )
        group = store_group(f"{name}-group", args.network.id, args.clients, PORT, "Valkey", tags, child)
        password = random.RandomPassword(
            f"{name}-password",
            length=48,
            special=False,
            opts=ResourceOptions(parent=self, additional_secret_outputs=["result"]),
        )
        token = Output.secret(password.result)
        hosts = {use: self._group(name, use, args, subnets.name, group, token) for use in EVICTION}
        self.contract = contracts.Cache(
            state_host=hosts["state"],
            state_port=PORT,
            cache_host=hosts["cache"],
            cache_port=PORT,
            tls=True,
            password=token,
            cache_password=token,
            ca="",
        )
        self.register_outputs({"state": hosts["state"], "cache": hosts["cache"]})

    def _group(
        self, name: str, use: str, args: CacheArgs, subnets: Input[str], group: Input[str], token: Output[str]
    ) -> Output[str]:
        spec, place = args.spec, args.place
        tags = {**place.tags, "Name": f"{place.prefix}-{use}"}
        parameters = aws.elasticache.ParameterGroup(
            f"{name}-{use}-parameters",
            name=f"{place.prefix}-{use}",
            family="valkey8",
            parameters=[aws.elasticache.ParameterGroupParameterArgs(name="maxmemory-policy", value=EVICTION[use])],
            tags=tags,
            opts=ResourceOptions(parent=self),
        )
        several = spec.environment != "dev"
        replication = aws.elasticache.ReplicationGroup(
            f"{name}-{use}",
            replication_group_id=f"{place.prefix}-{use}",
            description=f"{place.prefix} {use}",
            engine="valkey",
            engine_version="8.0",
            node_type=NODE_TYPES[spec.environment],
            num_cache_clusters=2 if several else 1,
            automatic_failover_enabled=several,
            multi_az_enabled=several,
            parameter_group_name=parameters.name,
            subnet_group_name=subnets,
            security_group_ids=[group],
            port=PORT,
            at_rest_encryption_enabled=True,
            kms_key_id=args.keys.data_arn,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            auth_token=token,
            # Sessions and limits survive a lost group for as long as they matter; cached answers need not.
            snapshot_retention_limit=7 if use == "state" else 0,
            auto_minor_version_upgrade=True,
            tags=tags,
            opts=ResourceOptions(parent=self, protect=place.protect and use == "state"),
        )
        return replication.primary_endpoint_address
