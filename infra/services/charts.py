"""Owns which Helm charts the platform installs: name, pinned version, repository, and where the version was read.

The one list of them. The default values of each pinned version stand beside the tests
(tests/infra/services/charts), so that a value no such chart knows is found without a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Chart:
    """A Helm chart, pinned."""

    name: str
    version: str
    repository: str
    """URL of the chart repository."""
    app_version: str
    """What it installs."""
    source: str
    """Where the version was read."""
    date: str
    """When, ISO 8601."""


_HASHICORP: Final = "https://helm.releases.hashicorp.com"

VAULT: Final = Chart("vault", "0.34.1", _HASHICORP, "2.0.4", "hashicorp/vault-helm, Chart.yaml", "2026-11-23")
CONSUL: Final = Chart("consul", "2.0.3", _HASHICORP, "2.0.3", "hashicorp/consul-k8s, tag v2.0.3", "2026-11-23")

_PROMETHEUS: Final = "https://prometheus-community.github.io/helm-charts"

PROMETHEUS_CRDS: Final = Chart(
    "prometheus-operator-crds", "31.0.1", _PROMETHEUS, "v0.93.1",
    "prometheus-community/helm-charts, Chart.yaml", "2026-11-23",
)  # fmt: skip
KUBE_PROMETHEUS_STACK: Final = Chart(
    "kube-prometheus-stack", "88.5.3", _PROMETHEUS, "v0.93.1",
    "prometheus-community/helm-charts, Chart.yaml", "2026-11-23",
)  # fmt: skip
LOKI: Final = Chart(
    "loki", "18.11.0", "https://grafana-community.github.io/helm-charts", "3.7.6",
    "grafana-community/helm-charts, Chart.yaml", "2026-11-23",
)  # fmt: skip
ALLOY: Final = Chart(
    "alloy", "1.11.1", "https://grafana.github.io/helm-charts", "v1.18.1",
    "grafana/alloy, operations/helm/charts/alloy/Chart.yaml", "2026-11-23",
)  # fmt: skip

CERT_MANAGER: Final = Chart(
    "cert-manager", "v1.21.1", "https://charts.jetstack.io", "v1.21.1",
    "cert-manager/cert-manager, tag v1.21.1", "2026-11-23",
)  # fmt: skip
AWS_LOAD_BALANCER_CONTROLLER: Final = Chart(
    "aws-load-balancer-controller", "3.5.0", "https://aws.github.io/eks-charts", "v3.5.0",
    "aws/eks-charts, stable/aws-load-balancer-controller/Chart.yaml", "2026-11-23",
)  # fmt: skip
CLUSTER_AUTOSCALER: Final = Chart(
    "cluster-autoscaler", "9.59.0", "https://kubernetes.github.io/autoscaler", "1.35.0",
    "kubernetes/autoscaler, charts/cluster-autoscaler/Chart.yaml", "2026-11-23",
)  # fmt: skip

_ISTIO: Final = "https://istio-release.storage.googleapis.com/charts"
_ISTIO_SOURCE: Final = "istio.io/api, tag v1.31.1"

ISTIO_BASE: Final = Chart("base", "1.31.1", _ISTIO, "1.31.1", _ISTIO_SOURCE, "2026-11-23")
ISTIO_CNI: Final = Chart("cni", "1.31.1", _ISTIO, "1.31.1", _ISTIO_SOURCE, "2026-11-23")
ISTIOD: Final = Chart("istiod", "1.31.1", _ISTIO, "1.31.1", _ISTIO_SOURCE, "2026-11-23")

CHARTS: Final = (
    VAULT,
    CONSUL,
    PROMETHEUS_CRDS,
    KUBE_PROMETHEUS_STACK,
    LOKI,
    ALLOY,
    CERT_MANAGER,
    AWS_LOAD_BALANCER_CONTROLLER,
    CLUSTER_AUTOSCALER,
    ISTIO_BASE,
    ISTIO_CNI,
    ISTIOD,
)
"""Every chart the platform installs."""
