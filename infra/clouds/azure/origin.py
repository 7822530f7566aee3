"""Owns what is attached to Azure's edge once the gateway's Service is there: Front Door's origin and route, and the
right to prove the domain, with which cert-manager gets the gateway a certificate that Front Door trusts.

Front Door takes an origin's certificate from a public authority only, so a private one would not do here.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_azure_native import authorization, cdn, managedidentity

from catalog.contract import GATEWAY_HTTP_PORT, GATEWAY_TLS_PORT
from infra import contracts
from infra.clouds.azure.group import stable_guid
from infra.naming import Placement
from infra.settings import PlatformSpec

DNS_ZONE_CONTRIBUTOR = "befefa01-2a29-4197-83a8-272ff33ce314"
"""Azure's built-in role of that name (its documentation, built-in roles for networking)."""


@dataclass(frozen=True)
class OriginArgs:
    """What the origin is made of."""

    spec: PlatformSpec
    place: Placement
    edge: contracts.Edge
    link: str
    """Name of the private link service that the gateway's Service makes."""
    service: pulumi.Resource


class Origin(pulumi.ComponentResource):
    """The gateway as Front Door's origin, by private link, and the route to it.

    The link's connection waits for approval by the owner of the subscription: Front Door asks from one of Microsoft's.
    """

    def __init__(self, name: str, args: OriginArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:azure:Origin", name, {}, opts)
        # Front Door looks the private link up, which is there once the Service is.
        child = ResourceOptions(parent=self, depends_on=[args.service])
        spec, origin = args.spec, args.edge.origin
        # group is the origin group's id; its last segment the name.
        group = Output.from_input(origin["group"])
        group_name = group.apply(lambda text: text.rpartition("/")[2])
        profile, resources = origin["profile"], origin["resource_group"]
        target = cdn.AFDOrigin(
            name,
            origin_name="gateway",
            origin_group_name=group_name,
            profile_name=profile,
            resource_group_name=resources,
            host_name=spec.api_host,
            origin_host_header=spec.api_host,
            http_port=GATEWAY_HTTP_PORT,
            https_port=GATEWAY_TLS_PORT,
            enforce_certificate_name_check=True,
            enabled_state="Enabled",
            priority=1,
            weight=1000,
            shared_private_link_resource=cdn.SharedPrivateLinkResourcePropertiesArgs(
                private_link=cdn.ResourceReferenceArgs(id=_link(args, resources)),
                private_link_location=spec.region,
                request_message=f"Front Door of {args.place.prefix}",
            ),
            opts=child,
        )
        cdn.Route(
            f"{name}-route",
            route_name="gateway",
            endpoint_name=origin["endpoint"],
            profile_name=profile,
            resource_group_name=resources,
            origin_group=cdn.ResourceReferenceArgs(id=group),
            custom_domains=[cdn.ActivatedResourceReferenceArgs(id=origin["domain"])],
            patterns_to_match=["/*"],
            supported_protocols=["Https"],
            https_redirect="Disabled",
            forwarding_protocol="HttpsOnly",
            link_to_default_domain="Disabled",
            enabled_state="Enabled",
            # No cache: answers are for one caller. A route is refused while its group has no origin.
            opts=ResourceOptions(parent=self, depends_on=[target]),
        )
        self.register_outputs({})


def _link(args: OriginArgs, resources: Input[str]) -> Output[str]:
    """Id of the private link service: Azure makes it in the nodes' resource group, whose default name is derived."""
    cluster = args.place.prefix
    return Output.concat(
        f"/subscriptions/{args.spec.account}/resourceGroups/MC_", resources, f"_{cluster}_{args.spec.region}",
        f"/providers/Microsoft.Network/privateLinkServices/{args.link}",
    )  # fmt: skip


@dataclass(frozen=True)
class ProverArgs:
    """What may prove the domain."""

    spec: PlatformSpec
    place: Placement
    edge: contracts.Edge
    issuer: Input[str]
    """OIDC issuer of the cluster's service-account tokens."""
    namespace: str
    service_account: str


class Prover(pulumi.ComponentResource):
    """A managed identity for a service account that may change the domain's zone, to prove it by DNS."""

    client_id: Output[str]

    def __init__(self, name: str, args: ProverArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:azure:Prover", name, {}, opts)
        child = ResourceOptions(parent=self)
        resources = args.edge.origin["resource_group"]
        identity = managedidentity.UserAssignedIdentity(
            name,
            resource_name_=f"{args.place.prefix}-certificates",
            resource_group_name=resources,
            location=args.spec.region,
            tags=dict(args.place.tags),
            opts=child,
        )
        managedidentity.FederatedIdentityCredential(
            f"{name}-credential",
            federated_identity_credential_resource_name="kubernetes",
            resource_name_=identity.name,
            resource_group_name=resources,
            issuer=args.issuer,
            subject=f"system:serviceaccount:{args.namespace}:{args.service_account}",
            audiences=["api://AzureADTokenExchange"],
            opts=child,
        )
        subscription = f"/subscriptions/{args.spec.account}"
        authorization.RoleAssignment(
            f"{name}-grant",
            role_assignment_name=stable_guid(f"{args.spec.account}/{pulumi.get_stack()}/{name}-grant"),
            role_definition_id=f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{DNS_ZONE_CONTRIBUTOR}",
            principal_id=identity.principal_id,
            principal_type="ServicePrincipal",
            scope=Output.concat(
                f"{subscription}/resourceGroups/", resources, "/providers/Microsoft.Network/dnszones/", args.edge.zone
            ),
            opts=child,
        )
        self.client_id = identity.client_id
        self.register_outputs({"client_id": self.client_id})
