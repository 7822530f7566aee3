"""Owns how connections are written as NetworkPolicies: default deny, and one policy a role. Pure.

Pods are met by their named ports, which a policy of Kubernetes resolves at the pod: agents' numbers differ. What
is outside is met by address ranges, the narrowest the settings know.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from infra.naming import labels
from infra.pods import Manifest
from infra.services.policies import roles
from infra.services.policies.connections import HTTPS, OUTSIDE, Connection, connections
from infra.settings import PlatformSpec

PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16")
"""What is not the internet: RFC 1918, RFC 6598, RFC 3927."""
NODE_DNS: Final = "169.254.20.10/32"
"""The address of node-local DNS caches (Kubernetes documentation, NodeLocal DNSCache)."""
IDENTITY: Final = {
    "aws": (("169.254.170.23/32", 80),),
    "gcp": (("169.254.169.254/32", 80), ("169.254.169.252/32", 988), ("169.254.169.252/32", 987)),
}
"""Where pods get their cloud identity: EKS Pod Identity agent; GKE metadata server (its documentation, "network
policies and Workload Identity"). Azure's tokens are exchanged over the internet."""
GOOGLE_FRONT_ENDS: Final = ("35.191.0.0/16", "130.211.0.0/22")
"""Where Google's load balancers and health checks come from (its documentation, firewall rules)."""
API_SERVER_PORTS: Final = (HTTPS, 6443)
"""The Service's port, and what address translation makes of it on self-made clusters."""
TUNNELS: Final = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["konnectivity-agent"]}]}
"""Pods in kube-system through which GKE's and AKS's API servers reach webhooks."""


def policies(spec: PlatformSpec, namespace: str) -> list[Manifest]:
    """Every NetworkPolicy of a namespace: default deny first."""
    table = connections(spec)
    there = [role for role in roles.ROLES.values() if role.namespace == namespace]
    return [default_deny(namespace), *(_policy(role, table, spec) for role in there)]


def default_deny(namespace: str) -> Manifest:
    """Nothing in, nothing out, for every pod of the namespace."""
    return _manifest("default-deny", namespace, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})


def _policy(role: roles.Role, table: Iterable[Connection], spec: PlatformSpec) -> Manifest:
    rows = tuple(table)
    incoming = [rule for row in rows if row.target == role.name for rule in _ingress(row, role, spec)]
    outgoing = [rule for row in rows if row.source == role.name for rule in _egress(row, spec)]
    return _manifest(
        role.name,
        role.namespace,
        {
            "podSelector": {"matchLabels": dict(role.labels)},
            "policyTypes": ["Ingress", "Egress"],
            # No rule is no traffic; an empty list would be dropped by the server and come back as a change.
            **({"ingress": incoming} if incoming else {}),
            **({"egress": outgoing} if outgoing else {}),
        },
    )


def _ingress(row: Connection, role: roles.Role, spec: PlatformSpec) -> list[Manifest]:
    ports = [_port(port, role) for port in row.ports]
    peers = _sources(row.source, spec) if row.source in OUTSIDE else [_pods(roles.ROLES[row.source])]
    return [{"from": peers, "ports": ports}]


def _egress(row: Connection, spec: PlatformSpec) -> list[Manifest]:
    if row.target not in OUTSIDE:
        target = roles.ROLES[row.target]
        return [{"to": [_pods(target)], "ports": [_port(port, target) for port in row.ports]}]
    ports = [_port(port, None) for port in row.ports]
    if row.target == "dns":
        cluster = {**_namespace("kube-system"), "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
        both = [{"protocol": protocol, "port": port} for protocol in ("UDP", "TCP") for port in row.ports]
        return [{"to": [cluster, _block(NODE_DNS)], "ports": both}]
    if row.target == "internet":
        return [{"to": [_block("0.0.0.0/0", PRIVATE)], "ports": ports}]
    if row.target == "stores":
        # An external store is a name, and policies know addresses alone: its port narrows what is open.
        where = _block("0.0.0.0/0") if spec.data == "external" else _block(spec.network.cidr)
        return [{"to": [where], "ports": ports}]
    if row.target == "kubernetes":
        return [{"to": [_block(text) for text in _near(spec)], "ports": [_port(p, None) for p in API_SERVER_PORTS]}]
    if row.target == "nodes":
        return [{"to": [_block(text) for text in _near(spec)], "ports": ports}]
    # The cloud: its public services, the private endpoints it has in the network, and where identities come from.
    rules: list[Manifest] = [{"to": [_block("0.0.0.0/0", PRIVATE), _block(spec.network.cidr)], "ports": ports}]
    rules += [
        {"to": [_block(address)], "ports": [_port(number, None)]} for address, number in IDENTITY.get(spec.cloud, ())
    ]
    return rules


def _sources(outside: str, spec: PlatformSpec) -> list[Manifest]:
    """Peers outside the pods that open connections to them."""
    if outside == "clients":
        return [_block(text) for text in clients(spec)]
    assert outside == "kubernetes", outside
    tunnels = {**_namespace("kube-system"), "podSelector": TUNNELS}
    return [*(_block(text) for text in _near(spec)), tunnels]


def clients(spec: PlatformSpec) -> tuple[str, ...]:
    """Ranges that requests reach the gateway's pods from: the edge's where it stands between, else anybody's."""
    if spec.cloud == "gcp":
        return GOOGLE_FRONT_ENDS
    if spec.components.edge and spec.cloud in ("aws", "azure"):
        return (spec.network.cidr,)
    # Without an edge the load balancers of AWS and Azure face the internet and keep the client's address; on a cluster you have, its entrance is yours.
    return ("0.0.0.0/0",)


def _near(spec: PlatformSpec) -> tuple[str, ...]:
    """Where nodes and the API server have their addresses."""
    # GKE's and an existing cluster's API server has an address outside the network.
    return (spec.network.cidr,) if spec.cloud in ("aws", "azure") else PRIVATE[:4]


def _pods(role: roles.Role) -> Manifest:
    return {**_namespace(role.namespace), "podSelector": {"matchLabels": dict(role.labels)}}


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _block(cidr: str, without: tuple[str, ...] = ()) -> Manifest:
    return {"ipBlock": {"cidr": cidr, **({"except": list(without)} if without else {})}}


def _port(port: str | int, role: roles.Role | None) -> Manifest:
    protocol = role.ports[str(port)].protocol if role is not None else "TCP"
    return {"protocol": protocol, "port": port}


def _manifest(name: str, namespace: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": labels(name, "policy")},
        "spec": spec,
    }
