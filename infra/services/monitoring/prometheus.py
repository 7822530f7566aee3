"""Owns the values of kube-prometheus-stack: Prometheus, Alertmanager, Grafana, their operator, two exporters. Pure.

The chart brings rules and dashboards for Kubernetes itself; ours are objects of their own (rules.py, alerts.py,
dashboards). CRDs are a release of their own that comes first. On a managed control plane there is no scheduler,
controller manager, etcd or kube-proxy to scrape.
"""

from __future__ import annotations

from typing import Final

from infra import pods
from infra.pods import Manifest
from infra.services.monitoring import alertmanager
from infra.services.monitoring.names import COLLECTORS, GRAFANA_SECRET, LOKI_URL, SMTP_SECRET, STACK
from infra.services.monitoring.rules import INTERVAL_SECONDS
from infra.settings import PlatformSpec

RETENTION_DAYS: Final = {"dev": 3, "staging": 15, "prod": 35}
"""A month and a few days in prod, so that the month's cost is all there."""
STORAGE: Final = {"dev": "10Gi", "staging": "50Gi", "prod": "200Gi"}
DASHBOARD_LABEL: Final = "grafana_dashboard"
_INTERVAL: Final = f"{INTERVAL_SECONDS}s"
_PRIORITY: Final = "ai-agents-platform"


def values(spec: PlatformSpec) -> Manifest:
    """The release's values."""
    absent = {"enabled": False}
    managed = spec.cloud != "existing"
    return {
        "fullnameOverride": STACK,
        "cleanPrometheusOperatorObjectNames": True,
        "crds": {"enabled": False},
        "defaultRules": {
            "create": True,
            "rules": {"etcd": False, **({"kubeControllerManager": False, "kubeSchedulerAlerting": False, "kubeSchedulerRecording": False, "kubeProxy": False} if managed else {})},
        },
        **(dict.fromkeys(("kubeControllerManager", "kubeScheduler", "kubeProxy", "kubeEtcd"), absent) if managed else {}),
        "prometheus": _prometheus(spec),
        "prometheusOperator": _operator(),
        "alertmanager": _alertmanager(spec),
        "grafana": _grafana(spec),
        "kube-state-metrics": {
            "resources": pods.resources("50m", "500m", "128Mi", "512Mi"),
            # Deployments and pods of 1,500 agents are what it is for; the rest is what the chart's rules read.
            "securityContext": {"enabled": True, **pods.pod_security(65534)},
            "containerSecurityContext": pods.container_security(),
        },
        "prometheus-node-exporter": {
            "namespaceOverride": COLLECTORS,
            "resources": pods.resources("20m", "200m", "32Mi", "128Mi"),
        },
    }  # fmt: skip


def replicas(spec: PlatformSpec) -> int:
    return 2 if spec.environment == "prod" else 1


def _claim(size: str) -> Manifest:
    return {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}}}  # fmt: skip


def _prometheus(spec: PlatformSpec) -> Manifest:
    everything = {
        f"{kind}SelectorNilUsesHelmValues": False
        for kind in ("rule", "serviceMonitor", "podMonitor", "probe", "scrapeConfig")
    }
    memory = {"dev": ("512Mi", "1Gi"), "staging": ("2Gi", "4Gi"), "prod": ("6Gi", "12Gi")}[spec.environment]
    return {
        "serviceAccount": {"create": True},
        # Replicas scrape at different moments: a dashboard must not hop between them.
        "service": {"sessionAffinity": "ClientIP"},
        "podDisruptionBudget": {"enabled": replicas(spec) > 1},
        "prometheusSpec": {
            **everything,
            "replicas": replicas(spec),
            "podAntiAffinity": "soft",
            "scrapeInterval": _INTERVAL,
            "evaluationInterval": _INTERVAL,
            "retention": f"{RETENTION_DAYS[spec.environment]}d",
            "walCompression": True,
            # Loki's ruler writes what it counts in the gateway's log.
            "enableRemoteWriteReceiver": True,
            "priorityClassName": _PRIORITY,
            "resources": pods.resources("250m", "2", *memory),
            "storageSpec": _claim(STORAGE[spec.environment]),
            # One tenant's runaway label must not take the platform's monitoring with it.
            "sampleLimit": 100_000,
        },
    }


def _operator() -> Manifest:
    return {
        "resources": pods.resources("50m", "500m", "64Mi", "256Mi"),
        "admissionWebhooks": {"patch": {"resources": pods.resources("10m", "100m", "32Mi", "64Mi")}},
        "prometheusConfigReloader": {"resources": pods.resources("10m", "100m", "32Mi", "64Mi")},
    }


def _alertmanager(spec: PlatformSpec) -> Manifest:
    specification: Manifest = {
        "replicas": replicas(spec),
        "retention": "120h",
        "priorityClassName": _PRIORITY,
        "resources": pods.resources("20m", "200m", "64Mi", "128Mi"),
        "storage": _claim("2Gi"),
    }
    if alertmanager.notifies(spec) and alertmanager.authenticates(spec):
        specification["secrets"] = [SMTP_SECRET]
    return {
        "config": alertmanager.configuration(spec),
        "podDisruptionBudget": {"enabled": replicas(spec) > 1},
        "alertmanagerSpec": specification,
    }


def _grafana(spec: PlatformSpec) -> Manifest:
    loki = {"name": "Loki", "uid": "loki", "type": "loki", "access": "proxy", "url": LOKI_URL, "isDefault": False}
    return {
        "fullnameOverride": "grafana",
        "admin": {"existingSecret": GRAFANA_SECRET, "userKey": "admin-user", "passwordKey": "admin-password"},
        "replicas": 1,
        "resources": pods.resources("100m", "500m", "256Mi", "512Mi"),
        "testFramework": {"enabled": False},
        "rbac": {"namespaced": False},
        # Nothing of worth is in its own database: dashboards and data sources come from ConfigMaps.
        "persistence": {"enabled": False},
        "grafana.ini": {
            "analytics": {"reporting_enabled": False, "check_for_updates": False, "check_for_plugin_updates": False},
            "users": {"allow_sign_up": False, "default_theme": "system"},
            "auth.anonymous": {"enabled": False},
            "dashboards": {"default_home_dashboard_path": "/tmp/dashboards/platform-overview.json"},
        },
        "sidecar": {
            "resources": pods.resources("20m", "200m", "96Mi", "192Mi"),
            "dashboards": {"enabled": True, "label": DASHBOARD_LABEL, "labelValue": "1", "searchNamespace": "ALL"},
            "datasources": {"enabled": True, "uid": "prometheus", "prometheusServiceName": f"{STACK}-prometheus"},
        },
        "additionalDataSources": [loki],
        "defaultDashboardsEnabled": spec.environment != "dev",
    }  # fmt: skip
