"""Every object we render is admitted by a real API server under restricted pod security, and once is enough.

Simulated kubelets prove scheduling and admission, not that a process ran.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from infra.plan import Plan, record
from tests.infra.cluster.api import Cluster, Manifest, RefusedError, path, volumes

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not os.environ.get("KUBECONFIG"), reason="KUBECONFIG does not point at a disposable cluster"),
]


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


def objects(plan: Plan) -> list[Manifest]:
    """The plan's Kubernetes objects; a recorded secret is only a digest, so a stand-in text takes its place."""
    return [_filled(resource.inputs) for resource in plan.resources if resource.is_object]


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        return "secret" if "$secret" in value else {key: _filled(item) for key, item in value.items()}
    return [_filled(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(params=["kind", "aws-dedicated-01"])
def applied(
    request: pytest.FixtureRequest, cluster: Cluster
) -> Iterator[tuple[Cluster, list[Manifest], dict[str, str]]]:
    rendered = objects(record(request.param, "known"))
    if request.param == "kind":
        ready = [*volumes(4), *rendered]
    else:
        # A shard stands on what the services stack made: its namespace, priorities and accounts.
        base = ("Namespace", "PriorityClass", "ServiceAccount")
        ready = [manifest for manifest in objects(record("kind", "known")) if manifest["kind"] in base] + rendered
    yield cluster, ready, cluster.apply_all(ready)
    cluster.remove_all(ready)


def test_everything_is_admitted_becomes_available_and_a_second_apply_changes_nothing(
    applied: tuple[Cluster, list[Manifest], dict[str, str]],
) -> None:
    cluster, rendered, versions = applied
    assert len(versions) == len(rendered)
    deployments = [path(manifest) for manifest in rendered if manifest["kind"] == "Deployment"]
    assert deployments
    for target in deployments:
        cluster.wait(
            f"{target} has its two replicas available",
            lambda target=target: (cluster.get(target).get("status") or {}).get("availableReplicas", 0) >= 2,
        )
    generations = {path(m): cluster.get(path(m))["metadata"].get("generation") for m in rendered}
    cluster.apply_all(rendered)
    after = {path(m): cluster.get(path(m))["metadata"].get("generation") for m in rendered}
    assert after == generations


def test_a_misspelt_field_would_be_refused(cluster: Cluster) -> None:
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tests-strict"}, "specs": {}}
    with pytest.raises(RefusedError, match="specs"):
        cluster.apply(manifest)
