"""Owns the names of the monitoring's namespaces and addresses."""

from __future__ import annotations

from typing import Final

MONITORING: Final = "monitoring"
"""Prometheus, Alertmanager, Grafana, Loki, the operator: under restricted pod security.
The clouds' identities of Loki are bound to this name (infra.clouds.*.identity)."""
COLLECTORS: Final = "collectors"
"""Collectors of logs and node exporters: they read the node's file system, which restricted pods may not."""

STACK: Final = "monitoring"
"""fullnameOverride of kube-prometheus-stack."""
LOKI: Final = "loki"
PROMETHEUS_PORT: Final = 9090
LOKI_PORT: Final = 3100
LOKI_URL: Final = f"http://{LOKI}.{MONITORING}.svc.cluster.local:{LOKI_PORT}"
GRAFANA_SECRET: Final = "grafana-admin"
"""Secret with the keys admin-user and admin-password."""
SMTP_SECRET: Final = "alertmanager-smtp"
"""Secret with the key password."""


def prometheus_urls(replicas: int) -> dict[str, str]:
    """URL of each Prometheus by its pod's name: what is written must reach every replica, a Service reaches one."""
    return {
        f"prometheus-{STACK}-{number}": f"http://prometheus-{STACK}-{number}.prometheus-operated.{MONITORING}.svc.cluster.local:{PROMETHEUS_PORT}"
        for number in range(replicas)
    }
