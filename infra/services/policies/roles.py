"""Owns which pods there are as far as the network is concerned: a role's namespace, labels and named ports.

Ours carry the labels our manifests give them; a chart's carry what its templates give them, declared here once
per chart, since a chart is one node of a plan. Who talks to whom is connections.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from catalog.contract import CONTROL_PORT, GATEWAY_HTTP_PORT, GATEWAY_TLS_PORT, PORT_NAME
from infra.naming import NAMESPACE

DATA = f"{NAMESPACE}-data"
VAULT, CONSUL, MONITORING, COLLECTORS = "vault", "consul", "monitoring", "collectors"
CERTIFICATES, MESH = "cert-manager", "istio-system"
WEBHOOK_PORT: Final = 10260
"""Of cert-manager's webhook."""
PROBER_PORT: Final = 9115
"""Of the blackbox exporter (Prometheus' list of default port allocations)."""


@dataclass(frozen=True)
class Port:
    """A container port; ``number`` 0 where it differs from pod to pod, which is why policies use the name."""

    number: int
    protocol: str = "TCP"


@dataclass(frozen=True)
class Role:
    """Pods that may all do the same."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    """What selects them, and no other pod of the namespace."""
    ports: Mapping[str, Port] = field(default_factory=dict)
    """Named container ports."""
    chart: str = ""
    """Helm chart they come from; empty for ours."""


OURS: Final = (
    Role(
        "gateway",
        NAMESPACE,
        {"role": "api-gateway"},
        {PORT_NAME: Port(GATEWAY_HTTP_PORT), "https": Port(GATEWAY_TLS_PORT)},
    ),
    Role("control", NAMESPACE, {"role": "control"}, {PORT_NAME: Port(CONTROL_PORT)}),
    Role("agent", NAMESPACE, {"role": "agent"}, {PORT_NAME: Port(0)}),
    Role("exporter", NAMESPACE, {"role": "exporter"}, {PORT_NAME: Port(0)}),
    Role("prober", MONITORING, {"role": "prober"}, {PORT_NAME: Port(PROBER_PORT)}),
    Role("postgres", DATA, {"app": "postgres"}, {"store": Port(5432)}),
    Role("valkey-state", DATA, {"app": "valkey-state"}, {"store": Port(6379)}),
    Role("valkey-cache", DATA, {"app": "valkey-cache"}, {"store": Port(6379)}),
)
"""Pods whose manifests the program renders; jobs of Vault and Consul are declared with their charts below."""

_OPERATOR: Final = "kube-prometheus-stack"

CHARTS: Final[Mapping[str, tuple[Role, ...]]] = {
    # hashicorp/vault-helm, templates/server-statefulset.yaml
    "vault": (
        Role(
            "vault",
            VAULT,
            {"app.kubernetes.io/name": "vault", "component": "server"},
            {"https": Port(8200), "https-internal": Port(8201)},
            "vault",
        ),
    ),
    # hashicorp/consul-k8s, charts/consul/templates/{server-statefulset,sync-catalog-deployment,server-acl-init-job}.yaml
    "consul": (
        Role(
            "consul-server",
            CONSUL,
            {"app": "consul", "component": "server"},
            {
                "https": Port(8501),
                "grpc": Port(8502),
                "server": Port(8300),
                "serflan-tcp": Port(8301),
                "serflan-udp": Port(8301, "UDP"),
            },
            "consul",
        ),
        Role("consul-sync", CONSUL, {"app": "consul", "component": "sync-catalog"}, {}, "consul"),
        Role("consul-acl-init", CONSUL, {"app": "consul", "component": "server-acl-init"}, {}, "consul"),
        Role(
            "consul-acl-init-cleanup", CONSUL, {"app": "consul", "component": "server-acl-init-cleanup"}, {}, "consul"
        ),
        Role(
            "consul-gossip-init", CONSUL, {"app": "consul", "component": "gossip-encryption-autogenerate"}, {}, "consul"
        ),
    ),
    # prometheus-community/kube-prometheus-stack and the charts it includes
    _OPERATOR: (
        Role(
            "prometheus",
            MONITORING,
            {"app.kubernetes.io/name": "prometheus"},
            {"http-web": Port(9090), "reloader-web": Port(8080)},
            _OPERATOR,
        ),
        Role(
            "alertmanager",
            MONITORING,
            {"app.kubernetes.io/name": "alertmanager"},
            {
                "http-web": Port(9093),
                "reloader-web": Port(8080),
                "mesh-tcp": Port(9094),
                "mesh-udp": Port(9094, "UDP"),
            },
            _OPERATOR,
        ),
        Role("grafana", MONITORING, {"app.kubernetes.io/name": "grafana"}, {"grafana": Port(3000)}, _OPERATOR),
        Role(
            "prometheus-operator",
            MONITORING,
            {"app": f"{_OPERATOR}-operator"},
            {"https": Port(10250)},
            _OPERATOR,
        ),
        Role(
            "prometheus-admission",
            MONITORING,
            {"app": f"{_OPERATOR}-admission-create"},
            {},
            _OPERATOR,
        ),
        Role(
            "prometheus-admission-patch",
            MONITORING,
            {"app": f"{_OPERATOR}-admission-patch"},
            {},
            _OPERATOR,
        ),
        Role(
            "kube-state-metrics",
            MONITORING,
            {"app.kubernetes.io/name": "kube-state-metrics"},
            {"http": Port(8080), "metrics": Port(8081)},
            _OPERATOR,
        ),
    ),
    # grafana-community/loki
    "loki": (
        Role(
            "loki",
            MONITORING,
            {"app.kubernetes.io/name": "loki"},
            {"http-metrics": Port(3100), "grpc": Port(9095), "http-memberlist": Port(7946)},
            "loki",
        ),
    ),
    # grafana/alloy, templates/containers/_agent.yaml
    "alloy": (Role("alloy", COLLECTORS, {"app.kubernetes.io/name": "alloy"}, {"http-metrics": Port(12345)}, "alloy"),),
    # jetstack/cert-manager, deploy/charts/cert-manager/templates
    "cert-manager": (
        Role(
            "cert-manager",
            CERTIFICATES,
            {"app.kubernetes.io/component": "controller"},
            {"http-metrics": Port(9402)},
            "cert-manager",
        ),
        Role(
            "cert-manager-webhook",
            CERTIFICATES,
            {"app.kubernetes.io/component": "webhook"},
            {"https": Port(WEBHOOK_PORT), "http-metrics": Port(9402)},
            "cert-manager",
        ),
        Role(
            "cert-manager-injector",
            CERTIFICATES,
            {"app.kubernetes.io/component": "cainjector"},
            {"http-metrics": Port(9402)},
            "cert-manager",
        ),
        Role(
            "cert-manager-check", CERTIFICATES, {"app.kubernetes.io/component": "startupapicheck"}, {}, "cert-manager"
        ),
    ),
    # istio/istiod, manifests/charts/istio-control/istio-discovery/templates/deployment.yaml
    "istiod": (
        Role(
            "istiod",
            MESH,
            {"app": "istiod"},
            {"tls-xds": Port(15012), "https-webhooks": Port(15017), "http-monitoring": Port(15014)},
            "istiod",
        ),
    ),
}
"""By chart: the roles its pods play and the ports they open, as its templates name them."""

# Jobs of ours in the charts' namespaces.
JOBS: Final = (
    Role("vault-bootstrap", VAULT, {"role": "vault-bootstrap"}),
    Role("vault-backup", VAULT, {"role": "vault-backup"}),
    Role("consul-bootstrap", CONSUL, {"role": "consul-bootstrap"}),
    Role("database-credentials", NAMESPACE, {"role": "database-credentials"}),
)

ROLES: Final = {role.name: role for role in (*OURS, *JOBS, *(role for roles in CHARTS.values() for role in roles))}
"""Every role by name."""
