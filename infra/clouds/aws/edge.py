"""Owns what stands before the gateway: DNS, certificates, an internal load balancer, CloudFront with WAF.

Without components.edge the load balancer itself faces the internet, with the same certificate.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from catalog.contract import GATEWAY_HTTP_PORT, GATEWAY_TLS_PORT
from infra import contracts
from infra.clouds.aws.network import Network
from infra.clouds.aws.waf import Firewall, FirewallArgs
from infra.naming import Placement
from infra.settings import PlatformSpec

CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER = "216adef6-5c7f-47e4-b989-5492eafa07d3"
"""CloudFront's managed policies (its developer guide, "Use managed cache/origin request policies")."""
ORIGIN_SECONDS = 120
"""Longest an answer may take to begin, seconds: one execution's limit, and the most CloudFront waits."""


@dataclass(frozen=True)
class EdgeArgs:
    """What the edge is made of."""

    spec: PlatformSpec
    place: Placement
    network: Network


class Edge(pulumi.ComponentResource):
    """A TLS endpoint under the platform's name that only the edge can reach the gateway through."""

    contract: contracts.Edge
    name_servers: Output[list[str]]
    """Where the domain must be delegated to."""

    def __init__(self, name: str, args: EdgeArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:aws:Edge", name, {}, opts)
        self._name, self._args, self._child = name, args, ResourceOptions(parent=self)
        spec, place = args.spec, args.place
        zone = aws.route53.Zone(
            f"{name}-zone",
            name=spec.domain,
            comment=place.prefix,
            tags=self._tags("zone"),
            opts=ResourceOptions(parent=self, protect=place.protect),
        )
        self.name_servers = zone.name_servers
        certificate, proof = self._certificate(zone)
        balancer, targets = self._load_balancer(self._validated("regional", certificate, proof, None))
        if spec.components.edge:
            certificate_arn = self._distribution(balancer, proof)
            target, target_zone = self._distribution_name, self._distribution_zone
        else:
            certificate_arn = certificate.arn
            target, target_zone = balancer.dns_name, balancer.zone_id
        alias = aws.route53.RecordAliasArgs(name=target, zone_id=target_zone, evaluate_target_health=False)
        aws.route53.Record(
            f"{name}-record", zone_id=zone.zone_id, name=spec.api_host, type="A", aliases=[alias], opts=self._child
        )
        self.contract = contracts.Edge(
            hostname=spec.api_host,
            certificate=certificate_arn,
            zone=zone.zone_id,
            origin={"target_group": targets},
            # The load balancer's addresses are in the network; it hands on what CloudFront said.
            trusted_cidrs=[spec.network.cidr],
        )
        self.register_outputs({"hostname": spec.api_host, "name_servers": zone.name_servers})

    def _tags(self, what: str) -> dict[str, str]:
        return {**self._args.place.tags, "Name": f"{self._args.place.prefix}-{what}"}

    def _certificate(self, zone: aws.route53.Zone) -> tuple[aws.acm.Certificate, aws.route53.Record]:
        certificate = aws.acm.Certificate(
            f"{self._name}-certificate",
            domain_name=self._args.spec.api_host,
            validation_method="DNS",
            tags=self._tags("certificate"),
            opts=self._child,
        )
        option = certificate.domain_validation_options[0]
        # One proof serves every region: the name and value depend on domain and account alone.
        proof = aws.route53.Record(
            f"{self._name}-certificate-proof",
            zone_id=zone.zone_id,
            name=option.resource_record_name,
            type=option.resource_record_type,
            records=[option.resource_record_value],
            ttl=300,
            opts=self._child,
        )
        return certificate, proof

    def _validated(
        self, where: str, certificate: aws.acm.Certificate, proof: aws.route53.Record, provider: aws.Provider | None
    ) -> Output[str]:
        validation = aws.acm.CertificateValidation(
            f"{self._name}-certificate-{where}-validation",
            certificate_arn=certificate.arn,
            validation_record_fqdns=[proof.fqdn],
            opts=ResourceOptions(parent=self, provider=provider),
        )
        return validation.certificate_arn

    def _load_balancer(self, certificate: Input[str]) -> tuple[aws.lb.LoadBalancer, Output[str]]:
        """TLS ends here with the public certificate and begins anew to the gateway's own."""
        name, spec, place, network = self._name, self._args.spec, self._args.place, self._args.network
        group = aws.ec2.SecurityGroup(
            f"{name}-balancer-group",
            vpc_id=network.id,
            description="Load balancer",
            tags=self._tags("balancer"),
            opts=self._child,
        )
        source = spec.network.cidr if spec.components.edge else "0.0.0.0/0"
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-balancer-https", security_group_id=group.id, ip_protocol="tcp", from_port=443, to_port=443, cidr_ipv4=source,
            description="HTTPS from CloudFront's VPC origin" if spec.components.edge else "HTTPS", tags=self._tags("balancer"), opts=self._child,
        )  # fmt: skip
        for port in (GATEWAY_HTTP_PORT, GATEWAY_TLS_PORT):
            aws.vpc.SecurityGroupEgressRule(
                f"{name}-balancer-gateway-{port}", security_group_id=group.id, ip_protocol="tcp", from_port=port, to_port=port, cidr_ipv4=spec.network.cidr,
                description="Gateway pods", tags=self._tags("balancer"), opts=self._child,
            )  # fmt: skip
        balancer = aws.lb.LoadBalancer(
            f"{name}-balancer",
            name=place.prefix,
            load_balancer_type="network",
            internal=spec.components.edge,
            subnets=list(network.private_subnets if spec.components.edge else network.public_subnets),
            security_groups=[group.id],
            enable_cross_zone_load_balancing=True,
            enable_deletion_protection=place.protect,
            tags=self._tags("balancer"),
            opts=ResourceOptions(parent=self, protect=place.protect),
        )
        targets = aws.lb.TargetGroup(
            f"{name}-gateway",
            vpc_id=network.id,
            target_type="ip",
            protocol="TLS",
            port=GATEWAY_TLS_PORT,
            preserve_client_ip="true",
            deregistration_delay=ORIGIN_SECONDS,
            health_check=aws.lb.TargetGroupHealthCheckArgs(
                protocol="HTTP", port=str(GATEWAY_HTTP_PORT), path="/health", interval=10
            ),
            tags=self._tags("gateway"),
            opts=self._child,
        )
        aws.lb.Listener(
            f"{name}-listener",
            load_balancer_arn=balancer.arn,
            port=443,
            protocol="TLS",
            certificate_arn=certificate,
            ssl_policy="ELBSecurityPolicy-TLS13-1-2-2021-06",
            default_actions=[aws.lb.ListenerDefaultActionArgs(type="forward", target_group_arn=targets.arn)],
            tags=self._tags("listener"),
            opts=self._child,
        )
        return balancer, targets.arn

    def _distribution(self, balancer: aws.lb.LoadBalancer, proof: aws.route53.Record) -> Output[str]:
        """CloudFront before the load balancer, reachable by it alone; returns the certificate viewers see."""
        name, spec = self._name, self._args.spec
        # CloudFront takes certificates and firewalls from us-east-1, wherever the platform is.
        provider = aws.Provider(
            f"{name}-us-east-1", region="us-east-1", allowed_account_ids=[spec.account], opts=self._child
        )
        there = ResourceOptions(parent=self, provider=provider)
        certificate = aws.acm.Certificate(
            f"{name}-viewer-certificate",
            domain_name=spec.api_host,
            validation_method="DNS",
            tags=self._tags("viewer"),
            opts=there,
        )
        viewer = self._validated("viewer", certificate, proof, provider)
        firewall = Firewall(f"{name}-firewall", FirewallArgs(self._args.place), opts=there)
        origin = aws.cloudfront.VpcOrigin(
            f"{name}-origin",
            vpc_origin_endpoint_config=aws.cloudfront.VpcOriginVpcOriginEndpointConfigArgs(
                name=self._args.place.prefix,
                arn=balancer.arn,
                http_port=80,
                https_port=443,
                origin_protocol_policy="https-only",
                origin_ssl_protocols=aws.cloudfront.VpcOriginVpcOriginEndpointConfigOriginSslProtocolsArgs(
                    items=["TLSv1.2"], quantity=1
                ),
            ),
            tags=self._tags("origin"),
            opts=self._child,
        )
        distribution = aws.cloudfront.Distribution(
            f"{name}-distribution",
            enabled=True,
            comment=self._args.place.prefix,
            aliases=[spec.api_host],
            http_version="http2and3",
            is_ipv6_enabled=True,
            web_acl_id=firewall.arn,
            origins=[
                aws.cloudfront.DistributionOriginArgs(
                    origin_id="gateway",
                    # The name the load balancer's certificate has; the connection goes to the VPC origin.
                    domain_name=spec.api_host,
                    vpc_origin_config=aws.cloudfront.DistributionOriginVpcOriginConfigArgs(
                        vpc_origin_id=origin.id, origin_read_timeout=ORIGIN_SECONDS
                    ),
                )
            ],
            default_cache_behavior=aws.cloudfront.DistributionDefaultCacheBehaviorArgs(
                target_origin_id="gateway",
                viewer_protocol_policy="https-only",
                allowed_methods=["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"],
                cached_methods=["GET", "HEAD"],
                cache_policy_id=CACHING_DISABLED,
                origin_request_policy_id=ALL_VIEWER,
                compress=True,
            ),
            restrictions=aws.cloudfront.DistributionRestrictionsArgs(
                geo_restriction=aws.cloudfront.DistributionRestrictionsGeoRestrictionArgs(restriction_type="none")
            ),
            viewer_certificate=aws.cloudfront.DistributionViewerCertificateArgs(
                acm_certificate_arn=viewer, ssl_support_method="sni-only", minimum_protocol_version="TLSv1.2_2021"
            ),
            tags=self._tags("distribution"),
            opts=ResourceOptions(parent=self, protect=self._args.place.protect),
        )
        self._distribution_name, self._distribution_zone = distribution.domain_name, distribution.hosted_zone_id
        return certificate.arn
