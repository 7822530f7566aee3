"""A stand-in GitHub, and copies of this repository for the steps to run in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.plan.config import ROOT
from tests.github.api import GitHub, serving

KEPT = ("kind", "aws-dedicated-01", "aws-dedicated-02")
"""Stacks of a copy: pooled, the shard that holds business_plan_agent_009, and one that does not."""


@pytest.fixture
def github() -> Iterator[GitHub]:
    """A repository at a stand-in GitHub."""
    with serving() as found:
        yield found


def git(folder: Path, *arguments: str) -> str:
    """git, as somebody."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


Copy = Callable[[str], Path]


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this working copy would commit, with three stacks, as a repository with one commit on main."""
    folder = tmp_path_factory.mktemp("tree")
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        stack = name.removeprefix("stacks/Pulumi.").removesuffix(".yaml")
        needed = name.partition("/")[0] in ("catalog", "cli", "infra", "requirements", "runtime", "stacks")
        if not (needed or "/" not in name) or (name.startswith("stacks/Pulumi.") and stack not in KEPT):
            continue
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    # The wrapper takes this environment as its own: nothing is installed.
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (binaries / "python").chmod(0o755)
    shutil.copytree(folder / "requirements", folder / ".venv" / ".fleet")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "base")
    return folder


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    """A repository of one test's own."""
    folder = tmp_path / "copy"
    shutil.copytree(tree, folder, symlinks=True)
    return folder


def merged(folder: Path) -> None:
    """Commit what was changed on a branch and check out its merge into main, as a pull request is."""
    git(folder, "switch", "--quiet", "--create", "change")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "change")
    git(folder, "switch", "--quiet", "--detach", "main")
    git(folder, "merge", "--quiet", "--no-ff", "--message", "merge", "change")
