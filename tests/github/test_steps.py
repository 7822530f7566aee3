"""Steps of the workflows that need no hosted runner, as its shell runs them; what they start is there or named a stand-in."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.deploy import checkout
from cli.deploy.guards import Checkout
from tests.github.api import GitHub
from tests.github.conftest import git
from tests.github.workflows import Artifacts, Ran, filled, run, step, using

IMAGE = "ghcr.io/your-org/ai-agents-runtime@sha256:" + "ab" * 32
UPLOAD, DOWNLOAD = "actions/upload-artifact", "actions/download-artifact"


@contextmanager
def gateway(statuses: list[int]) -> Iterator[tuple[str, list[str]]]:
    """Answers one status after another, the last one for ever; what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


@pytest.mark.parametrize(("statuses", "passes", "tries"), [([503, 404, 200], True, 3), ([503], False, 4)])
def test_the_smoke_test_waits_for_the_gateway_and_fails_where_it_does_not_get_well(
    statuses: list[int], passes: bool, tries: int, tmp_path: Path
) -> None:
    with gateway(statuses) as (url, asked):
        variables = {"URL": url, "TRIES": "3", "PAUSE": "1"}
        ran = run(step("bring-up.yml", "up", "smoke"), tmp_path, variables, tmp_path)
    assert (ran.code == 0) is passes, ran.said
    assert asked == ["/health"] * tries


def test_the_deployments_targets_are_jobs_and_a_wrong_environment_stops_them(copy: Path, tmp_path: Path) -> None:
    found = step("deploy.yml", "targets", "targets")
    ran = run(found, copy, {"STAGING": "", "PRODUCTION": "aws-dedicated-*"}, tmp_path)
    assert ran.code == 0, ran.said
    assert json.loads(ran.outputs["staging"]) == {"include": []}
    (job,) = json.loads(ran.outputs["production"])["include"]
    assert job["stacks"] == "aws-dedicated-01 aws-dedicated-02"
    refused = run(found, copy, {"STAGING": "aws-dedicated-01", "PRODUCTION": ""}, tmp_path)
    assert refused.code == 2
    assert "aws-dedicated-01 is prod, not staging" in refused.said
    assert refused.outputs == {}


def test_the_engine_is_asked_about_every_stack_by_itself(copy: Path, tmp_path: Path) -> None:
    ran = run(step("preview.yml", "targets", "targets"), copy, {"STACKS": "aws-dedicated-* kind"}, tmp_path)
    stacks = [job["stacks"] for job in json.loads(ran.outputs["matrix"])["include"]]
    assert stacks == ["aws-dedicated-01", "aws-dedicated-02", "kind"]


def test_the_image_is_pinned_and_proposed(copy: Path, tmp_path: Path, github: GitHub) -> None:
    origin = tmp_path / "origin.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch", "main", str(origin))
    git(copy, "remote", "add", "origin", str(origin))
    git(copy, "push", "--quiet", "origin", "main")
    pinned = run(step("image.yml", "pin", "pin"), copy, {"IMAGE": IMAGE, "STACKS": "kind  aws-dedicated-*"}, tmp_path)
    assert pinned.said.splitlines() == [
        "stacks/Pulumi.kind.yaml: pinned",
        "stacks/Pulumi.aws-dedicated-01.yaml: pinned",
        "stacks/Pulumi.aws-dedicated-02.yaml: pinned",
    ]
    proposed = run(step("image.yml", "pin", "propose"), copy, github.environment | {"IMAGE": IMAGE}, tmp_path)
    assert proposed.code == 0, proposed.said
    (pull,) = github.pulls
    assert pull["title"] == "Stacks run the image sha256:" + "ab" * 32
    assert IMAGE in git(copy, "show", "origin/automation/image:stacks/Pulumi.kind.yaml")
    assert [name for name, _ in github.dispatched] == ["checks.yml", "preview.yml"]


def test_a_registrys_name_is_in_small_letters(tmp_path: Path) -> None:
    ran = run(step("image.yml", "publish", "name"), tmp_path, {"GITHUB_REPOSITORY_OWNER": "Your-Org"}, tmp_path)
    assert ran.outputs["name"] == "ghcr.io/your-org/ai-agents-runtime"


Standin = Callable[[str, str], dict[str, str]]


@pytest.fixture
def standin(tmp_path: Path) -> Standin:
    """Put a script first on PATH in place of a program that is not here."""

    def make(name: str, script: str) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
        return {"PATH": f"{folder}:{os.environ['PATH']}"}

    return make


def test_every_image_is_verified_and_one_that_is_not_signed_stops_the_deployment(
    tmp_path: Path, standin: Standin
) -> None:
    # A stand-in of cosign: knows one signed image, and keeps what it was asked.
    variables = standin("cosign", f'echo "$@" >> {tmp_path}/asked\ncase "$*" in *unsigned*) exit 1 ;; esac')
    workflow = "https://github.com/your-org/platform/.github/workflows/image.yml@refs/heads/main"
    found = step("bring-up.yml", "up", "verify")
    assert run(found, tmp_path, variables | {"IMAGES": f"{IMAGE} other", "WORKFLOW": workflow}, tmp_path).code == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[-1] for line in asked] == [IMAGE, "other"]
    assert all(f"--certificate-identity {workflow} " in line for line in asked)
    assert run(found, tmp_path, variables | {"IMAGES": "unsigned other", "WORKFLOW": workflow}, tmp_path).code == 1
    assert len((tmp_path / "asked").read_text().splitlines()) == 3
    assert run(found, tmp_path, variables | {"IMAGES": "", "WORKFLOW": workflow}, tmp_path).code == 0


def looked(folder: Path, code: int, report: str) -> Ran:
    """The step that looks for drift, in an empty folder, with a stand-in of the command: it is about its exit codes."""
    folder.mkdir()
    (folder / "fleet").write_text(f'#!/bin/sh\nprintf %s "{report}"\nexit {code}\n')
    (folder / "fleet").chmod(0o755)
    return run(step("drift.yml", "drift", "drift"), folder, {"STACKS": "kind"}, folder)


@pytest.mark.parametrize(
    ("code", "report", "ends", "left"),
    [(0, "", 0, ["clean.md"]), (1, "One resource.", 0, ["drifted.md"]), (1, "", 1, []), (3, "x", 3, [])],
)
def test_only_a_report_of_drift_is_drift(code: int, report: str, ends: int, left: list[str], tmp_path: Path) -> None:
    ran = looked(tmp_path / "job", code, report)
    assert ran.code == ends
    assert [each.name for each in (tmp_path / "job" / "dist" / "drift").iterdir()] == left
    assert ran.summary == (report if code else "Nothing has drifted in kind.\n")


def test_drift_opens_an_issue_that_a_clean_night_closes(copy: Path, tmp_path: Path, github: GitHub) -> None:
    for night, (code, report, state) in enumerate([(1, "One resource.", "open"), (0, "", "closed")]):
        artifacts = Artifacts(tmp_path / f"artifacts-{night}")
        # The report of another cloud's job, which this one must not take for its own.
        for cloud, drifts in (("aws", (code, report)), ("gcp", (1 - code, "Theirs."))):
            job = tmp_path / f"{cloud}-{night}"
            assert looked(job, *drifts).code == 0
            expressions = {"matrix.cloud": cloud, "matrix.environment": "prod"}
            artifacts.upload(filled(using("drift.yml", "drift", UPLOAD)["with"], expressions), job)
        shutil.rmtree(copy / "dist", ignore_errors=True)
        expressions = {"matrix.cloud": "aws", "matrix.environment": "prod"}
        artifacts.download(filled(using("drift.yml", "issue", DOWNLOAD)["with"], expressions), copy)
        ran = run(step("drift.yml", "issue", "issue"), copy, github.environment | {"SUBJECT": "aws-prod"}, tmp_path)
        assert ran.code == 0, ran.said
        (issue,) = github.issues
        assert (issue["title"], issue["state"]) == ("Drift: aws-prod", state)
        assert (report or "Nothing has drifted in kind.") in issue["body"]


def test_without_a_report_the_issue_stays_and_its_job_fails(copy: Path, tmp_path: Path, github: GitHub) -> None:
    inputs = filled(
        using("drift.yml", "issue", DOWNLOAD)["with"], {"matrix.cloud": "aws", "matrix.environment": "prod"}
    )
    with pytest.raises(FileNotFoundError):
        Artifacts(tmp_path).download(inputs, copy)
    ran = run(step("drift.yml", "issue", "issue"), copy, github.environment | {"SUBJECT": "aws-prod"}, tmp_path)
    assert ran.code == 1
    assert "its issue stays as it is" in ran.said
    assert github.requests == []


def test_a_previews_report_is_where_the_comment_looks_for_it(tmp_path: Path, copy: Path, github: GitHub) -> None:
    report = tmp_path / "plan" / "dist" / "preview" / "comment.md"
    report.parent.mkdir(parents=True)
    report.write_text("What changes.")
    artifacts = Artifacts(tmp_path / "artifacts")
    artifacts.upload(filled(using("preview.yml", "plan", UPLOAD)["with"], {}), tmp_path / "plan")
    artifacts.download(filled(using("preview.yml", "comment", DOWNLOAD)["with"], {}), copy)
    variables = github.environment | {"PULL_REQUEST": "5", "FLEET_CI_COMMIT": "abc123"}
    assert run(step("preview.yml", "comment", "comment"), copy, variables, tmp_path).code == 0
    assert "What changes." in github.comments[0]["body"]


def test_what_sign_ins_leave_in_a_checkout_does_not_make_it_dirty(copy: Path) -> None:
    """Only google-github-actions/auth leaves anything: a name of 16 digits at the top (its generateCredentialsFilename)."""
    (copy / "gha-creds-0123456789abcdef.json").write_text("{}")
    assert checkout.read(copy) == Checkout("main", git(copy, "rev-parse", "--short", "HEAD"), "main", True)
    (copy / "stacks" / "gha-creds-0123456789abcdef.json").write_text("{}")
    found = checkout.read(copy)
    assert found is not None
    assert found.dirty == ("stacks/gha-creds-0123456789abcdef.json",)


def test_dependencies_are_proposed_without_installing_what_was_just_locked(
    copy: Path, tmp_path: Path, github: GitHub
) -> None:
    origin = tmp_path / "origin.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch", "main", str(origin))
    git(copy, "remote", "add", "origin", str(origin))
    git(copy, "push", "--quiet", "origin", "main")
    lock = copy / "requirements" / "dev.txt"
    lock.write_text(lock.read_text() + "# newer\n")
    found = step("dependencies.yml", "update", "propose")
    assert "./fleet" not in found["run"]
    ran = run(found, copy, github.environment, tmp_path)
    assert ran.code == 0, ran.said
    assert git(copy, "show", "--name-only", "--format=", "origin/automation/dependencies") == "requirements/dev.txt"


def test_without_a_whole_report_or_with_one_too_long_the_comment_is_the_summary(tmp_path: Path) -> None:
    found = step("preview.yml", "plan", "summary")
    folder = tmp_path / "dist" / "preview"
    folder.mkdir(parents=True)
    (folder / "comment.md").write_text("short")
    assert run(found, tmp_path, {}, tmp_path).summary == "short"
    (folder / "whole.md").write_text("x" * 1_000_000)
    assert run(found, tmp_path, {}, tmp_path).summary == "short"
    (folder / "whole.md").write_text("whole")
    assert run(found, tmp_path, {}, tmp_path).summary == "whole"
