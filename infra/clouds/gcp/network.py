"""Owns the VPC network: one subnet with ranges for pods and Services, NAT, flow logs, peering for Cloud SQL."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
from pulumi import Output, ResourceOptions

from infra import contracts
from infra.clouds.subnets import cut
from infra.naming import Placement
from infra.settings import PlatformSpec

PODS, SERVICES = "pods", "services"
HEALTH_CHECKERS = ("35.191.0.0/16", "130.211.0.0/22")
"""Where Google's load balancers and health checks come from (its load balancing documentation, "firewall rules")."""


@dataclass(frozen=True)
class NetworkArgs:
    """What the network is made of."""

    spec: PlatformSpec
    place: Placement


class Network(pulumi.ComponentResource):
    """A network whose subnet spans the region's zones; nodes have no public address."""

    contract: contracts.Network
    id: Output[str]
    subnet: Output[str]
    peering: pulumi.Resource
    """Connection that Cloud SQL's private address comes through."""
    connection_policy: pulumi.Resource
    """Policy that Memorystore makes its endpoints by."""

    def __init__(self, name: str, args: NetworkArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:gcp:Network", name, {}, opts)
        self._name, self._args, self._child = name, args, ResourceOptions(parent=self)
        spec, place = args.spec, args.place
        ranges = cut(spec.network.cidr, 3)
        network = gcp.compute.Network(
            f"{name}-network",
            name=place.prefix,
            auto_create_subnetworks=False,
            routing_mode="REGIONAL",
            opts=ResourceOptions(parent=self, protect=place.protect),
        )
        self.id = network.id
        subnet = self._subnet("nodes", ranges[0].private, pods=True)
        self.subnet = subnet.id
        stores = self._subnet("stores", ranges[0].database, pods=False)
        self._nat()
        self.peering = self._peering(ranges[1].private)
        self.connection_policy = gcp.networkconnectivity.ServiceConnectionPolicy(
            f"{name}-stores-policy",
            name=f"{place.prefix}-stores",
            location=spec.region,
            network=network.id,
            service_class="gcp-memorystore",
            psc_config=gcp.networkconnectivity.ServiceConnectionPolicyPscConfigArgs(subnetworks=[stores.id]),
            labels=dict(place.tags),
            opts=self._child,
        )
        gcp.compute.Firewall(
            f"{name}-health-checks",
            name=f"{place.prefix}-health-checks",
            network=network.id,
            direction="INGRESS",
            source_ranges=list(HEALTH_CHECKERS),
            allows=[gcp.compute.FirewallAllowArgs(protocol="tcp", ports=["8000", "8800"])],
            log_config=gcp.compute.FirewallLogConfigArgs(metadata="INCLUDE_ALL_METADATA"),
            opts=self._child,
        )
        self.contract = contracts.Network(
            id=network.id, private_subnets=[subnet.id], public_subnets=[], database_subnets=[stores.id]
        )
        self.register_outputs({"id": network.id})

    def _subnet(self, what: str, cidr: str, *, pods: bool) -> gcp.compute.Subnetwork:
        spec = self._args.spec
        secondary = [(PODS, spec.network.pods), (SERVICES, spec.network.services)] if pods else []
        return gcp.compute.Subnetwork(
            f"{self._name}-{what}",
            name=f"{self._args.place.prefix}-{what}",
            network=self.id,
            region=spec.region,
            ip_cidr_range=cidr,
            secondary_ip_ranges=[
                gcp.compute.SubnetworkSecondaryIpRangeArgs(range_name=range_name, ip_cidr_range=text)
                for range_name, text in secondary
            ],
            private_ip_google_access=True,
            log_config=gcp.compute.SubnetworkLogConfigArgs(
                aggregation_interval="INTERVAL_5_MIN", flow_sampling=0.5, metadata="INCLUDE_ALL_METADATA"
            ),
            opts=self._child,
        )

    def _nat(self) -> None:
        """Cloud NAT is regional and survives the loss of a zone by itself."""
        prefix, region = self._args.place.prefix, self._args.spec.region
        router = gcp.compute.Router(
            f"{self._name}-router", name=prefix, network=self.id, region=region, opts=self._child
        )
        gcp.compute.RouterNat(
            f"{self._name}-nat",
            name=prefix,
            router=router.name,
            region=region,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="ALL_SUBNETWORKS_ALL_IP_RANGES",
            enable_dynamic_port_allocation=True,
            log_config=gcp.compute.RouterNatLogConfigArgs(enable=True, filter="ERRORS_ONLY"),
            opts=self._child,
        )

    def _peering(self, cidr: str) -> pulumi.Resource:
        address, _, length = cidr.partition("/")
        reserved = gcp.compute.GlobalAddress(
            f"{self._name}-peering-range",
            name=f"{self._args.place.prefix}-peering",
            purpose="VPC_PEERING",
            address_type="INTERNAL",
            address=address,
            prefix_length=int(length),
            network=self.id,
            labels=dict(self._args.place.tags),
            opts=self._child,
        )
        return gcp.servicenetworking.Connection(
            f"{self._name}-peering",
            network=self.id,
            service="servicenetworking.googleapis.com",
            reserved_peering_ranges=[reserved.name],
            opts=self._child,
        )
