"""Owns the customer-managed KMS keys: one for the cluster's secrets, one for data, one for Vault's seal."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
from pulumi import Output, ResourceOptions

from infra import contracts
from infra.clouds.gcp.apis import Apis
from infra.naming import Placement
from infra.settings import PlatformSpec

ROTATION_SECONDS = 90 * 86_400
USERS = {
    "cluster": ("container", "compute"),
    "data": ("sqladmin", "memorystore", "storage", "compute", "gkebackup", "secretmanager"),
    "vault": (),
}
"""Whose service identity uses which key."""


@dataclass(frozen=True)
class KeysArgs:
    """What the keys are made of."""

    spec: PlatformSpec
    place: Placement
    apis: Apis


class Keys(pulumi.ComponentResource):
    """Three keys that rotate every 90 days; ``grants`` must be there before a service is told to use its key."""

    contract: contracts.Keys
    cluster: Output[str]
    data: Output[str]
    vault: Output[str]
    grants: list[pulumi.Resource]

    def __init__(self, name: str, args: KeysArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:gcp:Keys", name, {}, opts)
        ring = gcp.kms.KeyRing(
            f"{name}-ring", name=args.place.prefix, location=args.spec.region, opts=ResourceOptions(parent=self)
        )
        self.grants = []
        self.cluster, self.data, self.vault = (self._key(name, purpose, ring.id, args) for purpose in USERS)
        self.contract = contracts.Keys(cluster=self.cluster, data=self.data, vault=self.vault)
        self.register_outputs({"cluster": self.cluster, "data": self.data, "vault": self.vault})

    def _key(self, name: str, purpose: str, ring: Output[str], args: KeysArgs) -> Output[str]:
        key = gcp.kms.CryptoKey(
            f"{name}-{purpose}",
            name=purpose,
            key_ring=ring,
            rotation_period=f"{ROTATION_SECONDS}s",
            destroy_scheduled_duration=f"{30 * 86_400}s",
            labels=dict(args.place.tags),
            opts=ResourceOptions(parent=self, protect=args.place.protect),
        )
        for user in USERS[purpose]:
            grant = gcp.kms.CryptoKeyIAMMember(
                f"{name}-{purpose}-{user}",
                crypto_key_id=key.id,
                role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
                member=args.apis.members[user],
                opts=ResourceOptions(parent=self),
            )
            self.grants.append(grant)
        return key.id
