"""Owns the VPC: subnets over the zones, NAT, flow logs, endpoints to AWS's own services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import contracts
from infra.clouds.aws.policies import allow, document, trust
from infra.clouds.subnets import cut
from infra.naming import Placement
from infra.settings import PlatformSpec

INTERFACE_ENDPOINTS = ("ecr.api", "ecr.dkr", "sts", "kms", "logs", "secretsmanager", "eks-auth")
"""AWS services that nodes and pods call without leaving the network; images' layers come through S3's gateway endpoint."""


@dataclass(frozen=True)
class NetworkArgs:
    """What the network is made of."""

    spec: PlatformSpec
    place: Placement
    log_key_arn: Input[str]


class Network(pulumi.ComponentResource):
    """A VPC with private, public and database subnets in every zone."""

    contract: contracts.Network
    id: Output[str]
    private_subnets: list[Output[str]]
    public_subnets: list[Output[str]]
    database_subnets: list[Output[str]]

    def __init__(self, name: str, args: NetworkArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:aws:Network", name, {}, opts)
        self._args = args
        self._name = name
        self._child = ResourceOptions(parent=self)
        vpc = aws.ec2.Vpc(
            f"{name}-vpc",
            cidr_block=args.spec.network.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=self._tags("vpc"),
            opts=ResourceOptions(parent=self, protect=args.place.protect),
        )
        self.id = vpc.id
        # The group everything falls into that names none: it lets nothing in and nothing out.
        aws.ec2.DefaultSecurityGroup(
            f"{name}-default-group", vpc_id=vpc.id, ingress=[], egress=[], tags=self._tags("closed"), opts=self._child
        )
        gateway = aws.ec2.InternetGateway(
            f"{name}-internet", vpc_id=vpc.id, tags=self._tags("internet"), opts=self._child
        )
        self.private_subnets, self.public_subnets, self.database_subnets = [], [], []
        public_routes = self._routes("public", vpc.id)
        aws.ec2.Route(
            f"{name}-public-default",
            route_table_id=public_routes,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.id,
            opts=self._child,
        )
        private_routes = [
            self._zone(vpc.id, zone, position, public_routes) for position, zone in enumerate(args.spec.zones)
        ]
        database_routes = self._routes("database", vpc.id)
        for zone, subnet in zip(args.spec.zones, self.database_subnets, strict=True):
            self._associate(f"database-{zone}", subnet, database_routes)
        self._nat(private_routes)
        self._flow_log(vpc.id)
        self._endpoints(vpc, [*private_routes, database_routes])
        self.contract = contracts.Network(self.id, self.private_subnets, self.public_subnets, self.database_subnets)
        self.register_outputs({"id": self.id})

    def _tags(self, what: str) -> dict[str, str]:
        return {**self._args.place.tags, "Name": f"{self._args.place.prefix}-{what}"}

    def _zone(self, vpc: Input[str], zone: str, position: int, public_routes: Input[str]) -> Output[str]:
        """The zone's three subnets; returns the route table of its private one."""
        ranges = cut(self._args.spec.network.cidr, len(self._args.spec.zones))[position]
        # The role tags are where Kubernetes' load balancer controllers look for subnets.
        private = self._subnet(vpc, zone, "private", ranges.private, {"kubernetes.io/role/internal-elb": "1"})
        public = self._subnet(vpc, zone, "public", ranges.public, {"kubernetes.io/role/elb": "1"})
        database = self._subnet(vpc, zone, "database", ranges.database, {})
        self.private_subnets.append(private)
        self.public_subnets.append(public)
        self.database_subnets.append(database)
        self._associate(f"public-{zone}", public, public_routes)
        routes = self._routes(f"private-{zone}", vpc)
        self._associate(f"private-{zone}", private, routes)
        return routes

    def _subnet(self, vpc: Input[str], zone: str, kind: str, cidr: str, tags: dict[str, str]) -> Output[str]:
        subnet = aws.ec2.Subnet(
            f"{self._name}-{kind}-{zone}",
            vpc_id=vpc,
            availability_zone=zone,
            cidr_block=cidr,
            map_public_ip_on_launch=False,
            tags={**self._tags(f"{kind}-{zone}"), **tags},
            opts=self._child,
        )
        return subnet.id

    def _routes(self, what: str, vpc: Input[str]) -> Output[str]:
        return aws.ec2.RouteTable(f"{self._name}-{what}-routes", vpc_id=vpc, tags=self._tags(what), opts=self._child).id

    def _associate(self, what: str, subnet: Input[str], routes: Input[str]) -> None:
        aws.ec2.RouteTableAssociation(
            f"{self._name}-{what}-association", subnet_id=subnet, route_table_id=routes, opts=self._child
        )

    def _nat(self, private_routes: Sequence[Output[str]]) -> None:
        """One NAT gateway a zone in prod, so that a lost zone takes only its own way out; else one for all."""
        zones = self._args.spec.zones
        each = self._args.spec.environment == "prod"
        gateways: list[Output[str]] = []
        for zone, subnet in list(zip(zones, self.public_subnets, strict=True))[: None if each else 1]:
            address = aws.ec2.Eip(
                f"{self._name}-nat-{zone}-address", domain="vpc", tags=self._tags(f"nat-{zone}"), opts=self._child
            )
            gateway = aws.ec2.NatGateway(
                f"{self._name}-nat-{zone}",
                allocation_id=address.allocation_id,
                subnet_id=subnet,
                tags=self._tags(f"nat-{zone}"),
                opts=self._child,
            )
            gateways.append(gateway.id)
        for position, (zone, routes) in enumerate(zip(zones, private_routes, strict=True)):
            aws.ec2.Route(
                f"{self._name}-private-{zone}-default",
                route_table_id=routes,
                destination_cidr_block="0.0.0.0/0",
                nat_gateway_id=gateways[position if each else 0],
                opts=self._child,
            )

    def _flow_log(self, vpc: Input[str]) -> None:
        args, name = self._args, self._name
        group = aws.cloudwatch.LogGroup(
            f"{name}-flow-logs",
            name=f"/{args.place.prefix}/flow-logs",
            retention_in_days=_retention(args.spec.network.flow_log_days),
            kms_key_id=args.log_key_arn,
            tags=self._tags("flow-logs"),
            opts=self._child,
        )
        role = aws.iam.Role(
            f"{name}-flow-logs-role",
            assume_role_policy=trust("vpc-flow-logs.amazonaws.com"),
            tags=self._tags("flow-logs"),
            opts=self._child,
        )
        aws.iam.RolePolicy(
            f"{name}-flow-logs-policy",
            role=role.name,
            policy=document(
                allow(
                    ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                    [group.arn, Output.concat(group.arn, ":*")],
                )
            ),
            opts=self._child,
        )
        aws.ec2.FlowLog(
            f"{name}-flow-log",
            vpc_id=vpc,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            tags=self._tags("flow-log"),
            opts=self._child,
        )

    def _endpoints(self, vpc: aws.ec2.Vpc, route_tables: Sequence[Output[str]]) -> None:
        args, name, region = self._args, self._name, self._args.spec.region
        aws.ec2.VpcEndpoint(
            f"{name}-endpoint-s3",
            vpc_id=vpc.id,
            service_name=f"com.amazonaws.{region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=list(route_tables),
            tags=self._tags("s3"),
            opts=self._child,
        )
        if args.spec.environment == "dev":
            return  # About $8 a month and zone each; in dev the NAT gateway carries this traffic.
        group = aws.ec2.SecurityGroup(
            f"{name}-endpoints",
            vpc_id=vpc.id,
            description="AWS service endpoints",
            tags=self._tags("endpoints"),
            opts=self._child,
        )
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-endpoints-https", security_group_id=group.id, ip_protocol="tcp", from_port=443, to_port=443, cidr_ipv4=args.spec.network.cidr,
            description="HTTPS from the network", tags=self._tags("endpoints"), opts=self._child,
        )  # fmt: skip
        for service in INTERFACE_ENDPOINTS:
            aws.ec2.VpcEndpoint(
                f"{name}-endpoint-{service.replace('.', '-')}",
                vpc_id=vpc.id,
                service_name=f"com.amazonaws.{region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=list(self.private_subnets),
                security_group_ids=[group.id],
                tags=self._tags(service),
                opts=self._child,
            )


_RETENTIONS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)


def _retention(days: int) -> int:
    """The shortest retention CloudWatch offers that is at least ``days``."""
    return next(offered for offered in _RETENTIONS if offered >= days)
