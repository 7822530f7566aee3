"""Data that is not the cloud's: in-cluster and external stores on any cloud, through the same contracts."""

from __future__ import annotations

from typing import Any

import pytest

from infra.plan import Plan, record
from tests.infra.clouds.facts import CLOUDS, of

GUID = "11111111-2222-3333-4444-555555555555"
PLACES: dict[str, dict[str, Any]] = {
    "aws": {"region": "eu-central-1", "account": "210987654321", "zones": ["eu-central-1a", "eu-central-1b"]},
    "gcp": {"region": "europe-west3", "account": "my-project", "zones": ["europe-west3-a", "europe-west3-b"]},
    "azure": {"region": "westeurope", "account": GUID, "tenant": GUID, "zones": ["1", "2"]},
}
EXTERNAL = {
    "data": "external",
    "database": {"host": "db.internal", "password": "hunter2-database"},
    "cache": {"host": "cache.internal", "password": "hunter2-cache"},
}


def plan(cloud: str, **data: Any) -> Plan:
    return record({"cloud": cloud, "environment": "dev", "layers": ["foundation"], **PLACES[cloud], **data}, "unknown")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_in_cluster_stores_take_the_place_of_managed_ones(cloud: str) -> None:
    made = plan(cloud, data="in-cluster")
    facts = CLOUDS[cloud]
    assert [r.name for r in made.resources if r.type in (facts.database, facts.store)] == []
    stores = {r.get("metadata.name") for r in of(made, "kubernetes:apps/v1:StatefulSet")}
    assert stores == {"postgres", "valkey-state", "valkey-cache"}
    assert all(r.provider for r in of(made, "kubernetes:apps/v1:StatefulSet"))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_external_stores_make_nothing_and_their_passwords_stay_secret(cloud: str) -> None:
    made = plan(cloud, **EXTERNAL)
    facts = CLOUDS[cloud]
    assert [r.name for r in made.resources if r.type in (facts.database, facts.store)] == []
    assert "hunter2" not in str(made.outputs)
    assert made.outputs["foundation"]["database"]["host"] == "db.internal"
