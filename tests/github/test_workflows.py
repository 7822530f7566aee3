"""The workflows hold to the rules: pinned actions, least rights, nothing from outside inside a script."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from infra.plan.config import ROOT
from tests.github.workflows import ACTIONS, FOLDER, WORKFLOWS, document, jobs, steps

PINS = {
    "actions/attest": ("1e69f48acb82d1966a394da916b4c1698aa569d6", "v4.2.2"),
    "actions/checkout": ("3d3c42e5aac5ba805825da76410c181273ba90b1", "v7.0.1"),
    "actions/download-artifact": ("3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c", "v8.0.1"),
    "actions/setup-python": ("5fda3b95a4ea91299a34e894583c3862153e4b97", "v7.0.0"),
    "actions/upload-artifact": ("bbbca2ddaa5d8feaa63e36b76fdaad77386f024f", "v7.0.0"),
    "anchore/scan-action": ("e1165082ffb1fe366ebaf02d8526e7c4989ea9d2", "v7.4.0"),
    "astral-sh/setup-uv": ("20cfd1bf945f4377ade1205e4dbc17946fc9a30d", "v10.0.1"),
    "aws-actions/configure-aws-credentials": ("e6de054238d6b7531b4efff3b6587d9aade6a06c", "v6.2.3"),
    "Azure/login": ("f5d393ae46f8fde4be8b75f32e3fc50e654ad0ca", "v3.0.1"),
    "Azure/use-kubelogin": ("0ce7c36141aa27d4934872cf00b0120804c98a29", "v1.3"),
    "docker/build-push-action": ("53b7df96c91f9c12dcc8a07bcb9ccacbed38856a", "v7.3.0"),
    "docker/login-action": ("4907a6ddec9925e35a0a9e82d7399ccc52663121", "v4.1.0"),
    "docker/setup-buildx-action": ("37fe631027851001ddb9b187196cc803df7f5f0e", "v4.3.0"),
    "google-github-actions/auth": ("7c6bc770dae815cd3e89ee6cdf493a5fab2cc093", "v3.0.0"),
    "google-github-actions/setup-gcloud": ("aa5489c8933f4cc7a4f7d45035b3b1440c9c10db", "v3.0.1"),
    "pulumi/actions": ("8e5e406f4007fca908480587cb9893c07090f58d", "v7.0.0"),
    "pulumi/auth-actions": ("141415910c3beb54e03b48e9057c204c97b956f2", "v2.1.0"),
    "sigstore/cosign-installer": ("6f9f17788090df1f26f669e9d70d6ae9567deba6", "v4.1.2"),
}
"""Every action with the commit that the tag of its release names in its own repository, read from there on 2026-11-23.
Dependabot's pull request changes workflow and table together, or this test says which line is behind."""
ALL = pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: str(path.relative_to(FOLDER)))
EACH = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
_USES = re.compile(r"uses: (?P<action>[^\s@]+)@(?P<commit>\S+) # (?P<version>\S+)$")
_OUTSIDE = ("github.event.", "github.head_ref", "inputs.", "vars.", "matrix.", "steps.", "needs.", "github.ref_name")
"""Expressions whose value somebody else may choose."""


def test_there_is_a_workflow_for_every_part_of_the_delivery() -> None:
    names = {path.stem for path in WORKFLOWS}
    assert names == {"bring-up", "checks", "dependencies", "deploy", "drift", "image", "preview"}


@ALL
def test_every_action_is_pinned_by_the_commit_of_a_release(path: Path) -> None:
    lines = [line.strip().removeprefix("- ") for line in path.read_text("utf-8").splitlines()]
    for line in (line for line in lines if line.startswith("uses:") and "./" not in line):
        found = _USES.fullmatch(line)
        assert found, f"{line}: owner/name@commit # version"
        assert PINS[found["action"]] == (found["commit"], found["version"]), line


def test_every_pin_is_used_and_is_a_whole_commit() -> None:
    text = "".join(path.read_text("utf-8") for path in (*WORKFLOWS, *ACTIONS))
    assert {name for name in PINS if f"uses: {name}@" not in text} == set()
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit, _ in PINS.values())


@ALL
def test_local_actions_and_workflows_exist(path: Path) -> None:
    used = [str(each.get("uses", "")) for each in steps(path)]
    if path in WORKFLOWS:
        used += [str(job.get("uses", "")) for job in jobs(path).values()]
    for name in (each for each in used if each.startswith("./")):
        where = ROOT / name
        assert (where / "action.yml").is_file() or where.is_file(), name


@EACH
def test_a_workflow_has_no_right_and_a_job_says_which_it_needs(path: Path) -> None:
    assert document(path)["permissions"] == {}
    for name, job in jobs(path).items():
        assert job.get("permissions"), f"{name} says no permissions"
        assert "write-all" not in str(job["permissions"])


@EACH
def test_every_job_ends_in_time_and_runs_on_a_stated_image(path: Path) -> None:
    for name, job in jobs(path).items():
        if "uses" in job:
            continue
        assert 0 < job["timeout-minutes"] <= 240, name
        assert "latest" not in job["runs-on"], name


@ALL
def test_no_script_has_an_expression_from_outside_inside_it(path: Path) -> None:
    for each in steps(path):
        inside = re.findall(r"\$\{\{(.*?)\}\}", str(each.get("run", "")))
        assert [part for part in inside if any(name in part for name in _OUTSIDE)] == [], each["run"]


@EACH
def test_a_checkout_leaves_no_token_behind(path: Path) -> None:
    for each in steps(path):
        if str(each.get("uses", "")).startswith("actions/checkout@"):
            assert each["with"]["persist-credentials"] is False


@EACH
def test_no_workflow_runs_foreign_code_with_a_token_that_writes(path: Path) -> None:
    # YAML 1.1 reads the key `on` as True.
    triggers = document(path)[True]
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(triggers)
    if "pull_request" not in triggers:
        return
    for name, job in jobs(path).items():
        writes = {right for right, level in job["permissions"].items() if level == "write"}
        condition = str(job.get("if", ""))
        needed = [jobs(path)[each] for each in _listed(job.get("needs"))]
        guarded = any("head.repo.full_name == github.repository" in str(each.get("if", "")) for each in [job, *needed])
        pushed = "github.event_name != 'pull_request'" in "".join(
            [condition, *(str(each.get("if", "")) for each in needed)]
        )
        assert not writes or guarded or pushed, f"{name} writes {writes} for anybody's pull request"


def _listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def test_the_job_that_comments_runs_the_bases_code() -> None:
    job = jobs(FOLDER / "workflows" / "preview.yml")["comment"]
    assert job["steps"][0]["with"]["ref"].startswith("${{ github.event.pull_request.base.sha ")
    assert "write" not in str(jobs(FOLDER / "workflows" / "preview.yml")["plan"]["permissions"])


def test_credentials_of_clouds_are_the_jobs_own_token_and_no_key() -> None:
    text = "".join(path.read_text("utf-8") for path in (*WORKFLOWS, *ACTIONS))
    assert "secrets." not in text
    for forbidden in ("aws-secret-access-key", "credentials_json", "creds:", "PULUMI_ACCESS_TOKEN"):
        assert forbidden not in text
    for path in WORKFLOWS:
        for name, job in jobs(path).items():
            if any(each.get("uses") == "./.github/actions/cloud" for each in job.get("steps", ())):
                assert job["permissions"]["id-token"] == "write", name
                assert job["environment"], f"{name}: a role trusts an environment, not a branch"


def test_credentials_last_as_long_as_the_job_that_signs_in() -> None:
    action = document(FOLDER / "actions" / "cloud" / "action.yml")
    given = [each["with"] for each in action["runs"]["steps"] if "inputs.duration" in str(each.get("with"))]
    assert [sorted(set(each) & {"role-duration-seconds", "token-expiration"}) for each in given] == [
        ["role-duration-seconds"],
        ["token-expiration"],
    ]
    checked = 0
    for path in WORKFLOWS:
        for name, job in jobs(path).items():
            for each in (each for each in job.get("steps", ()) if each.get("uses") == "./.github/actions/cloud"):
                seconds = int(each["with"].get("duration", action["inputs"]["duration"]["default"]))
                assert job["timeout-minutes"] * 60 <= seconds <= 12 * 3600, f"{path.name}: {name}"
                checked += 1
    assert checked == 3


def _environment(workflow: str, job: str, stage: str) -> str:
    """The environment of a job of the matrix; its expression is of comparisons, && and ||, which Python has too."""
    found = jobs(FOLDER / "workflows" / workflow)[job]["environment"]
    text, inside = re.fullmatch(r"([a-z-]+)\$\{\{(.*)\}\}", found).groups()  # type: ignore[union-attr]
    matrix = SimpleNamespace(environment=stage)
    return str(text + eval(inside.strip().replace("&&", "and").replace("||", "or"), {"matrix": matrix}))


@pytest.mark.parametrize(
    ("stage", "drift", "preview"),
    [
        ("dev", "drift-staging", "preview"),
        ("staging", "drift-staging", "preview-staging"),
        ("prod", "drift-production", "preview-production"),
    ],
)
def test_an_identity_that_reads_state_is_of_one_stage_and_no_pull_request_has_that_of_drift(
    stage: str, drift: str, preview: str
) -> None:
    assert _environment("drift.yml", "drift", stage) == drift
    assert _environment("preview.yml", "engine", stage) == preview


def test_only_the_preview_signs_in_for_a_pull_request_and_drift_looks_from_main_alone() -> None:
    signing_in = {
        path.stem
        for path in WORKFLOWS
        if "pull_request" in document(path)[True] and any("environment" in job for job in jobs(path).values())
    }
    assert signing_in == {"preview"}
    for workflow in ("drift.yml", "deploy.yml"):
        assert jobs(FOLDER / "workflows" / workflow)["targets"]["if"].endswith("&& github.ref == 'refs/heads/main'")


@EACH
def test_what_runs_by_the_clock_asks_nothing_of_an_event_that_says_nothing(path: Path) -> None:
    # The payload of `schedule` has its cron line and no repository: a comparison with its default branch is never true.
    if "schedule" in document(path)[True]:
        assert "github.event.repository" not in path.read_text("utf-8")


def test_a_deployment_waits_and_is_never_cancelled() -> None:
    (job,) = jobs(FOLDER / "workflows" / "bring-up.yml").values()
    assert job["concurrency"]["cancel-in-progress"] is False
    assert "matrix.cloud" in job["concurrency"]["group"]
    deploy = jobs(FOLDER / "workflows" / "deploy.yml")
    assert deploy["production"]["needs"] == ["targets", "staging"]
    assert deploy["production"]["with"]["environment"] == "production"


def test_an_image_is_scanned_before_it_is_signed_named_or_proposed() -> None:
    publish = jobs(FOLDER / "workflows" / "image.yml")["publish"]["steps"]
    order = [each.get("id") or each["uses"].partition("@")[0] for each in publish]
    places = [order.index(name) for name in ("build", "anchore/scan-action", "sign", "actions/attest", "tag")]
    assert places == sorted(places)
    scan = publish[order.index("anchore/scan-action")]["with"]
    assert (scan["severity-cutoff"], scan["fail-build"]) == ("critical", True)
    build = publish[order.index("build")]["with"]
    assert (build["sbom"], build["provenance"]) == (True, "mode=max")
    assert "push-by-digest=true" in build["outputs"]
    assert "tags" not in build
    assert jobs(FOLDER / "workflows" / "image.yml")["pin"]["needs"] == "publish"


def test_what_is_deployed_is_verified_before_it_is_brought_up() -> None:
    (job,) = jobs(FOLDER / "workflows" / "bring-up.yml").values()
    order = [each.get("id") for each in job["steps"]]
    assert order.index("verify") < order.index("up") < order.index("smoke")


def test_the_engine_is_the_version_of_its_library() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    library = next(each for each in groups["infra"] if str(each).startswith("pulumi==")).removeprefix("pulumi==")
    stated = {
        each["with"]["pulumi-version"]
        for path in (*WORKFLOWS, *ACTIONS)
        for each in steps(path)
        if str(each.get("uses", "")).startswith("pulumi/actions@")
    }
    assert stated == {library}


def test_dependabot_sees_every_folder_with_actions() -> None:
    (entry,) = yaml.safe_load((FOLDER / "dependabot.yml").read_text("utf-8"))["updates"]
    assert entry["package-ecosystem"] == "github-actions"
    assert entry["directories"] == ["/", "/.github/actions/*"]


def test_the_images_context_has_what_its_dockerfile_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+)", (ROOT / "runtime" / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    assert sorted(copied) == sorted(kept)
    assert "*" in (ROOT / ".dockerignore").read_text("utf-8").splitlines()


def _actionlint() -> str | None:
    found = shutil.which("actionlint")
    if found or not shutil.which("go"):
        return found
    where = subprocess.run(["go", "env", "GOBIN", "GOPATH"], capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    return shutil.which("actionlint", path=where[0] or f"{where[1]}/bin")


@pytest.mark.skipif(_actionlint() is None, reason="actionlint is not installed; .ci/run does")
def test_actionlint_finds_nothing() -> None:
    found = subprocess.run([_actionlint() or "", "-no-color"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
