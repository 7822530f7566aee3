"""Owns PostgreSQL on Cloud SQL: private, encrypted, over two zones, its credentials in Secret Manager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
import pulumi_random as random
from pulumi import Output, ResourceOptions

from infra import contracts
from infra.clouds.gcp.keys import Keys
from infra.clouds.gcp.network import Network
from infra.naming import Placement
from infra.settings import PlatformSpec

TIERS: Mapping[str, str] = {"dev": "db-custom-1-3840", "staging": "db-custom-2-7680", "prod": "db-custom-4-15360"}
PORT = 5432


@dataclass(frozen=True)
class DatabaseArgs:
    """What the database is made of."""

    spec: PlatformSpec
    place: Placement
    network: Network
    keys: Keys


class Database(pulumi.ComponentResource):
    """PostgreSQL 17 without a public address; only TLS connections, point-in-time recovery."""

    contract: contracts.Database
    credentials_secret: Output[str]

    def __init__(self, name: str, args: DatabaseArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:gcp:Database", name, {}, opts)
        spec, place, child = args.spec, args.place, ResourceOptions(parent=self)
        instance = gcp.sql.DatabaseInstance(
            f"{name}-postgresql",
            # No fixed name: a deleted instance's name cannot be used again for a week.
            database_version="POSTGRES_17",
            region=spec.region,
            encryption_key_name=args.keys.data,
            deletion_protection=place.protect,
            settings=_settings(args),
            opts=ResourceOptions(
                parent=self, protect=place.protect, depends_on=[args.network.peering, *args.keys.grants]
            ),
        )
        gcp.sql.Database(
            f"{name}-database",
            name=spec.database.name,
            instance=instance.name,
            opts=ResourceOptions(parent=self, protect=place.protect),
        )
        password = random.RandomPassword(
            f"{name}-password",
            length=40,
            special=False,
            opts=ResourceOptions(parent=self, additional_secret_outputs=["result"]),
        )
        secret_password = Output.secret(password.result)
        gcp.sql.User(
            f"{name}-user", name=spec.database.user, instance=instance.name, password=secret_password, opts=child
        )
        secret = gcp.secretmanager.Secret(
            f"{name}-credentials",
            secret_id=f"{place.prefix}-database",
            replication=replication(spec, args.keys),
            labels=dict(place.tags),
            opts=ResourceOptions(parent=self, depends_on=args.keys.grants),
        )
        document = Output.json_dumps({"username": spec.database.user, "password": secret_password})
        gcp.secretmanager.SecretVersion(
            f"{name}-credentials-version", secret=secret.id, secret_data=document, opts=child
        )
        self.credentials_secret = secret.id
        ca = instance.server_ca_certs.apply(lambda found: (found[0].cert or "") if found else "")
        self.contract = contracts.Database(
            host=instance.private_ip_address,
            port=PORT,
            name=spec.database.name,
            user=spec.database.user,
            password="",
            credentials_secret=secret.id,
            ca=ca,
        )
        self.register_outputs({"host": instance.private_ip_address})


def replication(spec: PlatformSpec, keys: Keys) -> gcp.secretmanager.SecretReplicationArgs:
    """A secret in the stack's region only, encrypted with the data key."""
    encryption = gcp.secretmanager.SecretReplicationUserManagedReplicaCustomerManagedEncryptionArgs(
        kms_key_name=keys.data
    )
    replica = gcp.secretmanager.SecretReplicationUserManagedReplicaArgs(
        location=spec.region, customer_managed_encryption=encryption
    )
    return gcp.secretmanager.SecretReplicationArgs(
        user_managed=gcp.secretmanager.SecretReplicationUserManagedArgs(replicas=[replica])
    )


def _settings(args: DatabaseArgs) -> gcp.sql.DatabaseInstanceSettingsArgs:
    spec, place = args.spec, args.place
    retention = gcp.sql.DatabaseInstanceSettingsBackupConfigurationBackupRetentionSettingsArgs(
        retained_backups=spec.database.backup_days, retention_unit="COUNT"
    )
    return gcp.sql.DatabaseInstanceSettingsArgs(
        tier=TIERS[spec.environment],
        edition="ENTERPRISE",
        availability_type="ZONAL" if spec.environment == "dev" else "REGIONAL",
        deletion_protection_enabled=place.protect,
        disk_type="PD_SSD",
        disk_size=spec.database.storage_gib,
        disk_autoresize=True,
        disk_autoresize_limit=spec.database.storage_gib * 4,
        ip_configuration=gcp.sql.DatabaseInstanceSettingsIpConfigurationArgs(
            ipv4_enabled=False,
            private_network=args.network.id,
            ssl_mode="ENCRYPTED_ONLY",
            enable_private_path_for_google_cloud_services=False,
        ),
        backup_configuration=gcp.sql.DatabaseInstanceSettingsBackupConfigurationArgs(
            enabled=True,
            start_time="02:00",
            location=spec.region,
            point_in_time_recovery_enabled=True,
            # The enterprise edition keeps logs for at most seven days.
            transaction_log_retention_days=min(spec.database.backup_days, 7),
            backup_retention_settings=retention,
        ),
        insights_config=gcp.sql.DatabaseInstanceSettingsInsightsConfigArgs(query_insights_enabled=True),
        maintenance_window=gcp.sql.DatabaseInstanceSettingsMaintenanceWindowArgs(day=7, hour=3, update_track="stable"),
        database_flags=[
            gcp.sql.DatabaseInstanceSettingsDatabaseFlagArgs(name=flag, value=value)
            for flag, value in (
                ("log_connections", "on"),
                ("log_disconnections", "on"),
                ("log_min_duration_statement", "1000"),
            )
        ],
        user_labels=dict(place.tags),
    )
