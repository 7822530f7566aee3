from __future__ import annotations

import pytest

from catalog import registry as catalog
from catalog.registry import Registry
from infra import settings
from infra.settings import PlatformSpec, SettingsError
from infra.workloads import routes, selection


@pytest.fixture(scope="module")
def registry() -> Registry:
    return catalog.load()


def spec(**fleet: object) -> PlatformSpec:
    return settings.parse({"cloud": "existing", "environment": "dev", "data": "in-cluster", "fleet": fleet})


def test_without_a_choice_all_agents_run(registry: Registry) -> None:
    assert selection.select(spec(), registry) == registry.agents


def test_pools_domains_and_agents_choose(registry: Registry) -> None:
    assert selection.select(spec(pools=["knowledge"]), registry) == registry.pool("knowledge")
    assert {agent.domain for agent in selection.select(spec(domains=["business/strategy"]), registry)} == {"strategy"}
    assert [agent.id for agent in selection.select(spec(agents=["business_plan_agent_009"]), registry)] == [
        "business_plan_agent_009"
    ]


def test_every_name_the_catalog_lacks_is_told_at_once(registry: Registry) -> None:
    with pytest.raises(SettingsError) as refused:
        selection.select(spec(agents=["nobody_agent_001", "noone_agent_002"]), registry)
    assert refused.value.problems == [
        ("fleet.agents", "no agent 'nobody_agent_001' in the catalog"),
        ("fleet.agents", "no agent 'noone_agent_002' in the catalog"),
    ]


def test_pooled_agents_share_their_pools_route_and_dedicated_ones_have_their_own(registry: Registry) -> None:
    settings_pooled = spec()
    table = routes.routes(selection.workloads(settings_pooled, registry), settings_pooled)
    assert [(route.name, len(route.agents)) for route in table] == [
        ("pool-business", 500),
        ("pool-technology", 500),
        ("pool-knowledge", 500),
    ]
    one = spec(isolation="dedicated", agents=["business_plan_agent_009"])
    (route,) = routes.routes(selection.workloads(one, registry), one)
    assert route.address == "business-plan-agent-009.ai-agents.svc.cluster.local:8209"


def test_the_route_config_map_keeps_its_name_whatever_its_content(registry: Registry) -> None:
    all_agents, some = (routes.routes(selection.workloads(s, registry), s) for s in (spec(), spec(pools=["business"])))
    assert (
        routes.config_map(all_agents, "")["metadata"]["name"]
        == routes.config_map(some, "")["metadata"]["name"]
        == "routes-fleet"
    )
    assert routes.config_map(some, "one")["metadata"]["name"] == "routes-one"
    assert len(routes.config_map(all_agents, "")["data"]["fleet.map"].splitlines()) == 1500
