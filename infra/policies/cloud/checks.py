"""Owns what a table of properties cannot say: openings to the internet, rights, TLS by server parameter, tags."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from infra.policies.cloud import types
from infra.policies.model import Subject, is_unknown, on


def api_private(subject: Subject) -> Iterator[str]:
    open_to_all = ("0.0.0.0/0", "::/0")
    if subject.type == types.CLUSTERS["aws"]:
        ranges = subject.get("vpcConfig", {}).get("publicAccessCidrs") or ()
        if subject.get("vpcConfig.endpointPublicAccess") is not False and (
            not ranges or any(item in open_to_all for item in ranges)
        ):
            yield "its API server answers the whole internet"
    elif subject.type == types.CLUSTERS["gcp"]:
        authorized = subject.get("masterAuthorizedNetworksConfig", {})
        blocks = authorized.get("cidrBlocks") if isinstance(authorized, Mapping) else None
        ranges = [item.get("cidrBlock") for item in blocks or () if isinstance(item, Mapping)]
        if not on(subject.get("privateClusterConfig.enablePrivateEndpoint")) and (
            not ranges or any(item in open_to_all for item in ranges)
        ):
            yield "its API server answers the whole internet"
        if not on(subject.get("privateClusterConfig.enablePrivateNodes")):
            yield "its nodes have public addresses"
    elif subject.type == types.CLUSTERS["azure"]:
        ranges = subject.get("apiServerAccessProfile", {}).get("authorizedIPRanges") or ()
        if not on(subject.get("apiServerAccessProfile.enablePrivateCluster")) and (
            not ranges or any(item in open_to_all for item in ranges)
        ):
            yield "its API server answers the whole internet"


def postgres_tls(subject: Subject) -> Iterator[str]:
    if subject.type == "aws:rds/parameterGroup:ParameterGroup" and str(subject.get("family", "")).startswith(
        "postgres"
    ):
        values = {
            item.get("name"): str(item.get("value"))
            for item in subject.properties.get("parameters") or ()
            if isinstance(item, Mapping)
        }
        if values.get("rds.force_ssl") != "1":
            yield "rds.force_ssl is not 1: PostgreSQL takes connections without TLS"
    if (
        subject.type == "azure-native:dbforpostgresql:Configuration"
        and subject.get("configurationName") == "require_secure_transport"
        and str(subject.get("value")).lower() != "on"
    ):
        yield "require_secure_transport is not on: PostgreSQL takes connections without TLS"


def open_ports(subject: Subject) -> Iterator[str]:
    for cidr, first, last in _openings(subject):
        if cidr in ("0.0.0.0/0", "::/0", "*", "Internet") and not (
            str(first) == str(last) and str(first) in ("80", "443")
        ):
            yield f"opens ports {first} to {last} to the whole internet"


def _openings(subject: Subject) -> Iterator[tuple[Any, Any, Any]]:
    """(from where, first port, last port) of what a rule lets in."""
    if subject.type == "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule":
        source = subject.get("cidrIpv4") or subject.get("cidrIpv6")
        yield _text(source), subject.get("fromPort"), subject.get("toPort")
    elif subject.type == "aws:ec2/securityGroup:SecurityGroup":
        for entry in _entries(subject.properties.get("ingress")):
            yield from ((cidr, entry.get("fromPort"), entry.get("toPort")) for cidr in _texts(entry.get("cidrBlocks")))
    elif subject.type == "gcp:compute/firewall:Firewall" and subject.get("direction", "INGRESS") == "INGRESS":
        for entry in _entries(subject.properties.get("allows")):
            for port in _texts(entry.get("ports")) or ["all"]:
                yield from ((cidr, port, port) for cidr in _texts(subject.properties.get("sourceRanges")))
    elif subject.type == "azure-native:network:NetworkSecurityGroup":
        for entry in _entries(subject.properties.get("securityRules")):
            if entry.get("access") == "Allow" and entry.get("direction") == "Inbound":
                ports = _text(entry.get("destinationPortRange"))
                yield _text(entry.get("sourceAddressPrefix")), ports, ports


def _entries(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def rights(subject: Subject) -> Iterator[str]:
    if subject.type.startswith("aws:iam/"):
        arn = subject.get("policyArn")
        if isinstance(arn, str) and arn.endswith(("/AdministratorAccess", "/PowerUserAccess")):
            yield f"grants {arn.rpartition('/')[2]}"
        yield from _statements(subject.get("policy"))
    role = subject.get("role")
    if subject.type.startswith("gcp:") and isinstance(role, str) and role in ("roles/owner", "roles/editor"):
        yield f"grants {role}"
    if subject.type.startswith("gcp:") and subject.get("member") in ("allUsers", "allAuthenticatedUsers"):
        yield f"grants {role} to {subject.get('member')}"
    definition = str(subject.get("roleDefinitionId", ""))
    if subject.type.startswith("azure-native:authorization:") and definition.endswith(
        ("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "b24988ac-6180-42a0-ab88-20f7382dd24c")
    ):
        yield "grants Owner or Contributor"


def _statements(policy: Any) -> Iterator[str]:
    if not isinstance(policy, str):
        return
    try:
        statements = json.loads(policy).get("Statement", ())
    except (json.JSONDecodeError, AttributeError):
        return
    for statement in statements if isinstance(statements, list) else [statements]:
        actions, resources = (_listed(statement.get(key)) for key in ("Action", "Resource"))
        if statement.get("Effect") != "Allow":
            continue
        if "*" in actions:
            yield "allows every action"
        elif "*" in resources and any(action.endswith(":*") for action in actions) and not statement.get("Condition"):
            yield f"allows {', '.join(actions[:3])} on everything"


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)] if value is not None else []


UNTAGGED: Mapping[str, tuple[str, ...]] = {
    "aws": (
        "Alias", "BucketPublicAccessBlock", "BucketVersioning", "BucketLifecycleConfiguration", "BucketServerSideEncryptionConfiguration", "BucketPolicy", "BucketOwnershipControls",
        "CertificateValidation", "Record", "Route", "RouteTableAssociation", "RolePolicy", "RolePolicyAttachment", "Selection", "RestoreTestingSelection", "VaultLockConfiguration",
        "VaultNotifications", "VaultPolicy", "WebAclLoggingConfiguration", "SecretVersion", "SecretPolicy", "LogResourcePolicy", "CachePolicy", "OriginRequestPolicy",
        "ResponseHeadersPolicy", "AccessPolicyAssociation", "SecurityGroupRule", "TopicPolicy", "TopicSubscription", "EncryptionByDefault", "InstanceProfile", "KeyPolicy",
    ),
    "gcp": (
        "Service", "ServiceIdentity", "KeyRing", "Network", "Subnetwork", "Account", "Policy", "ManagedSslCertificate", "SSLPolicy", "Router", "RouterNat", "Firewall", "RecordSet", "IAMMember",
        "CryptoKeyIAMMember", "CryptoKeyIAMBinding", "Connection", "SecretVersion", "SecretIamMember", "BucketIAMMember", "Database", "User", "BackendService", "URLMap", "TargetHttpsProxy",
        "TargetHttpProxy", "HealthCheck", "NetworkEndpointGroup", "NodePool", "Attestor", "Note", "IAMAuditConfig", "Route", "SubnetworkIAMMember", "SecurityPolicy",
    ),
    "azure-native": (
        "Subnet", "Key", "Configuration", "Database", "RoleAssignment", "FederatedIdentityCredential", "DiagnosticSetting", "BlobContainer", "BlobServiceProperties", "ManagementPolicy", "AgentPool",
        "VirtualNetworkLink", "PrivateDnsZoneGroup", "RecordSet", "PrivateRecordSet", "AFDOrigin", "AFDOriginGroup", "AFDCustomDomain", "Route", "RouteSet", "SecurityPolicy", "BackupPolicy", "BackupInstance",
        "BackupVaultLock", "Secret", "ManagementLockByScope", "ManagementLockAtResourceLevel", "ManagementLockAtResourceGroupLevel", "AccessPolicyAssignment", "TrustedAccessRoleBinding", "ExtensionResource",
        "Extension", "Administrator", "FirewallRule", "RuleSet", "Rule", "AFDRule", "MaintenanceConfiguration",
    ),
}  # fmt: skip
"""Kinds that take no tags or labels. A kind that is not here must have them: a new one shows up until it is."""

_TAGS = ("platform", "environment", "managed-by")
_TAG_PATHS = ("tags", "labels", "resourceLabels", "settings.userLabels", "nodeConfig.resourceLabels")


def tags(subject: Subject) -> Iterator[str]:
    package = subject.type.partition(":")[0]
    if package not in UNTAGGED or subject.kind in UNTAGGED[package]:
        return
    found: Any = next((value for path in _TAG_PATHS if (value := subject.get(path))), None)
    if found is None:
        yield "has no tags"
    elif isinstance(found, Mapping) and not is_unknown(found):
        missing = [tag for tag in _TAGS if tag not in found]
        if missing:
            yield f"lacks the tags {', '.join(missing)}"
