"""What git says the program is run from, in real repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cli.deploy import checkout
from cli.deploy.guards import Allowed, from_elsewhere


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, text: str) -> None:
    (folder / "file").write_text(text)
    git(folder, "add", "file")
    git(folder, "commit", "-m", text)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone of a remote whose main has one commit."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    origin.mkdir()
    git(origin, "init", "--initial-branch", "main")
    commit(origin, "one")
    git(tmp_path, "clone", str(origin), str(clone))
    return clone


def refused(folder: Path) -> str:
    return "".join(from_elsewhere(["prod"], checkout.read(folder), Allowed()))


def test_main_as_the_remote_has_it_is_fine(repository: Path) -> None:
    assert refused(repository) == ""


def test_a_changed_and_a_new_file_make_it_dirty(repository: Path) -> None:
    (repository / "file").write_text("changed")
    (repository / "new").touch()
    assert "files differ from the commit: file, new" in refused(repository)


def test_files_are_named_one_by_one_as_they_are_called(repository: Path) -> None:
    (repository / "made").mkdir()
    for name in ("ä b\u2028c", "made/x", "made/y"):
        (repository / name).touch()
    found = checkout.read(repository)
    assert found is not None
    assert sorted(found.dirty) == ["made/x", "made/y", "ä b\u2028c"]


def test_files_are_named_from_the_project_where_that_is_a_folder_of_a_repository(repository: Path) -> None:
    project = repository / "platform"
    project.mkdir()
    (project / "new").touch()
    (repository / "file").write_text("changed")
    found = checkout.read(project)
    assert found is not None
    assert found.dirty == ("../file", "new")


def test_a_commit_that_is_not_pushed_is_refused(repository: Path) -> None:
    commit(repository, "two")
    assert "origin/main does not have commit" in refused(repository)


def test_another_branch_is_refused_even_at_the_same_commit(repository: Path) -> None:
    git(repository, "switch", "-c", "feature")
    assert "the branch is feature, not main" in refused(repository)


def test_a_detached_head_counts_by_its_commit(repository: Path) -> None:
    git(repository, "checkout", "--detach")
    assert refused(repository) == ""
    commit(repository, "elsewhere")
    assert "origin/main does not have commit" in refused(repository)


def test_without_a_remote_main_itself_counts(tmp_path: Path) -> None:
    git(tmp_path, "init", "--initial-branch", "main")
    commit(tmp_path, "one")
    assert refused(tmp_path) == ""


def test_a_folder_without_git_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "no git checkout" in refused(tmp_path)
