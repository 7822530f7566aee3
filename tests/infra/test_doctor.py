"""`fleet doctor` with executables of the tests' own in place of the clouds' command lines."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from infra import settings
from infra.doctor import Finding, examine, execute, most_vcpus
from infra.settings import PlatformSpec

AWS = {
    "cloud": "aws",
    "environment": "prod",
    "region": "eu-central-1",
    "account": "210987654321",
    "domain": "agents.acme.dev",
}
AWS |= {"zones": ["eu-central-1a", "eu-central-1b", "eu-central-1c"]}  # type: ignore[dict-item]


def spec(**change: object) -> PlatformSpec:
    return settings.parse({**AWS, "images": {"runtime": "ghcr.io/acme/runtime@sha256:" + "a" * 64}, **change})


REGIONS = {
    "aws": ("eu-central-1", "210987654321", "eu-central-1a", "eu-central-1b", "eu-central-1c"),
    "gcp": ("europe-west3", "account", "europe-west3-a", "europe-west3-b", "europe-west3-c"),
    "azure": ("germanywestcentral", "00000000-1111-2222-3333-444444444444", "1", "2", "3"),
}


def cloud_spec(cloud: str, environment: str, **change: object) -> PlatformSpec:
    region, account, *zones = REGIONS[cloud]
    tenant = {"tenant": "55555555-6666-7777-8888-999999999999"} if cloud == "azure" else {}
    return spec(cloud=cloud, environment=environment, region=region, account=account, zones=zones, **tenant, **change)


class Machine:
    """A PATH with just the executables a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, name: str, script: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Machine(tmp_path)


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def ready(machine: Machine, *, account: str = "210987654321", quota: str = "1000") -> None:
    machine.has("pulumi", 'if [ "$1" = version ]; then echo v3.272.0; else echo "User: someone"; fi')
    machine.has("aws", f'case "$1" in sts) echo {account};; service-quotas) echo {quota};; *) echo aws-cli/2;; esac')


def test_on_an_empty_machine_every_tool_is_named_with_where_to_get_it(machine: Machine) -> None:
    found = by_subject(examine(spec(), execute))
    assert found["pulumi"].verdict == "problem"
    assert "pulumi.com" in found["pulumi"].remedy
    assert found["aws"].message == "is not on PATH"


def test_a_machine_that_has_everything_has_no_problem(machine: Machine) -> None:
    ready(machine)
    findings = examine(spec(cluster={"access": "authorized", "authorizedCidrs": ["203.0.113.0/24"]}), execute)
    assert {finding.verdict for finding in findings} == {"ok"}
    assert by_subject(findings)["identity"].message == "signed in to 210987654321"


def test_a_sign_in_to_another_account_is_a_problem(machine: Machine) -> None:
    ready(machine, account="111111111111")
    found = by_subject(examine(spec(), execute))["identity"]
    assert (found.verdict, found.message) == (
        "problem",
        "signed in to 111111111111, but the stack says account: 210987654321",
    )


def test_no_backend_is_a_problem_with_its_remedy(machine: Machine) -> None:
    ready(machine)
    machine.has(
        "pulumi", 'if [ "$1" = version ]; then echo v3.272.0; else echo "error: not logged in" >&2; exit 255; fi'
    )
    assert by_subject(examine(spec(), execute))["pulumi login"].remedy.startswith("pulumi login")


def test_a_quota_below_what_autoscaling_may_reach_is_a_problem_with_both_numbers(machine: Machine) -> None:
    ready(machine, quota="16")
    found = by_subject(examine(spec(), execute))["quota"]
    assert found.verdict == "problem"
    assert found.message.startswith("16 vCPUs are allowed in eu-central-1")


@pytest.mark.parametrize(
    ("cloud", "environment", "cpu"),
    [("aws", "dev", 2), ("aws", "prod", 8), ("gcp", "dev", 4), ("azure", "dev", 2), ("azure", "staging", 4)],
)
def test_the_quota_that_is_needed_counts_the_vcpus_of_the_cloud_s_own_node_type(
    cloud: str, environment: str, cpu: int
) -> None:
    stack = cloud_spec(cloud, environment, cluster={"nodes": 10})
    assert most_vcpus(stack) == 10 * cpu


def test_on_google_cloud_the_quota_of_the_nodes_own_family_is_read(machine: Machine) -> None:
    quotas = {"quotas": [{"metric": "CPUS", "limit": 1000.0}, {"metric": "N2_CPUS", "limit": 24.0}]}
    machine.has("gcloud", f"if [ \"$1\" = compute ]; then echo '{json.dumps(quotas)}'; else echo account; fi")
    found = {
        environment: by_subject(examine(cloud_spec("gcp", environment), execute))["quota"]
        for environment in ("dev", "prod")
    }
    assert found["prod"].message.startswith("24 vCPUs are allowed")
    assert (found["dev"].verdict, found["dev"].message.split()[0]) == ("ok", "1000")


def test_a_private_cluster_says_where_up_must_run(machine: Machine) -> None:
    ready(machine)
    found = by_subject(examine(spec(), execute))["cluster"]
    assert found.verdict == "warning"
    assert "hosted CI runners are outside" in found.remedy


def test_a_cluster_you_have_that_does_not_answer_is_a_problem(machine: Machine) -> None:
    machine.has("kubectl", 'if [ "$1" = version ]; then exit 0; fi; echo "connection refused" >&2; exit 1')
    existing = settings.parse({"cloud": "existing", "environment": "dev", "data": "in-cluster"})
    assert "connection refused" in by_subject(examine(existing, execute))["cluster"].message


def test_an_example_account_is_told_before_anything_else(machine: Machine) -> None:
    ready(machine)
    assert examine(spec(account="123456789012"), execute)[0].subject == "account"
