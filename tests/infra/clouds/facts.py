"""What each cloud calls the things the conformance suite makes its claims about: one vocabulary over three."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.plan import Plan, Resource


@dataclass(frozen=True)
class Cloud:
    """Types by role and how to read a claim off them."""

    name: str
    network: str
    cluster: str
    database: str
    store: str
    key: str
    bucket: str
    firewall: str
    backup: str
    taggable: frozenset[str]
    """Types that take tags or labels, of those the foundation uses."""
    tags: Callable[[Resource], Any]
    database_is_private: Callable[[Resource], bool]
    database_is_encrypted: Callable[[Resource], bool]
    database_forces_tls: Callable[[Plan], bool]
    database_survives_a_zone: Callable[[Resource], bool]
    database_refuses_deletion: Callable[[Resource], bool] | None
    store_is_private: Callable[[Resource], bool]
    store_is_encrypted: Callable[[Resource], bool]
    store_speaks_tls: Callable[[Resource, Plan], bool]
    store_eviction: Callable[[Resource, Plan], str]
    cluster_is_private: Callable[[Resource], bool]
    cluster_encrypts_secrets: Callable[[Resource], bool]
    cluster_logs_audits: Callable[[Plan], bool]
    cluster_uses_workload_identity: Callable[[Plan], bool]
    cluster_spans: Callable[[Plan], int]
    """How many zones nodes run in."""
    key_rotates: Callable[[Resource], bool]
    bucket_is_private: Callable[[Resource, Plan], bool]
    bucket_is_encrypted: Callable[[Resource, Plan], bool]


def one(plan: Plan, kind: str) -> Resource:
    """The only resource of a type."""
    found = [resource for resource in plan.resources if resource.type == kind]
    assert len(found) == 1, f"{plan.stack}: {len(found)} of {kind}"
    return found[0]


def of(plan: Plan, kind: str) -> list[Resource]:
    """All resources of a type; at least one."""
    found = [resource for resource in plan.resources if resource.type == kind]
    assert found, f"{plan.stack}: no {kind}"
    return found


def _parameter(plan: Plan, kind: str, name: str) -> list[str]:
    return [
        entry["value"] for group in of(plan, kind) for entry in group.get("parameters", []) if entry["name"] == name
    ]


def _aws_eviction(store: Resource, plan: Plan) -> str:
    use = store.name.rpartition("-")[2]
    group = next(
        g for g in of(plan, "aws:elasticache/parameterGroup:ParameterGroup") if g.name.endswith(f"-{use}-parameters")
    )
    return next(str(entry["value"]) for entry in group.get("parameters") if entry["name"] == "maxmemory-policy")


def _beside(plan: Plan, kind: str, bucket: Resource) -> Resource:
    """The resource of a type whose logical name starts with the bucket's: what states a property of it."""
    return next(resource for resource in of(plan, kind) if resource.name.startswith(f"{bucket.name}-"))


AWS = Cloud(
    name="aws",
    network="aws:ec2/vpc:Vpc",
    cluster="aws:eks/cluster:Cluster",
    database="aws:rds/instance:Instance",
    store="aws:elasticache/replicationGroup:ReplicationGroup",
    key="aws:kms/key:Key",
    bucket="aws:s3/bucket:Bucket",
    firewall="aws:wafv2/webAcl:WebAcl",
    backup="aws:backup/plan:Plan",
    taggable=frozenset(
        f"aws:{kind}"
        for kind in (
            "acm/certificate:Certificate", "backup/plan:Plan", "backup/vault:Vault", "cloudfront/distribution:Distribution",
            "cloudwatch/logGroup:LogGroup", "ec2/eip:Eip", "ec2/flowLog:FlowLog", "ec2/internetGateway:InternetGateway",
            "ec2/launchTemplate:LaunchTemplate", "ec2/natGateway:NatGateway", "ec2/routeTable:RouteTable",
            "ec2/securityGroup:SecurityGroup", "ec2/subnet:Subnet", "ec2/vpc:Vpc", "ec2/vpcEndpoint:VpcEndpoint",
            "eks/addon:Addon", "eks/cluster:Cluster", "eks/nodeGroup:NodeGroup", "eks/podIdentityAssociation:PodIdentityAssociation",
            "elasticache/parameterGroup:ParameterGroup", "elasticache/replicationGroup:ReplicationGroup",
            "elasticache/subnetGroup:SubnetGroup", "iam/role:Role", "kms/key:Key", "lb/listener:Listener",
            "lb/loadBalancer:LoadBalancer", "lb/targetGroup:TargetGroup", "rds/instance:Instance",
            "rds/parameterGroup:ParameterGroup", "rds/subnetGroup:SubnetGroup", "route53/zone:Zone", "s3/bucket:Bucket",
            "secretsmanager/secret:Secret", "wafv2/webAcl:WebAcl",
        )
    ),
    tags=lambda resource: resource.get("tags"),
    database_is_private=lambda db: db.get("publiclyAccessible") is False,
    database_is_encrypted=lambda db: db.get("storageEncrypted") is True and db.get("kmsKeyId") is not None,
    database_forces_tls=lambda plan: _parameter(plan, "aws:rds/parameterGroup:ParameterGroup", "rds.force_ssl") == ["1"],
    database_survives_a_zone=lambda db: db.get("multiAz") is True,
    database_refuses_deletion=lambda db: db.get("deletionProtection") is True and db.get("skipFinalSnapshot") is False,
    store_is_private=lambda store: bool(store.get("subnetGroupName")) and bool(store.get("securityGroupIds")),
    store_is_encrypted=lambda store: store.get("atRestEncryptionEnabled") is True and store.get("kmsKeyId") is not None,
    store_speaks_tls=lambda store, _: store.get("transitEncryptionEnabled") is True and store.get("transitEncryptionMode") == "required",
    store_eviction=_aws_eviction,
    cluster_is_private=lambda cluster: cluster.get("vpcConfig.endpointPrivateAccess") is True and cluster.get("vpcConfig.endpointPublicAccess") is False,
    cluster_encrypts_secrets=lambda cluster: cluster.get("encryptionConfig.resources") == ["secrets"] and bool(cluster.get("encryptionConfig.provider.keyArn")),
    cluster_logs_audits=lambda plan: "audit" in one(plan, "aws:eks/cluster:Cluster").get("enabledClusterLogTypes"),
    cluster_uses_workload_identity=lambda plan: bool(of(plan, "aws:eks/podIdentityAssociation:PodIdentityAssociation")),
    cluster_spans=lambda plan: len({s.get("availabilityZone") for s in of(plan, "aws:ec2/subnet:Subnet") if "-private-" in s.name}),
    key_rotates=lambda key: key.get("enableKeyRotation") is True,
    bucket_is_private=lambda bucket, plan: all(
        _beside(plan, "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", bucket).get(flag) is True
        for flag in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    ),
    bucket_is_encrypted=lambda bucket, plan: bool(
        _beside(plan, "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration", bucket).get(
            "rules.0.applyServerSideEncryptionByDefault.kmsMasterKeyId"
        )
    ),
)  # fmt: skip

GCP = Cloud(
    name="gcp",
    network="gcp:compute/network:Network",
    cluster="gcp:container/cluster:Cluster",
    database="gcp:sql/databaseInstance:DatabaseInstance",
    store="gcp:memorystore/instance:Instance",
    key="gcp:kms/cryptoKey:CryptoKey",
    bucket="gcp:storage/bucket:Bucket",
    firewall="gcp:compute/securityPolicy:SecurityPolicy",
    backup="gcp:gkebackup/backupPlan:BackupPlan",
    taggable=frozenset(
        f"gcp:{kind}"
        for kind in (
            "compute/globalAddress:GlobalAddress", "container/cluster:Cluster", "dns/managedZone:ManagedZone",
            "gkebackup/backupPlan:BackupPlan", "gkebackup/restorePlan:RestorePlan", "kms/cryptoKey:CryptoKey",
            "memorystore/instance:Instance", "secretmanager/secret:Secret", "sql/databaseInstance:DatabaseInstance",
            "storage/bucket:Bucket",
        )
    ),
    tags=lambda resource: resource.get("labels") or resource.get("resourceLabels") or resource.get("settings.userLabels"),
    database_is_private=lambda db: db.get("settings.ipConfiguration.ipv4Enabled") is False,
    database_is_encrypted=lambda db: db.get("encryptionKeyName") is not None,
    database_forces_tls=lambda plan: one(plan, "gcp:sql/databaseInstance:DatabaseInstance").get("settings.ipConfiguration.sslMode") == "ENCRYPTED_ONLY",
    database_survives_a_zone=lambda db: db.get("settings.availabilityType") == "REGIONAL",
    database_refuses_deletion=lambda db: db.get("deletionProtection") is True and db.get("settings.deletionProtectionEnabled") is True,
    store_is_private=lambda store: store.get("desiredAutoCreatedEndpoints.0.network") is not None,
    store_is_encrypted=lambda store: store.get("kmsKey") is not None,
    store_speaks_tls=lambda store, _: store.get("transitEncryptionMode") == "SERVER_AUTHENTICATION",
    store_eviction=lambda store, _: store.get("engineConfigs")["maxmemory-policy"],
    cluster_is_private=lambda cluster: (
        cluster.get("privateClusterConfig.enablePrivateEndpoint") is True and cluster.get("privateClusterConfig.enablePrivateNodes") is True
    ),
    cluster_encrypts_secrets=lambda cluster: cluster.get("databaseEncryption.state") == "ENCRYPTED" and bool(cluster.get("databaseEncryption.keyName")),
    cluster_logs_audits=lambda plan: "APISERVER" in one(plan, "gcp:container/cluster:Cluster").get("loggingConfig.enableComponents"),
    cluster_uses_workload_identity=lambda plan: (
        bool(one(plan, "gcp:container/cluster:Cluster").get("workloadIdentityConfig.workloadPool")) and bool(of(plan, "gcp:serviceaccount/iAMMember:IAMMember"))
    ),
    cluster_spans=lambda plan: len(set(one(plan, "gcp:container/nodePool:NodePool").get("nodeLocations"))),
    key_rotates=lambda key: key.get("rotationPeriod") is not None,
    bucket_is_private=lambda bucket, _: bucket.get("publicAccessPrevention") == "enforced" and bucket.get("uniformBucketLevelAccess") is True,
    bucket_is_encrypted=lambda bucket, _: bucket.get("encryption.defaultKmsKeyName") is not None,
)  # fmt: skip


def _azure_endpoint(plan: Plan, resource: Resource) -> bool:
    """Whether a private endpoint leads to the resource: the only way in where public access is off."""
    endpoints = of(plan, "azure-native:network:PrivateEndpoint")
    return any(resource.urn in dependency for endpoint in endpoints for dependency in endpoint.dependencies)


AZURE = Cloud(
    name="azure",
    network="azure-native:network:VirtualNetwork",
    cluster="azure-native:containerservice:ManagedCluster",
    database="azure-native:dbforpostgresql:Server",
    store="azure-native:redisenterprise:RedisEnterprise",
    key="azure-native:keyvault:Key",
    bucket="azure-native:storage:StorageAccount",
    firewall="azure-native:frontdoor:Policy",
    backup="azure-native:dataprotection:BackupPolicy",
    taggable=frozenset(
        f"azure-native:{kind}"
        for kind in (
            "cdn:AFDEndpoint", "cdn:Profile", "compute:DiskEncryptionSet", "containerservice:ManagedCluster", "dataprotection:BackupVault",
            "dbforpostgresql:Server", "dns:Zone", "frontdoor:Policy", "keyvault:Key", "keyvault:Secret", "keyvault:Vault",
            "managedidentity:UserAssignedIdentity", "network:FlowLog", "network:NatGateway", "network:NetworkSecurityGroup",
            "network:PrivateEndpoint", "network:PublicIPAddress", "network:VirtualNetwork", "operationalinsights:Workspace",
            "privatedns:PrivateZone", "redisenterprise:RedisEnterprise", "resources:ResourceGroup", "storage:StorageAccount",
        )
    ),
    tags=lambda resource: resource.get("tags"),
    database_is_private=lambda db: db.get("network.publicNetworkAccess") == "Disabled" and db.get("network.delegatedSubnetResourceId") is not None,
    database_is_encrypted=lambda db: db.get("dataEncryption.type") == "AzureKeyVault" and db.get("dataEncryption.primaryKeyURI") is not None,
    database_forces_tls=lambda plan: {"require_secure_transport": "on", "ssl_min_protocol_version": "TLSv1.2"}.items()
    <= {c.get("configurationName"): c.get("value") for c in of(plan, "azure-native:dbforpostgresql:Configuration")}.items(),
    database_survives_a_zone=lambda db: db.get("highAvailability.mode") == "ZoneRedundant",
    # The service has no deletion protection of its own: Pulumi's protect is what there is.
    database_refuses_deletion=None,
    store_is_private=lambda store: store.get("publicNetworkAccess") == "Disabled",
    store_is_encrypted=lambda store: store.get("encryption.customerManagedKeyEncryption.keyEncryptionKeyUrl") is not None,
    store_speaks_tls=lambda store, plan: store.get("minimumTlsVersion") == "1.2"
    and all(database.get("clientProtocol") == "Encrypted" for database in of(plan, "azure-native:redisenterprise:Database")),
    store_eviction=lambda store, plan: next(
        {"NoEviction": "noeviction", "AllKeysLRU": "allkeys-lru"}[str(database.get("evictionPolicy"))]
        for database in of(plan, "azure-native:redisenterprise:Database")
        if database.name == f"{store.name}-database"
    ),
    cluster_is_private=lambda cluster: cluster.get("apiServerAccessProfile.enablePrivateCluster") is True and cluster.get("disableLocalAccounts") is True,
    cluster_encrypts_secrets=lambda cluster: cluster.get("securityProfile.azureKeyVaultKms.enabled") is True,
    cluster_logs_audits=lambda plan: any(
        log["category"].startswith("kube-audit") and log["enabled"]
        for setting in of(plan, "azure-native:monitor:DiagnosticSetting")
        for log in setting.get("logs", [])
    ),
    cluster_uses_workload_identity=lambda plan: (
        one(plan, "azure-native:containerservice:ManagedCluster").get("securityProfile.workloadIdentity.enabled") is True
        and bool(of(plan, "azure-native:managedidentity:FederatedIdentityCredential"))
    ),
    cluster_spans=lambda plan: len(set(one(plan, "azure-native:containerservice:ManagedCluster").get("agentPoolProfiles.0.availabilityZones"))),
    key_rotates=lambda key: bool(key.get("properties.rotationPolicy.lifetimeActions")),
    bucket_is_private=lambda bucket, plan: bucket.get("publicNetworkAccess") == "Disabled"
    and bucket.get("allowBlobPublicAccess") is False
    and _azure_endpoint(plan, bucket),
    bucket_is_encrypted=lambda bucket, _: bucket.get("encryption.keySource") == "Microsoft.Keyvault",
)  # fmt: skip

CLOUDS = {cloud.name: cloud for cloud in (AWS, GCP, AZURE)}
