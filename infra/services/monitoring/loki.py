"""Owns the values of Loki's chart: one process in three replicas over the cloud's object storage. Pure.

One binary (the chart's Monolithic mode) takes some tens of gigabytes a day, which is what 1,500 agents write;
replicas share the object storage, reached by the service account's cloud identity without any key. On a cluster
you have, one replica writes to its volume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import yaml
from pulumi import Input, Output

from infra import pods
from infra.contracts import Storage
from infra.naming import labels
from infra.pods import Manifest
from infra.services.monitoring import log_rules, prometheus
from infra.services.monitoring.names import LOKI, MONITORING, prometheus_urls
from infra.settings import Cloud, PlatformSpec

RETENTION_DAYS: Final = {"dev": 3, "staging": 30, "prod": 90}
"""Not above what the bucket's lifecycle keeps (infra.clouds.*.storage: 90 days)."""
RULES_MAP: Final = "loki-rules"
SCHEMA_FROM: Final = "2026-01-01"
_OBJECT_STORE: Final[dict[Cloud, str]] = {"aws": "s3", "gcp": "gcs", "azure": "azure", "existing": "filesystem"}


def values(spec: PlatformSpec, storage: Storage, annotations: Input[dict[str, str]]) -> Manifest:
    """The release's values; ``annotations`` bind its service account to the cloud identity."""
    store = _OBJECT_STORE[spec.cloud]
    replicas = 1 if store == "filesystem" or spec.environment == "dev" else 3
    off = {"enabled": False}
    return {
        "fullnameOverride": LOKI,
        "deploymentMode": "Monolithic",
        "serviceAccount": {"create": True, "name": LOKI, "annotations": annotations},
        "loki": {
            "auth_enabled": False,
            "commonConfig": {"path_prefix": "/var/loki", "replication_factor": replicas},
            "schemaConfig": {
                "configs": [
                    {
                        "from": SCHEMA_FROM,
                        "store": "tsdb",
                        "object_store": store,
                        "schema": "v13",
                        "index": {"prefix": "index_", "period": "24h"},
                    }
                ]
            },
            "storage": _storage(spec, store, storage),
            "limits_config": limits(RETENTION_DAYS[spec.environment]),
            "compactor": {"retention_enabled": True, "delete_request_store": store},
            "analytics": {"reporting_enabled": False},
            "structuredConfig": {
                "ruler": ruler("/var/loki", "/etc/loki/rules", prometheus_urls(prometheus.replicas(spec)), replicas)
            },
            **({"podLabels": {"azure.workload.identity/use": "true"}} if spec.cloud == "azure" else {}),
        },
        "singleBinary": {
            "replicas": replicas,
            # The chart's sidecar watches ConfigMaps of the whole cluster; our one is mounted.
            "sidecar": False,
            "priorityClassName": "ai-agents-platform",
            "resources": pods.resources("250m", "2", "512Mi", "2Gi"),
            "persistence": {"enabled": True, "size": "20Gi"},
            "extraVolumes": [{"name": "rules", "configMap": {"name": RULES_MAP}}],
            "extraVolumeMounts": [pods.mount("rules", f"/etc/loki/rules/{log_rules.TENANT}", read_only=True)],
        },
        "sidecar": {"rules": off},
        # None of these modes' processes, and no proxy before a single Service.
        **{name: {"replicas": 0} for name in ("read", "write", "backend")},
        **dict.fromkeys(("gateway", "lokiCanary", "test", "chunksCache", "resultsCache", "minio"), off),
        "monitoring": {"serviceMonitor": {"enabled": True}},
    }


def limits(retention_days: int) -> Manifest:
    """Loki's limits_config."""
    return {
        "retention_period": f"{retention_days * 24}h",
        "allow_structured_metadata": True,
        "reject_old_samples": True,
        "reject_old_samples_max_age": "168h",
        "max_query_series": 5000,
        "volume_enabled": True,
    }


def ruler(data: str, rules: str, targets: Mapping[str, str], replicas: int = 1) -> Manifest:
    """Loki's ruler: reads the rules from files under ``rules`` and writes what they count to every target (URL by name)."""
    clients = {name: {"url": f"{url}/api/v1/write"} for name, url in targets.items()}
    return {
        "storage": {"type": "local", "local": {"directory": rules}},
        "rule_path": f"{data}/rules-temp",
        "wal": {"dir": f"{data}/ruler-wal"},
        "enable_api": True,
        "enable_sharding": replicas > 1,
        "ring": {"kvstore": {"store": "memberlist" if replicas > 1 else "inmemory"}},
        "remote_write": {"enabled": True, "clients": clients},
    }


def rules_map() -> Manifest:
    """The ConfigMap with the rules the ruler reads."""
    text = yaml.safe_dump({"groups": log_rules.groups()}, sort_keys=False, width=1000)
    metadata = {"name": RULES_MAP, "namespace": MONITORING, "labels": labels(RULES_MAP, "monitoring")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"gateway.yaml": text}}


def _storage(spec: PlatformSpec, store: str, storage: Storage) -> dict[str, Any]:
    if store == "filesystem":
        return {"type": "filesystem"}
    # Azure names a container as account/container; elsewhere it is the bucket's name.
    bucket = _part(storage.logs, 1) if store == "azure" else storage.logs
    described: dict[str, Any] = {"type": store, "bucketNames": {"chunks": bucket, "ruler": bucket, "admin": bucket}}
    if store == "s3":
        described["s3"] = {"region": spec.region, "s3ForcePathStyle": False, "insecure": False}
    if store == "azure":
        described["azure"] = {"accountName": _part(storage.logs, 0), "useFederatedToken": True}
    return described


def _part(value: Input[str], index: int) -> Output[str]:
    part: Callable[[str], str] = lambda text: text.split("/")[index] if "/" in text else text  # noqa: E731
    return Output.from_input(value).apply(part)
