"""What jobs deploy, which image stack files name, and the pull request that proposes it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cli.ci import pins
from cli.ci.github import Repository
from cli.ci.matrix import matrix
from cli.ci.pulls import propose
from cli.errors import CommandError
from infra.plan import config
from infra.plan.config import ROOT
from infra.settings import parse
from tests.github.api import NAME, TOKEN, GitHub
from tests.github.conftest import git

IMAGE = "ghcr.io/your-org/ai-agents-runtime@sha256:" + "ab" * 32
OTHER = "ghcr.io/your-org/ai-agents-runtime@sha256:" + "cd" * 32
SHIPPED = sorted(ROOT.glob("stacks/Pulumi.*.yaml"))


def test_a_clouds_stacks_are_one_job() -> None:
    jobs = matrix(["aws-prod-foundation", "aws-prod-fleet", "gcp-prod-fleet"], "prod")["include"]
    assert [(job["cloud"], job["stacks"]) for job in jobs] == [
        ("aws", "aws-prod-foundation aws-prod-fleet"),
        ("gcp", "gcp-prod-fleet"),
    ]
    assert jobs[0]["url"] == "https://api.agents.your-domain.com"
    assert jobs[0]["images"].count("@sha256:") == 1


def test_each_stack_can_be_a_job_and_a_foundation_runs_no_image() -> None:
    jobs = matrix(["aws-prod-foundation", "aws-prod-fleet"], each=True)["include"]
    assert [(job["stacks"], bool(job["images"])) for job in jobs] == [
        ("aws-prod-foundation", False),
        ("aws-prod-fleet", True),
    ]


@pytest.mark.parametrize(
    ("rollout", "images"),
    [
        ({"strategy": "canary", "candidate": {"image": OTHER}}, [IMAGE, OTHER]),
        ({"strategy": "blue-green", "active": "green", "previous": {"image": OTHER}}, [IMAGE, OTHER]),
        ({"strategy": "canary", "candidate": {"maxTokens": 1000}}, [IMAGE]),
        ({"strategy": "rolling"}, [IMAGE]),
    ],
    ids=["candidate", "previous", "another limit", "one version"],
)
def test_the_image_of_a_fleets_other_version_is_verified_too(
    rollout: dict[str, Any], images: list[str], copy: Path
) -> None:
    path = copy / "stacks" / "Pulumi.kind.yaml"
    data = YAML(typ="safe").load(path)
    project = "ai-agents-platform"
    data["config"] |= {f"{project}:images": {"runtime": IMAGE}, f"{project}:fleet": {"rollout": rollout}}
    with path.open("w") as file:
        YAML().dump(data, file)
    command = [sys.executable, "-m", "cli", "ci", "targets", "kind"]
    (job,) = json.loads(subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True).stdout)["include"]
    assert job["images"].split() == images


def test_a_production_stack_among_those_of_staging_stops_the_deployment() -> None:
    with pytest.raises(CommandError, match="aws-prod-fleet is prod, not staging"):
        matrix(["aws-staging", "aws-prod-fleet"], "staging")


def test_targets_are_json_for_a_workflow_and_none_are_no_job() -> None:
    def printed(*arguments: str) -> object:
        command = [sys.executable, "-m", "cli", "ci", "targets", *arguments]
        return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)

    assert printed() == {"include": []}
    assert printed("*-staging", "--environment", "staging") == matrix(
        ["aws-staging", "azure-staging", "gcp-staging"], "staging"
    )


def test_what_these_commands_import_needs_no_cloud_library() -> None:
    code = "import sys, cli.ci.pins, cli.ci.matrix, cli.ci.posts, cli.ci.pulls; sys.exit('pulumi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: path.name)
def test_a_pin_changes_the_image_and_nothing_else(shipped: Path, tmp_path: Path) -> None:
    path = tmp_path / shipped.name
    shutil.copy(shipped, path)
    before = path.read_text()
    said = pins.pin(path, IMAGE)
    after = path.read_text()
    if "foundation" in shipped.name:
        assert (said, after) == ("runs no image", before)
        return
    assert said == "pinned"
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert added == ["  ai-agents-platform:images:", f"    runtime: {IMAGE}"]
    assert [line for line in after.splitlines() if line not in added] == before.splitlines()
    values = YAML(typ="safe").load(after)["config"]
    assert parse({key.partition(":")[2]: value for key, value in values.items()}).images.runtime == IMAGE
    assert pins.pin(path, IMAGE) == "unchanged"


def test_a_pin_keeps_comments_quotes_secrets_and_a_pull_secret(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    text = f"""\
# Ours.
encryptionsalt: v1:abc=:v1:def
config:
  ai-agents-platform:account: "123456789012"   # quoted: it is no number
  ai-agents-platform:images:
    # pinned by the workflow
    runtime: {IMAGE[:-64]}{"cd" * 32}
    pullSecret: ghcr
  ai-agents-platform:database:
    password:
      secure: v1:aaaa:bbbb
"""
    path.write_text(text)
    assert pins.pin(path, IMAGE) == "pinned"
    assert path.read_text() == text.replace("cd" * 32, "ab" * 32)


@pytest.mark.parametrize(
    "image", ["ghcr.io/x/y:latest", "y", "ghcr.io/x/y@sha256:12", "ghcr.io/x/y@sha256:" + "0" * 64]
)
def test_an_image_without_a_digest_of_its_own_is_refused(image: str, tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text("config: {}\n")
    with pytest.raises(CommandError, match=r"digest|placeholder"):
        pins.pin(path, image)
    assert path.read_text() == "config: {}\n"


def test_a_pin_takes_a_section_without_the_projects_name_and_one_that_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text("config:\n  layers: [fleet]\n  images:\n    pullSecret: ghcr\n")
    assert pins.pin(path, IMAGE) == "pinned"
    assert path.read_text() == f"config:\n  layers: [fleet]\n  images:\n    pullSecret: ghcr\n    runtime: {IMAGE}\n"
    path.write_text("config:\n  ai-agents-platform:images:\n")
    assert pins.pin(path, IMAGE) == "pinned"
    assert path.read_text() == f"config:\n  ai-agents-platform:images:\n    runtime: {IMAGE}\n"
    path.write_text("config:\n  layers: [foundation]\n")
    assert pins.pin(path, IMAGE) == "runs no image"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "config: must be a mapping"),
        (b"config: [a]\n", "config: must be a mapping"),
        (b"config:\n  images: ghcr.io/x\n", "images: is a section: write its keys under it"),
        (b"config:\n  ai-agents-platform:images: [x]\n", "ai-agents-platform:images: is a section"),
        (b"config:\n  images: {}\n  ai-agents-platform:images: {}\n", "has both images and ai-agents-platform:images"),
        (b"config:\n  layers: fleet\n", "layers: must be a list"),
        (b"config:\n  a: [1\n", "line 3: not readable as YAML"),
        (b"config:\n  a: hidden1\n  a: hidden2\n", 'line 3: not readable as YAML: found duplicate key "a"$'),
        (b"config:\n  a: \x00\n", "not readable as YAML"),
        (b"config:\n  a: 2024-02-30\n", "not readable as YAML"),
        (b"config:\n  a: !!int hidden\n", "not readable as YAML"),
        (b"config: !!omap hidden\n", "not readable as YAML"),
        (b"config:\n  a: \xff\n", "not readable as UTF-8"),
    ],
)
def test_a_file_that_is_not_of_its_form_is_refused_with_its_name_and_stays(
    content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    path.write_bytes(content)
    with pytest.raises(CommandError, match=said) as refused:
        pins.pin(path, IMAGE)
    assert str(refused.value).startswith("Pulumi.x.yaml: ")
    assert "hidden" not in str(refused.value)
    assert path.read_bytes() == content


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with an origin."""
    origin, folder = tmp_path / "origin.git", tmp_path / "clone"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", str(origin)], check=True)
    subprocess.run(["git", "clone", "--quiet", str(origin), str(folder)], check=True, capture_output=True)
    (folder / "stacks").mkdir()
    (folder / "stacks" / "a").write_text("1")
    (folder / "other").write_text("1")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "base")
    git(folder, "push", "--quiet", "origin", "HEAD:main")
    return folder


def proposed(github: GitHub, folder: Path, title: str = "New image") -> str:
    with Repository(github.url, NAME, TOKEN) as repository:
        return propose(repository, folder, "automation/image", title, "Because.", ["stacks"], token=TOKEN)


def test_a_change_becomes_one_pull_request_and_its_workflows_are_started(github: GitHub, clone: Path) -> None:
    (clone / "stacks" / "a").write_text("2")
    (clone / "other").write_text("2")
    assert proposed(github, clone).startswith("made ")
    (pull,) = github.pulls
    assert (pull["head"], pull["base"], pull["title"]) == ("automation/image", "main", "New image")
    assert git(clone, "show", "--name-only", "--format=", "origin/automation/image") == "stacks/a"
    assert github.dispatched == [
        ("checks.yml", {"ref": "automation/image", "inputs": {}}),
        ("preview.yml", {"ref": "automation/image", "inputs": {"pull-request": str(pull["number"])}}),
    ]


def test_a_newer_change_replaces_the_branch_and_edits_the_pull_request(github: GitHub, clone: Path) -> None:
    (clone / "stacks" / "a").write_text("2")
    proposed(github, clone)
    git(clone, "switch", "--quiet", "--detach", "origin/main")
    (clone / "stacks" / "a").write_text("3")
    assert proposed(github, clone, "Newer image").startswith("edited ")
    assert [pull["title"] for pull in github.pulls] == ["Newer image"]
    assert git(clone, "rev-list", "--count", "origin/main..origin/automation/image") == "1"
    assert git(clone, "show", "origin/automation/image:stacks/a") == "3"


def test_nothing_changed_is_nothing_proposed(github: GitHub, clone: Path) -> None:
    (clone / "other").write_text("2")
    assert proposed(github, clone) == "nothing to propose"
    assert (github.requests, github.pulls) == ([], [])


def test_a_push_that_is_refused_says_so_without_the_token(github: GitHub, clone: Path) -> None:
    (clone / "stacks" / "a").write_text("2")
    git(clone, "remote", "set-url", "origin", str(clone / "nowhere"))
    with pytest.raises(CommandError, match="git push failed") as refused:
        proposed(github, clone)
    assert TOKEN not in str(refused.value)


def test_the_stacks_that_are_shipped_can_all_be_targets() -> None:
    names = config.stacks(config.project())
    assert {name for job in matrix(names)["include"] for name in job["stacks"].split()} == set(names)
