"""Owns the Cloud Storage buckets: Loki's chunks and Vault's snapshots."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
from pulumi import Output, ResourceOptions

from infra import contracts
from infra.clouds.gcp.keys import Keys
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
    """Private, versioned buckets, encrypted with the data key; access by IAM alone."""

    contract: contracts.Storage
    names: dict[str, Output[str]]
    """Bucket by purpose: logs, snapshots."""

    def __init__(self, name: str, args: StorageArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:gcp:Storage", name, {}, opts)
        self.names = {purpose: self._bucket(f"{name}-{purpose}", purpose, args) for purpose in KEPT_DAYS}
        self.contract = contracts.Storage(kind="gcs", logs=self.names["logs"], snapshots=self.names["snapshots"])
        self.register_outputs(dict(self.names))

    def _bucket(self, name: str, purpose: str, args: StorageArgs) -> Output[str]:
        delete = gcp.storage.BucketLifecycleRuleActionArgs(type="Delete")
        bucket = gcp.storage.Bucket(
            name,
            name=f"{args.spec.account}-{args.place.prefix}-{purpose}",
            location=args.spec.region,
            storage_class="STANDARD",
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            force_destroy=not args.place.protect,
            encryption=gcp.storage.BucketEncryptionArgs(default_kms_key_name=args.keys.data),
            versioning=gcp.storage.BucketVersioningArgs(enabled=True),
            lifecycle_rules=[
                gcp.storage.BucketLifecycleRuleArgs(
                    action=delete, condition=gcp.storage.BucketLifecycleRuleConditionArgs(age=KEPT_DAYS[purpose])
                ),
                gcp.storage.BucketLifecycleRuleArgs(
                    action=delete, condition=gcp.storage.BucketLifecycleRuleConditionArgs(days_since_noncurrent_time=7)
                ),
            ],
            labels=dict(args.place.tags),
            opts=ResourceOptions(parent=self, protect=args.place.protect, depends_on=args.keys.grants),
        )
        return bucket.name
