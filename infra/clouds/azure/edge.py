"""Owns what stands before the gateway: DNS zone and Front Door with its firewall.

The origin is attached by the services layer: the gateway's private link exists once its Service does.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import Output, ResourceOptions
from pulumi_azure_native import cdn, dns, frontdoor, monitor

from infra import contracts
from infra.clouds.azure.group import Group
from infra.naming import Placement
from infra.settings import PlatformSpec

ORIGIN_SECONDS = 120
"""Longest an answer may take to begin, seconds."""
REQUESTS_PER_ADDRESS = 1200
"""Requests a minute from one address before it is refused: twelve times one user's 100."""


@dataclass(frozen=True)
class EdgeArgs:
    """What the edge is made of."""

    spec: PlatformSpec
    place: Placement
    group: Group


class Edge(pulumi.ComponentResource):
    """Front Door Premium, so that the origin is reached by private link and has no public address."""

    contract: contracts.Edge

    def __init__(self, name: str, args: EdgeArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:azure:Edge", name, {}, opts)
        self._name, self._args, self._child = name, args, ResourceOptions(parent=self)
        spec, place = args.spec, args.place
        zone = dns.Zone(
            f"{name}-zone",
            zone_name=spec.domain,
            resource_group_name=args.group.name,
            location="global",
            tags=dict(place.tags),
            opts=ResourceOptions(parent=self, protect=place.protect),
        )
        origin: dict[str, Output[str]] = {"resource_group": args.group.name}
        certificate: Output[str] | str = ""
        if spec.components.edge:
            certificate = self._front_door(zone, origin)
        self.contract = contracts.Edge(
            hostname=spec.api_host,
            certificate=certificate,
            zone=zone.name,
            origin=origin,
            # Front Door comes through the private link service, whose addresses are in the network.
            trusted_cidrs=[spec.network.cidr],
        )
        self.register_outputs({"hostname": spec.api_host, "name_servers": zone.name_servers})

    def _front_door(self, zone: dns.Zone, origin: dict[str, Output[str]]) -> Output[str]:
        args, name, place = self._args, self._name, self._args.place
        profile = cdn.Profile(
            f"{name}-profile",
            profile_name=place.prefix,
            resource_group_name=args.group.name,
            location="global",
            sku=cdn.SkuArgs(name="Premium_AzureFrontDoor"),
            origin_response_timeout_seconds=ORIGIN_SECONDS,
            tags=dict(place.tags),
            opts=ResourceOptions(parent=self, protect=place.protect),
        )
        in_profile = {"profile_name": profile.name, "resource_group_name": args.group.name}
        endpoint = cdn.AFDEndpoint(
            f"{name}-endpoint",
            endpoint_name=place.prefix,
            location="global",
            enabled_state="Enabled",
            tags=dict(place.tags),
            opts=self._child,
            **in_profile,
        )
        group = cdn.AFDOriginGroup(
            f"{name}-origins",
            origin_group_name="gateway",
            load_balancing_settings=cdn.LoadBalancingSettingsParametersArgs(
                sample_size=4, successful_samples_required=2, additional_latency_in_milliseconds=50
            ),
            health_probe_settings=cdn.HealthProbeParametersArgs(
                probe_path="/health", probe_protocol="Https", probe_request_type="GET", probe_interval_in_seconds=30
            ),
            session_affinity_state="Disabled",
            opts=self._child,
            **in_profile,
        )
        domain = cdn.AFDCustomDomain(
            f"{name}-domain",
            custom_domain_name="api",
            host_name=args.spec.api_host,
            azure_dns_zone=cdn.ResourceReferenceArgs(id=zone.id),
            tls_settings=cdn.AFDDomainHttpsParametersArgs(
                certificate_type="ManagedCertificate", minimum_tls_version="TLS12"
            ),
            opts=self._child,
            **in_profile,
        )
        self._records(zone, endpoint, domain)
        firewall = self._firewall()
        association = cdn.SecurityPolicyWebApplicationFirewallAssociationArgs(
            domains=[
                cdn.ActivatedResourceReferenceArgs(id=domain.id),
                cdn.ActivatedResourceReferenceArgs(id=endpoint.id),
            ],
            patterns_to_match=["/*"],
        )
        cdn.SecurityPolicy(
            f"{name}-security",
            security_policy_name="firewall",
            parameters=cdn.SecurityPolicyWebApplicationFirewallParametersArgs(
                type="WebApplicationFirewall",
                waf_policy=cdn.ResourceReferenceArgs(id=firewall.id),
                associations=[association],
            ),
            opts=self._child,
            **in_profile,
        )
        monitor.DiagnosticSetting(
            f"{name}-logs",
            name="edge",
            resource_uri=profile.id,
            workspace_id=args.group.workspace,
            logs=[
                monitor.DiagnosticsLogSettingsArgs(category=category, enabled=True)
                for category in ("FrontDoorAccessLog", "FrontDoorWebApplicationFirewallLog")
            ],
            opts=self._child,
        )
        origin |= {"profile": profile.name, "endpoint": endpoint.name, "group": group.id, "domain": domain.id}
        return domain.id

    def _records(self, zone: dns.Zone, endpoint: cdn.AFDEndpoint, domain: cdn.AFDCustomDomain) -> None:
        label = self._args.spec.api_host.removesuffix(f".{self._args.spec.domain}")
        in_zone = {"zone_name": zone.name, "resource_group_name": self._args.group.name, "ttl": 300.0}
        dns.RecordSet(
            f"{self._name}-record",
            relative_record_set_name=label,
            record_type="CNAME",
            cname_record=dns.CnameRecordArgs(cname=endpoint.host_name),
            opts=self._child,
            **in_zone,
        )
        token = domain.validation_properties.apply(
            lambda properties: (properties.validation_token or "") if properties else ""
        )
        dns.RecordSet(
            f"{self._name}-proof",
            relative_record_set_name=f"_dnsauth.{label}",
            record_type="TXT",
            txt_records=[dns.TxtRecordArgs(value=[token])],
            opts=self._child,
            **in_zone,
        )

    def _firewall(self) -> frontdoor.Policy:
        rate = frontdoor.CustomRuleArgs(
            name="ratePerAddress",
            priority=100,
            enabled_state="Enabled",
            rule_type="RateLimitRule",
            rate_limit_duration_in_minutes=1,
            rate_limit_threshold=REQUESTS_PER_ADDRESS,
            action="Block",
            match_conditions=[
                frontdoor.MatchConditionArgs(
                    match_variable="RequestUri", operator="Contains", match_value=["/"], negate_condition=False
                )
            ],
        )
        managed = [
            frontdoor.ManagedRuleSetArgs(rule_set_type=kind, rule_set_version=version, rule_set_action=action)
            for kind, version, action in (
                ("Microsoft_DefaultRuleSet", "2.1", "Block"),
                ("Microsoft_BotManagerRuleSet", "1.1", None),
            )
        ]
        return frontdoor.Policy(
            f"{self._name}-firewall",
            policy_name=self._args.place.prefix.replace("-", ""),
            resource_group_name=self._args.group.name,
            location="global",
            sku=frontdoor.SkuArgs(name="Premium_AzureFrontDoor"),
            policy_settings=frontdoor.PolicySettingsArgs(
                enabled_state="Enabled", mode="Prevention", request_body_check="Enabled"
            ),
            custom_rules=frontdoor.CustomRuleListArgs(rules=[rate]),
            managed_rules=frontdoor.ManagedRuleSetListArgs(managed_rule_sets=managed),
            tags=dict(self._args.place.tags),
            opts=self._child,
        )
