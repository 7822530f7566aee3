"""Owns PostgreSQL on RDS: private, encrypted, over two zones, its password kept and rotated by Secrets Manager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import contracts
from infra.clouds.aws.groups import store_group
from infra.clouds.aws.keys import Keys
from infra.clouds.aws.network import Network
from infra.naming import Placement
from infra.settings import PlatformSpec

CLASSES: Mapping[str, str] = {"dev": "db.t4g.medium", "staging": "db.m7g.large", "prod": "db.m7g.xlarge"}
PORT = 5432


@dataclass(frozen=True)
class DatabaseArgs:
    """What the database is made of."""

    spec: PlatformSpec
    place: Placement
    network: Network
    keys: Keys
    clients: Input[str]
    """Security group that may connect: the cluster's nodes and pods."""


class Database(pulumi.ComponentResource):
    """PostgreSQL 17; TLS is forced, deletion needs two steps where the stack is protected."""

    contract: contracts.Database
    arn: Output[str]
    credentials_secret: Output[str]

    def __init__(self, name: str, args: DatabaseArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:aws:Database", name, {}, opts)
        spec, place, child = args.spec, args.place, ResourceOptions(parent=self)
        tags = {**place.tags, "Name": f"{place.prefix}-database"}
        subnets = aws.rds.SubnetGroup(
            f"{name}-subnets", subnet_ids=list(args.network.database_subnets), tags=tags, opts=child
        )
        group = store_group(f"{name}-group", args.network.id, args.clients, PORT, "PostgreSQL", tags, child)
        parameters = aws.rds.ParameterGroup(
            f"{name}-parameters",
            family="postgres17",
            parameters=[
                _parameter("rds.force_ssl", "1"),
                _parameter("log_min_duration_statement", "1000"),
                _parameter("log_connections", "1"),
            ],
            tags=tags,
            opts=child,
        )
        instance = aws.rds.Instance(
            f"{name}-postgresql",
            identifier=f"{place.prefix}-database",
            engine="postgres",
            engine_version="17",
            instance_class=CLASSES[spec.environment],
            allocated_storage=spec.database.storage_gib,
            max_allocated_storage=spec.database.storage_gib * 4,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=args.keys.data_arn,
            db_name=spec.database.name,
            username=spec.database.user,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=args.keys.data_arn,
            port=PORT,
            multi_az=spec.environment != "dev",
            publicly_accessible=False,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group],
            parameter_group_name=parameters.name,
            ca_cert_identifier="rds-ca-rsa2048-g1",
            backup_retention_period=spec.database.backup_days,
            backup_window="02:00-03:00",
            maintenance_window="sun:03:30-sun:04:30",
            copy_tags_to_snapshot=True,
            delete_automated_backups=not place.protect,
            skip_final_snapshot=not place.protect,
            final_snapshot_identifier=f"{place.prefix}-database-final" if place.protect else None,
            deletion_protection=place.protect,
            auto_minor_version_upgrade=True,
            performance_insights_enabled=True,
            performance_insights_kms_key_id=args.keys.data_arn,
            enabled_cloudwatch_logs_exports=["postgresql", "upgrade"],
            tags=tags,
            opts=ResourceOptions(parent=self, protect=place.protect),
        )
        self.arn = instance.arn
        self.credentials_secret = instance.master_user_secrets.apply(
            lambda secrets: (secrets[0].secret_arn or "") if secrets else ""
        )
        self.contract = contracts.Database(
            host=instance.address,
            port=PORT,
            name=spec.database.name,
            user=spec.database.user,
            password="",
            credentials_secret=self.credentials_secret,
            ca="rds",
        )
        self.register_outputs({"host": instance.address})


def _parameter(name: str, value: str) -> aws.rds.ParameterGroupParameterArgs:
    # Static parameters only take effect at a restart; asking for it at once would be refused.
    return aws.rds.ParameterGroupParameterArgs(
        name=name, value=value, apply_method="pending-reboot" if name == "rds.force_ssl" else "immediate"
    )
