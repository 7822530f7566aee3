"""Owns the customer-managed KMS keys: one for the cluster's secrets, one for data, one for Vault's seal."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Output, ResourceOptions

from infra import contracts
from infra.clouds.aws.policies import document
from infra.naming import Placement
from infra.settings import PlatformSpec


@dataclass(frozen=True)
class KeysArgs:
    """What the keys are made of."""

    spec: PlatformSpec
    place: Placement


class Keys(pulumi.ComponentResource):
    """Three keys that rotate yearly; deletion waits 30 days, the longest KMS takes."""

    contract: contracts.Keys
    cluster_arn: Output[str]
    data_arn: Output[str]
    vault_arn: Output[str]

    def __init__(self, name: str, args: KeysArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:aws:Keys", name, {}, opts)
        self.cluster_arn = self._key(name, args, "cluster")
        self.data_arn = self._key(name, args, "data")
        self.vault_arn = self._key(name, args, "vault")
        self.contract = contracts.Keys(cluster=self.cluster_arn, data=self.data_arn, vault=self.vault_arn)
        self.register_outputs({"cluster": self.cluster_arn, "data": self.data_arn, "vault": self.vault_arn})

    def _key(self, name: str, args: KeysArgs, purpose: str) -> Output[str]:
        key = aws.kms.Key(
            f"{name}-{purpose}",
            description=f"{args.place.prefix} {purpose}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            policy=_policy(args.spec, purpose),
            tags={**args.place.tags, "Name": f"{args.place.prefix}-{purpose}"},
            opts=ResourceOptions(parent=self, protect=args.place.protect),
        )
        aws.kms.Alias(
            f"{name}-{purpose}-alias",
            name=f"alias/{args.place.prefix}-{purpose}",
            target_key_id=key.key_id,
            opts=ResourceOptions(parent=self),
        )
        return key.arn


def _policy(spec: PlatformSpec, purpose: str) -> Output[str]:
    # The account's own IAM decides who uses a key; log groups are encrypted by the logs service itself.
    root = {
        "Sid": "Account",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{spec.account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    if purpose != "data":
        return document(root)
    scope = {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{spec.region}:{spec.account}:*"}}
    logs = {
        "Sid": "Logs",
        "Effect": "Allow",
        "Principal": {"Service": f"logs.{spec.region}.amazonaws.com"},
        "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
        "Resource": "*",
        "Condition": scope,
    }
    # Nodes' and volumes' disks are encrypted with this key by the autoscaling service's own role.
    scaling = (
        f"arn:aws:iam::{spec.account}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    )
    use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    disks = {"Sid": "Disks", "Effect": "Allow", "Principal": {"AWS": scaling}, "Action": use, "Resource": "*"}
    grant = {
        "Sid": "DiskGrants",
        "Effect": "Allow",
        "Principal": {"AWS": scaling},
        "Action": ["kms:CreateGrant"],
        "Resource": "*",
        "Condition": {"Bool": {"kms:GrantIsForAWSResource": True}},
    }
    return document(root, logs, disks, grant)
