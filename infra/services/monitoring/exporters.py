"""Owns the exporters of the data stores as Kubernetes objects. Pure.

They live in the platform's namespace, which the stores let in, and read the addresses the platform itself uses.
Redis: one for the state store, one for the cache, wherever the stores run. PostgreSQL: where the stack knows
its password (in-cluster and external). A managed database's password stays in the cloud's secret manager, so
DatabaseDown rests there on what control sees of it, and its inner numbers are the cloud's own to show.
"""

from __future__ import annotations

from typing import Any, Final

from catalog.contract import PORT_NAME, Env
from infra import pods
from infra.naming import NAMESPACE, labels
from infra.pods import Manifest

POSTGRES_IMAGE: Final = "quay.io/prometheuscommunity/postgres-exporter:v0.20.1"
REDIS_IMAGE: Final = "docker.io/oliver006/redis_exporter:v1.89.0"
POSTGRES_SECRET: Final = "postgres-exporter"
"""Secret with the key DATA_SOURCE_NAME."""
ROLE: Final = "exporter"
_USER: Final = 65534


def redis(store: str, stores_secret: Any) -> Manifest:
    """Deployment of the exporter of one Redis; ``store`` is state or cache."""
    source = Env.REDIS_STATE_URL if store == "state" else Env.REDIS_CACHE_URL
    environment = [pods.env_secret("REDIS_ADDR", stores_secret, str(source))]
    return _deployment(f"redis-exporter-{store}", REDIS_IMAGE, 9121, environment, {"store": store})


def postgres() -> Manifest:
    """Deployment of PostgreSQL's exporter."""
    environment = [pods.env_secret("DATA_SOURCE_NAME", POSTGRES_SECRET)]
    return _deployment("postgres-exporter", POSTGRES_IMAGE, 9187, environment, {"store": "database"})


def postgres_secret(source: Any) -> Manifest:
    """The secret with libpq's URL of the database."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(POSTGRES_SECRET),
        "type": "Opaque",
        "stringData": {"DATA_SOURCE_NAME": source},
    }


def _deployment(name: str, image: str, port: int, environment: list[Manifest], marks: dict[str, str]) -> Manifest:
    container = {
        "name": name,
        "image": image,
        "ports": [{"name": PORT_NAME, "containerPort": port, "protocol": "TCP"}],
        "env": environment,
        "resources": pods.resources("20m", "200m", "32Mi", "128Mi"),
        "securityContext": pods.container_security(),
        "livenessProbe": pods.http_probe("/", PORT_NAME, period=20, failures=3),
        "readinessProbe": pods.http_probe("/", PORT_NAME, period=10, failures=3),
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pods.pod_security(_USER),
        "containers": [container],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(name),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {**labels(name, "monitoring"), "role": ROLE, **marks}}, "spec": pod},
        },
    }


def _metadata(name: str) -> Manifest:
    return {"name": name, "namespace": NAMESPACE, "labels": labels(name, "monitoring")}
