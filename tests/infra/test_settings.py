"""Every bad setting is refused before anything is registered, all problems at once, naming the key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from infra import rules, settings
from infra.settings import SettingsError

AWS: dict[str, Any] = {
    "cloud": "aws",
    "environment": "prod",
    "region": "eu-central-1",
    "zones": ["eu-central-1a", "eu-central-1b", "eu-central-1c"],
    "account": "123456789012",
}
GCP = {
    **AWS,
    "cloud": "gcp",
    "region": "europe-west3",
    "zones": ["europe-west3-a", "europe-west3-b", "europe-west3-c"],
    "account": "my-project",
}
GUID = "11111111-2222-3333-4444-555555555555"
AZURE = {**AWS, "cloud": "azure", "region": "westeurope", "zones": ["1", "2", "3"], "account": GUID, "tenant": GUID}
EXISTING = {"cloud": "existing", "environment": "dev", "data": "in-cluster"}


def problems(values: dict[str, Any]) -> dict[str, str]:
    """Messages by key of a configuration that must be refused."""
    with pytest.raises(SettingsError) as refused:
        settings.parse(values)
    assert all(key in str(refused.value) for key, _ in refused.value.problems)
    return {key: " / ".join(m for k, m in refused.value.problems if k == key) for key, _ in refused.value.problems}


@pytest.mark.parametrize("values", [AWS, GCP, AZURE, EXISTING], ids=["aws", "gcp", "azure", "existing"])
def test_a_small_configuration_is_enough_for_every_cloud(values: dict[str, Any]) -> None:
    spec = settings.parse(values)
    assert spec.layers == settings.LAYERS
    assert spec.protected is (spec.environment == "prod")


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ({"colour": "blue"}, "colour", "unknown key"),
        ({"cluster": {"acces": "private"}}, "cluster.acces", "unknown key"),
        ({"cloud": "ibm"}, "cloud", "'aws', 'gcp', 'azure' or 'existing'"),
        ({"fleet": {"maxTokens": "many"}}, "fleet.maxTokens", "valid integer"),
        ({"region": ""}, "region", "required for cloud: aws"),
        ({"region": "Frankfurt"}, "region", "not a region of aws"),
        ({"account": "1234"}, "account", "12 digits"),
        ({"tenant": GUID}, "tenant", "is for cloud: azure"),
        ({"zones": ["eu-central-1a"]}, "zones", "prod needs 3 different zones"),
        (
            {"zones": ["eu-central-1a", "eu-central-1b", "us-east-1a"]},
            "zones",
            "'us-east-1a' is not a zone of eu-central-1",
        ),
        ({"data": "in-cluster"}, "data", "refused in prod"),
        ({"data": "external"}, "database.host", "required for data: external"),
        ({"database": {"host": "db.internal"}}, "database.host", "is for data: external"),
        ({"network": {"cidr": "10.0.0.0/24"}}, "network.cidr", "too small"),
        ({"network": {"cidr": "8.0.0.0/16"}}, "network.cidr", "not a private range"),
        ({"network": {"cidr": "10.0.0.1/16"}}, "network.cidr", "not a network"),
        ({"network": {"pods": "10.0.128.0/17"}}, "network.pods", "overlaps network.cidr"),
        ({"cluster": {"version": "1.30"}}, "cluster.version", "out of support"),
        ({"cluster": {"access": "authorized"}}, "cluster.authorizedCidrs", "required for cluster.access: authorized"),
        (
            {"cluster": {"access": "authorized", "authorizedCidrs": ["0.0.0.0/0"]}},
            "cluster.authorizedCidrs",
            "opens the API server",
        ),
        (
            {"cluster": {"authorizedCidrs": ["203.0.113.0/24"]}},
            "cluster.authorizedCidrs",
            "means nothing for cluster.access: private",
        ),
        ({"cluster": {"context": "kind"}}, "cluster.context", "is for cloud: existing"),
        ({"deletionProtection": False}, "deletionProtection", "prod keeps deletion protection"),
        ({"components": {"backup": False}}, "components.backup", "prod keeps backups"),
        ({"layers": ["fleet"]}, "stacks.foundation", "say which stack builds it"),
        (
            {"layers": ["services"], "stacks": {"foundation": "a"}, "fleet": {"pools": ["business"]}},
            "layers",
            "does not have fleet",
        ),
        ({"stacks": {"services": "aws-prod-services"}}, "stacks.services", "this stack builds services itself"),
        (
            {"layers": ["fleet", "fleet"], "stacks": {"foundation": "a", "services": "b"}},
            "layers",
            "names a layer twice",
        ),
        ({"fleet": {"isolation": "dedicated"}}, "fleet.isolation", "at most 200 agents a stack (this one: 1,500)"),
        ({"fleet": {"shard": "one"}}, "fleet.shard", "written down one by one"),
        ({"fleet": {"agents": ["plan_agent_001", "plan_agent_001"]}}, "fleet.agents", "plan_agent_001 twice"),
        ({"fleet": {"agents": ["Plan"]}}, "fleet.agents", "not an agent id"),
        ({"fleet": {"agents": ["plan_agent_001"], "pools": ["business"]}}, "fleet.agents", "remove fleet.pools"),
        ({"images": {"runtime": "ghcr.io/org/runtime:latest"}}, "images.runtime", "match pattern"),
        ({"tags": ["Team: Blue"]}, "tags", "key=value"),
    ],
)
def test_a_bad_setting_is_refused_with_its_key(change: dict[str, Any], key: str, words: str) -> None:
    found = problems({**AWS, **change})
    assert words in found[key]


@pytest.mark.parametrize("key", ["region", "account", "zones"])
def test_what_means_nothing_on_a_cluster_you_have_is_refused(key: str) -> None:
    assert "nothing for cloud: existing" in problems({**EXISTING, key: AWS[key]})[key]


def test_a_cluster_you_have_has_no_managed_data() -> None:
    assert "managed needs a cloud" in problems({**EXISTING, "data": "managed"})["data"]


def test_a_cluster_you_have_runs_no_development_grade_vault_in_production() -> None:
    external = {
        "data": "external",
        "database": {"host": "db", "password": "x"},
        "cache": {"host": "c", "password": "y"},
    }
    refused = problems({**EXISTING, **external, "environment": "prod"})
    assert "development grade" in refused["components.vault"]


def test_azure_needs_its_tenant() -> None:
    assert "Entra tenant id" in problems({**AZURE, "tenant": ""})["tenant"]


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        {**AWS, "region": "", "account": "", "zones": [], "cluster": {"version": "1.20"}, "deletionProtection": False}
    )
    assert {"region", "account", "zones", "cluster.version", "deletionProtection"} <= set(found)


def test_a_range_too_small_for_the_fleet_is_refused_with_both_numbers() -> None:
    agents = [f"plan_agent_{number:03d}" for number in range(1, 201)]
    values = {
        **GCP,
        "fleet": {"isolation": "dedicated", "shard": "one", "agents": agents},
        "network": {"pods": "10.64.0.0/21"},
    }
    assert "room for 2,048 pods, but the fleet can grow to 2,750" in problems(values)["network.pods"]


def schema_keys(schema: dict[str, Any], node: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Path of every key there is, sections included, by the schema Pydantic publishes."""
    for key, value in node.get("properties", {}).items():
        yield (*above, key)
        for each in [value, *value.get("anyOf", []), *value.get("allOf", [])]:
            if "$ref" in each:
                yield from schema_keys(schema, schema["$defs"][each["$ref"].rpartition("/")[2]], (*above, key))


SCHEMA = settings.PlatformSpec.model_json_schema()
KEYS = list(schema_keys(SCHEMA, SCHEMA))


def nested(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """A configuration with one value at a path."""
    for key in reversed(path):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as refused:
        settings.parse({**AWS, **values})
    return str(refused.value)


@pytest.mark.parametrize("secret", [("database", "password"), ("cache", "password"), ("alerts", "smtpPassword")])
@pytest.mark.parametrize("given", [51773, True, ["51773"], {"value": "51773"}], ids=str)
def test_a_password_never_shows_in_an_error(secret: tuple[str, ...], given: object) -> None:
    assert secret in KEYS
    said = refusal(nested(secret, given))
    assert ".".join(secret) in said
    assert "51773" not in said
    assert "got" not in said


@pytest.mark.parametrize(
    "path", [path for path in KEYS if any(path == key[: len(path)] != key for key in KEYS)], ids=".".join
)
def test_what_stands_in_a_sections_place_never_shows_in_an_error(path: tuple[str, ...]) -> None:
    said = refusal(nested(path, "hunter2"))
    assert f"{'.'.join(path)}: is a section: write its keys under it" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_an_unknown_key_and_what_is_no_single_value_never_show_what_they_hold(path: tuple[str, ...]) -> None:
    for given in ({"hunter1": "hunter2"}, [["hunter2"]]):
        assert "hunter2" not in refusal(nested(path, given))
    assert "hunter2" not in refusal(nested((*path[:-1], f"{path[-1]}x"), "hunter2"))


def test_a_single_value_that_is_no_secret_shows() -> None:
    assert refusal({"cloud": "ibm"}).endswith("(got 'ibm')")
    assert "fleet.maxTokens: " in (said := refusal({"fleet": {"maxTokens": 0}}))
    assert said.endswith("(got 0)")


@pytest.mark.parametrize(
    "path",
    [("fleet", "model"), ("fleet", "rollout", "candidate", "model"), ("fleet", "rollout", "previous", "model")],
    ids=".".join,
)
def test_a_retired_model_is_refused_with_its_successor(path: tuple[str, ...]) -> None:
    said = refusal(nested(path, "claude-3-5-sonnet-20241022"))
    assert f"{'.'.join(path)}: model claude-3-5-sonnet-20241022 is retired" in said
    assert "use claude-sonnet-5-5" in said
    assert f"{'.'.join(path)}: model a:b is not a Claude model id" in refusal(nested(path, "a:b"))


def test_models_that_are_served_newer_or_left_to_the_platform_are_taken() -> None:
    for model in ("", "claude-opus-5-5", "claude-of-tomorrow"):
        assert settings.parse({**AWS, "fleet": {"model": model}}).fleet.model == model


def test_an_example_is_previewed_and_never_brought_up() -> None:
    spec = settings.parse(AWS)
    assert {key for key, _ in rules.deployable(spec)} == {"images.runtime", "domain", "account"}
    mine = settings.parse(
        {
            **AWS,
            "account": "210987654321",
            "domain": "agents.acme.dev",
            "images": {"runtime": "ghcr.io/acme/runtime@sha256:" + "a" * 64},
        }
    )
    assert rules.deployable(mine) == []


def test_a_layer_taken_away_is_refused_with_the_way_to_move_it() -> None:
    spec = settings.parse({**AWS, "layers": ["services", "fleet"], "stacks": {"foundation": "aws-prod-foundation"}})
    ((key, message),) = rules.lost_layers(spec, ["foundation", "services", "fleet"])
    assert key == "layers"
    assert "foundation" in message
    assert "fleet split" in message
    assert rules.lost_layers(spec, ["services"]) == []


def test_values_are_decoded_as_the_engine_hands_them_over() -> None:
    raw = {"cloud": "aws", "environment": "dev", "region": "eu-central-1", "account": "123456789012"}
    raw |= {
        "zones": '["eu-central-1a","eu-central-1b"]',
        "cluster": '{"version":"1.36"}',
        "layers": '["foundation"]',
        "deletionProtection": "true",
    }
    spec = settings.load(
        raw.get, {f"ai-agents-platform:{key}": value for key, value in raw.items()} | {"aws:region": "x"}
    )
    assert spec.zones == ("eu-central-1a", "eu-central-1b")
    assert spec.cluster.version == "1.36"
    assert spec.protected
