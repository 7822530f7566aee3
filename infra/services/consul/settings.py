"""Owns Consul's names in the cluster and the chart's values. Pure."""

from __future__ import annotations

import json
from typing import Any

from pulumi import Input

from infra import pods
from infra.naming import labels
from infra.pods import Manifest
from infra.services.charts import CONSUL
from infra.services.jobs.consul_bootstrap import SYNCED
from infra.settings import PlatformSpec

NAMESPACE = "consul"
RELEASE = "consul"
PORT = 8501
API = "consul-api"
ADDRESS = f"https://{API}.{NAMESPACE}.svc.cluster.local:{PORT}"
CA_SECRET, TLS_SECRET, GOSSIP_SECRET = "consul-ca", "consul-server-tls", "consul-gossip"
TOKENS_SECRET = "consul-tokens"
"""Every role's token, by the role's name."""
METRICS_ROLE = "prometheus"
DNS_NAMES = (
    # Servers recognize each other by this name (verify_server_hostname).
    "server.dc1.consul",
    "*.server.dc1.consul",
    *(
        f"{name}{suffix}"
        for name in (f"{RELEASE}-server", f"*.{RELEASE}-server")
        for suffix in ("", f".{NAMESPACE}", f".{NAMESPACE}.svc", f".{NAMESPACE}.svc.cluster.local")
    ),
    f"{API}.{NAMESPACE}.svc.cluster.local",
    "localhost",
)
"""What a server is called: what the chart's own certificates say, and the Service that processes use."""
BOOTSTRAP_SECRET = f"{RELEASE}-bootstrap-acl-token"
"""The chart's own: its job bootstraps the ACLs and writes the first token there, under ``token``."""


def replicas(spec: PlatformSpec) -> int:
    """Three, so that one may be lost; one for development on a cluster you have."""
    return 1 if spec.cloud == "existing" and spec.environment == "dev" else 3


def servers(spec: PlatformSpec) -> tuple[str, ...]:
    """Host and port of each server; their names resolve whether they are ready or not."""
    return tuple(
        f"{RELEASE}-server-{number}.{RELEASE}-server.{NAMESPACE}.svc.cluster.local:{PORT}"
        for number in range(replicas(spec))
    )


def values(spec: PlatformSpec, annotations: Input[str]) -> dict[str, Any]:
    """The chart's values; ``annotations``: of the servers' pods, as lines of YAML.

    Its defaults inject sidecars, sync every Service both ways and speak plain HTTP.
    """
    servers = replicas(spec)
    extra = {
        # Thousands of checks whose texts nobody reads would otherwise be written through Raft.
        "discard_check_output": True,
        "performance": {"raft_multiplier": 1},
        # By default 200 from one address: where a node's pods share one, a dedicated fleet has more.
        "limits": {"http_max_conns_per_client": 1000},
    }
    server: dict[str, Any] = {
        "replicas": servers,
        "bootstrapExpect": servers,
        "storage": "5Gi",
        "connect": False,
        "resources": pods.resources("100m", "1", "256Mi", "512Mi"),
        "securityContext": {**pods.pod_security(100), "runAsGroup": 1000, "fsGroup": 1000},
        # The init jobs' own stay unset: the chart would put them on the pods and leave their containers unrestricted.
        "containerSecurityContext": {"server": {**pods.container_security(), "runAsNonRoot": True, "runAsUser": 100}},
        "disruptionBudget": {"enabled": servers > 1, "maxUnavailable": 1},
        "priorityClassName": "ai-agents-platform",
        "exposeService": {"enabled": False},
        # Ours: the chart's job makes one for two years whenever the release changes, and at no other time.
        "serverCert": {"secretName": TLS_SECRET},
        "annotations": annotations,
        "extraConfig": json.dumps(extra),
    }
    if servers == 1:
        server["affinity"] = None
    return {
        "global": {
            "name": RELEASE,
            "enabled": True,
            "image": f"docker.io/hashicorp/consul:{CONSUL.app_version}",
            "imageK8S": f"docker.io/hashicorp/consul-k8s-control-plane:{CONSUL.app_version}",
            "installK8sNetworkingCRDs": False,
            "gossipEncryption": {"secretName": GOSSIP_SECRET, "secretKey": "key"},
            "tls": {
                "enabled": True,
                "verify": True,
                "httpsOnly": True,
                "caCert": {"secretName": CA_SECRET, "secretKey": "tls.crt"},
            },
            "acls": {"manageSystemACLs": True},
            # Without a retention the endpoint has no Prometheus format; host names would be part of gauges' names.
            "metrics": {
                "enabled": True,
                "enableAgentMetrics": True,
                "agentMetricsRetentionTime": "2m",
                "disableAgentHostName": True,
            },
        },
        "server": server,
        "client": {"enabled": False},
        "dns": {"enabled": False},
        "ui": {"enabled": False},
        "connectInject": {"enabled": False},
        "syncCatalog": {
            "enabled": True,
            # Only Services that ask for it, and nothing back into Kubernetes.
            "default": False,
            "toConsul": True,
            "toK8S": False,
            "consulPrefix": SYNCED,
            "priorityClassName": "ai-agents-platform",
        },
    }


def api_service() -> Manifest:
    """The Service that processes use: one process stays with one server, whose agent keeps its entry and checks it.

    When that server goes, the process registers with the next one; the same entry twice for a while is harmless.
    """
    ports = [{"name": "https", "port": PORT, "targetPort": "https", "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": API, "namespace": NAMESPACE, "labels": labels(API, "consul")},
        "spec": {
            "type": "ClusterIP",
            "selector": {"app": "consul", "release": RELEASE, "component": "server"},
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86_400}},
            "ports": ports,
        },
    }
