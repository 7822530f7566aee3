"""Owns policies that need more than one resource: what must stand next to what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.policies.model import Policy, Subject, dig, is_unknown

_NETWORKS = ("aws:ec2/vpc:Vpc", "gcp:compute/network:Network", "azure-native:network:VirtualNetwork")
_RESTORE_TESTS = {
    "aws:rds/instance:Instance": "aws:backup/restoreTestingPlan:RestoreTestingPlan",
    "gcp:gkebackup/backupPlan:BackupPlan": "gcp:gkebackup/restorePlan:RestorePlan",
}
_EDGES = {
    "aws:cloudfront/distribution:Distribution": "webAclId",
    "gcp:compute/backendService:BackendService": "securityPolicy",
}


def _namespace(subject: Subject) -> str:
    return str(subject.get("metadata.namespace") or "default")


def _default_deny(subjects: Sequence[Subject]) -> Iterator[tuple[str, str]]:
    """Namespaces this stack makes must deny both ways by default."""
    denied: dict[str, set[str]] = {}
    for subject in subjects:
        if subject.type == "kubernetes:networking.k8s.io/v1:NetworkPolicy":
            spec = subject.get("spec") or {}
            for way in spec.get("policyTypes") or ("Ingress",) if spec.get("podSelector") == {} else ():
                if not spec.get(str(way).lower()):
                    denied.setdefault(_namespace(subject), set()).add(str(way))
    for subject in subjects:
        if subject.type == "kubernetes:core/v1:Namespace":
            name = str(subject.get("metadata.name"))
            missing = {"Ingress", "Egress"} - denied.get(name, set())
            if missing:
                yield subject.urn, f"namespace {name} does not deny {' and '.join(sorted(missing)).lower()} by default"


def _disruption(subjects: Sequence[Subject]) -> Iterator[tuple[str, str]]:
    budgets = [
        (_namespace(item), item.get("spec.selector.matchLabels"))
        for item in subjects
        if item.kind == "PodDisruptionBudget" and item.kubernetes
    ]
    for subject in subjects:
        if (
            subject.kind not in ("Deployment", "StatefulSet")
            or not subject.kubernetes
            or dig(subject.properties, "spec.replicas") == 1
        ):
            continue
        labels = subject.get("spec.template.metadata.labels") or {}
        if not any(
            namespace == _namespace(subject) and isinstance(chosen, Mapping) and chosen.items() <= labels.items()
            for namespace, chosen in budgets
        ):
            yield subject.urn, "a drain may take all its replicas at once: it has no disruption budget"


def _autoscaled(subjects: Sequence[Subject]) -> Iterator[tuple[str, str]]:
    scaled = {
        (_namespace(item), str(item.get("spec.scaleTargetRef.kind")), str(item.get("spec.scaleTargetRef.name")))
        for item in subjects
        if item.kind == "HorizontalPodAutoscaler"
    }
    for subject in subjects:
        if subject.kind in ("Deployment", "StatefulSet") and subject.kubernetes:
            key = (_namespace(subject), subject.kind, str(subject.get("metadata.name")))
            if key in scaled and subject.get("spec.replicas") is not None:
                yield subject.urn, "states replicas although an autoscaler owns them: every `up` would fight it"


def _quota(subjects: Sequence[Subject]) -> Iterator[tuple[str, str]]:
    bounded = {_namespace(item) for item in subjects if item.kind == "ResourceQuota"}
    for subject in subjects:
        if subject.type == "kubernetes:core/v1:Namespace" and str(subject.get("metadata.name")) not in bounded:
            yield subject.urn, f"namespace {subject.get('metadata.name')} has no quota"


def _flow_logs(subjects: Sequence[Subject]) -> Iterator[tuple[str, str]]:
    kinds = {subject.kind for subject in subjects}
    for subject in subjects:
        if subject.type == _NETWORKS[0] and "FlowLog" not in kinds:
            yield subject.urn, "its traffic is not logged"
        if (
            subject.type == "gcp:compute/subnetwork:Subnetwork"
            and subject.get("purpose") in (None, "PRIVATE")
            and not subject.get("logConfig")
        ):
            yield subject.urn, "its traffic is not logged"


def _restore_test(subjects: Sequence[Subject]) -> Iterator[tuple[str, str]]:
    types = {subject.type for subject in subjects}
    for subject in subjects:
        wanted = _RESTORE_TESTS.get(subject.type)
        if wanted and wanted not in types and subject.environment in ("", "prod"):
            yield subject.urn, "that its backups can be restored is never tried"


def _firewall(subjects: Sequence[Subject]) -> Iterator[tuple[str, str]]:
    policies = {subject.kind for subject in subjects}
    for subject in subjects:
        path = _EDGES.get(subject.type)
        if path and not subject.get(path) and not is_unknown(subject.get(path)):
            yield subject.urn, "stands before the gateway without a web application firewall"
        if subject.type == "azure-native:cdn:AFDEndpoint" and "SecurityPolicy" not in policies:
            yield subject.urn, "stands before the gateway without a web application firewall"


def _state_protected(subjects: Sequence[Subject]) -> Iterator[tuple[str, str]]:
    """In staging and prod, what the cloud protects is protected in the engine too."""
    holding = (
        "aws:rds/instance:Instance",
        "gcp:sql/databaseInstance:DatabaseInstance",
        "azure-native:dbforpostgresql:Server",
        "aws:kms/key:Key",
        "gcp:kms/cryptoKey:CryptoKey",
        "azure-native:keyvault:Key",
        "azure-native:keyvault:Vault",
        *_NETWORKS,
    )
    environments = {subject.environment for subject in subjects} - {""}
    if environments and environments <= {"dev"}:
        return
    for subject in subjects:
        if subject.type in holding and not subject.protect:
            yield subject.urn, "`pulumi destroy` or a replacement would delete it: it is not protected"


def _rate_limit(subjects: Sequence[Subject]) -> Iterator[tuple[str, str]]:
    """A gateway configuration with requests to pass on limits them."""
    for subject in subjects:
        if subject.type != "kubernetes:core/v1:ConfigMap":
            continue
        data: Any = subject.get("data")
        for key, text in data.items() if isinstance(data, Mapping) else ():
            if isinstance(text, str) and "auth_request " in text and "limit_req " not in text:
                yield subject.urn, f"{key} passes requests on without limiting them"


POLICIES = (
    Policy(
        "default-deny",
        "high",
        "Every namespace denies traffic both ways by default",
        "Add a NetworkPolicy with an empty podSelector and policyTypes Ingress and Egress.",
        "Specification section 5, network security: default deny; CIS Kubernetes Benchmark 5.3.2",
        graph=_default_deny,
    ),
    Policy(
        "disruption-budget",
        "medium",
        "Replicated workloads have a disruption budget",
        "Add a PodDisruptionBudget with maxUnavailable: 1.",
        "Kubernetes documentation, Disruptions",
        graph=_disruption,
    ),
    Policy(
        "autoscaler-owns-replicas",
        "medium",
        "Where an autoscaler is, replicas are left to it",
        "Leave spec.replicas out.",
        "pulumi-kubernetes#2491; Kubernetes documentation, HorizontalPodAutoscaler",
        graph=_autoscaled,
    ),
    Policy(
        "namespace-quota",
        "low",
        "Every namespace has a quota",
        "Add a ResourceQuota.",
        "Issue of the services: quotas and limit ranges",
        graph=_quota,
    ),
    Policy(
        "flow-logs",
        "medium",
        "Network traffic is logged",
        "Turn on flow logs of the network or its subnets.",
        "CIS AWS Foundations 3.7, CIS GCP Foundations 3.8",
        graph=_flow_logs,
    ),
    Policy(
        "restore-test",
        "medium",
        "That backups can be restored is tried on a schedule",
        "Add a restore-testing plan (AWS) or a restore plan (GKE).",
        "Specification section 5, security checklist: backup and recovery tested",
        graph=_restore_test,
    ),
    Policy(
        "web-firewall",
        "high",
        "What faces the internet has a web application firewall",
        "Attach the foundation's firewall.",
        "OWASP; specification section 1: CDN and load balancer before the gateway",
        graph=_firewall,
    ),
    Policy(
        "state-protection",
        "medium",
        "What holds data is protected in the engine",
        "ResourceOptions(protect=placement.protect).",
        "Pulumi documentation, protect",
        graph=_state_protected,
    ),
    Policy(
        "rate-limit",
        "high",
        "The gateway limits requests",
        "Put limit_req into every server of the gateway's configuration.",
        "Specification section 3, Rate Limits",
        graph=_rate_limit,
    ),
)
