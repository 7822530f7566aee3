"""Owns getting the plan a diff is against: a saved file, or another commit's own program and catalog.

The commit is unpacked with `git archive` into a temporary folder; nothing in the repository changes.
"""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path

from infra.plan import diff
from infra.plan.config import PROJECT_FILE, ROOT, ConfigError, project, stacks
from infra.plan.plan import Plan
from infra.plan.recording import PROGRAM, Job, Mode, PlanError, run_all

_PATHS = ("catalog", "infra", "stacks", PROJECT_FILE)


class BaseError(Exception):
    """The base of a comparison cannot be had; the message says why."""


def resolve(reference: str, root: Path = ROOT) -> str:
    """The commit a reference means, shortened. Raises BaseError where there is none."""
    found = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "--short", "--verify", f"{reference}^{{commit}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise BaseError(f"{reference!r} is neither a saved plan nor a commit of this repository")
    return found.stdout.strip()


@contextmanager
def unpacked(commit: str, root: Path = ROOT) -> Iterator[Path]:
    """A temporary folder with the program, catalog and stacks of a commit."""
    with tempfile.TemporaryDirectory(prefix="fleet-base-") as folder:
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-tree", "--name-only", commit, "--", *_PATHS],
            capture_output=True,
            text=True,
            check=True,
        )
        present = listed.stdout.split()
        if present:
            archive = subprocess.run(
                ["git", "-C", str(root), "archive", "--format=tar", commit, "--", *present],
                capture_output=True,
                check=True,
            )
            with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
                tar.extractall(folder, filter="data")
        yield Path(folder)


def plans(
    commit: str, heads: Iterable[Plan], mode: Mode, *, root: Path = ROOT, program: str = PROGRAM
) -> list[tuple[Plan | None, str]]:
    """The plans of ``heads``' stacks as of a commit, each with a note where it is empty or there is none.

    A stack or program that the commit does not have yet gives an empty plan: everything is new then. Where the
    commit's own program fails there is none: the head may well be what repairs it.
    """
    listed = list(heads)
    with unpacked(commit, root) as folder:
        if not (folder / "infra" / "program.py").is_file():
            return [(diff.empty(head), f"{commit} has no program yet: everything is new") for head in listed]
        try:
            there = set(stacks(project(folder)))
        except ConfigError:
            there = set()
        jobs = [Job(head.stack, mode, program=program, root=folder) for head in listed if head.stack in there]
        found = {job.stack: result for job, result in zip(jobs, run_all(jobs), strict=True)}
    return [_answer(head, found.get(head.stack), commit) for head in listed]


def _answer(head: Plan, result: Plan | PlanError | None, commit: str) -> tuple[Plan | None, str]:
    if result is None:
        return diff.empty(head), f"{commit} has no stack {head.stack} yet: everything is new"
    if isinstance(result, PlanError):
        return None, f"not compared: the program of {commit} fails for {head.stack}: {result}"
    return result, ""


def stacks_at(commit: str, root: Path = ROOT) -> list[str]:
    """Names of the stacks that a commit describes, in the folder this checkout has them in."""
    folder = project(root).stacks.relative_to(root)
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-tree", "--name-only", commit, "--", f"{folder}/"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = (Path(line).name for line in listed.stdout.splitlines())
    return sorted(
        name.removeprefix("Pulumi.").removesuffix(".yaml") for name in names if fnmatch(name, "Pulumi.*.yaml")
    )
