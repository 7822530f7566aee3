"""Rollouts on a real API server: what a switch changes there, whom a Service selects, and what kubectl says of it.

Simulated kubelets prove objects and controllers, not answers: those are tests/e2e/test_rollouts.py's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from catalog import registry as catalog
from catalog.registry import Registry
from catalog.rollout import AgentChanges, AgentRollout
from catalog.schema import AgentSpec
from infra import settings
from infra.plan.render import fleet_objects
from tests.infra.cluster.api import Cluster, Manifest, path
from tests.infra.cluster.test_apply import objects

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not os.environ.get("KUBECONFIG"), reason="KUBECONFIG does not point at a disposable cluster"),
]
AGENT, NAME = "business_plan_agent_009", "business-plan-agent-009"
SPEC = settings.parse(
    {"cloud": "existing", "environment": "dev", "data": "in-cluster", "fleet": {"domains": ["business/strategy"]}}
)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return catalog.load()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    from infra.plan import record

    base = ("Namespace", "PriorityClass", "ServiceAccount")
    made = [manifest for manifest in objects(record("kind", "known")) if manifest["kind"] in base]
    found = Cluster()
    found.apply_all(made)
    yield found
    found.remove_all(made)


def fleet(registry: Registry, agent: AgentSpec) -> list[Manifest]:
    """The fleet's objects with that version of the agent in the catalog."""
    known = replace(registry, agents=tuple(agent if each.id == agent.id else each for each in registry))
    return [manifest for _, group in fleet_objects(SPEC, known) for manifest in group]


def rolled_out(agent: AgentSpec, **stated: Any) -> AgentSpec:
    return agent.model_copy(update={"rollout": AgentRollout(**stated)})


def briefer(agent: AgentSpec) -> AgentSpec:
    prompt = agent.prompt.model_dump(mode="json")
    return agent.changed(AgentChanges(prompt={**prompt, "instructions": f"Be brief. {prompt['instructions']}"}))


def kubectl(*arguments: str) -> str:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "-n", "ai-agents", *arguments], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def generations(cluster: Cluster, manifests: list[Manifest]) -> dict[str, str]:
    """Of each object what changes when its content does."""
    found = {}
    for manifest in manifests:
        metadata = cluster.get(path(manifest))["metadata"]
        status_alone = manifest["kind"] in ("Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")
        found[path(manifest)] = str(metadata.get("generation") if status_alone else metadata["resourceVersion"])
    return found


def settled(cluster: Cluster, *deployments: str) -> None:
    """Wait until the autoscalers, which begin a quarter of a minute after, have given each its fewest replicas."""
    for name in deployments:
        target = f"/apis/apps/v1/namespaces/ai-agents/deployments/{name}"
        cluster.wait(
            f"two pods of {name} are available",
            lambda target=target: (cluster.get(target).get("status") or {}).get("availableReplicas", 0) >= 2,
        )


def answering(cluster: Cluster, service: str) -> set[str]:
    """The label ``app`` of the pods behind a Service, from its endpoints."""
    slices = cluster.get("/apis/discovery.k8s.io/v1/namespaces/ai-agents/endpointslices")["items"]
    pods = {
        endpoint["targetRef"]["name"]
        for each in slices
        if each["metadata"]["labels"].get("kubernetes.io/service-name") == service
        for endpoint in each["endpoints"] or []
        if endpoint["conditions"].get("ready")
    }
    items = cluster.get("/api/v1/namespaces/ai-agents/pods")["items"]
    return {pod["metadata"]["labels"]["app"] for pod in items if pod["metadata"]["name"] in pods}


def test_a_blue_green_switch_is_one_selector_and_so_is_switching_back(cluster: Cluster, registry: Registry) -> None:
    old = registry.require(AGENT)
    new = briefer(old)
    new_prompt, old_prompt = ({"prompt": agent.prompt.model_dump(mode="json")} for agent in (new, old))
    blue = fleet(registry, rolled_out(old, strategy="blue-green", active="blue", candidate=new_prompt))
    green = fleet(registry, rolled_out(new, strategy="blue-green", active="green", previous=old_prompt))
    cluster.apply_all(blue)
    for colour in ("blue", "green"):
        assert "successfully rolled out" in kubectl(
            "rollout", "status", f"deployment/{NAME}-{colour}", "--timeout=180s"
        )
    cluster.wait("blue answers", lambda: answering(cluster, NAME) == {f"{NAME}-blue"})
    cluster.wait("green answers tests", lambda: answering(cluster, f"{NAME}-green") == {f"{NAME}-green"})
    settled(cluster, f"{NAME}-blue", f"{NAME}-green")
    mine = [manifest for manifest in blue if NAME in manifest["metadata"]["name"]]
    before = generations(cluster, mine)
    cluster.apply_all([manifest for manifest in green if NAME in manifest["metadata"]["name"]])
    cluster.wait("green answers", lambda: answering(cluster, NAME) == {f"{NAME}-green"})
    after = generations(cluster, mine)
    (service,) = (path(m) for m in mine if m["kind"] == "Service" and m["metadata"]["name"] == NAME)
    assert {target for target in before if before[target] != after[target]} == {service}
    cluster.apply_all(mine)
    cluster.wait("blue answers again", lambda: answering(cluster, NAME) == {f"{NAME}-blue"})
    again = generations(cluster, mine)
    assert {target for target in before if after[target] != again[target]} == {service}


def test_a_canary_comes_and_goes_without_touching_what_serves(cluster: Cluster, registry: Registry) -> None:
    agent = registry.require(AGENT)
    changes = {"prompt": briefer(agent).prompt.model_dump(mode="json")}
    without = fleet(registry, agent)
    cluster.apply_all(without)
    kubectl("rollout", "status", "deployment/pool-business", "--timeout=180s")
    settled(cluster, "pool-business")
    kept = [manifest for manifest in without if manifest["metadata"]["name"] != "routes-fleet"]
    before = generations(cluster, kept)
    trying = fleet(registry, rolled_out(agent, strategy="canary", candidate=changes))
    cluster.apply_all(trying)
    for name in (NAME, f"{NAME}-canary"):
        assert "successfully rolled out" in kubectl("rollout", "status", f"deployment/{name}", "--timeout=180s")
        cluster.wait(f"{name} answers", lambda name=name: answering(cluster, name) == {name})
    assert generations(cluster, kept) == before


def test_a_rolling_update_never_has_fewer_ready_pods_than_before(cluster: Cluster, registry: Registry) -> None:
    agent = registry.require(AGENT)
    cluster.apply_all(fleet(registry, agent))
    kubectl("rollout", "status", "deployment/pool-business", "--timeout=180s")
    target = "/apis/apps/v1/namespaces/ai-agents/deployments/pool-business"
    settled(cluster, "pool-business")
    fewest = cluster.get(target)["status"]["availableReplicas"]
    old = cluster.get(target)["metadata"]["generation"]
    cluster.apply_all(fleet(registry, briefer(agent)))
    seen = []

    def is_done() -> bool:
        found = cluster.get(target)
        status = found["status"]
        seen.append(status.get("availableReplicas", 0))
        return bool(
            found["metadata"]["generation"] > old
            and status["observedGeneration"] == found["metadata"]["generation"]
            and status.get("updatedReplicas") == status["replicas"] == status.get("availableReplicas")
        )

    cluster.wait("the new version has taken over", is_done)
    assert min(seen) >= fewest
