"""One conformance suite over three clouds: every claim of the foundation is read off the recorded graph,
once with known and once with unknown outputs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from infra.plan import Plan, Resource, record
from tests.infra.clouds.facts import CLOUDS, Cloud, of, one

HOLDS_DATA = ("network", "cluster", "database", "key", "bucket")
"""Roles whose resources `protect` covers in production."""


@dataclass(frozen=True)
class Foundation:
    """One recorded foundation and the vocabulary to read it with."""

    cloud: Cloud
    plan: Plan

    def one(self, role: str) -> Resource:
        """The only resource of a role."""
        return one(self.plan, getattr(self.cloud, role))

    def all(self, role: str) -> list[Resource]:
        """All resources of a role."""
        return of(self.plan, getattr(self.cloud, role))


@pytest.fixture(
    scope="module", params=[(cloud, mode) for cloud in CLOUDS for mode in ("known", "unknown")], ids="-".join
)
def prod(request: pytest.FixtureRequest) -> Foundation:
    cloud, mode = request.param
    return Foundation(CLOUDS[cloud], record(f"{cloud}-prod-foundation", mode))


def test_the_database_has_no_public_address(prod: Foundation) -> None:
    assert prod.cloud.database_is_private(prod.one("database"))


def test_the_database_is_encrypted_with_our_key(prod: Foundation) -> None:
    assert prod.cloud.database_is_encrypted(prod.one("database"))


def test_the_database_takes_only_tls_connections(prod: Foundation) -> None:
    assert prod.cloud.database_forces_tls(prod.plan)


def test_the_database_survives_the_loss_of_a_zone(prod: Foundation) -> None:
    assert prod.cloud.database_survives_a_zone(prod.one("database"))


def test_the_database_refuses_deletion(prod: Foundation) -> None:
    database = prod.one("database")
    assert database.protect
    if prod.cloud.database_refuses_deletion is not None:
        assert prod.cloud.database_refuses_deletion(database)


def test_there_is_a_store_that_never_evicts_and_one_that_does(prod: Foundation) -> None:
    evictions = sorted(prod.cloud.store_eviction(store, prod.plan) for store in prod.all("store"))
    assert evictions == ["allkeys-lru", "noeviction"]


def test_stores_are_private_encrypted_and_speak_tls(prod: Foundation) -> None:
    for store in prod.all("store"):
        assert prod.cloud.store_is_private(store), store.name
        assert prod.cloud.store_is_encrypted(store), store.name
        assert prod.cloud.store_speaks_tls(store, prod.plan), store.name


def test_the_api_server_is_private(prod: Foundation) -> None:
    assert prod.cloud.cluster_is_private(prod.one("cluster"))


def test_kubernetes_secrets_are_encrypted_with_our_key(prod: Foundation) -> None:
    assert prod.cloud.cluster_encrypts_secrets(prod.one("cluster"))


def test_the_api_server_logs_audits(prod: Foundation) -> None:
    assert prod.cloud.cluster_logs_audits(prod.plan)


def test_pods_have_identities_and_no_keys(prod: Foundation) -> None:
    assert prod.cloud.cluster_uses_workload_identity(prod.plan)


def test_nodes_run_in_three_zones(prod: Foundation) -> None:
    assert prod.cloud.cluster_spans(prod.plan) == 3


def test_every_key_rotates(prod: Foundation) -> None:
    keys = prod.all("key")
    assert len(keys) == 3
    assert all(prod.cloud.key_rotates(key) for key in keys)


def test_buckets_are_private_and_encrypted_with_our_key(prod: Foundation) -> None:
    for bucket in prod.all("bucket"):
        assert prod.cloud.bucket_is_private(bucket, prod.plan), bucket.name
        assert prod.cloud.bucket_is_encrypted(bucket, prod.plan), bucket.name


def test_a_firewall_and_backups_are_there(prod: Foundation) -> None:
    assert prod.all("firewall")
    assert prod.all("backup")


def test_whatever_takes_tags_has_the_platforms(prod: Foundation) -> None:
    expected = {"platform": "ai-agents-platform", "environment": "prod", "managed-by": "pulumi"}
    untagged = []
    for resource in prod.plan.resources:
        if resource.type in prod.cloud.taggable:
            tags = prod.cloud.tags(resource) or {}
            if not expected.items() <= dict(tags).items():
                untagged.append(resource.name)
    assert untagged == []
    seen = {resource.type for resource in prod.plan.resources}
    assert len(prod.cloud.taggable & seen) >= 10


def test_what_holds_data_is_protected(prod: Foundation) -> None:
    for role in HOLDS_DATA:
        assert [resource.name for resource in prod.all(role) if not resource.protect] == [], role


def test_every_resource_has_a_parent_and_the_foundations_provider(prod: Foundation) -> None:
    strays = [
        r.name
        for r in prod.plan.resources
        if r.type.startswith("pulumi:providers:") is False and not r.parent and r.type != "platform:layer:Foundation"
    ]
    assert strays == []
    clouds = {"aws": "aws", "gcp": "gcp", "azure": "azure-native"}
    without = [
        r.name for r in prod.plan.resources if r.custom and r.package == clouds[prod.cloud.name] and not r.provider
    ]
    assert without == []


def test_names_of_children_start_with_their_components(prod: Foundation) -> None:
    by_urn = {resource.urn: resource for resource in prod.plan.resources}
    odd = [r.name for r in prod.plan.resources if r.parent in by_urn and not r.name.startswith(by_urn[r.parent].name)]
    assert odd == []


def test_urns_are_unique(prod: Foundation) -> None:
    repeated = [urn for urn, times in Counter(r.urn for r in prod.plan.resources).items() if times > 1]
    assert repeated == []


def test_no_password_is_plain_text(prod: Foundation) -> None:
    seen = 0
    for resource in prod.plan.resources:
        for key, value in resource.inputs.items():
            if "password" in key.lower() and isinstance(value, (str, dict)) and key not in ("passwordAuth",):
                seen += 1
                assert isinstance(value, dict), f"{resource.name}.{key}"
                assert "$secret" in value, f"{resource.name}.{key}"
    assert seen or prod.cloud.name == "aws"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_registering_twice_gives_the_same_graph(cloud: str) -> None:
    first = record(f"{cloud}-prod-foundation", "known")
    again = record(f"{cloud}-prod-foundation", "known", fresh=True)
    assert _graph(again) == _graph(first)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_first_preview_lists_what_a_later_one_does(cloud: str) -> None:
    known, unknown = (record(f"{cloud}-prod-foundation", mode) for mode in ("known", "unknown"))
    assert sorted(r.urn for r in unknown.resources) == sorted(r.urn for r in known.resources)


def _graph(plan: Plan) -> dict[str, object]:
    return {r.urn: (r.inputs, r.protect, r.parent, r.provider, sorted(r.dependencies)) for r in plan.resources}
