"""`fleet refresh STACK…` and `fleet drift STACK…` against real processes of the CLI's stand-in."""

from __future__ import annotations

import json

from cli.deploy.changes import Changes, Message, Property, Step
from cli.deploy.drift import Drift, exit_code, markdown
from cli.errors import Exit
from tests.cli.deploy.conftest import Clone, resources

NAME = "urn:pulumi:dev::ai-agents-platform::kubernetes:apps/v1:Deployment::d"


def drifted(clone: Clone, count: int = 30, gone: int = 1) -> None:
    """A stack that is up, one resource changed in its cloud and some gone."""
    clone.stack("dev", "foundation", "services", "fleet")
    clone.program("dev", resources(count), outputs=("foundation", "services"))
    clone.up("dev")
    cloud = clone.load("cloud", "dev")
    first, *others = cloud
    cloud[first] = {"size": 7, "password": "hunter2"}
    for identity in others[:gone]:
        del cloud[identity]
    clone.save("cloud", "dev", cloud)


def test_a_refresh_takes_over_what_the_cloud_has_and_changes_no_cloud(clone: Clone) -> None:
    drifted(clone)
    before = clone.load("cloud", "dev")
    shown = clone.run("refresh", "dev", "--yes")
    assert "1 to update · 1 to delete" in shown
    assert "Deployment d2" in shown
    assert "1 updated · 1 deleted" in shown
    assert len(clone.names("dev")) == 29
    assert clone.load("cloud", "dev") == before
    assert "no changes" in clone.run("refresh", "dev", "--yes")


def test_a_refresh_that_finds_much_gone_is_refused(clone: Clone) -> None:
    drifted(clone, 10, gone=9)
    shown = clone.run("refresh", "dev", "--yes", code=1)
    assert "9 of 10 resources would be deleted or replaced (90 %, allowed 10 %)" in shown
    assert len(clone.names("dev")) == 10


def test_what_is_not_there_cannot_be_refreshed(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    assert "dev: not in the backend" in clone.run("refresh", "dev", "--yes", code=1)


def test_drift_names_resources_and_properties_never_values_and_changes_nothing(clone: Clone) -> None:
    drifted(clone)
    state = clone.load("state", "dev")
    shown = clone.run("drift", "dev", code=1)
    assert "dev: 2 resources drifted" in shown
    assert "Deployment d1: changed: password (added), size (changed)" in shown
    assert "Deployment d2: gone" in shown
    assert "hunter2" not in shown
    assert clone.load("state", "dev") == state


def test_drift_for_scripts_and_for_an_issue(clone: Clone) -> None:
    drifted(clone)
    clone.stack("other", "foundation", "services", "fleet")
    found = json.loads(clone.run("drift", "dev", "other", "--json", code=1))
    assert [one["state"] for one in found] == ["drifted", "absent"]
    assert found[0]["resources"][0]["properties"] == {"password": "add", "size": "update"}
    issue = clone.run("drift", "dev", "other", "--markdown", code=1)
    assert "| Deployment d1 | changed: password (added), size (changed) |" in issue
    assert "other" not in issue


def test_no_drift_is_code_0_and_no_issue(clone: Clone) -> None:
    drifted(clone)
    clone.run("refresh", "dev", "--yes")
    assert "dev: no drift" in clone.run("drift", "dev")
    assert clone.run("drift", "dev", "--markdown").strip() == ""


def test_a_check_that_fails_is_code_3_and_never_no_drift(clone: Clone) -> None:
    drifted(clone)
    clone.program("dev", [], refresh_fails="expired token")
    shown = clone.run("drift", "dev", code=3)
    assert "dev: could not be checked" in shown
    assert "expired token" in shown
    clone.environment["PATH"] = "/nonexistent"
    assert "pulumi is not on PATH" in clone.run("drift", "dev", code=3)


def test_an_issue_is_cut_to_what_an_issue_takes() -> None:
    steps = tuple(Step("ended", "update", f"{NAME}{n}", "t", properties=(Property("a|b", "add"),)) for n in range(3000))
    text = markdown([Drift("dev", Changes({}, steps))])
    assert len(text) < 65_536
    assert text.rstrip().endswith("`fleet drift dev`")
    assert "a\\|b (added)" in text


def test_a_failed_check_weighs_more_than_drift_elsewhere() -> None:
    one = Drift("a", Changes({}, (Step("ended", "delete", NAME, "t"),)))
    failed = Drift("b", Changes({}, (), (Message("error", "expired"),)))
    assert exit_code([one]) == Exit.FAILED
    assert exit_code([one, failed]) == Exit.UNREACHABLE
    assert exit_code([Drift("c", Changes()), Drift("d", None)]) == Exit.OK
