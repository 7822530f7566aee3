"""Owns the virtual network: subnets, NAT, security groups, flow logs, private endpoints and their DNS."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_azure_native import network, privatedns

from infra import contracts
from infra.clouds.azure.group import Group
from infra.clouds.subnets import cut
from infra.naming import Placement
from infra.settings import PlatformSpec


@dataclass(frozen=True)
class NetworkArgs:
    """What the network is made of."""

    spec: PlatformSpec
    place: Placement
    group: Group


class Network(pulumi.ComponentResource):
    """A virtual network without default outbound access: everything leaves through the NAT gateway."""

    contract: contracts.Network
    id: Output[str]
    nodes: Output[str]
    control_plane: Output[str]
    database: Output[str]
    endpoints: Output[str]

    def __init__(self, name: str, args: NetworkArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:azure:Network", name, {}, opts)
        self._name, self._args, self._child = name, args, ResourceOptions(parent=self)
        spec, place = args.spec, args.place
        vnet = network.VirtualNetwork(
            f"{name}-vnet",
            virtual_network_name=place.prefix,
            resource_group_name=args.group.name,
            location=spec.region,
            address_space=network.AddressSpaceArgs(address_prefixes=[spec.network.cidr]),
            # Subnets are resources of their own; the network would otherwise take them away again.
            tags=dict(place.tags),
            opts=ResourceOptions(parent=self, protect=place.protect, ignore_changes=["subnets"]),
        )
        self.id, self._vnet_name = vnet.id, vnet.name
        gateway = self._nat()
        ranges = cut(spec.network.cidr, 3)
        nodes = self._subnet("nodes", ranges[0].private, gateway, None, None)
        control = self._subnet(
            "control-plane", ranges[1].database, None, "Microsoft.ContainerService/managedClusters", nodes
        )
        database = self._subnet(
            "database", ranges[0].database, None, "Microsoft.DBforPostgreSQL/flexibleServers", control
        )
        endpoints = self._subnet("endpoints", ranges[0].public, None, None, database)
        self.nodes, self.control_plane, self.database, self.endpoints = nodes.id, control.id, database.id, endpoints.id
        self.contract = contracts.Network(
            id=vnet.id,
            private_subnets=[self.nodes],
            public_subnets=[],
            database_subnets=[self.database, self.endpoints],
        )
        self.register_outputs({"id": vnet.id})

    def _nat(self) -> network.NatGateway:
        args, name = self._args, self._name
        # A NAT gateway lives in one zone, or in none in particular; the newer sku spans them all.
        address = network.PublicIPAddress(
            f"{name}-nat-address",
            public_ip_address_name=f"{args.place.prefix}-nat",
            resource_group_name=args.group.name,
            location=args.spec.region,
            public_ip_allocation_method="Static",
            sku=network.PublicIPAddressSkuArgs(name="StandardV2"),
            tags=dict(args.place.tags),
            opts=self._child,
        )
        return network.NatGateway(
            f"{name}-nat",
            nat_gateway_name=args.place.prefix,
            resource_group_name=args.group.name,
            location=args.spec.region,
            sku=network.NatGatewaySkuArgs(name="StandardV2"),
            idle_timeout_in_minutes=10,
            public_ip_addresses=[network.SubResourceArgs(id=address.id)],
            tags=dict(args.place.tags),
            opts=self._child,
        )

    def _subnet(
        self,
        what: str,
        cidr: str,
        gateway: network.NatGateway | None,
        delegate: str | None,
        after: pulumi.Resource | None,
    ) -> network.Subnet:
        args, name = self._args, self._name
        rules = [
            _rule("network-in", 100, "Allow", "VirtualNetwork"),
            _rule("balancer-in", 110, "Allow", "AzureLoadBalancer"),
            _rule("deny-in", 4000, "Deny", "*"),
        ]
        guard = network.NetworkSecurityGroup(
            f"{name}-{what}-group",
            network_security_group_name=f"{args.place.prefix}-{what}",
            resource_group_name=args.group.name,
            location=args.spec.region,
            security_rules=rules,
            tags=dict(args.place.tags),
            opts=self._child,
        )
        return network.Subnet(
            f"{name}-{what}",
            subnet_name=what,
            virtual_network_name=self._vnet_name,
            resource_group_name=args.group.name,
            address_prefix=cidr,
            default_outbound_access=False,
            nat_gateway=network.SubResourceArgs(id=gateway.id) if gateway else None,
            network_security_group=network.NetworkSecurityGroupArgs(id=guard.id),
            private_endpoint_network_policies="Enabled",
            private_link_service_network_policies="Disabled",
            delegations=[network.DelegationArgs(name="service", service_name=delegate)] if delegate else None,
            # Azure changes one subnet of a network at a time and refuses the others meanwhile.
            opts=ResourceOptions(parent=self, depends_on=[after] if after else []),
        )

    def private_zone(self, name: str, zone: str, opts: ResourceOptions) -> Output[str]:
        """A private DNS zone that the network resolves; returns its resource id."""
        args = self._args
        created = privatedns.PrivateZone(
            name,
            private_zone_name=zone,
            resource_group_name=args.group.name,
            location="global",
            tags=dict(args.place.tags),
            opts=opts,
        )
        privatedns.VirtualNetworkLink(
            f"{name}-link",
            virtual_network_link_name=args.place.prefix,
            private_zone_name=created.name,
            resource_group_name=args.group.name,
            location="global",
            registration_enabled=False,
            virtual_network=privatedns.SubResourceArgs(id=self.id),
            tags=dict(args.place.tags),
            opts=opts,
        )
        return created.id

    def private_endpoint(
        self, name: str, target: Input[str], group: str, zone: Input[str], opts: ResourceOptions
    ) -> None:
        """An address in the endpoints subnet for ``target``'s sub-resource ``group``, named in ``zone``."""
        args = self._args
        connection = network.PrivateLinkServiceConnectionArgs(
            name=group, private_link_service_id=target, group_ids=[group]
        )
        endpoint = network.PrivateEndpoint(
            name,
            private_endpoint_name=f"{args.place.prefix}-{name}",
            resource_group_name=args.group.name,
            location=args.spec.region,
            subnet=network.SubnetArgs(id=self.endpoints),
            private_link_service_connections=[connection],
            tags=dict(args.place.tags),
            opts=opts,
        )
        network.PrivateDnsZoneGroup(
            f"{name}-dns",
            private_dns_zone_group_name="default",
            private_endpoint_name=endpoint.name,
            resource_group_name=args.group.name,
            private_dns_zone_configs=[network.PrivateDnsZoneConfigArgs(name=group, private_dns_zone_id=zone)],
            opts=opts,
        )

    def log_flows(self, storage_account: Input[str]) -> None:
        """Write the network's flow log to ``storage_account``; the region's watcher is Azure's own."""
        args = self._args
        network.FlowLog(
            f"{self._name}-flow-log",
            flow_log_name=args.place.prefix,
            network_watcher_name=f"NetworkWatcher_{args.spec.region}",
            resource_group_name="NetworkWatcherRG",
            location=args.spec.region,
            target_resource_id=self.id,
            storage_id=storage_account,
            enabled=True,
            format=network.FlowLogFormatParametersArgs(type="JSON", version=2),
            retention_policy=network.RetentionPolicyParametersArgs(
                enabled=True, days=min(args.spec.network.flow_log_days, 365)
            ),
            tags=dict(args.place.tags),
            opts=self._child,
        )


def _rule(name: str, priority: int, access: str, source: str) -> network.SecurityRuleArgs:
    return network.SecurityRuleArgs(
        name=name,
        priority=priority,
        direction="Inbound",
        access=access,
        protocol="*",
        source_address_prefix=source,
        source_port_range="*",
        destination_address_prefix="*",
        destination_port_range="*",
    )
