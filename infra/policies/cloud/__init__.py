"""Owns policies about cloud resources, one at a time: encryption, TLS, reachability, logs, backups, protection, rights.

Most are ``tables`` of type → properties, the rest ``checks``. A type that stands in no table is not judged by that
policy; a type that stands nowhere in ``UNTAGGED`` must carry tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.policies.cloud import checks, tables, types
from infra.policies.model import Check, Policy, Rule, Subject, table


def _dev(subject: Subject) -> bool:
    return subject.environment == "dev"


def _disposable(subject: Subject) -> bool:
    # A store that evicts what it likes holds nothing that could be lost.
    evicts = str(subject.get("engineConfigs.maxmemory-policy", "")).startswith(("allkeys", "volatile"))
    return _dev(subject) or evicts


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
        tables.ENCRYPTED,
    ),
    _policy(
        "cluster-secrets-encrypted",
        "high",
        "Kubernetes secrets are encrypted with a key of ours",
        "Give the cluster the foundation's cluster key.",
        f"{_CHECKLIST}; CIS Kubernetes Benchmarks 5.3.1 (EKS), 6.3.1 (GKE), AKS: KMS etcd encryption",
        tables.CLUSTER_SECRETS,
    ),
    _policy(
        "key-rotation",
        "medium",
        "Keys are rotated",
        "Turn on rotation (a year on AWS, 90 days elsewhere).",
        "CIS AWS Foundations 3.6, CIS GCP Foundations 1.10",
        tables.ROTATED,
    ),
    _policy(
        "tls-minimum",
        "high",
        "Connections use TLS 1.2 or newer",
        "Require TLS and set the minimum version.",
        f"{_CHECKLIST}: TLS for all external traffic",
        tables.TLS,
    ),
    Policy(
        "postgres-tls",
        "high",
        "PostgreSQL refuses connections without TLS",
        "Set rds.force_ssl to 1, or require_secure_transport to on.",
        f"{_CHECKLIST}: TLS",
        check=checks.postgres_tls,
        types=frozenset({"aws:rds/parameterGroup:ParameterGroup", "azure-native:dbforpostgresql:Configuration"}),
    ),
    _policy(
        "private-data",
        "high",
        "Databases, caches and key vaults have no public address",
        "Take the public address away and connect through the network.",
        f"{_CHECKLIST}: network policies enforced; CIS AWS Foundations 2.2.3",
        tables.PRIVATE,
    ),
    Policy(
        "private-api",
        "high",
        "The Kubernetes API server does not answer the internet",
        "cluster.access: private, or authorized with narrow ranges.",
        "CIS Kubernetes Benchmarks 5.4 (EKS), 6.6 (GKE), AKS: API server access",
        check=checks.api_private,
        types=frozenset(types.CLUSTERS.values()),
    ),
    _policy(
        "private-buckets",
        "high",
        "Buckets cannot be made public",
        "Block public access, and set access on the bucket alone.",
        "CIS AWS Foundations 2.1.4, CIS GCP Foundations 5.1 and 5.2",
        tables.BUCKETS,
    ),
    Policy(
        "open-ports",
        "high",
        "Only ports 80 and 443 are open to the internet",
        "Name the ranges that need it.",
        "CIS AWS Foundations 5.2, CIS GCP Foundations 3.6",
        check=checks.open_ports,
    ),
    _policy(
        "audit-logging",
        "high",
        "Clusters and databases log who did what",
        "Turn on the control plane's and the database's logs.",
        f"{_CHECKLIST}: audit logging enabled",
        tables.AUDIT,
    ),
    _policy(
        "backups",
        "high",
        "Databases can be restored to a point in time",
        "Keep backups for at least 7 days, with point-in-time recovery.",
        f"{_CHECKLIST}: backup and recovery tested",
        tables.BACKUP,
    ),
    _policy(
        "deletion-protection",
        "high",
        "What holds data cannot be deleted by mistake",
        "Turn on deletion protection; deletionProtection: true in the stack does.",
        "Issue of the program: deletion protection in prod",
        tables.PROTECTED,
        production=True,
    ),
    _policy(
        "zones",
        "medium",
        "Data stores survive the loss of a zone",
        "Turn on the second zone; environment: prod does.",
        "AWS, Google Cloud and Azure well-architected frameworks: reliability",
        tables.AVAILABLE,
        production=True,
    ),
    _policy(
        "node-hardening",
        "high",
        "Pods cannot take the node's identity, and nodes are shielded",
        "IMDSv2 with hop limit 1; GKE metadata server and secure boot; no local accounts on AKS.",
        "CIS EKS Benchmark 3, CIS GKE Benchmark 6.4 and 6.5, CIS AKS Benchmark 5",
        tables.NODES,
    ),
    Policy(
        "least-privilege",
        "high",
        "No identity may do everything",
        "Name the actions and the resources.",
        "CIS AWS Foundations 1.16, CIS GCP Foundations 1.5",
        check=checks.rights,
    ),
    Policy(
        "tags",
        "low",
        "Everything that takes tags has the platform's",
        "Pass the placement's tags; if the type takes none, list it in UNTAGGED.",
        "Issue of the program: tags or labels on everything that takes them",
        check=checks.tags,
    ),
)
