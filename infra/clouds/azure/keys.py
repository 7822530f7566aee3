"""Owns the Key Vaults and keys: one key for the cluster's secrets, one for data, one for Vault's seal.

Keys and secrets are made through the control plane (ARM), so the vault needs no public endpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import Output, ResourceOptions
from pulumi_azure_native import keyvault, managedidentity

from infra import contracts
from infra.clouds.azure.group import Group, unique
from infra.naming import Placement
from infra.settings import PlatformSpec

PURPOSES = ("cluster", "data", "vault")


@dataclass(frozen=True)
class KeysArgs:
    """What the keys are made of."""

    spec: PlatformSpec
    place: Placement
    group: Group


class Keys(pulumi.ComponentResource):
    """A Key Vault with purge protection, three keys that rotate yearly, and the identity data services use theirs by."""

    contract: contracts.Keys
    vault_id: Output[str]
    vault_name: Output[str]
    vault_uri: Output[str]
    ids: dict[str, Output[str]]
    """Versioned key URI by purpose."""
    names: dict[str, Output[str]]
    data_identity: Output[str]
    """Resource id of the identity that may use the data key."""
    data_principal: Output[str]
    data_grant: pulumi.Resource
    """The grant of the data key: what uses it must wait for it."""

    def __init__(self, name: str, args: KeysArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:azure:Keys", name, {}, opts)
        place, child = args.place, ResourceOptions(parent=self)
        vault = keyvault.Vault(
            f"{name}-vault",
            vault_name=unique(place, args.spec, "kv"),
            resource_group_name=args.group.name,
            location=args.spec.region,
            properties=keyvault.VaultPropertiesArgs(
                tenant_id=args.spec.tenant,
                sku=keyvault.SkuArgs(family="A", name="premium"),
                enable_rbac_authorization=True,
                enable_soft_delete=True,
                soft_delete_retention_in_days=90,
                enable_purge_protection=True,
                enabled_for_disk_encryption=True,
                public_network_access="Disabled",
                network_acls=keyvault.NetworkRuleSetArgs(bypass="AzureServices", default_action="Deny"),
            ),
            tags=dict(place.tags),
            opts=ResourceOptions(parent=self, protect=place.protect),
        )
        self.vault_id, self.vault_name = vault.id, vault.name
        self.vault_uri = vault.properties.apply(lambda properties: properties.vault_uri or "")
        keys = {purpose: self._key(f"{name}-{purpose}", purpose, args, vault) for purpose in PURPOSES}
        self.ids = {purpose: key.key_uri_with_version for purpose, key in keys.items()}
        self.names = {purpose: key.name for purpose, key in keys.items()}
        identity = managedidentity.UserAssignedIdentity(
            f"{name}-data-identity",
            resource_name_=f"{place.prefix}-data",
            resource_group_name=args.group.name,
            location=args.spec.region,
            tags=dict(place.tags),
            opts=child,
        )
        self.data_identity, self.data_principal = identity.id, identity.principal_id
        self.data_grant = args.group.grant(
            f"{name}-data-grant", "Key Vault Crypto Service Encryption User", identity.principal_id, vault.id, child
        )
        self.contract = contracts.Keys(cluster=self.ids["cluster"], data=self.ids["data"], vault=self.ids["vault"])
        self.register_outputs({"vault": vault.name})

    def _key(self, name: str, purpose: str, args: KeysArgs, vault: keyvault.Vault) -> keyvault.Key:
        rotate = keyvault.LifetimeActionArgs(
            action=keyvault.ActionArgs(type="rotate"), trigger=keyvault.TriggerArgs(time_after_create="P1Y")
        )
        rotation = keyvault.RotationPolicyArgs(
            attributes=keyvault.KeyRotationPolicyAttributesArgs(expiry_time="P2Y"), lifetime_actions=[rotate]
        )
        return keyvault.Key(
            name,
            key_name=purpose,
            vault_name=vault.name,
            resource_group_name=args.group.name,
            properties=keyvault.KeyPropertiesArgs(
                kty="RSA-HSM",
                key_size=3072,
                key_ops=["wrapKey", "unwrapKey", "encrypt", "decrypt"],
                rotation_policy=rotation,
            ),
            tags=dict(args.place.tags),
            opts=ResourceOptions(parent=self, protect=args.place.protect),
        )
