"""Owns the Backup vault: long-term backups of the database beside the server's own point-in-time recovery.

A restore from it is rehearsed by the runbook's procedure: the service has no scheduled restore test.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import Input, ResourceOptions
from pulumi_azure_native import dataprotection as dp

from infra.clouds.azure.group import Group
from infra.naming import Placement
from infra.settings import PlatformSpec

DATASOURCE = "Microsoft.DBforPostgreSQL/flexibleServers"
KEPT = "P90D"
"""Retention of a weekly backup, ISO 8601."""


@dataclass(frozen=True)
class BackupArgs:
    """What is backed up."""

    spec: PlatformSpec
    place: Placement
    group: Group
    database_id: Input[str]


class Backup(pulumi.ComponentResource):
    """Weekly backups in a vault with soft delete; in production they cannot be deleted early."""

    def __init__(self, name: str, args: BackupArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:azure:Backup", name, {}, opts)
        place, child = args.place, ResourceOptions(parent=self)
        security = dp.SecuritySettingsArgs(
            soft_delete_settings=dp.SoftDeleteSettingsArgs(state="On", retention_duration_in_days=14.0),
            immutability_settings=dp.ImmutabilitySettingsArgs(
                state="Unlocked" if args.spec.environment == "prod" else "Disabled"
            ),
        )
        vault = dp.BackupVault(
            f"{name}-vault",
            vault_name=place.prefix,
            resource_group_name=args.group.name,
            location=args.spec.region,
            identity=dp.DppIdentityDetailsArgs(type="SystemAssigned"),
            properties=dp.BackupVaultArgs(
                storage_settings=[
                    dp.StorageSettingArgs(
                        datastore_type="VaultStore",
                        type="GeoRedundant" if args.spec.environment == "prod" else "ZoneRedundant",
                    )
                ],
                security_settings=security,
            ),
            tags=dict(place.tags),
            opts=ResourceOptions(parent=self, protect=place.protect),
        )
        principal = vault.identity.apply(lambda identity: (identity.principal_id or "") if identity else "")
        grants = [
            args.group.grant(f"{name}-{role.split(' ', 1)[0].lower()}", role, principal, scope, child)
            for role, scope in (
                ("PostgreSQL Flexible Server Long Term Retention Backup Role", args.database_id),
                ("Reader", args.group.id),
            )
        ]
        policy = dp.BackupPolicy(
            f"{name}-policy",
            backup_policy_name="weekly",
            vault_name=vault.name,
            resource_group_name=args.group.name,
            properties=_policy(),
            opts=child,
        )
        source = dp.DatasourceArgs(
            resource_id=args.database_id, resource_uri=args.database_id, resource_name="database", resource_location=args.spec.region,
            resource_type=DATASOURCE, datasource_type=DATASOURCE, object_type="Datasource",
        )  # fmt: skip
        dp.BackupInstance(
            f"{name}-database",
            backup_instance_name="database",
            vault_name=vault.name,
            resource_group_name=args.group.name,
            properties=dp.BackupInstanceArgs(
                friendly_name="database",
                object_type="BackupInstance",
                data_source_info=source,
                policy_info=dp.PolicyInfoArgs(policy_id=policy.id),
            ),
            tags=dict(place.tags),
            opts=ResourceOptions(parent=self, depends_on=grants),
        )
        self.register_outputs({})


def _policy() -> dp.BackupPolicyArgs:
    store = dp.DataStoreInfoBaseArgs(data_store_type="VaultStore", object_type="DataStoreInfoBase")
    tag = dp.TaggingCriteriaArgs(
        is_default=True, tagging_priority=99.0, tag_info=dp.RetentionTagArgs(tag_name="Default")
    )
    schedule = dp.BackupScheduleArgs(repeating_time_intervals=["R/2026-01-04T04:00:00+00:00/P1W"], time_zone="UTC")
    backup = dp.AzureBackupRuleArgs(
        name="weekly",
        object_type="AzureBackupRule",
        data_store=store,
        backup_parameters=dp.AzureBackupParamsArgs(object_type="AzureBackupParams", backup_type="Full"),
        trigger=dp.ScheduleBasedTriggerContextArgs(
            object_type="ScheduleBasedTriggerContext", schedule=schedule, tagging_criteria=[tag]
        ),
    )
    lifecycle = dp.SourceLifeCycleArgs(
        source_data_store=store,
        delete_after=dp.AbsoluteDeleteOptionArgs(duration=KEPT, object_type="AbsoluteDeleteOption"),
    )
    retention = dp.AzureRetentionRuleArgs(
        name="Default", object_type="AzureRetentionRule", is_default=True, lifecycles=[lifecycle]
    )
    return dp.BackupPolicyArgs(
        datasource_types=[DATASOURCE], object_type="BackupPolicy", policy_rules=[backup, retention]
    )
