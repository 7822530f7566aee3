"""What a preview says, in text, JSON and Markdown."""

from __future__ import annotations

import json

import pytest

from catalog import registry
from infra.plan import agents, graph, report
from infra.plan.diff import diff
from infra.plan.markdown import markdown
from infra.plan.plan import Plan
from tests.infra.plan.builders import agent, catalog_map, deployment, plan, resource


def versions() -> tuple[Plan, Plan]:
    old = plan(
        catalog_map("business", agent("plan_agent_001", "Be short."), version="1"),
        deployment("pool-business", "business-1"),
        cloud="aws",
        region="eu-central-1",
        environment="prod",
    )
    new = plan(
        catalog_map("business", agent("plan_agent_001", "Be long."), version="2"),
        deployment("pool-business", "business-2"),
        cloud="aws",
        region="eu-central-1",
        environment="prod",
    )
    return old, new


def test_the_text_says_what_a_change_does_in_plain_words_and_shows_the_agents_text() -> None:
    old, new = versions()
    shown = report.text(report.preview(new, diff(old, new), "abc1234"))
    assert "against abc1234: 1 changed, 1 replaced" in shown
    assert "rolls 1 Deployment, 1 agent" in shown
    assert "-Be short." in shown
    assert "+Be long." in shown
    assert '"prompt"' not in shown
    assert "cost: ±$0 a month" in shown


def test_the_json_has_everything_a_script_needs() -> None:
    old, new = versions()
    data = json.loads(json.dumps(report.as_dict(report.preview(new, diff(old, new), "abc1234"))))
    assert data["against"]["counts"] == {"changed": 1, "replaced": 1}
    assert data["against"]["blast_radius"] == ["rolls 1 Deployment, 1 agent"]
    assert [item["agent"] for item in data["against"]["agents"]] == ["plan_agent_001"]
    assert set(data["cost"]["compute"]) == {"pooled", "dedicated"}
    assert data["resources"]["layers"]["services"] == {"ConfigMap": 1, "Deployment": 1}


@pytest.mark.parametrize(
    ("difference", "words"),
    [(0, "±$0"), (0.004, "±$0"), (-0.4, "-$0.40"), (9.99, "+$9.99"), (1234.4, "+$1,234"), (-12, "-$12")],
)
def test_a_difference_in_cost_has_a_sign_and_as_many_digits_as_matter(difference: float, words: str) -> None:
    assert report.money(difference) == words


def test_an_agents_digests_are_the_catalogs_own() -> None:
    known = registry.load(pool="business")
    chosen = known.require("business_plan_agent_009")
    data = {f"{chosen.id}.json": registry.dump_agent(chosen).decode()}
    inputs = {**catalog_map("business").inputs, "data": data}
    found = plan(resource("kubernetes:core/v1:ConfigMap", "x", inputs))
    assert list(agents.versions(found)[chosen.id]) == [known.agent_digest(chosen.id)[:12]]


def test_a_second_version_of_an_agent_is_its_change_and_the_end_of_one_is_none() -> None:
    first, second = (catalog_map(name, agent("plan_agent_001", f"{name}.")) for name in ("stable", "candidate"))
    for both in (plan(first, second), plan(second, first)):
        (begun,) = agents.changes(plan(first), both)
        assert "-stable." in begun.text
        assert "+candidate." in begun.text
        assert agents.changes(both, plan(second)) == []


def test_findings_of_one_kind_are_said_once_with_their_resources() -> None:
    found = report.preview(
        plan(*[resource("aws:kms/key:Key", f"key-{number}", {"tags": {}}, protect=True) for number in range(5)])
    )
    text = report.text(found)
    assert "key-rotation: key-0, key-1, key-2 and 2 more: is never rotated" in text


def test_no_output_holds_a_secret_even_where_it_changed() -> None:
    old, new = (plan(resource("gcp:sql/user:User", "u", {"password": {"$secret": mark * 32}})) for mark in "ab")
    shown = report.preview(new, diff(old, new), "abc1234")
    for text in (report.text(shown), markdown([shown]), json.dumps(report.as_dict(shown))):
        assert "a" * 32 not in text
        assert "b" * 32 not in text


def test_the_diagram_has_a_box_per_component_and_arrows_to_what_needs_it() -> None:
    network = resource("platform:aws:Network", "network", custom=False)
    cluster = resource("platform:aws:Cluster", "cluster", custom=False)
    vpc = resource("aws:ec2/vpc:Vpc", "network-vpc", parent=network.urn)
    eks = resource("aws:eks/cluster:Cluster", "cluster-eks", parent=cluster.urn, dependencies=(vpc.urn,))
    text = graph.mermaid(plan(network, cluster, vpc, eks))
    assert text.startswith("flowchart LR\n  subgraph foundation\n")
    assert 'n0["Network network<br/>1 resources"]' in text
    assert "n0 --> n1" in text


def test_many_alike_are_one_box() -> None:
    agents = [resource("platform:workloads:Agent", f"agent-{number}", custom=False) for number in range(50)]
    assert "50 × Agent" in graph.mermaid(plan(*agents))
