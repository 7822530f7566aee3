"""Owns the web application firewall before CloudFront: AWS's managed rules and a limit per address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi import Output, ResourceOptions

from infra.naming import Placement

MANAGED = (
    "AWSManagedRulesAmazonIpReputationList",
    "AWSManagedRulesCommonRuleSet",
    "AWSManagedRulesKnownBadInputsRuleSet",
)
REQUESTS_PER_ADDRESS = 6000
"""Requests in five minutes from one address before it is blocked: ten times one user's 100 a minute and some."""


@dataclass(frozen=True)
class FirewallArgs:
    """What the firewall is made of."""

    place: Placement


class Firewall(pulumi.ComponentResource):
    """A web ACL in us-east-1 with its log."""

    arn: Output[str]

    def __init__(self, name: str, args: FirewallArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:aws:Firewall", name, {}, opts)
        tags = {**args.place.tags, "Name": f"{args.place.prefix}-firewall"}
        rules = [_managed(position, group) for position, group in enumerate(MANAGED)]
        acl = aws.wafv2.WebAcl(
            f"{name}-acl",
            name=args.place.prefix,
            scope="CLOUDFRONT",
            default_action=aws.wafv2.WebAclDefaultActionArgs(allow=aws.wafv2.WebAclDefaultActionAllowArgs()),
            rules=[*rules, _rate(len(rules))],
            visibility_config=_seen(aws.wafv2.WebAclVisibilityConfigArgs, args.place.prefix),
            tags=tags,
            opts=ResourceOptions(parent=self),
        )
        # The name's beginning is what the firewall insists on.
        log = aws.cloudwatch.LogGroup(
            f"{name}-log",
            name=f"aws-waf-logs-{args.place.prefix}",
            retention_in_days=90,
            tags=tags,
            opts=ResourceOptions(parent=self),
        )
        redacted = aws.wafv2.WebAclLoggingConfigurationRedactedFieldArgs(
            single_header=aws.wafv2.WebAclLoggingConfigurationRedactedFieldSingleHeaderArgs(name="authorization")
        )
        aws.wafv2.WebAclLoggingConfiguration(
            f"{name}-logging",
            resource_arn=acl.arn,
            log_destination_configs=[log.arn],
            redacted_fields=[redacted],
            opts=ResourceOptions(parent=self),
        )
        self.arn = acl.arn
        self.register_outputs({"arn": acl.arn})


def _seen(kind: Any, name: str) -> Any:
    return kind(cloudwatch_metrics_enabled=True, sampled_requests_enabled=True, metric_name=name)


def _managed(position: int, group: str) -> aws.wafv2.WebAclRuleArgs:
    counted = []
    if group == "AWSManagedRulesCommonRuleSet":
        # Our own limit is 1 MiB, in nginx; this rule's is 8 KiB. Prompts also quote markup and code.
        counted = [
            _count(rule)
            for rule in ("SizeRestrictions_BODY", "CrossSiteScripting_BODY", "GenericRFI_BODY", "GenericLFI_BODY")
        ]
    statement = aws.wafv2.WebAclRuleStatementManagedRuleGroupStatementArgs(
        vendor_name="AWS", name=group, rule_action_overrides=counted
    )
    return aws.wafv2.WebAclRuleArgs(
        name=group,
        priority=position,
        override_action=aws.wafv2.WebAclRuleOverrideActionArgs(none=aws.wafv2.WebAclRuleOverrideActionNoneArgs()),
        statement=aws.wafv2.WebAclRuleStatementArgs(managed_rule_group_statement=statement),
        visibility_config=_seen(aws.wafv2.WebAclRuleVisibilityConfigArgs, group),
    )


def _count(rule: str) -> aws.wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideArgs:
    action = aws.wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideActionToUseArgs(
        count=aws.wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideActionToUseCountArgs()
    )
    return aws.wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideArgs(name=rule, action_to_use=action)


def _rate(position: int) -> aws.wafv2.WebAclRuleArgs:
    statement = aws.wafv2.WebAclRuleStatementRateBasedStatementArgs(limit=REQUESTS_PER_ADDRESS, aggregate_key_type="IP")
    return aws.wafv2.WebAclRuleArgs(
        name="rate-per-address",
        priority=position,
        action=aws.wafv2.WebAclRuleActionArgs(block=aws.wafv2.WebAclRuleActionBlockArgs()),
        statement=aws.wafv2.WebAclRuleStatementArgs(rate_based_statement=statement),
        visibility_config=_seen(aws.wafv2.WebAclRuleVisibilityConfigArgs, "rate-per-address"),
    )
