"""Owns Backup for GKE: a daily plan with locked retention, and the plan a restore follows.

The database's own backups and point-in-time recovery belong to ``database``.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
from pulumi import ResourceOptions

from infra.clouds.gcp.cluster import Cluster
from infra.clouds.gcp.keys import Keys
from infra.naming import Placement
from infra.settings import PlatformSpec

KEPT_DAYS = 35
NAMESPACES = ("ai-agents", "vault", "consul", "monitoring")
"""What is worth restoring; all else follows from the program."""


@dataclass(frozen=True)
class BackupArgs:
    """What is backed up."""

    spec: PlatformSpec
    place: Placement
    cluster: Cluster
    keys: Keys


class Backup(pulumi.ComponentResource):
    """Daily backups of the cluster's own state, which cannot be deleted early in production."""

    def __init__(self, name: str, args: BackupArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:gcp:Backup", name, {}, opts)
        place, spec, child = args.place, args.spec, ResourceOptions(parent=self)
        selected = gcp.gkebackup.BackupPlanBackupConfigSelectedNamespacesArgs(namespaces=list(NAMESPACES))
        encryption = gcp.gkebackup.BackupPlanBackupConfigEncryptionKeyArgs(gcp_kms_encryption_key=args.keys.data)
        plan = gcp.gkebackup.BackupPlan(
            f"{name}-plan",
            name=place.prefix,
            cluster=args.cluster.id,
            location=spec.region,
            backup_config=gcp.gkebackup.BackupPlanBackupConfigArgs(
                include_secrets=True, include_volume_data=True, selected_namespaces=selected, encryption_key=encryption
            ),
            backup_schedule=gcp.gkebackup.BackupPlanBackupScheduleArgs(cron_schedule="0 4 * * *"),
            retention_policy=gcp.gkebackup.BackupPlanRetentionPolicyArgs(
                backup_retain_days=KEPT_DAYS,
                backup_delete_lock_days=7 if place.protect else 0,
                locked=spec.environment == "prod",
            ),
            labels=dict(place.tags),
            opts=ResourceOptions(parent=self, protect=place.protect, depends_on=args.keys.grants),
        )
        gcp.gkebackup.RestorePlan(
            f"{name}-restore",
            name=place.prefix,
            backup_plan=plan.id,
            cluster=args.cluster.id,
            location=spec.region,
            restore_config=gcp.gkebackup.RestorePlanRestoreConfigArgs(
                selected_namespaces=gcp.gkebackup.RestorePlanRestoreConfigSelectedNamespacesArgs(
                    namespaces=list(NAMESPACES)
                ),
                namespaced_resource_restore_mode="MERGE_SKIP_ON_CONFLICT",
                volume_data_restore_policy="RESTORE_VOLUME_DATA_FROM_BACKUP",
                cluster_resource_conflict_policy="USE_EXISTING_VERSION",
                cluster_resource_restore_scope=gcp.gkebackup.RestorePlanRestoreConfigClusterResourceRestoreScopeArgs(
                    no_group_kinds=True
                ),
            ),
            labels=dict(place.tags),
            opts=child,
        )
        self.register_outputs({})
