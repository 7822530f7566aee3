"""Owns what in-cluster service accounts may do in Azure: a managed identity each, bound by workload identity."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_azure_native import managedidentity

from infra import contracts
from infra.clouds.azure.cluster import Cluster
from infra.clouds.azure.database import Database
from infra.clouds.azure.group import Group
from infra.clouds.azure.keys import Keys
from infra.clouds.azure.storage import Storage
from infra.naming import NAMESPACE, Placement
from infra.settings import PlatformSpec

ANNOTATION = "azure.workload.identity/client-id"


@dataclass(frozen=True)
class IdentityArgs:
    """What the identities refer to."""

    spec: PlatformSpec
    place: Placement
    group: Group
    cluster: Cluster
    keys: Keys
    storage: Storage
    database: Database | None
    """None where the database is not the cloud's."""


class Identity(pulumi.ComponentResource):
    """A managed identity for each service account that calls Azure, with just what it needs on just what it needs."""

    contract: contracts.Identities

    def __init__(self, name: str, args: IdentityArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:azure:Identity", name, {}, opts)
        self._name, self._args, self._child = name, args, ResourceOptions(parent=self)
        vault_key = Output.concat(args.keys.vault_id, "/keys/", args.keys.names["vault"])
        secrets = Output.concat(args.keys.vault_id, "/secrets/")
        container = Output.concat(args.storage.account_id, "/blobServices/default/containers/")
        self.contract = contracts.Identities(
            vault=self._bind("vault", "vault", "vault", "Key Vault Crypto User", vault_key),
            bootstrap=self._bind(
                "vault-bootstrap",
                "vault",
                "vault-bootstrap",
                "Key Vault Secrets Officer",
                Output.concat(secrets, "vault-recovery"),
            ),
            loki=self._bind(
                "loki", "monitoring", "loki", "Storage Blob Data Contributor", Output.concat(container, "logs")
            ),
            backup=self._bind(
                "vault-backup",
                "vault",
                "vault-backup",
                "Storage Blob Data Contributor",
                Output.concat(container, "snapshots"),
            ),
            database=self._database(secrets),
        )
        self.register_outputs({})

    def _database(self, secrets: Output[str]) -> Input[dict[str, str]]:
        if self._args.database is None:
            return {}
        scope = Output.concat(secrets, "database")
        return self._bind("database", NAMESPACE, "database-credentials", "Key Vault Secrets User", scope)

    def _bind(
        self, what: str, namespace: str, service_account: str, role: str, scope: Input[str]
    ) -> Output[dict[str, str]]:
        args = self._args
        identity = managedidentity.UserAssignedIdentity(
            f"{self._name}-{what}",
            resource_name_=f"{args.place.prefix}-{what}",
            resource_group_name=args.group.name,
            location=args.spec.region,
            tags=dict(args.place.tags),
            opts=self._child,
        )
        managedidentity.FederatedIdentityCredential(
            f"{self._name}-{what}-credential",
            federated_identity_credential_resource_name="kubernetes",
            resource_name_=identity.name,
            resource_group_name=args.group.name,
            issuer=args.cluster.issuer,
            subject=f"system:serviceaccount:{namespace}:{service_account}",
            audiences=["api://AzureADTokenExchange"],
            opts=self._child,
        )
        args.group.grant(f"{self._name}-{what}-grant", role, identity.principal_id, scope, self._child)
        return identity.client_id.apply(lambda client: {ANNOTATION: client})
