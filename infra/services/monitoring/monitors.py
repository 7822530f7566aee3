"""Owns what Prometheus scrapes of the platform: PodMonitors and ServiceMonitors, and the labels targets get. Pure.

Our own processes are found by the pod label ``role`` on the named port, as the network policies find them;
``job`` is the role. Every target has ``namespace``, ``pod``, ``app`` and, for agents, ``pool`` and ``domain``.
The gateway has no endpoint to scrape: log_rules.py counts its log.
"""

from __future__ import annotations

from typing import Any, Final

from catalog.contract import PORT_NAME
from infra.naming import NAMESPACE, labels
from infra.pods import Manifest
from infra.services.consul import settings as consul_settings
from infra.services.monitoring.names import MONITORING
from infra.services.monitoring.rules import INTERVAL_SECONDS
from infra.services.vault import settings as vault_settings

_GROUP: Final = "monitoring.coreos.com/v1"
_INTERVAL: Final = f"{INTERVAL_SECONDS}s"
_UNREAD: Final = "|".join(
    # What no panel, rule or alert reads, once per pod.
    ("python_gc_.*", "python_info", "process_start_time_seconds", "process_virtual_memory_bytes", "process_max_fds")
)


def agents() -> Manifest:
    """Every pod that serves agents, pooled or dedicated."""
    return _pods("agents", NAMESPACE, {"role": "agent"}, targets=["app", "pool", "domain"], drop=_UNREAD)


def control() -> Manifest:
    """Every control pod; the migration Job has the same role and no port open."""
    return _pods("control", NAMESPACE, {"role": "control", "app": "control"}, targets=["app"], drop=_UNREAD)


def exporters(namespace: str = NAMESPACE) -> Manifest:
    """The exporters of the data stores; ``store`` says which of the two Redis an exporter speaks of."""
    return _pods("exporters", namespace, {"role": "exporter"}, targets=["app", "store"])


def cert_manager() -> Manifest:
    """cert-manager's controller, wherever its chart put it: certificates' expiry dates."""
    selector = {"app.kubernetes.io/name": "cert-manager", "app.kubernetes.io/component": "controller"}
    # honorLabels: `namespace` and `name` are the certificate's, not the pod's.
    return _pods("cert-manager", "cert-manager", selector, port="http-metrics", honor=True)


def vault() -> Manifest:
    """Every Vault server, sealed ones too (the headless Service publishes pods that are not ready).

    Its certificates are checked against the ConfigMap vault-ca beside it, under its own host name.
    No token is sent: Vault's listener serves metrics without one.
    """
    tls = {"ca": {"configMap": {"name": "vault-ca", "key": "ca.crt"}}, "serverName": _host(vault_settings.ADDRESS)}
    endpoint = {
        "port": "https",
        "path": "/v1/sys/metrics",
        "params": {"format": ["prometheus"]},
        "scheme": "https",
        "tlsConfig": tls,
        "interval": _INTERVAL,
        "relabelings": [_replace("vault", "job")],
    }
    selector = {"app.kubernetes.io/name": "vault", "vault-internal": "true"}
    return _object("ServiceMonitor", "vault", {"selector": {"matchLabels": selector}, "endpoints": [endpoint]}, "vault")


def consul() -> Manifest:
    """Every Consul server, with the token of a role that may read agents and nothing else (jobs.consul_bootstrap)."""
    tls = {"ca": {"configMap": {"name": "consul-ca", "key": "ca.crt"}}, "serverName": _host(consul_settings.ADDRESS)}
    token = {"name": consul_settings.TOKENS_SECRET, "key": consul_settings.METRICS_ROLE}
    endpoint = {
        "port": "https",
        "path": "/v1/agent/metrics",
        "params": {"format": ["prometheus"]},
        "scheme": "https",
        "tlsConfig": tls,
        "authorization": {"type": "Bearer", "credentials": token},
        "interval": _INTERVAL,
        "relabelings": [_replace("consul", "job")],
    }
    selector = {"app": "consul", "component": "server"}
    return _object("ServiceMonitor", "consul", {"selector": {"matchLabels": selector}, "endpoints": [endpoint]}, "consul")  # fmt: skip


def _host(address: str) -> str:
    return address.removeprefix("https://").rpartition(":")[0]


def _pods(
    name: str,
    namespace: str,
    selector: dict[str, str],
    *,
    port: str = PORT_NAME,
    targets: list[str] | None = None,
    drop: str = "",
    honor: bool = False,
) -> Manifest:
    endpoint: Manifest = {"port": port, "path": "/metrics", "interval": _INTERVAL, "scrapeTimeout": "10s"}
    endpoint["relabelings"] = [
        _replace(selector.get("role", name), "job"),
        # A pod that is going has been taken out of its Service: what it does not answer is no fault.
        {"action": "drop", "sourceLabels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)"},
    ]
    if drop:
        endpoint["metricRelabelings"] = [{"action": "drop", "sourceLabels": ["__name__"], "regex": drop}]
    if honor:
        endpoint["honorLabels"] = True
    spec: Manifest = {
        "selector": {"matchLabels": selector},
        "namespaceSelector": {"matchNames": [namespace]},
        "podMetricsEndpoints": [endpoint],
    }
    if targets:
        spec["podTargetLabels"] = targets
    return _object("PodMonitor", name, spec)


def _replace(value: str, label: str) -> dict[str, Any]:
    return {"action": "replace", "targetLabel": label, "replacement": value}


def _object(kind: str, name: str, spec: Manifest, namespace: str = MONITORING) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": labels(name, "monitoring")}
    return {"apiVersion": _GROUP, "kind": kind, "metadata": metadata, "spec": spec}
