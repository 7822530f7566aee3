"""Owns policies about cloud resources, one at a time: encryption, TLS, reachability, logs, backups, protection, rights.

Most are tables of type → properties. A type that stands in no table is not judged by that policy; a type
that stands nowhere in ``UNTAGGED`` must carry tags.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from infra.policies.model import Check, Policy, Rule, Subject, at_least, given, is_unknown, off, on, one_of, table

_CLUSTERS = {
    "aws": "aws:eks/cluster:Cluster",
    "gcp": "gcp:container/cluster:Cluster",
    "azure": "azure-native:containerservice:ManagedCluster",
}
_RDS, _SQL, _FLEXIBLE = (
    "aws:rds/instance:Instance",
    "gcp:sql/databaseInstance:DatabaseInstance",
    "azure-native:dbforpostgresql:Server",
)
_ELASTICACHE, _MEMORYSTORE = "aws:elasticache/replicationGroup:ReplicationGroup", "gcp:memorystore/instance:Instance"
_REDIS, _REDIS_DATABASE = "azure-native:redisenterprise:RedisEnterprise", "azure-native:redisenterprise:Database"
_BLOBS, _GCS, _VAULT = "azure-native:storage:StorageAccount", "gcp:storage/bucket:Bucket", "azure-native:keyvault:Vault"


def _dev(subject: Subject) -> bool:
    return subject.environment == "dev"


def _disposable(subject: Subject) -> bool:
    # A store that evicts what it likes holds nothing that could be lost.
    evicts = str(subject.get("engineConfigs.maxmemory-policy", "")).startswith(("allkeys", "volatile"))
    return _dev(subject) or evicts


_ENCRYPTED: dict[str, list[Rule]] = {
    _RDS: [
        Rule("storageEncrypted", on, "its storage is not encrypted"),
        Rule("kmsKeyId", given, "is not encrypted with a key of ours"),
    ],
    _ELASTICACHE: [
        Rule("atRestEncryptionEnabled", on, "is not encrypted at rest"),
        Rule("kmsKeyId", given, "is not encrypted with a key of ours"),
    ],
    "aws:secretsmanager/secret:Secret": [Rule("kmsKeyId", given, "is not encrypted with a key of ours")],
    "aws:backup/vault:Vault": [Rule("kmsKeyArn", given, "is not encrypted with a key of ours")],
    "aws:cloudwatch/logGroup:LogGroup": [Rule("retentionInDays", given, "keeps logs for ever")],
    "aws:ec2/launchTemplate:LaunchTemplate": [
        Rule("blockDeviceMappings.ebs.encrypted", on, "node disks are not encrypted")
    ],
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": [
        Rule(
            "rules.applyServerSideEncryptionByDefault.sseAlgorithm",
            one_of("aws:kms", "aws:kms:dsse"),
            "is not encrypted with a key of ours",
        )
    ],
    _SQL: [Rule("encryptionKeyName", given, "is not encrypted with a key of ours")],
    _MEMORYSTORE: [Rule("kmsKey", given, "is not encrypted with a key of ours")],
    _GCS: [Rule("encryption.defaultKmsKeyName", given, "is not encrypted with a key of ours")],
    "gcp:container/nodePool:NodePool": [
        Rule("nodeConfig.bootDiskKmsKey", given, "node disks are not encrypted with a key of ours")
    ],
    _FLEXIBLE: [Rule("dataEncryption.type", one_of("AzureKeyVault"), "is not encrypted with a key of ours")],
    _REDIS: [
        Rule(
            "encryption.customerManagedKeyEncryption.keyEncryptionKeyUrl", given, "is not encrypted with a key of ours"
        )
    ],
    _BLOBS: [Rule("encryption.keySource", one_of("Microsoft.Keyvault"), "is not encrypted with a key of ours")],
}
_CLUSTER_SECRETS: dict[str, list[Rule]] = {
    _CLUSTERS["aws"]: [
        Rule("encryptionConfig.provider.keyArn", given, "Kubernetes secrets are not encrypted with a key of ours")
    ],
    _CLUSTERS["gcp"]: [
        Rule("databaseEncryption.keyName", given, "Kubernetes secrets are not encrypted with a key of ours"),
        Rule("databaseEncryption.state", one_of("ENCRYPTED"), "encryption of Kubernetes secrets is off"),
    ],
    _CLUSTERS["azure"]: [
        Rule("securityProfile.azureKeyVaultKms.enabled", on, "Kubernetes secrets are not encrypted with a key of ours")
    ],
}
_ROTATED: dict[str, list[Rule]] = {
    "aws:kms/key:Key": [Rule("enableKeyRotation", on, "is never rotated")],
    "gcp:kms/cryptoKey:CryptoKey": [Rule("rotationPeriod", given, "is never rotated")],
    "azure-native:keyvault:Key": [Rule("properties.rotationPolicy.lifetimeActions", given, "is never rotated")],
}
_TLS: dict[str, list[Rule]] = {
    _ELASTICACHE: [
        Rule("transitEncryptionEnabled", on, "takes connections without TLS"),
        Rule("transitEncryptionMode", one_of(None, "required"), "takes connections without TLS"),
    ],
    "aws:cloudfront/distribution:Distribution": [
        Rule(
            "viewerCertificate.minimumProtocolVersion",
            one_of("TLSv1.2_2018", "TLSv1.2_2019", "TLSv1.2_2021", "TLSv1.2_2025", "TLSv1.3_2025"),
            "takes TLS below 1.2",
        ),
        Rule(
            "defaultCacheBehavior.viewerProtocolPolicy", one_of("https-only", "redirect-to-https"), "takes plain HTTP"
        ),
    ],
    "aws:lb/listener:Listener": [
        Rule("protocol", one_of("HTTPS", "TLS"), "listens without TLS"),
        Rule("sslPolicy", lambda value: "TLS13" in str(value) or "-1-2-" in str(value), "takes TLS below 1.2"),
    ],
    _SQL: [
        Rule(
            "settings.ipConfiguration.sslMode",
            one_of("ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"),
            "takes connections without TLS",
        )
    ],
    _MEMORYSTORE: [Rule("transitEncryptionMode", one_of("SERVER_AUTHENTICATION"), "takes connections without TLS")],
    "gcp:compute/sSLPolicy:SSLPolicy": [Rule("minTlsVersion", one_of("TLS_1_2", "TLS_1_3"), "takes TLS below 1.2")],
    _REDIS: [Rule("minimumTlsVersion", one_of("1.2", "1.3"), "takes TLS below 1.2")],
    _REDIS_DATABASE: [Rule("clientProtocol", one_of("Encrypted"), "takes connections without TLS")],
    _BLOBS: [
        Rule("minimumTlsVersion", one_of("TLS1_2", "TLS1_3"), "takes TLS below 1.2"),
        Rule("enableHttpsTrafficOnly", lambda value: value is not False, "takes plain HTTP"),
    ],
    "azure-native:cdn:AFDCustomDomain": [
        Rule("tlsSettings.minimumTlsVersion", one_of("TLS12", "TLS13"), "takes TLS below 1.2")
    ],
}
_PRIVATE: dict[str, list[Rule]] = {
    _RDS: [Rule("publiclyAccessible", off, "has a public address")],
    "aws:rds/clusterInstance:ClusterInstance": [Rule("publiclyAccessible", off, "has a public address")],
    _ELASTICACHE: [Rule("subnetGroupName", given, "is in no subnet group of ours")],
    _SQL: [Rule("settings.ipConfiguration.ipv4Enabled", lambda value: value is False, "has a public address")],
    _FLEXIBLE: [Rule("network.publicNetworkAccess", one_of("Disabled"), "takes connections from the internet")],
    _REDIS: [Rule("publicNetworkAccess", one_of("Disabled"), "takes connections from the internet")],
    _VAULT: [
        Rule(
            "properties.publicNetworkAccess",
            lambda value: str(value).lower() == "disabled",
            "takes connections from the internet",
        )
    ],
}
_BUCKETS: dict[str, list[Rule]] = {
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": [
        Rule(name, on, f"{name} is off")
        for name in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    ],
    _GCS: [
        Rule("publicAccessPrevention", one_of("enforced"), "can be made public"),
        Rule("uniformBucketLevelAccess", on, "takes access lists per object"),
    ],
    _BLOBS: [Rule("allowBlobPublicAccess", lambda value: value is False, "can be made public")],
}
_AUDIT: dict[str, list[Rule]] = {
    _CLUSTERS["aws"]: [
        Rule(
            "enabledClusterLogTypes",
            lambda value: _all_in(value, "audit", "authenticator", "api"),
            "does not log api, audit and authenticator",
        )
    ],
    _CLUSTERS["gcp"]: [
        Rule("loggingConfig.enableComponents", lambda value: _all_in(value, "APISERVER"), "does not log its API server")
    ],
    _RDS: [Rule("enabledCloudwatchLogsExports", given, "does not export its logs")],
}
_BACKUP: dict[str, list[Rule]] = {
    _RDS: [Rule("backupRetentionPeriod", at_least(7), "keeps backups for less than 7 days")],
    _SQL: [
        Rule("settings.backupConfiguration.enabled", on, "is not backed up"),
        Rule("settings.backupConfiguration.pointInTimeRecoveryEnabled", on, "has no point-in-time recovery"),
    ],
    _FLEXIBLE: [Rule("backup.backupRetentionDays", at_least(7), "keeps backups for less than 7 days")],
}
_PROTECTED: dict[str, list[Rule]] = {
    _RDS: [Rule("deletionProtection", on, "can be deleted")],
    _CLUSTERS["aws"]: [Rule("deletionProtection", on, "can be deleted")],
    "aws:lb/loadBalancer:LoadBalancer": [Rule("enableDeletionProtection", on, "can be deleted")],
    _SQL: [
        Rule("deletionProtection", on, "can be deleted by this program"),
        Rule("settings.deletionProtectionEnabled", on, "can be deleted by anyone with the rights"),
    ],
    _CLUSTERS["gcp"]: [Rule("deletionProtection", lambda value: value is not False, "can be deleted")],
    _MEMORYSTORE: [Rule("deletionProtectionEnabled", lambda value: value is not False, "can be deleted")],
    _VAULT: [Rule("properties.enablePurgeProtection", on, "can be purged")],
}
_AVAILABLE: dict[str, list[Rule]] = {
    _RDS: [Rule("multiAz", on, "stands in one zone")],
    _ELASTICACHE: [
        Rule("multiAzEnabled", on, "stands in one zone"),
        Rule("automaticFailoverEnabled", on, "does not fail over"),
    ],
    _SQL: [Rule("settings.availabilityType", one_of("REGIONAL"), "stands in one zone")],
    _MEMORYSTORE: [Rule("zoneDistributionConfig.mode", one_of(None, "MULTI_ZONE"), "stands in one zone")],
    _FLEXIBLE: [Rule("highAvailability.mode", one_of("ZoneRedundant"), "stands in one zone")],
}
_NODES: dict[str, list[Rule]] = {
    "aws:ec2/launchTemplate:LaunchTemplate": [
        Rule("metadataOptions.httpTokens", one_of("required"), "pods can read the node's credentials (IMDSv1)"),
        Rule(
            "metadataOptions.httpPutResponseHopLimit",
            one_of(1),
            "pods can reach the node's metadata (hop limit above 1)",
        ),
    ],
    "gcp:container/nodePool:NodePool": [
        Rule("nodeConfig.shieldedInstanceConfig.enableSecureBoot", on, "nodes boot without secure boot"),
        Rule("nodeConfig.workloadMetadataConfig.mode", one_of("GKE_METADATA"), "pods can read the node's credentials"),
    ],
    _CLUSTERS["azure"]: [Rule("disableLocalAccounts", on, "has local administrator accounts")],
    _CLUSTERS["gcp"]: [Rule("enableLegacyAbac", off, "legacy authorization is on")],
}


def _all_in(value: Any, *wanted: str) -> bool:
    return isinstance(value, list) and set(wanted) <= set(map(str, value))


def _api_private(subject: Subject) -> Iterator[str]:
    open_to_all = ("0.0.0.0/0", "::/0")
    if subject.type == _CLUSTERS["aws"]:
        ranges = subject.get("vpcConfig", {}).get("publicAccessCidrs") or ()
        if subject.get("vpcConfig.endpointPublicAccess") is not False and (
            not ranges or any(item in open_to_all for item in ranges)
        ):
            yield "its API server answers the whole internet"
    elif subject.type == _CLUSTERS["gcp"]:
        authorized = subject.get("masterAuthorizedNetworksConfig", {})
        blocks = authorized.get("cidrBlocks") if isinstance(authorized, Mapping) else None
        ranges = [item.get("cidrBlock") for item in blocks or () if isinstance(item, Mapping)]
        if not on(subject.get("privateClusterConfig.enablePrivateEndpoint")) and (
            not ranges or any(item in open_to_all for item in ranges)
        ):
            yield "its API server answers the whole internet"
        if not on(subject.get("privateClusterConfig.enablePrivateNodes")):
            yield "its nodes have public addresses"
    elif subject.type == _CLUSTERS["azure"]:
        ranges = subject.get("apiServerAccessProfile", {}).get("authorizedIPRanges") or ()
        if not on(subject.get("apiServerAccessProfile.enablePrivateCluster")) and (
            not ranges or any(item in open_to_all for item in ranges)
        ):
            yield "its API server answers the whole internet"


def _postgres_tls(subject: Subject) -> Iterator[str]:
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


def _open_ports(subject: Subject) -> Iterator[str]:
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


def _rights(subject: Subject) -> Iterator[str]:
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


def _tags(subject: Subject) -> Iterator[str]:
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


def _policy(
    name: str,
    severity: Any,
    title: str,
    remedy: str,
    source: str,
    rules: Mapping[str, list[Rule]],
    *,
    production: bool = False,
) -> Policy:
    check: Check = table(rules, unless=_disposable) if production else table(rules)
    return Policy(name, severity, title, remedy, source, check=check, types=frozenset(rules))


_CHECKLIST = "Specification section 5, security checklist"
POLICIES = (
    _policy(
        "data-encrypted",
        "high",
        "What holds data is encrypted with a key of ours",
        "Give it the foundation's data key.",
        f"{_CHECKLIST}; CIS Foundations Benchmarks, storage and databases",
        _ENCRYPTED,
    ),
    _policy(
        "cluster-secrets-encrypted",
        "high",
        "Kubernetes secrets are encrypted with a key of ours",
        "Give the cluster the foundation's cluster key.",
        f"{_CHECKLIST}; CIS Kubernetes Benchmarks 5.3.1 (EKS), 6.3.1 (GKE), AKS: KMS etcd encryption",
        _CLUSTER_SECRETS,
    ),
    _policy(
        "key-rotation",
        "medium",
        "Keys are rotated",
        "Turn on rotation (a year on AWS, 90 days elsewhere).",
        "CIS AWS Foundations 3.6, CIS GCP Foundations 1.10",
        _ROTATED,
    ),
    _policy(
        "tls-minimum",
        "high",
        "Connections use TLS 1.2 or newer",
        "Require TLS and set the minimum version.",
        f"{_CHECKLIST}: TLS for all external traffic",
        _TLS,
    ),
    Policy(
        "postgres-tls",
        "high",
        "PostgreSQL refuses connections without TLS",
        "Set rds.force_ssl to 1, or require_secure_transport to on.",
        f"{_CHECKLIST}: TLS",
        check=_postgres_tls,
        types=frozenset({"aws:rds/parameterGroup:ParameterGroup", "azure-native:dbforpostgresql:Configuration"}),
    ),
    _policy(
        "private-data",
        "high",
        "Databases, caches and key vaults have no public address",
        "Take the public address away and connect through the network.",
        f"{_CHECKLIST}: network policies enforced; CIS AWS Foundations 2.2.3",
        _PRIVATE,
    ),
    Policy(
        "private-api",
        "high",
        "The Kubernetes API server does not answer the internet",
        "cluster.access: private, or authorized with narrow ranges.",
        "CIS Kubernetes Benchmarks 5.4 (EKS), 6.6 (GKE), AKS: API server access",
        check=_api_private,
        types=frozenset(_CLUSTERS.values()),
    ),
    _policy(
        "private-buckets",
        "high",
        "Buckets cannot be made public",
        "Block public access, and set access on the bucket alone.",
        "CIS AWS Foundations 2.1.4, CIS GCP Foundations 5.1 and 5.2",
        _BUCKETS,
    ),
    Policy(
        "open-ports",
        "high",
        "Only ports 80 and 443 are open to the internet",
        "Name the ranges that need it.",
        "CIS AWS Foundations 5.2, CIS GCP Foundations 3.6",
        check=_open_ports,
    ),
    _policy(
        "audit-logging",
        "high",
        "Clusters and databases log who did what",
        "Turn on the control plane's and the database's logs.",
        f"{_CHECKLIST}: audit logging enabled",
        _AUDIT,
    ),
    _policy(
        "backups",
        "high",
        "Databases can be restored to a point in time",
        "Keep backups for at least 7 days, with point-in-time recovery.",
        f"{_CHECKLIST}: backup and recovery tested",
        _BACKUP,
    ),
    _policy(
        "deletion-protection",
        "high",
        "What holds data cannot be deleted by mistake",
        "Turn on deletion protection; deletionProtection: true in the stack does.",
        "Issue of the program: deletion protection in prod",
        _PROTECTED,
        production=True,
    ),
    _policy(
        "zones",
        "medium",
        "Data stores survive the loss of a zone",
        "Turn on the second zone; environment: prod does.",
        "AWS, Google Cloud and Azure well-architected frameworks: reliability",
        _AVAILABLE,
        production=True,
    ),
    _policy(
        "node-hardening",
        "high",
        "Pods cannot take the node's identity, and nodes are shielded",
        "IMDSv2 with hop limit 1; GKE metadata server and secure boot; no local accounts on AKS.",
        "CIS EKS Benchmark 3, CIS GKE Benchmark 6.4 and 6.5, CIS AKS Benchmark 5",
        _NODES,
    ),
    Policy(
        "least-privilege",
        "high",
        "No identity may do everything",
        "Name the actions and the resources.",
        "CIS AWS Foundations 1.16, CIS GCP Foundations 1.5",
        check=_rights,
    ),
    Policy(
        "tags",
        "low",
        "Everything that takes tags has the platform's",
        "Pass the placement's tags; if the type takes none, list it in UNTAGGED.",
        "Issue of the program: tags or labels on everything that takes them",
        check=_tags,
    ),
)
