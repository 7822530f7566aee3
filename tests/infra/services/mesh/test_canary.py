"""A canary in Istio's words: the specification's split, in objects Istio takes."""

from __future__ import annotations

from itertools import pairwise

import jsonschema
import pytest

from infra.gateway.config import GatewayError, render
from infra.gateway.routes import Candidate, Route
from infra.plan import record
from infra.services import gateway
from infra.services.mesh import canary, component
from infra.settings import parse
from tests.infra.services import schemas

STABLE = "business-plan-agent-009.ai-agents.svc.cluster.local:8209"
NEW = "business-plan-agent-009-new.ai-agents.svc.cluster.local:8209"
ROUTE = Route("business-plan-agent-009", ("business_plan_agent_009",), STABLE, Candidate(NEW, 10))
MESHED = {"cloud": "existing", "environment": "dev", "data": "in-cluster", "components": {"mesh": "istio", "vault": False, "consul": False, "monitoring": False, "edge": False}}  # fmt: skip


def test_a_tenth_goes_to_the_new_version_and_whoever_asks_for_it() -> None:
    """Specification section 7: header canary, exact true; weights 10 and 90."""
    asked, share = canary.virtual_service(ROUTE)["spec"]["http"]
    assert asked["match"] == [{"headers": {"canary": {"exact": "true"}}}]
    assert [entry["destination"]["host"] for entry in asked["route"]] == [NEW.rpartition(":")[0]]
    weights = {entry["destination"]["host"]: entry["weight"] for entry in share["route"]}
    assert weights == {NEW.rpartition(":")[0]: 10, STABLE.rpartition(":")[0]: 90}
    assert {entry["destination"]["port"]["number"] for entry in (*asked["route"], *share["route"])} == {8209}


def test_an_execution_is_never_repeated_by_the_mesh() -> None:
    assert {rule["retries"]["attempts"] for rule in canary.virtual_service(ROUTE)["spec"]["http"]} == {0}


@pytest.mark.parametrize("percent", [0, 1, 50, 100])
def test_every_object_is_one_that_istio_takes(percent: int) -> None:
    made = canary.objects(Route("a", ("a_agent_001",), STABLE, Candidate(NEW, percent)))
    assert [manifest["kind"] for manifest in made] == ["VirtualService", "DestinationRule", "DestinationRule"]
    for manifest in (*made, component.peer_authentication()):
        schemas.validate(manifest)


def test_a_field_istio_does_not_know_would_be_found() -> None:
    manifest = canary.destination_rule("a.ai-agents.svc.cluster.local")
    manifest["spec"]["trafficPolicy"]["outlierDetection"]["maxEjection"] = 1
    with pytest.raises(jsonschema.ValidationError, match="maxEjection"):
        schemas.validate(manifest)


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (Route("a", ("a_agent_001",), STABLE), "nothing to split"),
        (Route("a", ("a_agent_001",), STABLE, Candidate(NEW, 2.5)), "no whole number"),
    ],
)
def test_what_istio_cannot_split_is_refused_by_name(route: Route, said: str) -> None:
    with pytest.raises(GatewayError, match=f"route a: .*{said}"):
        canary.objects(route)


def test_only_what_splits_gets_a_sidecar() -> None:
    plan = record(MESHED, "known")
    injected = [
        item.name
        for item in plan.objects
        if (item.get("spec.template.metadata.labels") or {}).get("sidecar.istio.io/inject") == "true"
    ]
    assert injected == ["services-gateway-deployment"]
    labels = [item.get("metadata.labels") or {} for item in plan.objects if item.kind == "Namespace"]
    assert not [entry for entry in labels if "istio-injection" in entry]
    without = record("kind", "known").one(name="services-gateway-deployment")
    assert "sidecar.istio.io/inject" not in without.get("spec.template.metadata.labels")


def test_the_gateway_calls_agents_by_the_name_the_mesh_splits_by() -> None:
    text = render(gateway.settings(parse(MESHED)))
    assert "proxy_set_header Host $agent_upstream;" in text
    assert "proxy_set_header Host $agent_upstream;" not in render(gateway.settings(parse({**MESHED, "components": {}})))


def test_istio_is_installed_in_order_and_makes_no_entrance_of_its_own() -> None:
    plan = record(MESHED, "known")
    releases = [item for item in plan.resources if item.is_release and item.get("namespace") == "istio-system"]
    assert [item.get("chart") for item in releases] == ["base", "cni", "istiod"]
    for before, after in pairwise(releases):
        assert before.urn in after.dependencies
