"""The longest names the catalog permits, in every strategy, are names and labels the API server takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest

from catalog import registry as catalog
from catalog.registry import Registry
from catalog.schema import AgentSpec
from infra import settings
from infra.pods import Manifest
from infra.settings import PlatformSpec
from infra.workloads import rollout, routes, selection
from tests.infra.services import schemas
from tests.infra.workloads.test_manifests import KUBERNETES, RUNTIME

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
"""Names of Services and containers (RFC 1035; Kubernetes, Object Names and IDs)."""
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
"""Kubernetes, Labels and Selectors: at most 63 characters."""
SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?")

LONGEST = AgentSpec.model_json_schema()["properties"]["id"]["maxLength"]
ID = "a" * (LONGEST - len("_agent_009")) + "_agent_009"
DOMAIN = "d" * 41
IMAGE = "ghcr.io/acme/runtime@sha256:" + "b" * 64
UNDER_WAY: tuple[dict[str, Any], ...] = (
    {"strategy": "rolling"},
    {"strategy": "canary"},
    {"strategy": "blue-green"},
    {"strategy": "blue-green", "active": "green"},
)


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The catalog with the longest id, in a domain with the longest name, of the pool with the longest."""
    shipped = catalog.load()
    first = shipped.pool("technology")[0]
    data = first.model_dump(exclude={"rollout"})
    with pytest.raises(ValueError, match="at most"):
        AgentSpec.model_validate({**data, "id": f"a{ID}", "domain": DOMAIN})
    with pytest.raises(ValueError, match="domain"):
        AgentSpec.model_validate({**data, "id": ID, "domain": f"d{DOMAIN}"})
    longest = AgentSpec.model_validate({**data, "id": ID, "domain": DOMAIN})
    return replace(shipped, agents=tuple(longest if agent is first else agent for agent in shipped))


def objects(registry: Registry, given: PlatformSpec) -> Iterator[Manifest]:
    workloads = selection.workloads(given, registry)
    for workload in workloads:
        yield from (item.manifest for item in rollout.objects(workload, given, RUNTIME))
    yield routes.config_map(routes.routes(workloads, given), given.fleet.shard)


def labels(node: Any) -> Iterator[str]:
    """Every label an object has, gives its pods or selects by."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("labels", "matchLabels", "selector") and all(isinstance(each, str) for each in value.values()):
                yield from value.values()
            else:
                yield from labels(value)
    elif isinstance(node, list):
        for each in node:
            yield from labels(each)


@pytest.mark.parametrize("mesh", ["none", "istio"])
@pytest.mark.parametrize("isolation", ["pooled", "dedicated"])
@pytest.mark.parametrize("stated", UNDER_WAY, ids=lambda stated: "-".join(stated.values()))
def test_the_longest_names_are_taken_in_every_strategy(
    registry: Registry, stated: dict[str, Any], isolation: str, mesh: str
) -> None:
    candidate = {} if stated["strategy"] == "rolling" else {"candidate": {"image": IMAGE}}
    fleet = {"isolation": isolation, "rollout": {**stated, **candidate}}
    fleet |= {"shard": "s" * 31, "agents": [ID]} if isolation == "dedicated" else {"pools": ["technology"]}
    values = {"cloud": "existing", "environment": "dev", "data": "in-cluster", "components": {"mesh": mesh}}
    made = list(objects(registry, settings.parse({**values, "fleet": fleet})))
    mine = [
        each for each in made if ID.replace("_", "-") in each["metadata"]["name"] or DOMAIN in each["metadata"]["name"]
    ]
    assert "ConfigMap" in {each["kind"] for each in mine}
    for manifest in made:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        assert (DNS_LABEL if kind == "Service" else SUBDOMAIN).fullmatch(name), name
        for value in labels(manifest):
            assert LABEL_VALUE.fullmatch(value), (kind, name, value)
        if kind == "Deployment":
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                assert DNS_LABEL.fullmatch(container["name"]), name
        if kind in schemas.kinds():
            schemas.validate(manifest)
        else:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
