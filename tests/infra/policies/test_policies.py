"""Every policy has something that fails it and something that passes it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from infra.policies import POLICIES, Policy, Subject, evaluate

UNKNOWN = {"$unknown": True}
SECRET = {"$secret": "aa"}
DIGEST = "@sha256:" + "1" * 64
CONTAINER: dict[str, Any] = {
    "name": "app",
    "image": f"registry.example/app{DIGEST}",
    "ports": [{"containerPort": 80}],
    "livenessProbe": {"httpGet": {}},
    "readinessProbe": {"httpGet": {}},
    "env": [
        {"name": "KEY_FILE", "value": "/run/key"},
        {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ],
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
}
POD: dict[str, Any] = {
    "serviceAccountName": "app",
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [CONTAINER],
}
META = {"name": "app", "namespace": "ai-agents"}


def make(token: str, properties: dict[str, Any], name: str = "it", **options: Any) -> Subject:
    return Subject(token, properties, name, f"urn:{name}:{token}", **options)


def workload(*, pod: dict[str, Any] | None = None, labels: dict[str, str] | None = None, **container: Any) -> Subject:
    spec = {**copy.deepcopy(POD), **(pod or {})}
    spec["containers"] = [{**spec["containers"][0], **container}]
    template = {"metadata": {"labels": labels or {"app": "app"}}, "spec": spec}
    return make("kubernetes:apps/v1:Deployment", {"metadata": META, "spec": {"template": template}}, "deployment")


def inside(**context: Any) -> Subject:
    return workload(securityContext={**CONTAINER["securityContext"], **context})


def namespace(labels: dict[str, str], **annotations: str) -> Subject:
    return make(
        "kubernetes:core/v1:Namespace",
        {"metadata": {"name": "ours", "labels": labels, "annotations": annotations}},
        "namespace",
    )


def release(**inputs: Any) -> Subject:
    base = {"chart": "vault", "version": "0.34.1", "repositoryOpts": {"repo": "https://helm.releases.hashicorp.com"}}
    return make("kubernetes:helm.sh/v3:Release", {**base, **inputs}, "release")


def deny(*ways: str, **spec: Any) -> Subject:
    inputs = {
        "metadata": {"name": "deny", "namespace": "ours"},
        "spec": {"podSelector": {}, "policyTypes": list(ways), **spec},
    }
    return make("kubernetes:networking.k8s.io/v1:NetworkPolicy", inputs, "deny")


RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
RDS, EKS, GKE, AKS = (
    "aws:rds/instance:Instance",
    "aws:eks/cluster:Cluster",
    "gcp:container/cluster:Cluster",
    "azure-native:containerservice:ManagedCluster",
)
CACHE, SQL, PG = (
    "aws:elasticache/replicationGroup:ReplicationGroup",
    "gcp:sql/databaseInstance:DatabaseInstance",
    "azure-native:dbforpostgresql:Server",
)
REDIS = "azure-native:redisenterprise:RedisEnterprise"
VALKEY = "gcp:memorystore/instance:Instance"
PROD, DEV = {"tags": {"environment": "prod"}}, {"tags": {"environment": "dev"}}
TAGS = {"platform": "p", "environment": "prod", "managed-by": "pulumi"}
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
HPA = make(
    "kubernetes:autoscaling/v2:HorizontalPodAutoscaler",
    {"metadata": META, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "app"}}},
    "hpa",
)
PDB = make(
    "kubernetes:policy/v1:PodDisruptionBudget",
    {"metadata": META, "spec": {"selector": {"matchLabels": {"app": "app"}}}},
    "pdb",
)
REPLICAS = make(
    "kubernetes:apps/v1:Deployment",
    {"metadata": META, "spec": {"replicas": 3, "template": {"metadata": {"labels": {"app": "app"}}, "spec": POD}}},
    "deployment",
)


def policy_json(actions: str, resources: str) -> str:
    return f'{{"Statement": [{{"Effect": "Allow", "Action": "{actions}", "Resource": "{resources}"}}]}}'


Cases = list[list[Subject]]
CASES: dict[str, tuple[Cases, Cases]] = {
    "secret-in-environment": (
        [[workload(env=[{"name": "DB_PASSWORD", "value": "hunter2"}])], [workload(env=[{"name": "URL", "value": SECRET}])]],
        [[workload()], [workload(env=[{"name": "MAX_TOKENS", "value": "4096"}, {"name": "VAULT_TOKEN_FILE", "value": "x"}, {"name": "API_KEY_PEPPER", "value": "/run/secrets/pepper"}])]],
    ),
    "secret-in-clear": (
        [
            [make("kubernetes:core/v1:ConfigMap", {"data": {"a": "x pulumi-secret-0123 y"}})],
            [make("aws:x:Y", {"key": "-----BEGIN PRIVATE KEY-----\nMII"})],
            [make("aws:x:Y", {"url": "postgresql://admin:hunter2@db:5432/agents"})],
            [make("aws:x:Y", {"nested": [{"key": "sk-ant-api03-abcdefghijklmnopqrst"}]})],
        ],
        [[make("aws:x:Y", {"key": SECRET, "url": "postgresql://db:5432/agents", "cert": "-----BEGIN CERTIFICATE-----"})]],
    ),
    "kubernetes-secret-marked": (
        [[make("kubernetes:core/v1:Secret", {"stringData": {"password": "x"}})]],
        [[make("kubernetes:core/v1:Secret", {"stringData": {"password": SECRET}, "data": UNKNOWN})], [make("kubernetes:core/v1:Secret", {"stringData": SECRET})]],
    ),
    "pod-security": (
        [
            [workload(pod={"hostNetwork": True})], [workload(pod={"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})], [inside(privileged=True)], [inside(allowPrivilegeEscalation=True)],
            [inside(runAsNonRoot=False)], [inside(runAsUser=0)], [inside(capabilities={})], [workload(pod={"securityContext": {"runAsNonRoot": True}})],
            [make("kubernetes:batch/v1:CronJob", {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "x"}]}}}}}})],
        ],
        [[workload()], [make("kubernetes:core/v1:Service", {"spec": {}})]],
    ),
    "read-only-root": ([[inside(readOnlyRootFilesystem=False)]], [[workload()]]),
    "namespace-pod-security": ([[namespace({})], [namespace({"pod-security.kubernetes.io/enforce": "baseline"})]], [[namespace(RESTRICTED)], [namespace({}, **{"ai-agents/pod-security-exception": "node exporter needs the host"})]]),
    "resources": ([[workload(resources={})], [workload(resources={"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1"}})]], [[workload()]]),
    "image-digest": ([[workload(image="nginx:1.31")]], [[workload()], [workload(image=UNKNOWN)]]),
    "image-latest": ([[workload(image="nginx")], [workload(image="registry:5000/nginx:latest")]], [[workload(image="nginx:1.31")], [workload(image=f"nginx:latest{DIGEST}")]]),
    "probes": ([[workload(readinessProbe=None)]], [[workload()], [workload(readinessProbe=None, ports=[])]]),
    "service-account-token": ([[workload(pod={"serviceAccountName": "default"})]], [[workload()], [workload(pod={"serviceAccountName": "default", "automountServiceAccountToken": False})]]),
    "chart-pinned": ([[release(version=None)], [release(version="~0.34")], [release(version="")]], [[release()], [release(version="v1.21.1")]]),
    "chart-maintained": (
        [[release(repositoryOpts={"repo": "https://charts.bitnami.com/bitnami"}, chart="redis")], [release(repositoryOpts={"repo": "https://kubernetes.github.io/ingress-nginx"}, chart="ingress-nginx")], [release(repositoryOpts={"repo": "https://grafana.github.io/helm-charts"}, chart="loki")]],
        [[release()], [release(repositoryOpts={"repo": "https://grafana-community.github.io/helm-charts"}, chart="loki")]],
    ),
    "public-service": (
        [[make("kubernetes:core/v1:Service", {"metadata": META, "spec": {"type": "NodePort"}})], [make("kubernetes:core/v1:Service", {"metadata": META, "spec": {"type": "LoadBalancer"}})]],
        [[make("kubernetes:core/v1:Service", {"metadata": {"labels": {"app.kubernetes.io/component": "gateway"}}, "spec": {"type": "LoadBalancer"}})], [make("kubernetes:core/v1:Service", {"spec": {"type": "ClusterIP"}})]],
    ),
    "data-encrypted": (
        [[make(RDS, {"storageEncrypted": False, "kmsKeyId": "k"})], [make(CACHE, {"atRestEncryptionEnabled": True})], [make(SQL, {})], [make(PG, {"dataEncryption": {"type": "SystemManaged"}})]],
        [[make(RDS, {"storageEncrypted": True, "kmsKeyId": UNKNOWN})], [make(SQL, {"encryptionKeyName": "k"})], [make(PG, {"dataEncryption": {"type": "AzureKeyVault"}})]],
    ),
    "cluster-secrets-encrypted": (
        [[make(EKS, {})], [make(GKE, {"databaseEncryption": {"state": "DECRYPTED", "keyName": "k"}})], [make(AKS, {})]],
        [[make(EKS, {"encryptionConfig": {"provider": {"keyArn": UNKNOWN}}})], [make(GKE, {"databaseEncryption": {"state": "ENCRYPTED", "keyName": "k"}})], [make(AKS, {"securityProfile": {"azureKeyVaultKms": {"enabled": True}}})]],
    ),
    "key-rotation": ([[make("aws:kms/key:Key", {})], [make("gcp:kms/cryptoKey:CryptoKey", {})]], [[make("aws:kms/key:Key", {"enableKeyRotation": True})], [make("gcp:kms/cryptoKey:CryptoKey", {"rotationPeriod": "7776000s"})]]),
    "tls-minimum": (
        [
            [make(CACHE, {"transitEncryptionEnabled": False})],
            [make("aws:cloudfront/distribution:Distribution", {"viewerCertificate": {"minimumProtocolVersion": "TLSv1"}, "defaultCacheBehavior": {"viewerProtocolPolicy": "https-only"}})],
            [make(SQL, {"settings": {"ipConfiguration": {"sslMode": "ALLOW_UNENCRYPTED_AND_ENCRYPTED"}}})], [make(REDIS, {"minimumTlsVersion": "1.0"})], [make("aws:lb/listener:Listener", {"protocol": "HTTP"})],
        ],
        [[make(CACHE, {"transitEncryptionEnabled": True})], [make(SQL, {"settings": {"ipConfiguration": {"sslMode": "ENCRYPTED_ONLY"}}})], [make(REDIS, {"minimumTlsVersion": "1.2"})]],
    ),
    "postgres-tls": (
        [[make("aws:rds/parameterGroup:ParameterGroup", {"family": "postgres17", "parameters": []})], [make("azure-native:dbforpostgresql:Configuration", {"configurationName": "require_secure_transport", "value": "off"})]],
        [[make("aws:rds/parameterGroup:ParameterGroup", {"family": "postgres17", "parameters": [{"name": "rds.force_ssl", "value": "1"}]})], [make("aws:rds/parameterGroup:ParameterGroup", {"family": "mysql8", "parameters": []})]],
    ),
    "private-data": (
        [[make(RDS, {"publiclyAccessible": True})], [make(SQL, {"settings": {"ipConfiguration": {}}})], [make(PG, {"network": {"publicNetworkAccess": "Enabled"}})], [make(REDIS, {})]],
        [[make(RDS, {"publiclyAccessible": False})], [make(SQL, {"settings": {"ipConfiguration": {"ipv4Enabled": False}}})], [make(PG, {"network": {"publicNetworkAccess": "Disabled"}})]],
    ),
    "private-api": (
        [[make(EKS, {"vpcConfig": {"endpointPublicAccess": True}})], [make(EKS, {"vpcConfig": {"endpointPublicAccess": True, "publicAccessCidrs": ["0.0.0.0/0"]}})], [make(GKE, {"privateClusterConfig": {"enablePrivateNodes": True}})], [make(AKS, {})]],
        [[make(EKS, {"vpcConfig": {"endpointPublicAccess": False}})], [make(EKS, {"vpcConfig": {"endpointPublicAccess": True, "publicAccessCidrs": ["203.0.113.0/24"]}})], [make(GKE, {"privateClusterConfig": {"enablePrivateNodes": True, "enablePrivateEndpoint": True}})], [make(AKS, {"apiServerAccessProfile": {"enablePrivateCluster": True}})]],
    ),
    "private-buckets": ([[make("gcp:storage/bucket:Bucket", {"uniformBucketLevelAccess": True})], [make("azure-native:storage:StorageAccount", {})]], [[make("gcp:storage/bucket:Bucket", {"uniformBucketLevelAccess": True, "publicAccessPrevention": "enforced"})]]),
    "open-ports": (
        [[make(INGRESS, {"cidrIpv4": "0.0.0.0/0", "fromPort": 22, "toPort": 22})], [make("gcp:compute/firewall:Firewall", {"allows": [{"protocol": "tcp", "ports": ["5432"]}], "sourceRanges": ["0.0.0.0/0"]})], [make("azure-native:network:NetworkSecurityGroup", {"securityRules": [{"access": "Allow", "direction": "Inbound", "sourceAddressPrefix": "*", "destinationPortRange": "22"}]})]],
        [[make(INGRESS, {"cidrIpv4": "0.0.0.0/0", "fromPort": 443, "toPort": 443})], [make(INGRESS, {"cidrIpv4": "10.0.0.0/8", "fromPort": 22, "toPort": 22})]],
    ),
    "audit-logging": ([[make(EKS, {"enabledClusterLogTypes": ["api"]})], [make(RDS, {})]], [[make(EKS, {"enabledClusterLogTypes": ["api", "audit", "authenticator"]})], [make(RDS, {"enabledCloudwatchLogsExports": ["postgresql"]})]]),
    "backups": ([[make(RDS, {"backupRetentionPeriod": 1})], [make(SQL, {"settings": {"backupConfiguration": {"enabled": True}}})]], [[make(RDS, {"backupRetentionPeriod": 14})], [make(PG, {"backup": {"backupRetentionDays": 7}})]]),
    "deletion-protection": ([[make(RDS, PROD)], [make(RDS, {})], [make(EKS, PROD)]], [[make(RDS, {**PROD, "deletionProtection": True})], [make(RDS, DEV)], [make(VALKEY, {"deletionProtectionEnabled": False, "engineConfigs": {"maxmemory-policy": "allkeys-lru"}})]]),
    "zones": ([[make(RDS, PROD)], [make(PG, PROD)]], [[make(RDS, {**PROD, "multiAz": True})], [make(RDS, DEV)]]),
    "node-hardening": (
        [[make("aws:ec2/launchTemplate:LaunchTemplate", {"metadataOptions": {"httpTokens": "optional", "httpPutResponseHopLimit": 1}})], [make("aws:ec2/launchTemplate:LaunchTemplate", {"metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 2}})], [make(AKS, {})]],
        [[make("aws:ec2/launchTemplate:LaunchTemplate", {"metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1}})], [make(AKS, {"disableLocalAccounts": True})]],
    ),
    "least-privilege": (
        [[make("aws:iam/rolePolicy:RolePolicy", {"policy": policy_json("*", "arn:x")})], [make("aws:iam/rolePolicy:RolePolicy", {"policy": policy_json("s3:*", "*")})], [make("aws:iam/rolePolicyAttachment:RolePolicyAttachment", {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"})], [make("gcp:projects/iAMMember:IAMMember", {"role": "roles/editor"})], [make("gcp:storage/bucketIAMMember:BucketIAMMember", {"member": "allUsers", "role": "r"})], [make("azure-native:authorization:RoleAssignment", {"roleDefinitionId": "/x/b24988ac-6180-42a0-ab88-20f7382dd24c"})]],
        [[make("aws:iam/rolePolicy:RolePolicy", {"policy": policy_json("s3:GetObject", "*")})], [make("aws:iam/rolePolicy:RolePolicy", {"policy": UNKNOWN})], [make("gcp:projects/iAMMember:IAMMember", {"role": "roles/container.defaultNodeServiceAccount"})]],
    ),
    "tags": ([[make(RDS, {})], [make(RDS, {"tags": {"platform": "p"}})], [make("gcp:new/thing:Thing", {})]], [[make(RDS, {"tags": TAGS})], [make("aws:kms/alias:Alias", {})], [make(RDS, {"tags": UNKNOWN})], [make("random:index/randomPassword:RandomPassword", {})]]),
    "default-deny": ([[namespace(RESTRICTED)], [namespace(RESTRICTED), deny("Ingress")], [namespace(RESTRICTED), deny("Ingress", "Egress", egress=[{}])]], [[namespace(RESTRICTED), deny("Ingress", "Egress")], [namespace(RESTRICTED), deny("Ingress"), deny("Egress")]]),
    "disruption-budget": ([[workload()], [workload(labels={"app": "other"}), PDB]], [[workload(), PDB]]),
    "autoscaler-owns-replicas": ([[REPLICAS, HPA]], [[workload(), HPA], [REPLICAS]]),
    "namespace-quota": ([[namespace(RESTRICTED)]], [[namespace(RESTRICTED), make("kubernetes:core/v1:ResourceQuota", {"metadata": {"namespace": "ours"}}, "quota")]]),
    "flow-logs": ([[make("aws:ec2/vpc:Vpc", {})], [make("gcp:compute/subnetwork:Subnetwork", {})]], [[make("aws:ec2/vpc:Vpc", {}), make("aws:ec2/flowLog:FlowLog", {}, "log")], [make("gcp:compute/subnetwork:Subnetwork", {"logConfig": {"flowSampling": 0.5}})]]),
    "restore-test": ([[make(RDS, PROD)], [make("gcp:gkebackup/backupPlan:BackupPlan", PROD)]], [[make(RDS, PROD), make("aws:backup/restoreTestingPlan:RestoreTestingPlan", {}, "test")], [make(RDS, DEV)]]),
    "web-firewall": ([[make("aws:cloudfront/distribution:Distribution", {})], [make("azure-native:cdn:AFDEndpoint", {})]], [[make("aws:cloudfront/distribution:Distribution", {"webAclId": UNKNOWN})], [make("azure-native:cdn:AFDEndpoint", {}), make("azure-native:cdn:SecurityPolicy", {}, "waf")]]),
    "state-protection": ([[make(RDS, PROD)]], [[make(RDS, PROD, protect=True)], [make(RDS, DEV)]]),
    "rate-limit": ([[make("kubernetes:core/v1:ConfigMap", {"data": {"nginx.conf": "auth_request /x;"}})]], [[make("kubernetes:core/v1:ConfigMap", {"data": {"nginx.conf": "limit_req zone=ip; auth_request /x;"}})], [make("kubernetes:core/v1:ConfigMap", {"data": {"other": "text"}})]]),
}  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.id)
def test_a_policy_finds_what_breaks_it_and_nothing_else(policy: Policy) -> None:
    fails, passes = CASES[policy.id]
    for case in fails:
        assert evaluate([policy], case), f"not found: {case}"
    for case in passes:
        assert evaluate([policy], case) == []


def test_every_policy_has_cases_and_an_id_of_its_own() -> None:
    assert [policy.id for policy in POLICIES] == list(dict.fromkeys(policy.id for policy in POLICIES))
    assert set(CASES) == {policy.id for policy in POLICIES}
    assert len(POLICIES) >= 15


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.id)
def test_a_policy_says_what_to_do_and_where_it_is_from(policy: Policy) -> None:
    assert policy.remedy.endswith((".", "does."))
    assert policy.source
    assert (policy.check is None) != (policy.graph is None)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.id)
def test_a_policy_survives_properties_that_are_all_unknown(policy: Policy) -> None:
    tokens = {subject.type for side in CASES[policy.id] for case in side for subject in case}
    for token in tokens:
        keys = {key for side in CASES[policy.id] for case in side for subject in case for key in subject.properties}
        evaluate([policy], [make(token, dict.fromkeys(keys, UNKNOWN))])


def test_findings_come_gravest_first_and_name_the_resource() -> None:
    found = evaluate(POLICIES, [make(RDS, {}, "database")])
    assert found[0].policy.severity == "high"
    assert [item.policy.severity for item in found] == sorted(
        (item.policy.severity for item in found), key=["high", "medium", "low"].index
    )
    assert {item.name for item in found} == {"database"}
