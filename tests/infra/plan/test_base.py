"""Comparing with another commit: its own program and catalog, in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from infra.plan import agents, base, impact
from infra.plan.config import ROOT
from infra.plan.diff import diff
from infra.plan.recording import Job, run

STACK = """\
config:
  ai-agents-platform:cloud: existing
  ai-agents-platform:environment: dev
  ai-agents-platform:data: in-cluster
  ai-agents-platform:layers: [fleet]
  ai-agents-platform:stacks: {foundation: f, services: s}
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with this program, one stack, and one prompt changed after its first commit."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("catalog", "infra"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "Pulumi.yaml").write_text("name: ai-agents-platform\nmain: infra\nstackConfigDir: stacks\n")
    (folder / "stacks").mkdir()
    (folder / "stacks" / "Pulumi.fleet.yaml").write_text(STACK)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def edited(repository: Path) -> str:
    """Change one agent's instructions and say whose."""
    path = sorted(repository.glob("catalog/pools/business/*.yaml"))[0]
    if path.name == "pool.yaml":
        path = sorted(repository.glob("catalog/pools/business/*.yaml"))[1]
    lines = path.read_text().split("\n")
    at = next(index for index, line in enumerate(lines) if line.strip().startswith("instructions:"))
    before = next(line for line in reversed(lines[:at]) if "id:" in line)
    indent = len(lines[at + 1]) - len(lines[at + 1].lstrip())
    lines.insert(at + 1, " " * indent + "One sentence that is new.")
    path.write_text("\n".join(lines))
    return before.partition("id:")[2].strip()


def test_one_changed_prompt_is_exactly_one_agents_change_against_the_commit_before(repository: Path) -> None:
    agent = edited(repository)
    head = run(Job("fleet", root=repository))
    ((old, note),) = base.plans(base.resolve("HEAD", repository), [head], "unknown", root=repository)
    assert note == ""
    assert old is not None
    found = diff(old, head)
    (change,) = agents.changes(old, head)
    assert (change.agent, change.action) == (agent, "changed")
    assert "+One sentence that is new." in change.text
    assert found.of("created", "deleted", "moved") == []
    (word,) = impact.blast_radius(found)
    assert word.startswith("rolls 1 Deployment, ")
    assert git(repository, "worktree", "list").count("\n") == 0


def test_a_stack_that_the_commit_lacks_is_all_new_and_says_so(repository: Path) -> None:
    (repository / "stacks" / "Pulumi.fresh.yaml").write_text(STACK)
    head = run(Job("fresh", root=repository))
    ((old, note),) = base.plans(base.resolve("HEAD", repository), [head], "unknown", root=repository)
    assert old is not None
    assert old.resources == ()
    assert "has no stack fresh yet: everything is new" in note


def test_a_commit_whose_program_fails_gives_no_plan_and_says_why(repository: Path) -> None:
    head = run(Job("fleet", root=repository))
    program = repository / "infra" / "program.py"
    text = program.read_text()
    program.write_text("raise RuntimeError('half a program')\n")
    git(repository, "commit", "-qam", "broken")
    program.write_text(text)
    ((old, note),) = base.plans(base.resolve("HEAD", repository), [head], "unknown", root=repository)
    git(repository, "commit", "-qam", "repaired")
    assert old is None
    assert note.startswith("not compared: the program of ")
    assert "half a program" in note


def test_a_commits_stacks_are_those_it_has_files_of(repository: Path) -> None:
    assert base.stacks_at("HEAD~1", repository) == ["fleet"]


def test_a_reference_that_is_no_commit_says_so(repository: Path) -> None:
    with pytest.raises(base.BaseError, match="'nowhere' is neither a saved plan nor a commit"):
        base.resolve("nowhere", repository)
