"""Owns PostgreSQL and Valkey as Kubernetes objects for development clusters. Pure."""

from __future__ import annotations

from typing import Any

from infra import pods
from infra.naming import labels
from infra.pods import Manifest
from infra.settings import NAMESPACE

DATA_NAMESPACE = f"{NAMESPACE}-data"
POSTGRES_IMAGE = "docker.io/library/postgres:17.7-alpine"
VALKEY_IMAGE = "docker.io/valkey/valkey:9.0.1-alpine"
EVICTION = {"valkey-state": "noeviction", "valkey-cache": "allkeys-lru"}
PASSWORDS = "passwords"
"""Name of the secret with the keys postgres and valkey."""


def namespace() -> Manifest:
    """The stores' namespace, with restricted pod security."""
    return pods.namespace(DATA_NAMESPACE, labels(DATA_NAMESPACE, "data"))


def passwords(postgres: Any, valkey: Any) -> Manifest:
    """The secret with both passwords."""
    metadata = {"name": PASSWORDS, "namespace": DATA_NAMESPACE, "labels": labels(PASSWORDS, "data")}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "stringData": {"postgres": postgres, "valkey": valkey},
    }


def postgres(database: str, user: str, storage_gib: int) -> tuple[Manifest, ...]:
    """PostgreSQL: StatefulSet and Service. Who may reach it is the services layer's (infra.services.policies)."""
    container = {
        "name": "postgres",
        "image": POSTGRES_IMAGE,
        "env": [
            {"name": "POSTGRES_DB", "value": database},
            {"name": "POSTGRES_USER", "value": user},
            pods.env_secret("POSTGRES_PASSWORD", PASSWORDS, "postgres"),
            {"name": "POSTGRES_INITDB_ARGS", "value": "--auth-host=scram-sha-256"},
            {"name": "PGDATA", "value": "/var/lib/postgresql/data/pgdata"},
        ],
        **_probes(["pg_isready", "-U", user, "-d", database]),
        "resources": pods.resources("250m", "1", "256Mi", "1Gi"),
        "volumeMounts": [
            pods.mount("data", "/var/lib/postgresql/data"),
            pods.mount("run", "/var/run/postgresql"),
            pods.mount("tmp", "/tmp"),
        ],
    }
    # The alpine image's postgres user.
    return (
        _stateful_set("postgres", container, 5432, 70, f"{storage_gib}Gi", ("run", "tmp")),
        _service("postgres", 5432),
    )


def valkey(name: str) -> tuple[Manifest, ...]:
    """One Valkey: state is written to disk and never evicted, cache is evicted and never written."""
    state = EVICTION[name] == "noeviction"
    script = f'exec valkey-server --requirepass "$VALKEY_PASSWORD" --maxmemory 384mb --maxmemory-policy {EVICTION[name]} --appendonly {"yes" if state else "no"} --save ""'
    container = {
        "name": "valkey",
        "image": VALKEY_IMAGE,
        "command": ["sh", "-c", script],
        "workingDir": "/data",
        "env": [
            pods.env_secret("VALKEY_PASSWORD", PASSWORDS, "valkey"),
            pods.env_secret("REDISCLI_AUTH", PASSWORDS, "valkey"),
        ],
        **_probes(["valkey-cli", "ping"]),
        "resources": pods.resources("100m", "500m", "128Mi", "512Mi"),
        "volumeMounts": [pods.mount("data", "/data")],
    }
    return (_stateful_set(name, container, 6379, 999, "2Gi", ()), _service(name, 6379))


def _probes(command: list[str]) -> Manifest:
    """Both probes ask the store itself; it is restarted only after half a minute without an answer."""
    ask = {"exec": {"command": command}, "timeoutSeconds": 3}
    return {
        "readinessProbe": {**ask, "periodSeconds": 5},
        "livenessProbe": {**ask, "initialDelaySeconds": 30, "periodSeconds": 10, "failureThreshold": 3},
    }


def _stateful_set(
    name: str, container: Manifest, port: int, user: int, storage: str, scratch: tuple[str, ...]
) -> Manifest:
    secured = {
        **container,
        "ports": [{"name": "store", "containerPort": port, "protocol": "TCP"}],
        "securityContext": pods.container_security(),
    }
    claim = {
        "metadata": {"name": "data", "labels": labels(name, "data")},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}},
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": pods.pod_security(user),
        "containers": [secured],
        "volumes": [{"name": volume, "emptyDir": {"sizeLimit": "64Mi"}} for volume in scratch],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(name),
        "spec": {
            "replicas": 1,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels(name, "data")}, "spec": pod},
            "volumeClaimTemplates": [claim],
        },
    }


def _service(name: str, port: int) -> Manifest:
    ports = [{"name": "store", "port": port, "targetPort": "store", "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name),
        "spec": {"type": "ClusterIP", "selector": {"app": name}, "ports": ports},
    }


def _metadata(name: str) -> Manifest:
    return {"name": name, "namespace": DATA_NAMESPACE, "labels": labels(name, "data")}
