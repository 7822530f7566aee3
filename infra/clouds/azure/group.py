"""Owns the resource group, the log workspace and the naming of role definitions every other module uses."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_azure_native import authorization, operationalinsights, resources

from infra.naming import Placement
from infra.settings import PlatformSpec

ROLES = {
    "Azure Kubernetes Service RBAC Cluster Admin": "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b",
    "Key Vault Contributor": "f25e0fa2-a7c8-4377-a976-54943a77a395",
    "Key Vault Crypto Service Encryption User": "e147488a-f6f5-4113-8e2d-b22465e65bf6",
    "Key Vault Crypto User": "12338af0-0e69-4776-bea7-57ae8d297424",
    "Key Vault Secrets Officer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Network Contributor": "4d97b98b-1d4f-4787-a291-c67834d212e7",
    "PostgreSQL Flexible Server Long Term Retention Backup Role": "c088a766-074b-43ba-90d4-1fb21feae531",
    "Reader": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
}
"""Built-in roles by name (Azure RBAC documentation, "Azure built-in roles")."""


@dataclass(frozen=True)
class GroupArgs:
    """What the group is made of."""

    spec: PlatformSpec
    place: Placement


class Group(pulumi.ComponentResource):
    """The resource group all of the foundation lies in, with its log workspace."""

    name: Output[str]
    id: Output[str]
    workspace: Output[str]

    def __init__(self, name: str, args: GroupArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:azure:Group", name, {}, opts)
        self._subscription = args.spec.account
        group = resources.ResourceGroup(
            f"{name}-resources",
            resource_group_name=args.place.prefix,
            location=args.spec.region,
            tags=dict(args.place.tags),
            opts=ResourceOptions(parent=self, protect=args.place.protect),
        )
        self.name, self.id = group.name, group.id
        workspace = operationalinsights.Workspace(
            f"{name}-logs",
            workspace_name=args.place.prefix,
            resource_group_name=group.name,
            location=args.spec.region,
            sku=operationalinsights.WorkspaceSkuArgs(name="PerGB2018"),
            retention_in_days=90,
            tags=dict(args.place.tags),
            opts=ResourceOptions(parent=self),
        )
        self.workspace = workspace.id
        self.register_outputs({"name": group.name})

    def grant(
        self,
        name: str,
        role: str,
        principal: Input[str],
        scope: Input[str],
        opts: ResourceOptions,
        *,
        kind: str = "ServicePrincipal",
    ) -> pulumi.Resource:
        """Give ``principal`` the built-in ``role`` on ``scope``; the assignment's GUID follows from the logical name."""
        return authorization.RoleAssignment(
            name,
            role_assignment_name=stable_guid(f"{self._subscription}/{pulumi.get_stack()}/{name}"),
            role_definition_id=f"/subscriptions/{self._subscription}/providers/Microsoft.Authorization/roleDefinitions/{ROLES[role]}",
            principal_id=principal,
            principal_type=kind,
            scope=scope,
            opts=opts,
        )


def stable_guid(text: str) -> str:
    """A GUID that is the same for the same text: a random one would replace the assignment at every preview."""
    digest = sha256(text.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def unique(place: Placement, spec: PlatformSpec, purpose: str, length: int = 24) -> str:
    """A name that must be unique in all of Azure: letters and digits, at most ``length``."""
    suffix = sha256(f"{spec.account}/{place.prefix}/{purpose}".encode()).hexdigest()[:8]
    return f"{place.prefix}{purpose}".replace("-", "")[: length - 8] + suffix
