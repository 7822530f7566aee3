"""Owns who talks to whom: the one table that every NetworkPolicy of the platform is derived from.

A connection names two roles, or a role and a peer outside the pods, and the ports by their names. What is not
here is refused both ways. Which pods a role has is roles.py's; how a connection is written down for Kubernetes,
networks.py's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from catalog.contract import PORT_NAME
from infra.naming import NAMESPACE
from infra.services.policies import roles
from infra.settings import PlatformSpec

Outside = Literal["clients", "dns", "internet", "stores", "cloud", "kubernetes", "nodes"]
"""Peers that are no pods of ours: who calls the gateway, the cluster's DNS, the internet without private ranges,
managed or external data stores, the cloud's own services, the API server, kubelets and node exporters."""

OUTSIDE: Final[tuple[Outside, ...]] = ("clients", "dns", "internet", "stores", "cloud", "kubernetes", "nodes")
HTTPS: Final = 443
POSTGRES: Final = 5432
REDIS: Final = {"aws": 6379, "gcp": 6379, "azure": 10000, "existing": 6379}
"""Port of the managed cache by cloud (ElastiCache, Memorystore without clustering, Azure Managed Redis)."""
SMTP: Final = 587


@dataclass(frozen=True)
class Connection:
    """``source`` opens connections to ``target`` on these ports: names of the target role's, or numbers outside."""

    source: str
    target: str
    ports: tuple[str | int, ...]


def namespaces(spec: PlatformSpec) -> tuple[str, ...]:
    """Namespaces of ours in this stack's cluster."""
    chosen = {
        NAMESPACE: True,
        roles.DATA: spec.data == "in-cluster",
        roles.VAULT: spec.components.vault,
        roles.CONSUL: spec.components.consul,
        roles.MONITORING: spec.components.monitoring,
        roles.COLLECTORS: spec.components.monitoring,
        roles.CERTIFICATES: spec.components.certificates,
        roles.MESH: spec.components.mesh == "istio",
    }
    return tuple(name for name, there in chosen.items() if there)


def connections(spec: PlatformSpec) -> tuple[Connection, ...]:
    """All connections between what this stack's settings put into the cluster."""
    there = set(namespaces(spec))
    found = [
        *_requests(spec),
        *_stores(spec),
        *_vault(spec),
        *_consul(),
        *_monitoring(),
        *_certificates(spec),
        *_mesh(),
    ]
    return tuple(
        connection
        for connection in found
        if all(end in OUTSIDE or roles.ROLES[end].namespace in there for end in (connection.source, connection.target))
    )


def _requests(spec: PlatformSpec) -> Iterator[Connection]:
    """The path of a request, and what its processes need."""
    secure = spec.components.certificates
    yield Connection("clients", "gateway", (PORT_NAME, "https") if secure else (PORT_NAME,))
    yield Connection("gateway", "control", (PORT_NAME,))
    yield Connection("gateway", "agent", (PORT_NAME,))
    yield Connection("agent", "internet", (HTTPS,))
    for source in ("gateway", "control", "agent", "exporter", "database-credentials"):
        yield Connection(source, "dns", (53,))
    for source in ("control", "agent", "database-credentials"):
        yield Connection(source, "vault", ("https",))
    for source in ("control", "agent"):
        yield Connection(source, "consul-server", ("https",))
    # Reads the cloud's secret with the database's credentials, and hands them to Vault.
    yield Connection("database-credentials", "cloud", (HTTPS,))


def _stores(spec: PlatformSpec) -> Iterator[Connection]:
    if spec.data == "in-cluster":
        yield Connection("control", "postgres", ("store",))
        yield Connection("exporter", "postgres", ("store",))
        for source in ("control", "agent", "exporter"):
            for store in ("valkey-state", "valkey-cache"):
                yield Connection(source, store, ("store",))
        return
    external = spec.data == "external"
    redis = spec.cache.port if external else REDIS[spec.cloud]
    for source in ("control", "exporter"):
        yield Connection(source, "stores", (spec.database.port if external else POSTGRES, redis))
    yield Connection("agent", "stores", (redis,))


def _vault(spec: PlatformSpec) -> Iterator[Connection]:
    yield Connection("vault", "vault", ("https", "https-internal"))
    # It asks the API server whose token it was given.
    yield Connection("vault", "kubernetes", (HTTPS,))
    for source in ("vault-bootstrap", "vault-backup"):
        yield Connection(source, "vault", ("https",))
    yield Connection("vault-bootstrap", "kubernetes", (HTTPS,))
    for source in ("vault", "vault-bootstrap", "vault-backup"):
        yield Connection(source, "dns", (53,))
        if spec.cloud != "existing":
            yield Connection(source, "cloud", (HTTPS,))


def _consul() -> Iterator[Connection]:
    servers = "consul-server"
    yield Connection(servers, servers, ("https", "grpc", "server", "serflan-tcp", "serflan-udp"))
    # Consul asks the processes that registered whether they are well.
    for process in ("agent", "control"):
        yield Connection(servers, process, (PORT_NAME,))
    jobs = tuple(role.name for role in roles.CHARTS["consul"] if role.name != servers)
    for source in (servers, *jobs, "consul-bootstrap"):
        yield Connection(source, "dns", (53,))
    for source in (*jobs, "consul-bootstrap"):
        yield Connection(source, "kubernetes", (HTTPS,))
    for source in ("consul-sync", "consul-acl-init", "consul-bootstrap"):
        yield Connection(source, servers, ("https", "grpc"))


def _monitoring() -> Iterator[Connection]:
    scraped = {
        "agent": (PORT_NAME,), "control": (PORT_NAME,), "exporter": (PORT_NAME,), "prober": (PORT_NAME,), "vault": ("https",), "consul-server": ("https",), "prometheus": ("http-web", "reloader-web"),
        "alertmanager": ("http-web", "reloader-web"), "grafana": ("grafana",), "prometheus-operator": ("https",), "kube-state-metrics": ("http", "metrics"),
        "loki": ("http-metrics",), "alloy": ("http-metrics",), "cert-manager": ("http-metrics",), "cert-manager-webhook": ("http-metrics",),
        "cert-manager-injector": ("http-metrics",), "istiod": ("http-monitoring",),
    }  # fmt: skip
    for target, ports in scraped.items():
        yield Connection("prometheus", target, ports)
    # It looks at the certificates that servers show.
    for server in ("vault", "consul-server"):
        yield Connection("prober", server, ("https",))
    # Kubelets with cAdvisor, and node exporters, which have the node's address.
    yield Connection("prometheus", "nodes", (10250, 9100))
    yield Connection("alertmanager", "alertmanager", ("mesh-tcp", "mesh-udp"))
    yield Connection("alertmanager", "internet", (HTTPS, SMTP))
    yield Connection("grafana", "prometheus", ("http-web",))
    yield Connection("grafana", "alertmanager", ("http-web",))
    yield Connection("grafana", "loki", ("http-metrics",))
    yield Connection("alloy", "loki", ("http-metrics",))
    yield Connection("loki", "loki", ("http-metrics", "grpc", "http-memberlist"))
    yield Connection("loki", "cloud", (HTTPS,))
    yield Connection("kubernetes", "prometheus-operator", ("https",))
    admission = ("prometheus-admission", "prometheus-admission-patch")
    for source in ("prometheus", "prometheus-operator", "kube-state-metrics", "grafana", "loki", "alloy", *admission):
        yield Connection(source, "kubernetes", (HTTPS,))
        yield Connection(source, "dns", (53,))
    for source in ("alertmanager", "prober"):
        yield Connection(source, "dns", (53,))


def _certificates(spec: PlatformSpec) -> Iterator[Connection]:
    if spec.cloud == "azure":
        # Its certificates come from a public authority, and the domain is proven in Azure's DNS.
        yield Connection("cert-manager", "internet", (HTTPS,))
    yield Connection("kubernetes", "cert-manager-webhook", ("https",))
    for role in roles.CHARTS["cert-manager"]:
        yield Connection(role.name, "kubernetes", (HTTPS,))
        yield Connection(role.name, "dns", (53,))


def _mesh() -> Iterator[Connection]:
    yield Connection("istiod", "kubernetes", (HTTPS,))
    yield Connection("istiod", "dns", (53,))
    yield Connection("kubernetes", "istiod", ("https-webhooks",))
    for source in ("gateway", "agent"):
        yield Connection(source, "istiod", ("tls-xds",))
