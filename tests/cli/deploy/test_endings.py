"""What belongs to versions that end, over every way a rollout begins, goes on and ends: pure, on the shipped catalog."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from catalog import registry as catalog
from catalog.registry import Registry
from catalog.rollout import AgentRollout, PoolRollout
from cli.deploy import endings
from cli.deploy.changes import Changes, Holding, Step, kind_of, name_of
from cli.deploy.guards import Allowed, destruction
from infra import kubernetes, settings
from infra.settings import PlatformSpec
from infra.workloads import rollout, selection
from tests.infra.workloads.test_manifests import RUNTIME

STACK = "urn:pulumi:live::ai-agents-platform::"
FLEET = f"{STACK}platform:layer:Fleet::fleet"
Move = Callable[[Registry], Registry]


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Two agents of a pool, in two domains, and two with a Deployment of their own."""
    shipped = catalog.load()
    pooled = [agent for agent in shipped.pool("business") if agent.domain in ("strategy", "finance")]
    first = {domain: next(each for each in pooled if each.domain == domain) for domain in ("strategy", "finance")}
    alone = [agent for agent in pooled if agent not in first.values()][:2]
    agents = [*first.values(), *(agent.model_copy(update={"isolation": "dedicated"}) for agent in alone)]
    return replace(shipped, agents=tuple(agents))


def spec(*, mesh: str = "none", **fleet: Any) -> PlatformSpec:
    """A stack with every layer."""
    values = {"cloud": "existing", "environment": "dev", "data": "in-cluster", "components": {"mesh": mesh}}
    return settings.parse({**values, "fleet": {"pools": ["business"], **fleet}})


def held(registry: Registry, given: PlatformSpec) -> Holding:
    """What a stack holds once it is up."""
    parents = {FLEET: STACK}
    keys: dict[str, frozenset[str]] = {}
    found = {f"{FLEET.rpartition('::')[0]}$kubernetes:core/v1:ConfigMap::fleet-routes"}
    for workload in selection.workloads(given, registry):
        kind = "Agent" if workload.serving.pool is None else "Pool"
        name = f"fleet-{workload.name.removeprefix('pool-')}"
        component = f"{STACK}platform:layer:Fleet$platform:workloads:{kind}::{name}"
        parents[component] = FLEET
        for item in rollout.objects(workload, given, RUNTIME):
            type_ = kubernetes.token(item.manifest)
            urn = f"{STACK}platform:layer:Fleet$platform:workloads:{kind}${type_}::{name}{item.name}"
            parents[urn] = component
            found.add(urn)
            if kind_of(urn) == "ConfigMap":
                keys[urn] = frozenset(item.manifest["data"])
    return Holding(frozenset(found), parents=parents, keys=keys)


def going(before: Holding, after: Holding) -> Changes:
    """The plan that leads from one to the other."""
    return Changes({}, tuple(Step("begun", "delete", urn, "") for urn in before.resources - after.resources))


def counted(registry: Registry, before: Move, after: Move, given: PlatformSpec, then: PlatformSpec) -> set[str]:
    """Names of the resources that go and count as destruction, and (begun with ``-``) that go and do not."""
    old, new = held(before(registry), given), held(after(registry), then)
    ended = endings.ended(old, selection.workloads(then, after(registry)))
    gone = old.resources - new.resources
    return {name_of(urn) for urn in gone - ended} | {f"-{name_of(urn)}" for urn in gone & ended}


def as_it_is(registry: Registry) -> Registry:
    return registry


def on_agent(agent: int, **stated: Any) -> Move:
    """A rollout of one of the agents."""

    def made(registry: Registry) -> Registry:
        agents = list(registry)
        agents[agent] = agents[agent].model_copy(update={"rollout": AgentRollout(**stated)})
        return replace(registry, agents=tuple(agents))

    return made


def on_pool(**stated: Any) -> Move:
    """A rollout of the pool."""

    def made(registry: Registry) -> Registry:
        pool = registry.pools["business"].model_copy(update={"rollout": PoolRollout(**stated)})
        return replace(registry, pools={**registry.pools, "business": pool})

    return made


def without(agent: int) -> Move:
    """One agent less."""
    return lambda registry: replace(registry, agents=(*list(registry)[:agent], *list(registry)[agent + 1 :]))


CHANGES = {"cache_seconds": 7}
POOL_CHANGES = {"concurrency": 7}
CANARY = {"strategy": "canary", "candidate": CHANGES}
TRIED = {"strategy": "blue-green", "candidate": CHANGES}
SWITCHED = {"strategy": "blue-green", "active": "green", "previous": CHANGES}
GREEN = {"strategy": "blue-green", "active": "green"}
FLEET_TRIED = {"strategy": "blue-green", "candidate": {"logLevel": "DEBUG"}}


@pytest.mark.parametrize(
    ("before", "after", "number"),
    [
        pytest.param(on_agent(0, **CANARY), as_it_is, 10, id="the canary of a pooled agent"),
        pytest.param(on_agent(0, **SWITCHED), on_agent(0, **GREEN), 11, id="the colours of a pooled agent"),
        pytest.param(on_agent(2, **CANARY), as_it_is, 5, id="the canary of a dedicated agent"),
        pytest.param(as_it_is, on_agent(2, **TRIED), 4, id="the version that becomes a colour"),
        pytest.param(on_agent(2, **TRIED), on_agent(2, **SWITCHED), 0, id="nothing, where colours are switched"),
        pytest.param(on_agent(2, **SWITCHED), on_agent(2, **GREEN), 6, id="the idle colour of a dedicated agent"),
        pytest.param(on_agent(2, **TRIED), as_it_is, 10, id="both colours, where an aborted rollout leaves none"),
        pytest.param(on_pool(strategy="canary", candidate=POOL_CHANGES), as_it_is, 6, id="the canary of a pool"),
        pytest.param(
            on_pool(strategy="blue-green", active="green", previous=POOL_CHANGES), on_pool(**GREEN), 7, id="a pool's colour"
        ),
    ],
)  # fmt: skip
def test_what_ends_with_a_rollout_does_not_count(registry: Registry, before: Move, after: Move, number: int) -> None:
    found = counted(registry, before, after, spec(), spec())
    assert {name for name in found if not name.startswith("-")} == set()
    assert len(found) == number


def test_a_whole_stacks_versions_begin_and_end_without_counting(registry: Registry) -> None:
    tried, plain = spec(rollout=FLEET_TRIED), spec()
    for given, then in ((plain, tried), (tried, plain)):
        found = counted(registry, as_it_is, as_it_is, given, then)
        assert found
        assert all(name.startswith("-") for name in found)


def test_a_meshs_split_ends_with_its_canary(registry: Registry) -> None:
    found = counted(registry, on_agent(2, **CANARY), as_it_is, spec(mesh="istio"), spec(mesh="istio"))
    assert all(name.startswith("-") for name in found)
    assert sum("virtualservice" in name or "destinationrule" in name for name in found) == 3


def test_the_workloads_own_service_always_counts(registry: Registry) -> None:
    before = held(on_agent(2, **CANARY)(registry), spec())
    found = endings.ended(before, selection.workloads(spec(), registry))
    kept = {name_of(urn) for urn in before.resources if kind_of(urn) == "Service"} - {name_of(urn) for urn in found}
    assert "fleet-" + list(registry)[2].kubernetes_name + "-service" in kept


@pytest.mark.parametrize("agent", [2, 3])
def test_an_agent_that_goes_counts_whether_or_not_a_rollout_ends_beside_it(registry: Registry, agent: int) -> None:
    name = list(registry)[agent].kubernetes_name
    found = counted(registry, on_agent(2, **CANARY), without(agent), spec(), spec())
    assert {each for each in found if not each.startswith("-")} == {each for each in found if name in each}
    assert any(each.endswith("-deployment") for each in found if not each.startswith("-"))


def test_a_pooled_agent_that_goes_with_its_own_rollout_counts(registry: Registry) -> None:
    found = counted(registry, on_agent(0, **CANARY), without(0), spec(), spec())
    name = next(iter(registry)).kubernetes_name
    assert len([each for each in found if each.startswith(f"fleet-{name}")]) == 10
    assert not any(each.startswith("-") for each in found)


def test_a_domain_that_goes_counts_though_its_pool_changes_colours(registry: Registry) -> None:
    def moved(registry: Registry) -> Registry:
        return on_pool(strategy="blue-green", candidate=POOL_CHANGES)(without(0)(registry))

    assert next(iter(registry)).domain != list(registry)[1].domain
    found = counted(registry, as_it_is, moved, spec(), spec())
    (lost,) = [each for each in found if not each.startswith("-")]
    assert lost == f"fleet-business-catalog-{next(iter(registry)).domain}"


def test_dedicated_agents_that_only_become_pooled_count(registry: Registry) -> None:
    def pooled(registry: Registry) -> Registry:
        return replace(registry, agents=tuple(each.model_copy(update={"isolation": "pooled"}) for each in registry))

    for before, number in ((as_it_is, 2), (on_agent(2, **GREEN), 2), (on_agent(2, **CANARY), 3)):
        found = counted(registry, before, pooled, spec(), spec())
        assert len([each for each in found if each.endswith("-deployment")]) == number
        assert not any(each.startswith("-") for each in found)


def test_a_dedicated_fleet_that_becomes_pooled_counts_though_it_had_two_versions(registry: Registry) -> None:
    chosen: dict[str, Any] = {"pools": [], "agents": [agent.id for agent in registry]}
    tried = spec(isolation="dedicated", rollout=FLEET_TRIED, **chosen)
    found = counted(registry, as_it_is, as_it_is, tried, spec(**chosen))
    for agent in list(registry)[:2]:
        gone = {each for each in found if agent.kubernetes_name in each}
        assert len([each for each in gone if each.endswith("-deployment")]) == 2
        assert not any(each.startswith("-") for each in gone)


def test_what_splits_a_canary_that_goes_on_counts(registry: Registry) -> None:
    canary = on_agent(2, **CANARY)
    found = counted(registry, canary, canary, spec(mesh="istio"), spec())
    assert len(found) == 3
    assert not any(each.startswith("-") for each in found)


def test_a_fleet_that_a_stack_no_longer_runs_counts(registry: Registry) -> None:
    before = held(on_agent(0, **CANARY)(registry), spec())
    assert endings.ended(before, ()) == frozenset()
    assert endings.of_stack(before, spec().model_copy(update={"layers": ("foundation",)})) == frozenset()


def test_what_only_has_such_a_name_and_another_parent_counts(registry: Registry) -> None:
    before = held(on_agent(2, **CANARY)(registry), spec())
    (urn,) = (each for each in before.resources if each.endswith("-canary-deployment"))
    elsewhere = {**before.parents, urn: FLEET}
    workloads = selection.workloads(spec(), registry)
    assert urn in endings.ended(before, workloads)
    assert urn not in endings.ended(replace(before, parents=elsewhere), workloads)


def test_a_refusal_counts_what_goes_beside_versions_that_end(registry: Registry) -> None:
    before, after = on_agent(0, **CANARY), without(3)
    old, new = held(before(registry), spec()), held(after(registry), spec())
    ended = endings.ended(old, selection.workloads(spec(), after(registry)))
    (text,) = destruction("live", old, going(old, new), Allowed(), ended)
    assert text.startswith(f"live: 5 of {len(old.resources)} resources would be deleted or replaced")
    assert "beside 10 of versions that end" in text
    assert destruction("live", old, going(old, held(registry, spec())), Allowed(), ended) == []
