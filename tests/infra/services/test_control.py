"""Control's own catalog in the cluster: whole, followed in place, and no reason to roll for a prompt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from catalog import registry
from catalog.registry import Registry
from catalog.rollout import AgentChanges, AgentRollout
from infra.plan import record
from infra.plan.plan import Plan
from infra.services.control import catalog_maps
from tests.infra.cluster.test_apply import objects

AGENT = "business_plan_agent_009"
LARGEST = 1_048_576
"""Bytes a ConfigMap may hold (Kubernetes, core/v1 MaxSecretSize and ConfigMap validation)."""


@pytest.fixture(scope="module")
def catalog() -> Registry:
    return registry.load()


@pytest.fixture(scope="module")
def kind() -> Plan:
    return record("kind", "known")


def test_what_control_mounts_is_the_whole_catalog(kind: Plan, catalog: Registry, tmp_path: Path) -> None:
    made = {manifest["metadata"]["name"]: manifest for manifest in objects(kind) if manifest["kind"] == "ConfigMap"}
    (control,) = [m for m in objects(kind) if m["kind"] == "Deployment" and m["metadata"]["name"] == "control"]
    pod: dict[str, Any] = control["spec"]["template"]["spec"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "catalog"]
    for source in volume["projected"]["sources"]:
        for name, text in made[source["configMap"]["name"]]["data"].items():
            (tmp_path / name).write_text(text)
    (mount,) = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "catalog"]
    assert {"name": "CATALOG_PATH", "value": mount["mountPath"]} in pod["containers"][0]["env"]
    assert registry.load(tmp_path).agents == catalog.agents


def test_its_maps_are_changed_in_place_and_have_room(catalog: Registry) -> None:
    maps = catalog_maps(catalog)
    assert len(maps) == len(catalog.domains)
    for manifest in maps:
        kubernetes_validate.validate(manifest, "1.35", strict=True)
        assert "immutable" not in manifest
        assert sum(len(text.encode()) for text in manifest["data"].values()) < LARGEST / 4


def test_another_prompt_or_a_rollout_changes_one_map_and_no_name(catalog: Registry) -> None:
    agent = catalog.require(AGENT)
    before = catalog_maps(catalog)
    prompt = agent.prompt.model_copy(update={"instructions": f"{agent.prompt.instructions} Be brief."})
    tried = AgentRollout(strategy="canary", candidate=AgentChanges(prompt=prompt))
    for update in ({"prompt": prompt}, {"rollout": tried}):
        other = agent.model_copy(update=update)
        known = replace(catalog, agents=tuple(other if each.id == AGENT else each for each in catalog))
        after = catalog_maps(known)
        assert [each["metadata"] for each in after] == [each["metadata"] for each in before]
        changed = [each["metadata"]["name"] for each, old in zip(after, before, strict=True) if each != old]
        assert changed == ["control-catalog-business-strategy"]


def test_the_migration_does_not_depend_on_the_catalog(kind: Plan) -> None:
    """A Job cannot be changed, only made again."""
    (migration,) = [m for m in objects(kind) if m["kind"] == "Job" and m["metadata"]["name"].startswith("control-")]
    assert "control-catalog" not in str(migration)
