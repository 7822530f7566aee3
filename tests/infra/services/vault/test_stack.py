"""Vault and Consul as a stack registers them: values their charts know, objects the API takes, roles that fit each other."""

from __future__ import annotations

from functools import cache
from typing import Any

import kubernetes_validate
import pytest

from infra.plan import Plan, record
from infra.plan.plan import Resource
from infra.services import charts, scripts
from infra.services.consul import settings as consul
from infra.services.jobs.access import ROLES
from infra.services.vault import settings as vault
from infra.settings import parse
from tests.infra.services.chart_values import needs, problems

STACKS = ("aws-staging", "gcp-staging", "azure-staging")
EXISTING: dict[str, Any] = {"cloud": "existing", "environment": "dev", "data": "in-cluster"}
FREE = ("server.readinessProbe", "server.securityContext")
"""Known to the charts though not to their defaults: the probe's path is a comment there, a security context is passed on whole."""
COMPONENTS = {"monitoring": False, "edge": False, "backup": False, "certificates": False}


@cache
def plan(stack: str, mode: Any = "known") -> Plan:
    return record({**EXISTING, "components": COMPONENTS} if stack == "existing" else stack, mode)


def ours(found: Plan) -> list[Resource]:
    return [each for each in found.resources if "services-vault" in each.urn or "services-consul" in each.urn]


def named(found: Plan, kind: str, name: str, namespace: str) -> Any:
    (object_,) = [
        each.inputs
        for each in found.resources
        if each.is_object
        and each.inputs["kind"] == kind
        and each.inputs["metadata"]["name"].startswith(name)
        and each.inputs["metadata"].get("namespace") == namespace
    ]
    return object_


def filled(value: Any) -> Any:
    if isinstance(value, dict):
        return "secret" if "$secret" in value else {key: filled(item) for key, item in value.items()}
    return [filled(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("stack", [*STACKS, "existing"])
def test_both_are_registered_before_and_after_anything_is_known_and_every_object_is_valid(stack: str) -> None:
    known, unknown = plan(stack), plan(stack, "unknown")
    assert [each.urn for each in ours(known)] == [each.urn for each in ours(unknown)]
    assert len(ours(known)) > 40
    for each in ours(known):
        if each.is_object:
            kubernetes_validate.validate(filled(each.inputs), "1.35", strict=True)


def release_of(stack: str, chart: charts.Chart) -> Resource:
    (release,) = [
        each for each in ours(plan(stack)) if each.type.endswith(":Release") and each.inputs["chart"] == chart.name
    ]
    return release


@pytest.mark.parametrize("stack", [*STACKS, "existing"])
@pytest.mark.parametrize("chart", [charts.VAULT, charts.CONSUL], ids=lambda chart: chart.name)
def test_the_charts_are_pinned(stack: str, chart: charts.Chart) -> None:
    inputs = release_of(stack, chart).inputs
    assert (inputs["version"], inputs["repositoryOpts"]) == (chart.version, {"repo": chart.repository})


@needs(charts.VAULT.name, charts.VAULT.version)
@needs(charts.CONSUL.name, charts.CONSUL.version)
@pytest.mark.parametrize("stack", [*STACKS, "existing"])
def test_the_charts_know_every_value_they_are_given(stack: str) -> None:
    for chart in (charts.VAULT, charts.CONSUL):
        values = filled(release_of(stack, chart).inputs["values"])
        assert problems(chart.name, chart.version, values, free=FREE) == []


@needs(charts.VAULT.name, charts.VAULT.version)
@needs(charts.CONSUL.name, charts.CONSUL.version)
def test_a_misspelt_value_is_found() -> None:
    values = vault.values(parse(EXISTING), "", {}, "")
    values["server"]["ha"]["raft"]["conf"] = ""
    assert problems("vault", charts.VAULT.version, values, FREE) == [
        "server.ha.raft.conf: the chart knows no such value"
    ]
    wrong = consul.values(parse(EXISTING), "")
    wrong["syncCatalog"]["defaults"] = False
    assert problems("consul", charts.CONSUL.version, wrong, FREE) == [
        "syncCatalog.defaults: the chart knows no such value"
    ]


@pytest.mark.parametrize(
    ("stack", "kind"), [("aws-staging", "awskms"), ("gcp-staging", "gcpckms"), ("azure-staging", "azurekeyvault")]
)
def test_on_a_cloud_three_replicas_unseal_by_its_key_and_serve_tls_alone(stack: str, kind: str) -> None:
    (release,) = [each for each in ours(plan(stack)) if each.name == "services-vault-release"]
    values = release.inputs["values"]
    config = values["server"]["ha"]["raft"]["config"]
    assert f'seal "{kind}"' in config
    assert config.count("retry_join") == values["server"]["ha"]["replicas"] == 3
    assert "tls_disable" not in config
    assert values["global"]["tlsDisable"] is False
    assert not values["injector"]["enabled"]


@pytest.mark.parametrize(
    ("cloud", "key", "stanza"),
    [
        (
            "gcp",
            "projects/p/locations/europe-west3/keyRings/agents-dev/cryptoKeys/vault",
            'project = "p"\n  region = "europe-west3"\n  key_ring = "agents-dev"\n  crypto_key = "vault"',
        ),
        (
            "azure",
            "https://agents-kv.vault.azure.net/keys/vault/0123",
            'vault_name = "agents-kv"\n  key_name = "vault"',
        ),
    ],
)
def test_the_seal_names_the_parts_of_the_foundations_key(cloud: str, key: str, stanza: str) -> None:
    spec = parse(EXISTING).model_copy(update={"cloud": cloud})
    assert stanza in vault._seal(spec, key)


def test_on_a_cluster_without_a_clouds_key_one_replica_is_unsealed_by_the_bootstrap_every_five_minutes() -> None:
    found = plan("existing")
    unseal = named(found, "CronJob", "vault-bootstrap", "vault")
    assert unseal["spec"]["schedule"] == "*/5 * * * *"
    role = named(found, "Role", "vault-recovery", "vault")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["vault-recovery"], "verbs": ["get", "patch"]}
    ]


@pytest.mark.parametrize("stack", [*STACKS, "existing"])
def test_every_role_of_vault_belongs_to_an_account_that_is_there_and_every_job_has_one(stack: str) -> None:
    objects = [each.inputs for each in plan(stack).resources if each.is_object]
    accounts = {
        (each["metadata"]["namespace"], each["metadata"]["name"])
        for each in objects
        if each["kind"] == "ServiceAccount"
    }
    assert {(role.namespace, role.service_account) for role in ROLES} <= accounts
    for each in objects:
        template = (
            {"Job": each["spec"], "CronJob": each["spec"].get("jobTemplate", {}).get("spec")}.get(each["kind"])
            if "spec" in each
            else None
        )
        if template and each["metadata"]["namespace"] == "vault":
            pod = template["template"]["spec"]
            assert ("vault", pod["serviceAccountName"]) in accounts


@pytest.mark.parametrize("stack", [*STACKS, "existing"])
def test_the_restore_waits_suspended_and_alone_has_a_token_that_may_replace_vaults_data(stack: str) -> None:
    def audience(job: Any) -> str:
        volumes = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"]
        (token,) = [volume for volume in volumes if volume["name"] == "vault-token"]
        return str(token["projected"]["sources"][0]["serviceAccountToken"]["audience"])

    restore = named(plan(stack), "CronJob", "vault-restore", "vault")
    save = named(plan(stack), "CronJob", "vault-backup", "vault")
    assert (restore["spec"]["suspend"], audience(restore)) == (True, "vault-restore")
    assert (save["spec"]["suspend"], audience(save)) == (False, "vault")


@pytest.mark.parametrize("stack", STACKS)
def test_the_clouds_database_credentials_reach_vault_before_control_starts(stack: str) -> None:
    found = plan(stack)
    job = named(found, "Job", "database-credentials", "ai-agents")
    pod = job["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "database-credentials"
    control = named(found, "Deployment", "control", "ai-agents")
    environment = {each["name"]: each for each in control["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert environment["VAULT_ADDR"]["value"] == vault.ADDRESS
    assert environment["VAULT_ROLE"]["value"] == "control"
    (migration,) = [each for each in found.resources if each.name == "services-control-migration"]
    assert any(urn.endswith("::services-vault-database") for urn in migration.dependencies)
    assert any(urn.endswith("::services-consul-bootstrap") for urn in migration.dependencies)


@pytest.mark.parametrize("stack", [*STACKS, "existing"])
def test_no_secret_of_either_is_in_a_plain_value(stack: str) -> None:
    secrets = [each for each in ours(plan(stack)) if each.is_object and each.inputs["kind"] == "Secret"]
    assert {each.inputs["metadata"]["name"] for each in secrets} >= {"vault-tls", "consul-gossip", "consul-token-agent"}
    plain = ("tls.crt", "ca.crt")
    for each in secrets:
        for key, value in each.inputs.get("stringData", {}).items():
            # The engine marks the whole object once any part of it is secret; the recorder each value.
            assert key in plain or "$secret" in value, (each.urn, key)


def test_a_jobs_name_follows_its_code_and_the_package_needs_nothing_of_infra() -> None:
    assert scripts.digest("a") != scripts.digest("b")
    assert not [name for name, text in scripts.package().items() if "infra" in "".join(_imports(text))]


def _imports(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("import ", "from "))]


def test_without_the_components_neither_is_there_and_control_takes_the_password_from_its_secret() -> None:
    found = record({**EXISTING, "components": {**COMPONENTS, "vault": False, "consul": False}}, "known")
    assert ours(found) == []
    control = named(found, "Deployment", "control", "ai-agents")
    names = {each["name"] for each in control["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert "DATABASE_URL" in names
    assert not {"VAULT_ADDR", "CONSUL_HTTP_ADDR"} & names


@pytest.mark.parametrize("stack", [*STACKS, "existing"])
def test_consul_serves_the_program_s_certificate_and_the_authority_s_key_stays_out_of_the_cluster(stack: str) -> None:
    found, values = plan(stack), release_of(stack, charts.CONSUL).inputs["values"]
    pair = named(found, "Secret", values["server"]["serverCert"]["secretName"], consul.NAMESPACE)
    assert set(pair["stringData"]) == {"tls.crt", "tls.key"}
    authority = named(found, "Secret", values["global"]["tls"]["caCert"]["secretName"], consul.NAMESPACE)
    assert set(authority["stringData"]) == {"tls.crt"}
    assert "caKey" not in values["global"]["tls"]
    # Another certificate rolls the servers, which read theirs at start alone.
    assert values["server"]["annotations"].startswith('"ai-agents/certificate": "')
