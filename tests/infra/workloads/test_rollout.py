"""Strategies as Kubernetes objects: what runs beside what, and how little each step changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from catalog import registry as catalog
from catalog.registry import Registry
from catalog.rollout import AgentRollout, PoolRollout
from catalog.schema import AgentSpec
from infra import settings
from infra.pods import Manifest
from infra.settings import PlatformSpec, SettingsError
from infra.workloads import rollout, routes, selection
from tests.infra.services import schemas
from tests.infra.workloads.test_manifests import RUNTIME

AGENT = "business_plan_agent_009"
NAME = "business-plan-agent-009"
IMAGE = "ghcr.io/acme/runtime@sha256:" + "b" * 64


@pytest.fixture(scope="module")
def registry() -> Registry:
    return catalog.load()


def spec(*, mesh: str = "none", **fleet: Any) -> PlatformSpec:
    values = {"cloud": "existing", "environment": "dev", "data": "in-cluster", "components": {"mesh": mesh}}
    return settings.parse({**values, "fleet": fleet})


def prompted(agent: AgentSpec, text: str) -> dict[str, Any]:
    """Changes of an agent's prompt."""
    prompt = agent.prompt.model_dump(mode="json")
    return {"prompt": {**prompt, "instructions": f"{text} {prompt['instructions']}"}}


def with_rollout(registry: Registry, **stated: Any) -> Registry:
    """The catalog with one agent that has a rollout of its own."""
    agent = registry.require(AGENT)
    changed = agent.model_copy(update={"rollout": AgentRollout(**stated)})
    return replace(registry, agents=tuple(changed if each is agent else each for each in registry))


def with_pool_rollout(registry: Registry, **stated: Any) -> Registry:
    pool = registry.pools["business"].model_copy(update={"rollout": PoolRollout(**stated)})
    return replace(registry, pools={**registry.pools, "business": pool})


def applied(registry: Registry, given: PlatformSpec) -> dict[tuple[str, str], Manifest]:
    """Every object of the fleet by kind and name."""
    found = {}
    for workload in selection.workloads(given, registry):
        for item in rollout.objects(workload, given, RUNTIME):
            manifest = item.manifest
            key = manifest["kind"], manifest["metadata"]["name"]
            assert key not in found, key
            found[key] = manifest
    return found


def of(found: dict[tuple[str, str], Manifest], kind: str) -> set[str]:
    return {name for each, name in found if each == kind}


def pods_of(found: dict[tuple[str, str], Manifest], service: str) -> str:
    """The Deployment that a Service's selector means."""
    selector = found["Service", service]["spec"]["selector"]
    (name,) = (
        name
        for (kind, name), manifest in found.items()
        if kind == "Deployment" and selector.items() <= manifest["spec"]["template"]["metadata"]["labels"].items()
    )
    return name


def table(registry: Registry, given: PlatformSpec, name: str) -> Any:
    return next(r for r in routes.routes(selection.workloads(given, registry), given) if r.name == name)


def test_a_pooled_agents_canary_runs_it_dedicated_and_leaves_its_pool_as_it_was(registry: Registry) -> None:
    given = spec(domains=["business/strategy"])
    agent = registry.require(AGENT)
    before = applied(registry, given)
    trying = with_rollout(registry, strategy="canary", canary_percent=10, candidate=prompted(agent, "Be brief."))
    after = applied(trying, given)
    assert {key: after[key] for key in before} == before
    assert of(after, "Deployment") - of(before, "Deployment") == {NAME, f"{NAME}-canary"}
    assert pods_of(after, NAME) == NAME
    assert pods_of(after, f"{NAME}-canary") == f"{NAME}-canary"
    new = next(m for (k, n), m in after.items() if k == "ConfigMap" and n.startswith(f"catalog-{NAME}-canary-"))
    assert "Be brief." in new["data"][f"{AGENT}.json"]
    assert after["Service", NAME]["metadata"]["annotations"] == {
        "ai-agents/rollout": f"canary: 10% to {NAME}-canary, the rest to {NAME}"
    }
    route = table(trying, given, NAME)
    assert (route.candidate.address.partition(".")[0], route.candidate.percent) == (f"{NAME}-canary", 10)
    assert route.fallback.startswith("pool-business.")
    assert AGENT not in table(trying, given, "pool-business").agents


def test_switching_colours_changes_one_selector_and_nothing_else_of_the_agent(registry: Registry) -> None:
    given = spec(domains=["business/strategy"])
    old = registry.require(AGENT)
    new = old.changed(AgentRollout(strategy="blue-green", candidate=prompted(old, "New.")).candidate)  # type: ignore[arg-type]
    swapped = replace(registry, agents=tuple(new if each is old else each for each in registry))
    before = applied(with_rollout(registry, strategy="blue-green", candidate=prompted(old, "New.")), given)
    after = applied(
        with_rollout(swapped, strategy="blue-green", active="green", previous={"prompt": old.prompt.model_dump()}),
        given,
    )
    assert (pods_of(before, NAME), pods_of(after, NAME)) == (f"{NAME}-blue", f"{NAME}-green")
    mine = {key for key in {*before, *after} if NAME in key[1]}
    assert {key for key in mine if before.get(key) != after.get(key)} == {("Service", NAME)}
    assert [pods_of(found, f"{NAME}-green") for found in (before, after)] == [f"{NAME}-green"] * 2


def test_the_idle_colour_is_reached_by_header_alone_and_no_connection_outlives_a_switch(registry: Registry) -> None:
    given = spec(pools=["business"])
    tried = with_pool_rollout(registry, strategy="blue-green", candidate={"concurrency": 100})
    route = table(tried, given, "pool-business")
    assert (route.candidate.address.partition(".")[0], route.candidate.percent) == ("pool-business-green", 0)
    assert route.kept == 0
    assert table(registry, given, "pool-business").kept > 0


def test_a_services_selector_waits_for_the_colour_it_will_select(registry: Registry) -> None:
    given = spec(domains=["business/strategy"])
    agent = registry.require(AGENT)
    trying = with_rollout(registry, strategy="blue-green", candidate=prompted(agent, "New."))
    workload = next(each for each in selection.workloads(given, trying) if each.name == NAME)
    service = next(item for item in rollout.objects(workload, given, RUNTIME) if item.name == "-service")
    assert service.after == ("-blue-deployment", "-green-deployment")


def test_a_pools_canary_serves_every_agent_with_the_changes_of_some(registry: Registry) -> None:
    given = spec(pools=["business"])
    agent = registry.require(AGENT)
    changes = {"agents": {AGENT: prompted(agent, "Be brief.")}, "resources": {"memory_limit": "1Gi"}}
    trying = with_pool_rollout(registry, strategy="canary", canary_percent=30, candidate=changes)
    before, after = applied(registry, given), applied(trying, given)
    assert [key for key in before if after[key] != before[key]] == [("Service", "pool-business")]
    assert after["Service", "pool-business"]["spec"] == before["Service", "pool-business"]["spec"]
    assert of(after, "Deployment") == {"pool-business", "pool-business-canary"}
    new = after["Deployment", "pool-business-canary"]["spec"]["template"]["spec"]
    assert len(new["volumes"][0]["projected"]["sources"]) == 20
    assert new["containers"][0]["resources"]["limits"]["memory"] == "1Gi"
    maps = [m["data"] for (k, n), m in after.items() if k == "ConfigMap" and "-canary-" in n]
    assert sum(len(data) for data in maps) == 500
    assert [name for data in maps for name, text in data.items() if "Be brief." in text] == [f"{AGENT}.json"]
    assert table(trying, given, "pool-business").candidate.percent == 30


def test_a_new_image_is_tried_beside_every_workload_of_a_stack(registry: Registry) -> None:
    given = spec(
        rollout={"strategy": "canary", "canaryPercent": 20, "candidate": {"image": IMAGE, "model": "claude-x"}}
    )
    found = applied(registry, given)
    assert of(found, "Deployment") == {
        f"pool-{pool}{end}" for pool in ("business", "technology", "knowledge") for end in ("", "-canary")
    }
    images = {
        name: found["Deployment", name]["spec"]["template"]["spec"]["containers"][0]["image"]
        for name in ("pool-business", "pool-business-canary")
    }
    assert images == {"pool-business": RUNTIME.image, "pool-business-canary": IMAGE}
    environment = found["Deployment", "pool-business-canary"]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "CLAUDE_MODEL", "value": "claude-x"} in environment
    assert {"name": "RUNTIME_IMAGE", "value": IMAGE} in environment
    assert table(registry, given, "pool-business").candidate.percent == 20


def test_with_a_mesh_istio_splits_and_nginx_sends_to_one_service(registry: Registry) -> None:
    given = spec(mesh="istio", domains=["business/strategy"])
    trying = with_rollout(registry, strategy="canary", candidate=prompted(registry.require(AGENT), "Be brief."))
    found = applied(trying, given)
    split = found["VirtualService", NAME]
    schemas.validate(split)
    weights = {
        each["destination"]["host"].partition(".")[0]: each["weight"] for each in split["spec"]["http"][1]["route"]
    }
    assert weights == {f"{NAME}-canary": 10, NAME: 90}
    assert of(found, "DestinationRule") == {NAME, f"{NAME}-canary"}
    assert table(trying, given, NAME).candidate is None
    sidecars = {
        name
        for (kind, name), manifest in found.items()
        if kind == "Deployment"
        and manifest["spec"]["template"]["metadata"]["labels"].get("sidecar.istio.io/inject") == "true"
    }
    assert sidecars == {NAME, f"{NAME}-canary"}
    colours = with_rollout(registry, strategy="blue-green", candidate=prompted(registry.require(AGENT), "Be brief."))
    assert not of(applied(colours, given), "VirtualService")
    assert table(colours, given, NAME).candidate.percent == 0


def test_one_rollout_at_a_time(registry: Registry) -> None:
    trying = with_rollout(registry, strategy="canary", candidate=prompted(registry.require(AGENT), "Be brief."))
    whole = {"strategy": "canary", "candidate": {"image": IMAGE}}
    with pytest.raises(SettingsError, match=f"fleet.rollout: .*so has {AGENT} by the catalog"):
        selection.workloads(spec(rollout=whole), trying)
    assert selection.workloads(spec(rollout=whole, domains=["business/finance"]), trying)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"strategy": "rolling", "candidate": {"image": IMAGE}}, "rolling rollout has no candidate"),
        ({"strategy": "canary", "previous": {"image": IMAGE}}, "only a blue-green rollout"),
        ({"strategy": "blue-green", "candidate": {"image": IMAGE}, "previous": {"image": IMAGE}}, "both a candidate"),
        ({"strategy": "canary", "candidate": {}}, "changes nothing"),
        ({"strategy": "canary", "canaryPercent": 95, "candidate": {"image": IMAGE}}, "less than or equal to 90"),
        (
            {"strategy": "canary", "candidate": {"image": "ghcr.io/acme/runtime:latest"}},
            "fleet.rollout.candidate.image",
        ),
        ({"strategy": "canary", "candidate": {"image": "ghcr.io/acme/r@sha256:" + "0" * 64}}, "is the placeholder"),
    ],
)
def test_a_stacks_rollout_that_means_nothing_is_refused_by_key(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=r"fleet\.rollout") as refused:
        spec(rollout=given)
    assert said in str(refused.value)


def test_two_versions_of_a_full_shard_are_refused(registry: Registry) -> None:
    agents = [agent.id for agent in registry.pool("business")[:120]]
    with pytest.raises(SettingsError, match="two versions of at most 100 dedicated agents"):
        spec(isolation="dedicated", agents=agents, rollout={"strategy": "canary", "candidate": {"image": IMAGE}})


def test_a_candidate_whose_request_misses_an_input_is_refused_at_load(registry: Registry) -> None:
    agent = registry.require(AGENT)
    changes = prompted(agent, "New.")
    changes["prompt"]["request"] = "Plan {something_else}."
    with pytest.raises(ValidationError, match="something_else"):
        AgentSpec.model_validate({**agent.model_dump(), "rollout": {"strategy": "canary", "candidate": changes}})
