"""Who can reach whom, computed from the policies each stack renders."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from infra.plan import Plan, reachability, reachability_page, record
from infra.plan.reachability import ANY, Cluster, Edge, End, Port
from infra.services.policies import networks, roles
from infra.services.policies.connections import OUTSIDE, connections, namespaces
from infra.settings import parse

FULL = {
    "cloud": "aws",
    "environment": "staging",
    "region": "eu-central-1",
    "zones": ["eu-central-1a", "eu-central-1b", "eu-central-1c"],
    "account": "123456789012",
}
STORES = ("postgres", "valkey-state", "valkey-cache")
INBOUND = ("API server's tunnel", "any other pod", "cluster DNS", "private addresses", "link-local addresses", "the internet", "Google's front ends")  # fmt: skip


@pytest.fixture(params=["kind", "aws-staging", "gcp-staging", "azure-staging"])
def plan(request: pytest.FixtureRequest) -> Plan:
    return record(request.param, "known")


def pairs(edges: frozenset[Edge]) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in edges}


def test_the_path_of_a_request_is_open_and_nothing_beside_it() -> None:
    """Stated by hand, for the cluster with everything of ours in it: an edge more or less is a decision."""
    edges = reachability.edges(reachability.of(record("kind", "known")))
    among_ours = {
        (edge.source, edge.target, edge.port)
        for edge in edges
        if edge.source not in INBOUND and edge.target not in INBOUND
    }
    assert among_ours == {
        ("gateway", "control", "http"),
        ("gateway", "agent", "http"),
        ("control", "postgres", "store"),
        ("control", "valkey-state", "store"),
        ("control", "valkey-cache", "store"),
        ("agent", "valkey-state", "store"),
        ("agent", "valkey-cache", "store"),
    }
    assert {edge.target for edge in edges if edge.source in INBOUND} == {"gateway"}


def test_no_agent_reaches_another_agent_nor_what_keeps_identities_and_accounts(plan: Plan) -> None:
    found = pairs(reachability.edges(reachability.of(plan)))
    reached = {target for source, target in found if source == "agent"}
    assert "agent" not in reached
    assert not reached & {"control", "gateway", "postgres", "grafana", "prometheus", "alertmanager", "any other pod"}


def test_only_the_gateway_is_reached_from_outside(plan: Plan) -> None:
    found = pairs(reachability.edges(reachability.of(plan)))
    from_outside = {target for source, target in found if source in INBOUND}
    # Webhooks are called by the API server, whose address is in the nodes' range, as a pod's may be.
    assert from_outside <= {"gateway", "prometheus-operator", "cert-manager-webhook"}
    assert "gateway" in from_outside
    assert {target for source, target in found if source == "the internet"} <= {"gateway"}


def test_agents_reach_the_internet_for_the_model_and_no_port_but_https(plan: Plan) -> None:
    edges = reachability.edges(reachability.of(plan))
    assert {edge.port for edge in edges if edge.source == "agent" and edge.target == "the internet"} == {"443/TCP"}
    talking = {edge.source for edge in edges if edge.target == "the internet"}
    assert not talking & {"gateway", "control", *STORES}


def test_nothing_is_open_on_any_port_whatever(plan: Plan) -> None:
    assert not [edge for edge in reachability.edges(reachability.of(plan)) if edge.port == ANY]


def test_every_pod_of_ours_has_a_declared_role(plan: Plan) -> None:
    unknown = [
        end.name for end in reachability.of(plan).pods if reachability.is_ours(end) and end.name not in roles.ROLES
    ]
    assert not unknown, f"declare their roles in infra/services/policies/roles.py: {unknown}"


def test_the_graph_is_exactly_the_declared_connections(plan: Plan) -> None:
    """Rendering, selecting and evaluating the policies gives back the table they are made from, and no more."""
    spec = parse(plan.values)
    cluster = reachability.of(plan)
    there = {end.name for end in cluster.pods}
    declared = {
        (row.source, row.target)
        for row in connections(spec)
        if row.source in there and row.target in there and row.source not in OUTSIDE and row.target not in OUTSIDE
    }
    computed = {
        (source, target)
        for source, target in pairs(reachability.edges(cluster))
        if source in roles.ROLES and target in roles.ROLES
    }
    assert computed == declared


def test_the_page_in_the_docs_is_what_the_graphs_say() -> None:
    assert reachability_page.PATH.read_text("utf-8") == reachability_page.text(), (
        "run: python -m infra.plan.reachability_page"
    )


@pytest.mark.parametrize("namespace", namespaces(parse({**FULL, "components": {"mesh": "istio"}})))
def test_every_namespace_of_ours_denies_both_ways_by_default(namespace: str) -> None:
    first = networks.policies(parse(FULL), namespace)[0]["spec"]
    assert first == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_every_connection_names_roles_and_ports_there_are() -> None:
    for row in connections(parse({**FULL, "components": {"mesh": "istio"}})):
        assert row.source in OUTSIDE or row.source in roles.ROLES
        if row.target not in OUTSIDE:
            assert set(row.ports) <= set(roles.ROLES[row.target].ports), row


# ── the evaluation itself, as Kubernetes defines it ──

A = End("a", "one", frozenset({("app", "a")}), frozenset({Port("http", 80)}))
B = End("b", "two", frozenset({("app", "b")}), frozenset({Port("http", 8080), Port("dns", 53, "UDP")}))
RANGES = (IPv4Network("10.64.0.0/14"),)


def policy(namespace: str, spec: dict[str, object]) -> dict[str, object]:
    return {"kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": namespace}, "spec": spec}


def graph(*policies: dict[str, object]) -> set[tuple[str, str, str]]:
    cluster = Cluster((A, B), policies, RANGES, zones=())
    return {(edge.source, edge.target, edge.port) for edge in reachability.edges(cluster) if edge.source != edge.target}


def test_pods_without_a_policy_reach_each_other_on_every_port() -> None:
    assert graph() == {("a", "b", ANY), ("b", "a", ANY)}


def test_default_deny_closes_one_end_and_that_is_enough() -> None:
    deny = policy("two", {"podSelector": {}, "policyTypes": ["Ingress"]})
    assert graph(deny) == {("b", "a", ANY)}


def test_an_edge_needs_both_ends() -> None:
    deny_out = policy("one", {"podSelector": {}, "policyTypes": ["Egress"]})
    let_in = policy("two", {"podSelector": {}, "ingress": [{}]})
    assert ("a", "b", ANY) not in graph(deny_out, let_in)


@pytest.mark.parametrize(
    ("peer", "met"),
    [
        ({"podSelector": {"matchLabels": {"app": "a"}}}, False),  # without a namespace: its own alone
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "a"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "three"}}}, False),
        ({"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["one"]}]}}, True),
        ({"ipBlock": {"cidr": "10.0.0.0/8"}}, True),
        ({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.64.0.0/14"]}}, False),
        ({"ipBlock": {"cidr": "192.168.0.0/16"}}, False),
    ],
)  # fmt: skip
def test_peers_are_met_as_kubernetes_meets_them(peer: dict[str, object], met: bool) -> None:
    rule = {"from": [peer], "ports": [{"port": "http"}]}
    found = graph(policy("two", {"podSelector": {"matchLabels": {"app": "b"}}, "ingress": [rule]}))
    assert (("a", "b", "http") in found) is met


@pytest.mark.parametrize(
    ("port", "open_ports"),
    [
        ({"port": "http"}, {"http"}),
        ({"port": 8080}, {"http"}),
        ({"port": 8000, "endPort": 9000}, {"http"}),
        ({"port": 81}, set()),
        ({"port": 53}, set()),  # TCP
        ({"port": 53, "protocol": "UDP"}, {"dns"}),
        ({"protocol": "UDP"}, {"dns"}),
    ],
)
def test_ports_are_met_by_name_number_range_and_protocol(port: dict[str, object], open_ports: set[str]) -> None:
    rule = {"from": [{"namespaceSelector": {}}], "ports": [port]}
    found = graph(policy("two", {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]}))
    assert {name for source, target, name in found if target == "b"} == open_ports


def test_an_edge_too_many_is_seen() -> None:
    """The mutation the suite exists for: one policy that lets agents reach agents."""
    plan = record("kind", "known")
    cluster = reachability.of(plan)
    agents = {"matchLabels": {"role": "agent"}}
    extra = policy(
        roles.OURS[2].namespace,
        {"podSelector": agents, "policyTypes": ["Ingress", "Egress"], "ingress": [{"from": [{"podSelector": agents}]}], "egress": [{"to": [{"podSelector": agents}]}]},
    )  # fmt: skip
    opened = Cluster(cluster.pods, (*cluster.policies, extra), cluster.pod_ranges)
    assert reachability.edges(opened) - reachability.edges(cluster) == {Edge("agent", "agent", ANY)}
