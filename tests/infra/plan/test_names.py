"""The committed logical names of the shipped stacks are the ones the program registers."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.plan import Plan, PlanError, config, names
from infra.plan.recording import Job, run_all
from tests.infra.plan.builders import plan, resource

SHIPPED = config.stacks(config.project())


@pytest.fixture(scope="module")
def shipped() -> dict[str, Plan | PlanError]:
    """Plans of all shipped stacks, recorded side by side."""
    return dict(zip(SHIPPED, run_all(Job(stack) for stack in SHIPPED), strict=True))


@pytest.mark.parametrize("stack", SHIPPED)
def test_logical_names_change_only_announced(stack: str, shipped: dict[str, Plan | PlanError]) -> None:
    plan = shipped[stack]
    assert isinstance(plan, Plan), str(plan)
    assert names.unannounced(plan) == ""


def test_no_list_is_left_of_a_stack_that_is_gone() -> None:
    assert sorted(path.stem for path in names.FOLDER.glob("*.txt")) == SHIPPED


def test_a_changed_name_says_what_changed_and_how_to_announce_it(tmp_path: Path) -> None:
    before = plan(resource("aws:ec2/vpc:Vpc", "network"), resource("aws:kms/key:Key", "key"))
    names.write(before, tmp_path)
    assert names.unannounced(before, tmp_path) == ""
    told = names.unannounced(plan(resource("aws:ec2/vpc:Vpc", "net"), resource("aws:kms/key:Key", "key")), tmp_path)
    assert "- aws:ec2/vpc:Vpc network" in told
    assert "+ aws:ec2/vpc:Vpc net" in told
    assert "fleet stacks --write-names" in told


def test_an_agent_that_comes_or_goes_is_no_changed_name(tmp_path: Path) -> None:
    def fleet(agent: str, domain: str) -> object:
        return names.listed(
            plan(
                resource("kubernetes:apps/v1:Deployment", f"fleet-{agent}-deployment"),
                resource("kubernetes:core/v1:ConfigMap", f"fleet-business-catalog-{domain}"),
            )
        )

    assert fleet("plan-agent-001", "sales") == fleet("tax-agent-017", "human-resources")
    assert fleet("plan-agent-001", "sales") == [
        "kubernetes:apps/v1:Deployment fleet-<agent>-deployment",
        "kubernetes:core/v1:ConfigMap fleet-business-catalog-<domain>",
    ]
