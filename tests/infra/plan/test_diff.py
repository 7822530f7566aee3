"""What differs between two plans, and what it means."""

from __future__ import annotations

from infra.plan import agents, impact
from infra.plan.diff import ABSENT, diff, empty, moves_between, replaces
from infra.plan.plan import Plan
from tests.infra.plan.builders import STACK, agent, catalog_map, deployment, plan, resource

VPC = "aws:ec2/vpc:Vpc"


def test_equal_plans_differ_in_nothing() -> None:
    one = plan(resource(VPC, "v", {"cidrBlock": "10.0.0.0/16"}))
    assert diff(one, one).counts == {}
    assert impact.blast_radius(diff(one, one)) == ["changes nothing that runs"]


def test_created_changed_and_deleted_are_told_apart_with_the_changed_properties() -> None:
    base = plan(resource(VPC, "kept", {"enableDnsSupport": True, "tags": {"a": "1"}}), resource(VPC, "gone", {"x": 1}))
    head = plan(
        resource(VPC, "kept", {"enableDnsSupport": False, "tags": {"a": "1", "b": "2"}}), resource(VPC, "new", {"y": 2})
    )
    found = diff(base, head)
    assert {change.resource.name: change.action for change in found.changes} == {
        "kept": "changed",
        "new": "created",
        "gone": "deleted",
    }
    (changed,) = found.of("changed")
    assert [(item.path, item.before, item.after) for item in changed.properties] == [
        ("enableDnsSupport", True, False),
        ("tags.b", ABSENT, "2"),
    ]


def test_replaced_is_said_only_where_the_table_says_so_with_its_source() -> None:
    base, head = (plan(resource(VPC, "v", {"cidrBlock": cidr, "tags": {}})) for cidr in ("10.0.0.0/16", "10.1.0.0/16"))
    (change,) = diff(base, head).changes
    assert change.action == "replaced"
    assert "cidrBlock" in change.why
    assert "ForceNew" in change.why
    assert replaces(head.resources[0], "tags.x") == ""


def test_replacement_rules_look_through_lists_and_below_a_path() -> None:
    cluster = resource("aws:eks/cluster:Cluster", "c")
    assert replaces(cluster, "encryptionConfig[0].resources[0]")
    assert replaces(resource("kubernetes:batch/v1:Job", "j"), "spec.template.spec.containers[0].image")
    assert not replaces(cluster, "version")


def test_a_resources_own_replace_on_changes_counts() -> None:
    server = resource("azure-native:x:Server", "s", replace_on_changes=("sku.name",))
    assert replaces(server, "sku.name")
    assert not replaces(server, "sku.tier")


def test_a_changed_secret_shows_as_changed_and_not_its_value() -> None:
    base, head = (
        plan(resource("gcp:sql/user:User", "u", {"password": {"$secret": digest}})) for digest in ("aa", "bb")
    )
    (change,) = diff(base, head).changes
    assert [(item.path, item.before, item.after) for item in change.properties] == [
        ("password", "[secret]", "[secret]")
    ]


def test_a_rename_is_recognised_and_says_what_keeps_the_resource() -> None:
    base, head = (
        plan(resource(VPC, "old", {"cidrBlock": "10.0.0.0/16"})),
        plan(resource(VPC, "new", {"cidrBlock": "10.0.0.0/16"})),
    )
    found = diff(base, head)
    assert found.counts == {"moved": 1}
    (change,) = found.changes
    assert f"pulumi state rename '{STACK}{VPC}::old' new" in change.advice
    assert "pulumi.Alias(name='old')" in change.advice
    assert impact.blast_radius(found) == [
        "would replace 1 resource that only got another name, unless their state is moved"
    ]


def test_a_declared_alias_needs_no_advice() -> None:
    base = plan(resource(VPC, "old", {"cidrBlock": "10.0.0.0/16"}))
    head = plan(resource(VPC, "new", {"cidrBlock": "10.0.0.0/16"}, aliases=({"name": "old"},)))
    (change,) = diff(base, head).changes
    assert change.kept_by_alias


def test_two_equal_resources_are_not_taken_for_each_other() -> None:
    base = plan(resource(VPC, "a", {}), resource(VPC, "b", {}))
    assert diff(base, plan(resource(VPC, "c", {}))).counts == {"created": 1, "deleted": 2}


def test_what_moves_to_another_stack_gets_its_state_move() -> None:
    item = resource(VPC, "v", {"cidrBlock": "10.0.0.0/16"})
    left = diff(Plan("one", "known", (item,)), Plan("one", "known", ()))
    right = diff(Plan("two", "known", ()), Plan("two", "known", (item,)))
    assert moves_between([left, right]) == [f"pulumi state move --source one --dest two '{item.urn}'"]


def test_one_changed_prompt_is_one_agents_change_and_rolls_one_deployment() -> None:
    others = [agent(f"other_agent_{number:03d}") for number in range(2, 6)]

    def fleet(text: str, version: str) -> Plan:
        return plan(
            catalog_map("business", agent("plan_agent_001", text), *others, version=version),
            deployment("pool-business", f"business-{version}"),
            deployment("pool-technology", "technology-1"),
        )

    base, head = fleet("You write plans. You keep them short.", "1"), fleet("You write plans. You keep them long.", "2")
    found = diff(base, head)
    assert impact.blast_radius(found) == ["rolls 1 Deployment, 5 agents"]
    (change,) = agents.changes(base, head)
    assert (change.agent, change.action) == ("plan_agent_001", "changed")
    assert change.text == "prompt.instructions\n   You write plans.\n  -You keep them short.\n  +You keep them long."


def test_agents_that_come_go_and_move_are_said_so() -> None:
    base = plan(catalog_map("a", agent("x_agent_001"), agent("y_agent_002")), deployment("pool-a", "a-1"))
    head = plan(
        catalog_map("a", agent("y_agent_002"), agent("z_agent_003")), deployment("pool-a", "a-1"),
        catalog_map("y", version="1"), deployment("elsewhere", "y-1"),
    )  # fmt: skip
    assert [(item.agent, item.action) for item in agents.changes(base, head)] == [
        ("x_agent_001", "removed"),
        ("z_agent_003", "added"),
    ]
    moved = plan(catalog_map("a", agent("x_agent_001"), agent("y_agent_002"), version="1"), deployment("own", "a-1"))
    assert [(item.agent, item.action, item.text) for item in agents.changes(base, moved)] == [
        ("x_agent_001", "moved", "from pool-a to own"),
        ("y_agent_002", "moved", "from pool-a to own"),
    ]


def test_a_protected_resource_that_goes_is_refused_with_the_way_out() -> None:
    database = resource("aws:rds/instance:Instance", "db", {"engine": "postgres"}, protect=True)
    found = diff(plan(database), plan())
    (word,) = impact.refusals(found)
    assert "db is protected and would be deleted" in word
    assert f"pulumi state unprotect '{database.urn}'" in word
    assert "deletes aws rds Instance db: what it holds is lost" in impact.blast_radius(found)


def test_a_lost_layer_is_refused() -> None:
    base, head = plan(resource(VPC, "v"), layers=["foundation", "fleet"]), plan(resource(VPC, "v"), layers=["fleet"])
    (word,) = impact.refusals(diff(base, head))
    assert "the layer foundation is taken away" in word


def test_a_new_stack_is_all_created_and_refuses_nothing() -> None:
    head = plan(resource(VPC, "v"), layers=["foundation"])
    found = diff(empty(head), head)
    assert found.counts == {"created": 1}
    assert impact.refusals(found) == []


def test_an_upgraded_chart_is_said_in_words() -> None:
    base, head = (
        plan(resource("kubernetes:helm.sh/v3:Release", "vault", {"chart": "vault", "version": version}))
        for version in ("0.33.0", "0.34.1")
    )
    assert impact.blast_radius(diff(base, head)) == ["upgrades the Helm release vault from 0.33.0 to 0.34.1"]
