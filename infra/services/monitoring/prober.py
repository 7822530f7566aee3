"""Owns the prober: when the certificates end that servers are given by this program, which no metric of theirs says. Pure.

Vault says nothing of its listener's certificate, and cert-manager knows only what it issued. So the blackbox exporter
opens a TLS connection to each server of Vault and Consul and reports when the certificate it is shown ends. It asks
the servers, not the Secrets they were started from: one that has not started since shows its old certificate.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import yaml

from catalog.contract import PORT_NAME
from infra import pods
from infra.naming import labels
from infra.pods import Manifest
from infra.services.consul import settings as consul
from infra.services.monitoring.names import MONITORING
from infra.services.policies.roles import PROBER_PORT
from infra.services.vault import settings as vault
from infra.settings import PlatformSpec

IMAGE: Final = "quay.io/prometheus/blackbox-exporter:v0.28.0"
NAME: Final = "prober"
JOB: Final = "certificates"
"""``job`` of what it reports; ``instance`` is the server's host and port."""
INTERVAL_SECONDS: Final = 120
"""Below the five minutes after which Prometheus forgets a sample."""
MODULE: Final = "tls"
_USER: Final = 65534
_FOLDER, _FILE = "/etc/prober", "prober.yaml"

MODULES: Final[Manifest] = {
    "modules": {
        MODULE: {
            "prober": "tcp",
            "timeout": "5s",
            # Nothing is sent, and a certificate that has ended, or is not trusted, is just what is to be seen.
            "tcp": {"tls": True, "tls_config": {"insecure_skip_verify": True}},
        }
    }
}


def servers(spec: PlatformSpec) -> tuple[str, ...]:
    """Host and port of every server whose certificate the program makes."""
    return (
        *(vault.servers(spec) if spec.components.vault else ()),
        *(consul.servers(spec) if spec.components.consul else ()),
    )


def manifests() -> list[Manifest]:
    """Configuration, Deployment and Service."""
    text = yaml.safe_dump(MODULES, sort_keys=False)
    container = {
        "name": NAME,
        "image": IMAGE,
        "args": [f"--config.file={_FOLDER}/{_FILE}"],
        "ports": [{"name": PORT_NAME, "containerPort": PROBER_PORT, "protocol": "TCP"}],
        "resources": pods.resources("10m", "100m", "32Mi", "64Mi"),
        "securityContext": pods.container_security(),
        "livenessProbe": pods.http_probe("/-/healthy", PORT_NAME, period=20, failures=3),
        "readinessProbe": pods.http_probe("/-/healthy", PORT_NAME, period=10, failures=3),
        "volumeMounts": [pods.mount("configuration", _FOLDER, read_only=True)],
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pods.pod_security(_USER),
        "containers": [container],
        "volumes": [{"name": "configuration", "configMap": {"name": NAME}}],
    }
    marks = {
        "labels": {**labels(NAME, "monitoring"), "role": NAME},
        # It reads its configuration at start alone.
        "annotations": {"ai-agents/configuration": sha256(text.encode()).hexdigest()[:16]},
    }
    configuration = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(NAME), "data": {_FILE: text}}
    return [
        configuration,
        pods.deployment(_metadata(NAME), NAME, {"metadata": marks, "spec": pod}, replicas=1),
        pods.cluster_ip(_metadata(NAME), NAME, PORT_NAME, PROBER_PORT),
    ]


def probe(spec: PlatformSpec) -> Manifest:
    """What the operator makes Prometheus ask the prober."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "Probe",
        "metadata": _metadata(JOB),
        "spec": {
            "jobName": JOB,
            "interval": f"{INTERVAL_SECONDS}s",
            "scrapeTimeout": "10s",
            "module": MODULE,
            "prober": {"url": f"{NAME}.{MONITORING}.svc.cluster.local:{PROBER_PORT}"},
            "targets": {"staticConfig": {"static": list(servers(spec))}},
        },
    }


def _metadata(name: str) -> Manifest:
    return {"name": name, "namespace": MONITORING, "labels": labels(name, "monitoring")}
