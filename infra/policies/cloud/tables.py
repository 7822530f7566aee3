"""Owns the tables of the cloud policies: type of resource → what its properties must say. Types that stand in no table are not judged."""

from __future__ import annotations

from typing import Any

from infra.policies.cloud import types
from infra.policies.model import Rule, at_least, given, off, on, one_of


def _all_in(value: Any, *wanted: str) -> bool:
    return isinstance(value, list) and set(wanted) <= set(map(str, value))


ENCRYPTED: dict[str, list[Rule]] = {
    types.RDS: [
        Rule("storageEncrypted", on, "its storage is not encrypted"),
        Rule("kmsKeyId", given, "is not encrypted with a key of ours"),
    ],
    types.ELASTICACHE: [
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
    types.SQL: [Rule("encryptionKeyName", given, "is not encrypted with a key of ours")],
    types.MEMORYSTORE: [Rule("kmsKey", given, "is not encrypted with a key of ours")],
    types.GCS: [Rule("encryption.defaultKmsKeyName", given, "is not encrypted with a key of ours")],
    "gcp:container/nodePool:NodePool": [
        Rule("nodeConfig.bootDiskKmsKey", given, "node disks are not encrypted with a key of ours")
    ],
    types.FLEXIBLE: [Rule("dataEncryption.type", one_of("AzureKeyVault"), "is not encrypted with a key of ours")],
    types.REDIS: [
        Rule(
            "encryption.customerManagedKeyEncryption.keyEncryptionKeyUrl", given, "is not encrypted with a key of ours"
        )
    ],
    types.BLOBS: [Rule("encryption.keySource", one_of("Microsoft.Keyvault"), "is not encrypted with a key of ours")],
}
CLUSTER_SECRETS: dict[str, list[Rule]] = {
    types.CLUSTERS["aws"]: [
        Rule("encryptionConfig.provider.keyArn", given, "Kubernetes secrets are not encrypted with a key of ours")
    ],
    types.CLUSTERS["gcp"]: [
        Rule("databaseEncryption.keyName", given, "Kubernetes secrets are not encrypted with a key of ours"),
        Rule("databaseEncryption.state", one_of("ENCRYPTED"), "encryption of Kubernetes secrets is off"),
    ],
    types.CLUSTERS["azure"]: [
        Rule("securityProfile.azureKeyVaultKms.enabled", on, "Kubernetes secrets are not encrypted with a key of ours")
    ],
}
ROTATED: dict[str, list[Rule]] = {
    "aws:kms/key:Key": [Rule("enableKeyRotation", on, "is never rotated")],
    "gcp:kms/cryptoKey:CryptoKey": [Rule("rotationPeriod", given, "is never rotated")],
    "azure-native:keyvault:Key": [Rule("properties.rotationPolicy.lifetimeActions", given, "is never rotated")],
}
TLS: dict[str, list[Rule]] = {
    types.ELASTICACHE: [
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
    types.SQL: [
        Rule(
            "settings.ipConfiguration.sslMode",
            one_of("ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"),
            "takes connections without TLS",
        )
    ],
    types.MEMORYSTORE: [
        Rule("transitEncryptionMode", one_of("SERVER_AUTHENTICATION"), "takes connections without TLS")
    ],
    "gcp:compute/sSLPolicy:SSLPolicy": [Rule("minTlsVersion", one_of("TLS_1_2", "TLS_1_3"), "takes TLS below 1.2")],
    types.REDIS: [Rule("minimumTlsVersion", one_of("1.2", "1.3"), "takes TLS below 1.2")],
    types.REDIS_DATABASE: [Rule("clientProtocol", one_of("Encrypted"), "takes connections without TLS")],
    types.BLOBS: [
        Rule("minimumTlsVersion", one_of("TLS1_2", "TLS1_3"), "takes TLS below 1.2"),
        Rule("enableHttpsTrafficOnly", lambda value: value is not False, "takes plain HTTP"),
    ],
    "azure-native:cdn:AFDCustomDomain": [
        Rule("tlsSettings.minimumTlsVersion", one_of("TLS12", "TLS13"), "takes TLS below 1.2")
    ],
}
PRIVATE: dict[str, list[Rule]] = {
    types.RDS: [Rule("publiclyAccessible", off, "has a public address")],
    "aws:rds/clusterInstance:ClusterInstance": [Rule("publiclyAccessible", off, "has a public address")],
    types.ELASTICACHE: [Rule("subnetGroupName", given, "is in no subnet group of ours")],
    types.SQL: [Rule("settings.ipConfiguration.ipv4Enabled", lambda value: value is False, "has a public address")],
    types.FLEXIBLE: [Rule("network.publicNetworkAccess", one_of("Disabled"), "takes connections from the internet")],
    types.REDIS: [Rule("publicNetworkAccess", one_of("Disabled"), "takes connections from the internet")],
    types.VAULT: [
        Rule(
            "properties.publicNetworkAccess",
            lambda value: str(value).lower() == "disabled",
            "takes connections from the internet",
        )
    ],
}
BUCKETS: dict[str, list[Rule]] = {
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": [
        Rule(name, on, f"{name} is off")
        for name in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    ],
    types.GCS: [
        Rule("publicAccessPrevention", one_of("enforced"), "can be made public"),
        Rule("uniformBucketLevelAccess", on, "takes access lists per object"),
    ],
    types.BLOBS: [Rule("allowBlobPublicAccess", lambda value: value is False, "can be made public")],
}
AUDIT: dict[str, list[Rule]] = {
    types.CLUSTERS["aws"]: [
        Rule(
            "enabledClusterLogTypes",
            lambda value: _all_in(value, "audit", "authenticator", "api"),
            "does not log api, audit and authenticator",
        )
    ],
    types.CLUSTERS["gcp"]: [
        Rule("loggingConfig.enableComponents", lambda value: _all_in(value, "APISERVER"), "does not log its API server")
    ],
    types.RDS: [Rule("enabledCloudwatchLogsExports", given, "does not export its logs")],
}
BACKUP: dict[str, list[Rule]] = {
    types.RDS: [Rule("backupRetentionPeriod", at_least(7), "keeps backups for less than 7 days")],
    types.SQL: [
        Rule("settings.backupConfiguration.enabled", on, "is not backed up"),
        Rule("settings.backupConfiguration.pointInTimeRecoveryEnabled", on, "has no point-in-time recovery"),
    ],
    types.FLEXIBLE: [Rule("backup.backupRetentionDays", at_least(7), "keeps backups for less than 7 days")],
}
PROTECTED: dict[str, list[Rule]] = {
    types.RDS: [Rule("deletionProtection", on, "can be deleted")],
    types.CLUSTERS["aws"]: [Rule("deletionProtection", on, "can be deleted")],
    "aws:lb/loadBalancer:LoadBalancer": [Rule("enableDeletionProtection", on, "can be deleted")],
    types.SQL: [
        Rule("deletionProtection", on, "can be deleted by this program"),
        Rule("settings.deletionProtectionEnabled", on, "can be deleted by anyone with the rights"),
    ],
    types.CLUSTERS["gcp"]: [Rule("deletionProtection", lambda value: value is not False, "can be deleted")],
    types.MEMORYSTORE: [Rule("deletionProtectionEnabled", lambda value: value is not False, "can be deleted")],
    types.VAULT: [Rule("properties.enablePurgeProtection", on, "can be purged")],
}
AVAILABLE: dict[str, list[Rule]] = {
    types.RDS: [Rule("multiAz", on, "stands in one zone")],
    types.ELASTICACHE: [
        Rule("multiAzEnabled", on, "stands in one zone"),
        Rule("automaticFailoverEnabled", on, "does not fail over"),
    ],
    types.SQL: [Rule("settings.availabilityType", one_of("REGIONAL"), "stands in one zone")],
    types.MEMORYSTORE: [Rule("zoneDistributionConfig.mode", one_of(None, "MULTI_ZONE"), "stands in one zone")],
    types.FLEXIBLE: [Rule("highAvailability.mode", one_of("ZoneRedundant"), "stands in one zone")],
}
NODES: dict[str, list[Rule]] = {
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
    types.CLUSTERS["azure"]: [Rule("disableLocalAccounts", on, "has local administrator accounts")],
    types.CLUSTERS["gcp"]: [Rule("enableLegacyAbac", off, "legacy authorization is on")],
}
