"""Owns turning what a job changed into one pull request of its kind: a branch that is replaced, checks that run on it.

A pull request made with a workflow's token starts no workflow by itself (GitHub's guard against recursion), so the
ones that should look at it are started by name. What was changed is the caller's business.
"""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cli.ci.github import Repository, retrying
from cli.errors import CommandError

WORKFLOWS = ("checks.yml", "preview.yml")
"""Those that every pull request runs."""
_IDENTITY = ("-c", "user.name=github-actions[bot]", "-c", "user.email=github-actions[bot]@users.noreply.github.com")


def propose(
    repository: Repository, folder: Path, branch: str, title: str, text: str, paths: Sequence[str], *, token: str
) -> str:
    """Commit what differs under ``paths`` to ``branch``, push it, and have one pull request for it; says what was done.

    Raises CommandError where git or GitHub refuses.
    """
    if not _git(folder, "status", "--porcelain", "--", *paths):
        return "nothing to propose"
    base = str(retrying(lambda: repository.ask("GET", ""))["default_branch"])
    _git(folder, "switch", "--quiet", "--force-create", branch)
    _git(folder, "add", "--", *paths)
    _git(folder, *_IDENTITY, "commit", "--quiet", "--message", title, "--message", text)
    _git(folder, "push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}", token=token)
    number, said = retrying(lambda: _pull_request(repository, branch, base, title, text))
    for workflow in WORKFLOWS:
        inputs = {"pull-request": str(number)} if workflow == "preview.yml" else {}
        repository.ask("POST", f"/actions/workflows/{workflow}/dispatches", {"ref": branch, "inputs": inputs})
    return said


def _pull_request(repository: Repository, branch: str, base: str, title: str, text: str) -> tuple[int, str]:
    owner = repository.name.partition("/")[0]
    for found in repository.pages(f"/pulls?state=open&base={base}&head={owner}:{branch}"):
        repository.ask("PATCH", f"/pulls/{found['number']}", {"title": title, "body": text})
        return int(found["number"]), f"edited {found['html_url']}"
    made = repository.ask("POST", "/pulls", {"title": title, "body": text, "head": branch, "base": base})
    return int(made["number"]), f"made {made['html_url']}"


def _git(folder: Path, *arguments: str, token: str = "") -> str:
    environment = dict(os.environ)
    if token:
        # By environment: an argument is in every list of processes, and a URL is in git's own messages.
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        environment |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
        }
    finished = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, env=environment
    )
    if finished.returncode:
        command = next(each for each in arguments if each in ("status", "switch", "add", "commit", "push"))
        raise CommandError(f"git {command} failed: {finished.stderr.strip() or finished.stdout.strip()}")
    return finished.stdout.strip()
