"""Which versions run for a catalog with rollouts under way: names, shares, contents, and what may not cross."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from catalog import registry, versions
from catalog.registry import Registry, content_digest, digest_of
from catalog.rollout import AgentRollout, PoolRollout
from catalog.schema import AgentSpec, PoolSpec
from catalog.versions import Workload
from infra import settings
from infra.sections import FleetRollout
from infra.settings import PlatformSpec, SettingsError
from infra.workloads import selection

AGENT = "business_plan_agent_009"
NAME = "business-plan-agent-009"
CHANGED: Mapping[str, Any] = {"cache_seconds": 60}


def _with(
    shipped: Registry, *, agent: Mapping[str, Any] | None = None, pool: Mapping[str, Any] | None = None, **fields: Any
) -> tuple[tuple[AgentSpec, ...], dict[str, PoolSpec]]:
    """The shipped business pool with rollouts of the agent and the pool, and other fields of the agent."""
    rollout = AgentRollout.model_validate(agent) if agent else None
    agents = tuple(
        one.model_copy(update={"rollout": rollout, **fields}) if one.id == AGENT else one
        for one in shipped.pool("business")
    )
    of_pool = PoolRollout.model_validate(pool) if pool else None
    return agents, {"business": shipped.pools["business"].model_copy(update={"rollout": of_pool})}


def _workloads(
    found: tuple[tuple[AgentSpec, ...], Mapping[str, PoolSpec]], fleet: FleetRollout | None = None
) -> dict[str, Workload]:
    listed = versions.workloads(*found, is_dedicated=lambda agent: agent.isolation == "dedicated", fleet=fleet)
    return {one.name: one for one in listed}


def _names(workload: Workload) -> list[str]:
    return [version.name for version in workload.versions]


def test_without_a_rollout_there_is_one_version_of_each_pool(shipped: Registry) -> None:
    found = _workloads(_with(shipped))
    assert list(found) == ["pool-business"]
    assert _names(found["pool-business"]) == ["pool-business"]
    assert found["pool-business"].agents == tuple(agent.id for agent in shipped.pool("business"))
    assert found["pool-business"].strategy == "rolling"


def test_a_pooled_agents_canary_runs_apart_and_leaves_its_pool_as_it_is(shipped: Registry) -> None:
    plain = _workloads(_with(shipped))["pool-business"]
    found = _workloads(_with(shipped, agent={"strategy": "canary", "canary_percent": 25, "candidate": CHANGED}))
    apart, pool = found[NAME], found["pool-business"]
    assert _names(apart) == [NAME, f"{NAME}-canary"]
    assert (apart.strategy, apart.percent, apart.fallback) == ("canary", 25, "pool-business")
    assert apart.agents == (AGENT,)
    assert apart.other is not None
    assert [agent.cache_seconds for agent in (*apart.serving.agents, *apart.other.agents)] == [0, 60]
    assert apart.other.beside
    # The pool's processes serve the very same content, so that a canary of one agent rolls none of them.
    assert digest_of(pool.serving.agents) == digest_of(plain.serving.agents)
    assert pool.serving.name == plain.serving.name
    assert set(plain.agents) - set(pool.agents) == {AGENT}


def test_a_dedicated_agent_has_no_pool_to_fall_back_to(shipped: Registry) -> None:
    found = _workloads(_with(shipped, agent={"strategy": "canary", "candidate": CHANGED}, isolation="dedicated"))
    assert found[NAME].fallback == ""
    assert AGENT not in {agent.id for agent in found["pool-business"].serving.agents}


def test_switching_blue_green_changes_which_colour_serves_and_no_colours_content(shipped: Registry) -> None:
    before = _workloads(_with(shipped, agent={"strategy": "blue-green", "candidate": CHANGED}))[NAME]
    switched = {"strategy": "blue-green", "active": "green", "previous": {"cache_seconds": 0}}
    after = _workloads(_with(shipped, agent=switched, cache_seconds=60))[NAME]
    assert _names(before) == [f"{NAME}-blue", f"{NAME}-green"]
    assert _names(after) == [f"{NAME}-green", f"{NAME}-blue"]
    assert (before.percent, after.percent) == (0, 0)

    def contents(workload: Workload) -> dict[str, str]:
        return {version.name: content_digest(version.agents[0]) for version in workload.versions}

    assert contents(before) == contents(after)
    assert len(set(contents(before).values())) == 2


def test_a_pools_candidate_changes_its_agents_and_settings_and_nothing_of_what_serves(shipped: Registry) -> None:
    plain = _workloads(_with(shipped))["pool-business"]
    candidate = {"agents": {AGENT: CHANGED}, "concurrency": 9}
    found = _workloads(_with(shipped, pool={"strategy": "canary", "candidate": candidate}))
    pool = found["pool-business"]
    assert list(found) == ["pool-business"]
    assert _names(pool) == ["pool-business", "pool-business-canary"]
    assert pool.percent == 10
    assert pool.serving.agents == plain.serving.agents
    assert pool.other is not None
    assert pool.other.pool is not None
    assert pool.other.pool.concurrency == 9
    differing = [old.id for old, new in zip(pool.serving.agents, pool.other.agents, strict=True) if old != new]
    assert differing == [AGENT]


def test_a_fleets_rollout_gives_every_workload_two_versions_with_the_same_agents(shipped: Registry) -> None:
    fleet = FleetRollout.model_validate({"strategy": "canary", "canaryPercent": 30, "candidate": {"maxTokens": 100}})
    found = _workloads(_with(shipped, isolation="dedicated"), fleet)
    assert {name: _names(one) for name, one in found.items()} == {
        "pool-business": ["pool-business", "pool-business-canary"],
        NAME: [NAME, f"{NAME}-canary"],
    }
    for one in found.values():
        assert one.other is not None
        assert one.serving.agents == one.other.agents
        assert one.percent == 30


def test_a_fleets_strategy_is_the_default_of_what_states_none(shipped: Registry) -> None:
    fleet = FleetRollout.model_validate({"strategy": "blue-green", "active": "green"})
    assert _names(_workloads(_with(shipped), fleet)["pool-business"]) == ["pool-business-green"]
    stated = _with(shipped, pool={"strategy": "canary"})
    assert _names(_workloads(stated, fleet)["pool-business"]) == ["pool-business"]


def test_everything_under_way_is_named_pools_first(shipped: Registry) -> None:
    agents, pools = _with(
        shipped,
        agent={"strategy": "canary", "candidate": CHANGED},
        pool={"strategy": "canary", "candidate": {"concurrency": 9}},
    )
    assert list(versions.under_way(agents, pools)) == ["business", AGENT]


@pytest.mark.parametrize(
    ("rollout", "said"),
    [
        ({"strategy": "rolling", "candidate": CHANGED}, "a rolling rollout has no candidate"),
        ({"strategy": "canary", "previous": CHANGED}, "only a blue-green rollout keeps the previous version"),
        (
            {"strategy": "blue-green", "candidate": CHANGED, "previous": CHANGED},
            "both a candidate and a previous version",
        ),
        ({"strategy": "canary", "candidate": {}}, "changes nothing"),
    ],
)
def test_a_version_its_strategy_has_no_place_for_is_refused(rollout: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AgentRollout.model_validate(rollout)


def test_a_fleet_and_something_it_runs_may_not_have_two_versions_at_once(shipped: Registry) -> None:
    spec = settings.parse(
        {
            "cloud": "existing",
            "environment": "dev",
            "data": "in-cluster",
            "fleet": {"rollout": {"strategy": "canary", "candidate": {"maxTokens": 100}}},
            "components": dict.fromkeys(("vault", "consul", "monitoring", "certificates", "edge", "backup"), False),
        }
    )
    agents, pools = _with(shipped, agent={"strategy": "canary", "candidate": CHANGED})
    crossing = Registry(pools, {}, agents)
    with pytest.raises(SettingsError, match=f"the whole fleet has two versions, and so has {AGENT}"):
        selection.workloads(spec, crossing)
    apart = spec.model_copy(update={"fleet": spec.fleet.model_copy(update={"agents": (agents[0].id,)})})
    assert isinstance(apart, PlatformSpec)
    assert len(selection.workloads(apart, crossing)) == 1


def test_a_pool_and_its_agent_may_not_have_two_versions_at_once(shipped: Registry, tmp_path: Any) -> None:
    import shutil

    folder = tmp_path / "business"
    folder.mkdir()
    for name in ("pool.yaml", "strategy.yaml"):
        shutil.copy(registry.POOLS_FOLDER / "business" / name, folder / name)
    with (folder / "pool.yaml").open("a") as file:
        file.write("rollout: {strategy: canary, candidate: {concurrency: 9}}\n")
    assert registry.load(tmp_path).pools["business"].rollout is not None
    last = registry.load(tmp_path).agents[-1].id
    with (folder / "strategy.yaml").open("a") as file:
        file.write("    rollout: {strategy: canary, candidate: {cache_seconds: 60}}\n")
    with pytest.raises(registry.CatalogError, match=f"the pool and its agent {last} have two versions at once"):
        registry.load(tmp_path)
