"""Owns what stands before the gateway: DNS, address, certificate, TLS policy and Cloud Armor.

The load balancer itself, with CDN, is made in the cluster by GKE from an Ingress of the services layer that
names what is made here: only GKE knows the gateway's pods.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
from pulumi import ResourceOptions

from infra import contracts
from infra.clouds.gcp.network import HEALTH_CHECKERS
from infra.naming import Placement
from infra.settings import PlatformSpec

REQUESTS_PER_ADDRESS = 1200
"""Requests a minute from one address before it is refused for ten minutes: twelve times one user's 100."""
ATTACKS = (
    "sqli-v33-stable",
    "rce-v33-stable",
    "lfi-v33-stable",
    "protocolattack-v33-stable",
    "scannerdetection-v33-stable",
)
"""Cloud Armor's preconfigured rules, at sensitivity 1; XSS is left out, since prompts quote markup."""


@dataclass(frozen=True)
class EdgeArgs:
    """What the edge is made of."""

    spec: PlatformSpec
    place: Placement


class Edge(pulumi.ComponentResource):
    """Name, address, certificate and firewall of the platform's one entrance."""

    contract: contracts.Edge

    def __init__(self, name: str, args: EdgeArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:gcp:Edge", name, {}, opts)
        spec, place, child = args.spec, args.place, ResourceOptions(parent=self)
        zone = gcp.dns.ManagedZone(
            f"{name}-zone",
            name=place.prefix,
            dns_name=f"{spec.domain}.",
            description=place.prefix,
            dnssec_config=gcp.dns.ManagedZoneDnssecConfigArgs(state="on"),
            labels=dict(place.tags),
            opts=ResourceOptions(parent=self, protect=place.protect),
        )
        address = gcp.compute.GlobalAddress(
            f"{name}-address", name=place.prefix, address_type="EXTERNAL", labels=dict(place.tags), opts=child
        )
        gcp.dns.RecordSet(
            f"{name}-record",
            managed_zone=zone.name,
            name=f"{spec.api_host}.",
            type="A",
            ttl=300,
            rrdatas=[address.address],
            opts=child,
        )
        domains = gcp.compute.ManagedSslCertificateManagedArgs(domains=[f"{spec.api_host}."])
        certificate = gcp.compute.ManagedSslCertificate(
            f"{name}-certificate", name=place.prefix, managed=domains, opts=child
        )
        tls = gcp.compute.SSLPolicy(
            f"{name}-tls", name=place.prefix, profile="RESTRICTED", min_tls_version="TLS_1_2", opts=child
        )
        origin = {"address": address.name, "certificate": certificate.name, "ssl_policy": tls.name}
        if spec.components.edge:
            origin["security_policy"] = self._firewall(name, place).name
        self.contract = contracts.Edge(
            hostname=spec.api_host,
            certificate=certificate.name,
            zone=zone.name,
            origin=origin,
            trusted_cidrs=list(HEALTH_CHECKERS),
        )
        self.register_outputs({"hostname": spec.api_host, "name_servers": zone.name_servers})

    def _firewall(self, name: str, place: Placement) -> gcp.compute.SecurityPolicy:
        rules = [_deny_attack(1000 + position, attack) for position, attack in enumerate(ATTACKS)]
        return gcp.compute.SecurityPolicy(
            f"{name}-armor",
            name=place.prefix,
            type="CLOUD_ARMOR",
            rules=[*rules, _rate_limit(2000), _default()],
            adaptive_protection_config=gcp.compute.SecurityPolicyAdaptiveProtectionConfigArgs(
                layer7_ddos_defense_config=gcp.compute.SecurityPolicyAdaptiveProtectionConfigLayer7DdosDefenseConfigArgs(
                    enable=True
                )
            ),
            labels=dict(place.tags),
            opts=ResourceOptions(parent=self),
        )


def _deny_attack(priority: int, attack: str) -> gcp.compute.SecurityPolicyRuleArgs:
    expression = gcp.compute.SecurityPolicyRuleMatchExprArgs(
        expression=f"evaluatePreconfiguredWaf('{attack}', {{'sensitivity': 1}})"
    )
    match = gcp.compute.SecurityPolicyRuleMatchArgs(expr=expression)
    return gcp.compute.SecurityPolicyRuleArgs(priority=priority, action="deny(403)", match=match, description=attack)


def _everybody() -> gcp.compute.SecurityPolicyRuleMatchArgs:
    return gcp.compute.SecurityPolicyRuleMatchArgs(
        versioned_expr="SRC_IPS_V1", config=gcp.compute.SecurityPolicyRuleMatchConfigArgs(src_ip_ranges=["*"])
    )


def _rate_limit(priority: int) -> gcp.compute.SecurityPolicyRuleArgs:
    threshold = gcp.compute.SecurityPolicyRuleRateLimitOptionsRateLimitThresholdArgs(
        count=REQUESTS_PER_ADDRESS, interval_sec=60
    )
    options = gcp.compute.SecurityPolicyRuleRateLimitOptionsArgs(
        conform_action="allow",
        exceed_action="deny(429)",
        enforce_on_key="IP",
        ban_duration_sec=600,
        rate_limit_threshold=threshold,
    )
    return gcp.compute.SecurityPolicyRuleArgs(
        priority=priority,
        action="rate_based_ban",
        match=_everybody(),
        rate_limit_options=options,
        description="rate per address",
    )


def _default() -> gcp.compute.SecurityPolicyRuleArgs:
    return gcp.compute.SecurityPolicyRuleArgs(
        priority=2_147_483_647, action="allow", match=_everybody(), description="default"
    )
