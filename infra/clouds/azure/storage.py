"""Owns the storage account: Loki's chunks, Vault's snapshots, the network's flow logs."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import Output, ResourceOptions
from pulumi_azure_native import storage

from infra import contracts
from infra.clouds.azure.group import Group, unique
from infra.clouds.azure.keys import Keys
from infra.clouds.azure.network import Network
from infra.naming import Placement
from infra.settings import PlatformSpec

KEPT_DAYS = {"logs": 90, "snapshots": 35}
"""Days an object is kept."""


@dataclass(frozen=True)
class StorageArgs:
    """What the account is made of."""

    spec: PlatformSpec
    place: Placement
    group: Group
    network: Network
    keys: Keys


class Storage(pulumi.ComponentResource):
    """A private account, encrypted with the data key; no shared keys, no public access."""

    contract: contracts.Storage
    account_id: Output[str]

    def __init__(self, name: str, args: StorageArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:azure:Storage", name, {}, opts)
        child = ResourceOptions(parent=self)
        account = self._account(name, args)
        self.account_id = account.id
        for purpose in KEPT_DAYS:
            storage.BlobContainer(
                f"{name}-{purpose}",
                container_name=purpose,
                account_name=account.name,
                resource_group_name=args.group.name,
                public_access="None",
                opts=child,
            )
        storage.ManagementPolicy(
            f"{name}-lifecycle",
            management_policy_name="default",
            account_name=account.name,
            resource_group_name=args.group.name,
            policy=storage.ManagementPolicySchemaArgs(
                rules=[_expire(purpose, days) for purpose, days in KEPT_DAYS.items()]
            ),
            opts=child,
        )
        zone = args.network.private_zone(f"{name}-zone", "privatelink.blob.core.windows.net", child)
        args.network.private_endpoint(f"{name}-endpoint", account.id, "blob", zone, child)
        self.contract = contracts.Storage(
            kind="azure", logs=Output.concat(account.name, "/logs"), snapshots=Output.concat(account.name, "/snapshots")
        )
        self.register_outputs({"account": account.name})

    def _account(self, name: str, args: StorageArgs) -> storage.StorageAccount:
        return storage.StorageAccount(
            f"{name}-account",
            account_name=unique(args.place, args.spec, "st"),
            resource_group_name=args.group.name,
            location=args.spec.region,
            kind="StorageV2",
            sku=storage.SkuArgs(name="Standard_LRS" if args.spec.environment == "dev" else "Standard_ZRS"),
            allow_blob_public_access=False,
            allow_shared_key_access=False,
            default_to_o_auth_authentication=True,
            enable_https_traffic_only=True,
            minimum_tls_version="TLS1_2",
            public_network_access="Disabled",
            network_rule_set=storage.NetworkRuleSetArgs(default_action="Deny", bypass="AzureServices"),
            identity=storage.IdentityArgs(type="UserAssigned", user_assigned_identities=[args.keys.data_identity]),
            encryption=storage.EncryptionArgs(
                key_source="Microsoft.Keyvault",
                key_vault_properties=storage.KeyVaultPropertiesArgs(
                    key_name=args.keys.names["data"], key_vault_uri=args.keys.vault_uri
                ),
                encryption_identity=storage.EncryptionIdentityArgs(
                    encryption_user_assigned_identity=args.keys.data_identity
                ),
            ),
            tags=dict(args.place.tags),
            opts=ResourceOptions(parent=self, protect=args.place.protect, depends_on=[args.keys.data_grant]),
        )


def _expire(container: str, days: int) -> storage.ManagementPolicyRuleArgs:
    delete = storage.ManagementPolicyBaseBlobArgs(
        delete=storage.DateAfterModificationArgs(days_after_modification_greater_than=days)
    )
    definition = storage.ManagementPolicyDefinitionArgs(
        actions=storage.ManagementPolicyActionArgs(base_blob=delete),
        filters=storage.ManagementPolicyFilterArgs(blob_types=["blockBlob"], prefix_match=[f"{container}/"]),
    )
    return storage.ManagementPolicyRuleArgs(name=container, enabled=True, type="Lifecycle", definition=definition)
