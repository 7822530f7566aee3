"""What a plan costs: priced, free, by use, or said to be not priced."""

from __future__ import annotations

from typing import Any

import pytest

from infra.clouds.capacity import NODES
from infra.plan.cost import ANSWER_TOKENS, TASK_TOKENS, costs
from infra.plan.plan import Resource
from infra.plan.prices import FOLDER, HOURS, table
from tests.infra.plan.builders import agent, catalog_map, plan, resource

AWS: dict[str, Any] = {"cloud": "aws", "region": "eu-central-1", "environment": "prod"}


def database(**inputs: Any) -> Resource:
    return resource(
        "aws:rds/instance:Instance", "db", {"instanceClass": "db.m7g.large", "allocatedStorage": 100, **inputs}
    )


def test_a_database_costs_its_hours_and_storage_and_twice_in_two_zones() -> None:
    single = costs(plan(database(), **AWS)).total
    assert single == pytest.approx(0.195 * HOURS + 100 * 0.137)
    assert costs(plan(database(multiAz=True), **AWS)).total == pytest.approx(2 * single)


def test_a_size_or_type_without_a_price_is_listed_and_not_zero() -> None:
    found = costs(plan(database(instanceClass="db.x99.huge"), resource("aws:new/thing:Thing", "t"), **AWS))
    assert dict(found.not_priced) == {"aws rds Instance": 1, "aws new Thing": 1}
    assert found.lines == ()


def test_what_is_charged_by_use_is_said_so_and_what_is_free_is_not_listed() -> None:
    found = costs(plan(resource("aws:s3/bucket:Bucket", "b"), resource("aws:ec2/subnet:Subnet", "s"), **AWS))
    assert dict(found.by_use) == {"aws s3 Bucket": 1}
    assert found.not_priced == {}
    assert found.total == 0


def test_prices_follow_the_continent_and_say_when_they_do_not() -> None:
    europe, america = (costs(plan(database(), **{**AWS, "region": region})) for region in ("eu-west-1", "us-east-2"))
    assert america.total < europe.total
    asia = costs(plan(database(), catalog_map("a", agent("x_agent_001")), **{**AWS, "region": "ap-south-1"}))
    assert any("ap-south-1 has no prices of its own here: priced as eu" in remark for remark in asia.remarks)


def test_the_fleet_is_priced_pooled_and_dedicated_whatever_the_stack_runs() -> None:
    agents = [agent(f"x_agent_{number:03d}") for number in range(1, 201)]
    found = costs(plan(catalog_map("a", *agents), fleet={"isolation": "dedicated"}, **AWS))
    pooled, dedicated = found.compute
    assert (pooled.isolation, dedicated.isolation) == ("pooled", "dedicated")
    assert dedicated.pods == 400
    assert dedicated.cpu == 100.0
    assert dedicated.memory == 100.0
    # 100 vCPU on nodes of 8 with 94% for pods.
    assert dedicated.nodes == 14
    assert pooled.nodes < dedicated.nodes
    assert found.total == dedicated.monthly


def test_nodes_that_the_stack_already_pays_for_are_not_counted_twice() -> None:
    nodes = resource(
        "aws:eks/nodeGroup:NodeGroup", "n", {"instanceTypes": ["m7i.2xlarge"], "scalingConfig": {"minSize": 3}}
    )
    found = costs(plan(nodes, catalog_map("a", agent("x_agent_001")), **AWS))
    assert found.compute_extra == 0
    assert found.total == pytest.approx(3 * 0.483 * HOURS)


def test_volumes_of_a_helm_release_are_priced_with_their_replicas() -> None:
    values = {
        "server": {
            "ha": {"enabled": True, "replicas": 3},
            "dataStorage": {"size": "10Gi"},
            "auditStorage": {"size": "5Gi"},
        }
    }
    found = costs(plan(resource("kubernetes:helm.sh/v3:Release", "vault", {"chart": "vault", "values": values}), **AWS))
    assert found.total == pytest.approx(45 * 0.0952)


def test_model_cost_follows_the_prompt_the_assumed_tokens_and_the_stated_requests() -> None:
    def of(**fleet: Any) -> Any:
        return costs(plan(catalog_map("a", agent("x_agent_001", "w" * 4000)), fleet=fleet, **AWS)).model

    model = of()
    assert model.monthly is None
    assert model.average > 0
    assert of(requestsPerDay=1000).monthly == pytest.approx(model.average * 1000 * 30.4)
    assert of(model="claude-haiku-4-5").average == pytest.approx(
        (1.0 * ((4000 + 20 + 26) / 4 + TASK_TOKENS) + 5.0 * ANSWER_TOKENS) / 1e6, rel=0.01
    )


def test_a_model_without_a_price_is_said_so() -> None:
    model = costs(plan(catalog_map("a", agent("x_agent_001", model={"model": "claude-private-1"})), **AWS)).model
    assert model is not None
    assert model.unknown == ("claude-private-1",)


def test_a_cluster_you_have_has_no_list_price() -> None:
    found = costs(plan(catalog_map("a", agent("x_agent_001")), cloud="existing"))
    assert found.total == 0
    assert any("no list price" in remark for remark in found.remarks)


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
def test_price_tables_state_date_source_and_prices_above_zero(cloud: str) -> None:
    prices = table(cloud, {"aws": "eu-central-1", "gcp": "europe-west3", "azure": "westeurope"}[cloud])
    assert prices is not None
    assert prices.exact
    assert prices.as_of
    assert all(page.startswith("https://") for page in prices.sources)
    assert (FOLDER / f"{cloud}.yaml").is_file()
    for name, entry in prices.data["nodes"].items():
        assert 0 < entry["us"] <= entry["eu"], name
    for environment, node in NODES[cloud].items():
        priced = prices.fleet_node(environment)
        assert (priced.name, priced.cpu) == (node.name, node.cpu)
