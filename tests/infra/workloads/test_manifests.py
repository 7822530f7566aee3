"""Golden manifests for representative agents, invariants for all 1,500 in both isolations."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest

from catalog import registry as catalog
from catalog.registry import Registry
from catalog.versions import workloads
from infra import settings
from infra.pods import Manifest
from infra.workloads import manifests, rollout
from infra.workloads.manifests import RuntimeArgs

GOLDEN = Path(__file__).parent / "golden"
KUBERNETES = "1.35"
RUNTIME = RuntimeArgs(
    image="ghcr.io/acme/runtime@sha256:" + "a" * 64,
    model="",
    max_tokens=4096,
    log_level="INFO",
    redis_secret="stores",
    identity_keys="identity-keys",
    vault="https://vault-active.vault.svc.cluster.local:8200",
    consul="https://consul-server.consul.svc.cluster.local:8501",
)

SPEC = settings.parse({"cloud": "existing", "environment": "dev", "data": "in-cluster"})


@pytest.fixture(scope="module")
def registry() -> Registry:
    return catalog.load()


def dedicated(registry: Registry, agent_id: str) -> tuple[Manifest, ...]:
    (workload,) = workloads([registry.require(agent_id)], registry.pools, is_dedicated=lambda agent: True)
    return tuple(item.manifest for item in rollout.objects(workload, SPEC, RUNTIME))


def pooled(registry: Registry, pool: str) -> tuple[Manifest, ...]:
    (workload,) = workloads(registry.pool(pool), registry.pools, is_dedicated=lambda agent: False)
    return tuple(item.manifest for item in rollout.objects(workload, SPEC, RUNTIME))


def everything(registry: Registry) -> Iterator[Manifest]:
    for agent in registry:
        yield from dedicated(registry, agent.id)
    for pool in registry.pools:
        yield from pooled(registry, pool)


def named(objects: tuple[Manifest, ...], kind: str) -> Manifest:
    return next(manifest for manifest in objects if manifest["kind"] == kind)


def without_content(objects: tuple[Manifest, ...]) -> str:
    """The objects as text; catalog contents and the digests that follow from them are left out of goldens."""
    text = json.dumps(
        [m for m in objects if not m["metadata"]["name"].startswith("catalog-")], indent=2, sort_keys=True
    )
    for chunk in objects:
        name = chunk["metadata"]["name"]
        if name.startswith("catalog-"):
            text = text.replace(name, f"{name.rpartition('-')[0]}-DIGEST")
    digest = named(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]["ai-agents/catalog-digest"]
    return text.replace(digest, "DIGEST") + "\n"


@pytest.mark.parametrize("name", ["business-plan-agent-009", "pool-knowledge"])
def test_representative_manifests_are_the_golden_ones(registry: Registry, name: str) -> None:
    objects = pooled(registry, "knowledge") if name.startswith("pool-") else dedicated(registry, name)
    path = GOLDEN / f"{name}.json"
    if os.environ.get("WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(without_content(objects), "utf-8")
    assert path.read_text("utf-8") == without_content(objects), (
        "announce the change: WRITE_GOLDEN=1 ./fleet test tests/infra/workloads"
    )


def test_the_specifications_deployment_is_what_a_dedicated_agent_is(registry: Registry) -> None:
    objects = dedicated(registry, "business_plan_agent_009")
    deployment, hpa = named(objects, "Deployment"), named(objects, "HorizontalPodAutoscaler")
    assert deployment["metadata"]["name"] == "business-plan-agent-009"
    assert deployment["metadata"]["namespace"] == "ai-agents"
    assert deployment["spec"]["selector"] == {"matchLabels": {"app": "business-plan-agent-009"}}
    assert deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 8209, "protocol": "TCP"}]
    assert container["resources"] == {
        "requests": {"memory": "256Mi", "cpu": "250m"},
        "limits": {"memory": "512Mi", "cpu": "500m"},
    }
    assert hpa["metadata"]["name"] == "business-plan-agent-009-hpa"
    assert hpa["spec"]["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "business-plan-agent-009",
    }
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (2, 10)
    assert hpa["spec"]["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    ]


def test_every_deployment_is_restricted_probed_bounded_and_owned_by_its_autoscaler(registry: Registry) -> None:
    count = 0
    for manifest in everything(registry):
        if manifest["kind"] != "Deployment":
            continue
        count += 1
        name, spec = manifest["metadata"]["name"], manifest["spec"]
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        assert "replicas" not in spec, name
        assert spec["revisionHistoryLimit"] == 2, name
        assert pod["enableServiceLinks"] is False, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "http"}, name
        assert container["livenessProbe"]["httpGet"] == {"path": "/health", "port": "http"}, name
        assert "@sha256:" in container["image"], name
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}, name
        assert spec["template"]["metadata"]["labels"]["role"] == "agent", name
        assert {c["topologyKey"] for c in pod["topologySpreadConstraints"]} == {
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        }, name
    assert count == 1503


def test_no_secret_is_plain_text_in_any_environment(registry: Registry) -> None:
    secret = ("KEY", "PASSWORD", "TOKEN", "REDIS")
    harmless = ("IDENTITY_PUBLIC_KEYS", "MAX_TOKENS", "CONSUL_HTTP_TOKEN_FILE")
    for manifest in everything(registry):
        if manifest["kind"] != "Deployment":
            continue
        for variable in manifest["spec"]["template"]["spec"]["containers"][0]["env"]:
            name = variable["name"]
            if any(word in name for word in secret) and name not in harmless:
                assert "secretKeyRef" in variable["valueFrom"], variable


def test_pods_run_as_the_images_own_user() -> None:
    dockerfile = Path(__file__).resolve().parents[3] / "runtime" / "Dockerfile"
    assert f"\nUSER {manifests.USER_ID}:{manifests.USER_ID}\n" in dockerfile.read_text("utf-8")


def test_names_are_unique_and_fit_kubernetes(registry: Registry) -> None:
    seen = set()
    for manifest in everything(registry):
        key = (manifest["kind"], manifest["metadata"]["name"])
        assert key not in seen, key
        seen.add(key)
        assert len(key[1]) <= 63, key


def test_one_changed_prompt_changes_one_key_of_one_config_map_and_one_deployment(registry: Registry) -> None:
    before = {
        (m["kind"], m["metadata"]["name"].rpartition("-")[0] if m["kind"] == "ConfigMap" else m["metadata"]["name"]): m
        for m in pooled(registry, "business")
    }
    agent = registry.require("business_plan_agent_009")
    prompt = agent.prompt.model_copy(update={"instructions": agent.prompt.instructions + " Prefer short words."})
    changed = Registry(
        registry.pools,
        registry.domains,
        tuple(a if a.id != agent.id else a.model_copy(update={"prompt": prompt}) for a in registry),
    )
    after = {
        (m["kind"], m["metadata"]["name"].rpartition("-")[0] if m["kind"] == "ConfigMap" else m["metadata"]["name"]): m
        for m in pooled(changed, "business")
    }
    assert before.keys() == after.keys()
    different = [key for key in before if before[key] != after[key]]
    assert sorted(different) == [("ConfigMap", f"catalog-business-{agent.domain}"), ("Deployment", "pool-business")]
    old, new = (
        table[different[0] if different[0][0] == "ConfigMap" else different[1]]["data"] for table in (before, after)
    )
    assert [key for key in old if old[key] != new[key]] == ["business_plan_agent_009.json"]


def test_a_dedicated_neighbours_prompt_rolls_nobody_else(registry: Registry) -> None:
    agent, neighbour = registry.require("business_plan_agent_009"), registry.by_number("business", 10)
    assert neighbour is not None
    before = dedicated(registry, agent.id)
    changed = Registry(
        registry.pools,
        registry.domains,
        tuple(a if a is not neighbour else a.model_copy(update={"cache_seconds": 9}) for a in registry),
    )
    assert dedicated(changed, agent.id) == before


def test_catalog_config_maps_are_immutable_named_by_content_and_below_the_limit(registry: Registry) -> None:
    for pool in registry.pools:
        chunks = [m for m in pooled(registry, pool) if m["kind"] == "ConfigMap"]
        assert len(chunks) == 20
        for chunk in chunks:
            assert chunk["immutable"] is True
            assert len(chunk["data"]) == 25
            # etcd and the API server take at most 1 MiB an object.
            assert sum(map(len, chunk["data"].values())) < 1024 * 1024


def test_what_a_pod_mounts_loads_as_the_same_agents(registry: Registry, tmp_path: Path) -> None:
    for chunk in pooled(registry, "technology"):
        if chunk["kind"] == "ConfigMap":
            for key, content in chunk["data"].items():
                (tmp_path / key).write_text(content, "utf-8")
    assert list(catalog.load(tmp_path)) == list(registry.pool("technology"))


def test_rendered_objects_obey_the_kubernetes_schema(registry: Registry) -> None:
    for name in ("business_plan_agent_009", registry.pool("technology")[0].id):
        for manifest in dedicated(registry, name):
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    for manifest in pooled(registry, "business"):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
