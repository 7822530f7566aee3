"""What a preview says, in text, JSON and Markdown."""

from __future__ import annotations

import json

from infra.plan import graph, report
from infra.plan.diff import diff
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
    assert "cost: +0 dollars a month" in shown


def test_the_json_has_everything_a_script_needs() -> None:
    old, new = versions()
    data = json.loads(json.dumps(report.as_dict(report.preview(new, diff(old, new), "abc1234"))))
    assert data["against"]["counts"] == {"changed": 1, "replaced": 1}
    assert data["against"]["blast_radius"] == ["rolls 1 Deployment, 1 agent"]
    assert [item["agent"] for item in data["against"]["agents"]] == ["plan_agent_001"]
    assert set(data["cost"]["compute"]) == {"pooled", "dedicated"}
    assert data["resources"]["layers"]["services"] == {"ConfigMap": 1, "Deployment": 1}


def test_markdown_shows_agents_as_diffs_and_fits_a_comment() -> None:
    old, new = versions()
    text = report.markdown([report.preview(new, diff(old, new), "abc1234")])
    assert "<details><summary>Agent plan_agent_001</summary>" in text
    assert "````diff" in text
    assert len(text) < report.COMMENT_LIMIT


def test_markdown_that_is_cut_says_what_was_cut() -> None:
    base = plan(catalog_map("a", *[agent(f"x_agent_{number:03d}", "Old text. " * 40) for number in range(1, 200)]))
    head = plan(catalog_map("a", *[agent(f"x_agent_{number:03d}", "New text. " * 40) for number in range(1, 200)]))
    text = report.markdown([report.preview(head, diff(base, head), "abc1234")], limit=20_000)
    assert len(text) <= 20_000
    assert "**Cut to fit a comment** (20,000 characters): agent x_agent_" in text
    assert text.startswith("### test")


def test_findings_of_one_kind_are_said_once_with_their_resources() -> None:
    found = report.preview(
        plan(*[resource("aws:kms/key:Key", f"key-{number}", {"tags": {}}, protect=True) for number in range(5)])
    )
    text = report.text(found)
    assert "key-rotation: key-0, key-1, key-2 and 2 more: is never rotated" in text


def test_no_output_holds_a_secret_even_where_it_changed() -> None:
    old, new = (plan(resource("gcp:sql/user:User", "u", {"password": {"$secret": mark * 32}})) for mark in "ab")
    shown = report.preview(new, diff(old, new), "abc1234")
    for text in (report.text(shown), report.markdown([shown]), json.dumps(report.as_dict(shown))):
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
