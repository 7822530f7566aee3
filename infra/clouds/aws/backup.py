"""Owns AWS Backup: a locked vault, a daily plan for the database, and a restore that is tested every week."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, ResourceOptions

from infra.clouds.aws.keys import Keys
from infra.clouds.aws.policies import trust
from infra.naming import Placement
from infra.settings import PlatformSpec

KEPT_DAYS = 35


@dataclass(frozen=True)
class BackupArgs:
    """What is backed up."""

    spec: PlatformSpec
    place: Placement
    keys: Keys
    database_arn: Input[str]


class Backup(pulumi.ComponentResource):
    """Backups nobody can delete early, and the proof that they restore."""

    def __init__(self, name: str, args: BackupArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:aws:Backup", name, {}, opts)
        place, child = args.place, ResourceOptions(parent=self)
        tags = {**place.tags, "Name": f"{place.prefix}-backup"}
        vault = aws.backup.Vault(
            f"{name}-vault",
            name=place.prefix,
            kms_key_arn=args.keys.data_arn,
            force_destroy=not place.protect,
            tags=tags,
            opts=ResourceOptions(parent=self, protect=place.protect),
        )
        if args.spec.environment == "prod":
            # Without changeable_for_days the lock stays one an administrator can lift; compliance mode is theirs to choose.
            aws.backup.VaultLockConfiguration(
                f"{name}-lock", backup_vault_name=vault.name, min_retention_days=7, max_retention_days=365, opts=child
            )
        role = aws.iam.Role(f"{name}-role", assume_role_policy=trust("backup.amazonaws.com"), tags=tags, opts=child)
        for policy in ("ForBackup", "ForRestores"):
            arn = f"arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicy{policy}"
            aws.iam.RolePolicyAttachment(f"{name}-role-{policy.lower()}", role=role.name, policy_arn=arn, opts=child)
        plan = aws.backup.Plan(
            f"{name}-plan",
            name=place.prefix,
            rules=[
                aws.backup.PlanRuleArgs(
                    rule_name="daily",
                    target_vault_name=vault.name,
                    schedule="cron(0 4 * * ? *)",
                    start_window=60,
                    completion_window=300,
                    lifecycle=aws.backup.PlanRuleLifecycleArgs(delete_after=KEPT_DAYS),
                    recovery_point_tags=tags,
                )
            ],
            tags=tags,
            opts=child,
        )
        aws.backup.Selection(
            f"{name}-selection",
            name=place.prefix,
            plan_id=plan.id,
            iam_role_arn=role.arn,
            resources=[args.database_arn],
            opts=child,
        )
        points = aws.backup.RestoreTestingPlanRecoveryPointSelectionArgs(
            algorithm="LATEST_WITHIN_WINDOW",
            include_vaults=[vault.arn],
            recovery_point_types=["SNAPSHOT"],
            selection_window_days=7,
        )
        # Names of restore tests take letters, digits and underscores only.
        test_name = place.prefix.replace("-", "_")
        test = aws.backup.RestoreTestingPlan(
            f"{name}-restore-test",
            name=test_name,
            recovery_point_selection=points,
            schedule_expression="cron(0 6 ? * SUN *)",
            start_window_hours=4,
            tags=tags,
            opts=child,
        )
        aws.backup.RestoreTestingSelection(
            f"{name}-restore-test-database",
            name=f"{test_name}_database",
            restore_testing_plan_name=test.name,
            protected_resource_type="RDS",
            protected_resource_arns=[args.database_arn],
            iam_role_arn=role.arn,
            validation_window_hours=4,
            opts=child,
        )
        self.register_outputs({})
