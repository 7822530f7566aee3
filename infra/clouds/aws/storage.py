"""Owns the S3 buckets: Loki's chunks and Vault's snapshots."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Output, ResourceOptions

from infra import contracts
from infra.clouds.aws.keys import Keys
from infra.clouds.aws.policies import document
from infra.naming import Placement
from infra.settings import PlatformSpec

KEPT_DAYS = {"logs": 90, "snapshots": 35}
"""Days an object is kept."""


@dataclass(frozen=True)
class StorageArgs:
    """What the buckets are made of."""

    spec: PlatformSpec
    place: Placement
    keys: Keys


class Storage(pulumi.ComponentResource):
    """Private, versioned buckets, encrypted with the data key; plain HTTP is refused."""

    contract: contracts.Storage
    arns: dict[str, Output[str]]
    """ARN by purpose: logs, snapshots."""

    def __init__(self, name: str, args: StorageArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:aws:Storage", name, {}, opts)
        buckets = {purpose: self._bucket(f"{name}-{purpose}", purpose, args) for purpose in KEPT_DAYS}
        self.arns = {purpose: bucket.arn for purpose, bucket in buckets.items()}
        self.contract = contracts.Storage(kind="s3", logs=buckets["logs"].bucket, snapshots=buckets["snapshots"].bucket)
        self.register_outputs({"logs": buckets["logs"].bucket, "snapshots": buckets["snapshots"].bucket})

    def _bucket(self, name: str, purpose: str, args: StorageArgs) -> aws.s3.Bucket:
        child = ResourceOptions(parent=self)
        physical = f"{args.place.prefix}-{purpose}-{args.spec.account}-{args.spec.region}"
        bucket = aws.s3.Bucket(
            name,
            bucket=physical,
            force_destroy=not args.place.protect,
            tags={**args.place.tags, "Name": physical},
            opts=ResourceOptions(parent=self, protect=args.place.protect),
        )
        aws.s3.BucketPublicAccessBlock(
            f"{name}-private",
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        encryption = aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
            sse_algorithm="aws:kms", kms_master_key_id=args.keys.data_arn
        )
        rule = aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
            apply_server_side_encryption_by_default=encryption, bucket_key_enabled=True
        )
        aws.s3.BucketServerSideEncryptionConfiguration(f"{name}-encryption", bucket=bucket.id, rules=[rule], opts=child)
        aws.s3.BucketVersioning(
            f"{name}-versions",
            bucket=bucket.id,
            versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=child,
        )
        expiry = aws.s3.BucketLifecycleConfigurationRuleArgs(
            id="expire",
            status="Enabled",
            filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
            expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=KEPT_DAYS[purpose]),
            noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                noncurrent_days=7
            ),
            abort_incomplete_multipart_upload=aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                days_after_initiation=3
            ),
        )
        aws.s3.BucketLifecycleConfiguration(f"{name}-lifecycle", bucket=bucket.id, rules=[expiry], opts=child)
        plain = {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket.arn, Output.concat(bucket.arn, "/*")],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        aws.s3.BucketPolicy(f"{name}-policy", bucket=bucket.id, policy=document(plain), opts=child)
        return bucket
