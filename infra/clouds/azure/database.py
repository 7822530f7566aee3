"""Owns PostgreSQL flexible server: inside the network, encrypted with our key, over two zones, its credentials in Key Vault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_random as random
from pulumi import Output, ResourceOptions
from pulumi_azure_native import dbforpostgresql, keyvault

from infra import contracts
from infra.clouds.azure.group import Group, unique
from infra.clouds.azure.keys import Keys
from infra.clouds.azure.network import Network
from infra.naming import Placement
from infra.settings import PlatformSpec

SIZES: Mapping[str, tuple[str, str]] = {
    "dev": ("Standard_B2s", "Burstable"),
    "staging": ("Standard_D2ads_v5", "GeneralPurpose"),
    "prod": ("Standard_D4ads_v5", "GeneralPurpose"),
}
PORT = 5432
PARAMETERS = {
    "require_secure_transport": "on",
    "ssl_min_protocol_version": "TLSv1.2",
    "log_connections": "on",
    "log_min_duration_statement": "1000",
}
STORAGE_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32767)
"""What the service offers, GiB."""


@dataclass(frozen=True)
class DatabaseArgs:
    """What the database is made of."""

    spec: PlatformSpec
    place: Placement
    group: Group
    network: Network
    keys: Keys


class Database(pulumi.ComponentResource):
    """PostgreSQL 17 without a public address; TLS 1.2 or later, over two zones outside dev."""

    contract: contracts.Database
    id: Output[str]
    credentials_secret: Output[str]

    def __init__(self, name: str, args: DatabaseArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:azure:Database", name, {}, opts)
        spec, place, child = args.spec, args.place, ResourceOptions(parent=self)
        password = random.RandomPassword(
            f"{name}-password",
            length=40,
            special=False,
            opts=ResourceOptions(parent=self, additional_secret_outputs=["result"]),
        )
        secret_password = Output.secret(password.result)
        zone = args.network.private_zone(f"{name}-zone", f"{place.prefix}.private.postgres.database.azure.com", child)
        server = self._server(name, args, zone, secret_password)
        self.id = server.id
        previous: pulumi.Resource = server
        for parameter, value in PARAMETERS.items():
            # The server takes one change at a time and answers "busy" to a second.
            previous = dbforpostgresql.Configuration(
                f"{name}-{parameter.replace('_', '-')}",
                configuration_name=parameter,
                server_name=server.name,
                resource_group_name=args.group.name,
                source="user-override",
                value=value,
                opts=ResourceOptions(parent=self, depends_on=[previous]),
            )
        dbforpostgresql.Database(
            f"{name}-database",
            database_name=spec.database.name,
            server_name=server.name,
            resource_group_name=args.group.name,
            charset="UTF8",
            collation="en_US.utf8",
            opts=ResourceOptions(parent=self, protect=place.protect, depends_on=[previous]),
        )
        document = Output.json_dumps({"username": spec.database.user, "password": secret_password})
        secret = keyvault.Secret(
            f"{name}-credentials",
            secret_name="database",
            vault_name=args.keys.vault_name,
            resource_group_name=args.group.name,
            properties=keyvault.SecretPropertiesArgs(value=document, content_type="application/json"),
            tags=dict(place.tags),
            opts=child,
        )
        # The address of a secret is none; its properties are marked for the value they also hold.
        self.credentials_secret = Output.unsecret(
            secret.properties.apply(lambda properties: properties.secret_uri or "")
        )
        host = server.fully_qualified_domain_name
        self.contract = contracts.Database(
            host=host,
            port=PORT,
            name=spec.database.name,
            user=spec.database.user,
            password="",
            credentials_secret=self.credentials_secret,
            ca="azure",
        )
        self.register_outputs({"host": host})

    def _server(
        self, name: str, args: DatabaseArgs, zone: Output[str], password: Output[str]
    ) -> dbforpostgresql.Server:
        spec, place = args.spec, args.place
        size, tier = SIZES[spec.environment]
        redundant = spec.environment != "dev"
        return dbforpostgresql.Server(
            f"{name}-postgresql",
            server_name=unique(place, spec, "pg", 40),
            resource_group_name=args.group.name,
            location=spec.region,
            version="17",
            sku=dbforpostgresql.SkuArgs(name=size, tier=tier),
            administrator_login=spec.database.user,
            administrator_login_password=password,
            auth_config=dbforpostgresql.AuthConfigArgs(
                password_auth="Enabled", active_directory_auth="Enabled", tenant_id=spec.tenant
            ),
            storage=dbforpostgresql.StorageArgs(
                storage_size_gb=next(size for size in STORAGE_SIZES if size >= spec.database.storage_gib),
                auto_grow="Enabled",
            ),
            backup=dbforpostgresql.BackupArgs(
                backup_retention_days=max(spec.database.backup_days, 7), geo_redundant_backup="Disabled"
            ),
            availability_zone=spec.zones[0],
            high_availability=dbforpostgresql.HighAvailabilityArgs(
                mode="ZoneRedundant" if redundant else "Disabled",
                standby_availability_zone=spec.zones[1] if redundant else None,
            ),
            network=dbforpostgresql.NetworkArgs(
                delegated_subnet_resource_id=args.network.database,
                private_dns_zone_arm_resource_id=zone,
                public_network_access="Disabled",
            ),
            identity=dbforpostgresql.UserAssignedIdentityArgs(
                type="UserAssigned",
                user_assigned_identities=args.keys.data_identity.apply(lambda identity: {identity: {}}),
            ),
            data_encryption=dbforpostgresql.DataEncryptionArgs(
                type="AzureKeyVault",
                primary_key_uri=args.keys.ids["data"],
                primary_user_assigned_identity_id=args.keys.data_identity,
            ),
            maintenance_window=dbforpostgresql.MaintenanceWindowArgs(
                custom_window="Enabled", day_of_week=0, start_hour=3, start_minute=0
            ),
            tags=dict(place.tags),
            # After a failover the zones are the other way round; that is no change to undo.
            opts=ResourceOptions(
                parent=self,
                protect=place.protect,
                depends_on=[args.keys.data_grant],
                ignore_changes=["availabilityZone", "highAvailability.standbyAvailabilityZone"],
            ),
        )
