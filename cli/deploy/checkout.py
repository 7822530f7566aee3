"""Owns asking git what the program is run from; what that permits is guards'."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from cli.deploy.guards import Checkout

MAIN = "main"
REMOTE = f"origin/{MAIN}"


def read(root: Path) -> Checkout | None:
    """The checkout ``root`` is in; None where there is none, or no git."""
    commit = _git(root, "rev-parse", "--short", "HEAD")
    if commit is None:
        return None
    upstream = REMOTE if _git(root, "rev-parse", "--verify", "--quiet", f"{REMOTE}^{{commit}}") is not None else MAIN
    # Every new file by its own name, and none in quotes.
    status = _git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all") or ""
    # Git names files from the top of the repository, which may be above.
    above = (_git(root, "rev-parse", "--show-cdup") or "").strip()
    return Checkout(
        branch=_git(root, "symbolic-ref", "--short", "--quiet", "HEAD"),
        commit=commit.strip(),
        upstream=upstream,
        is_upstream=_git(root, "merge-base", "--is-ancestor", "HEAD", upstream) is not None,
        dirty=tuple(os.path.relpath(root / above / entry[3:], root) for entry in status.split("\0") if entry),
    )


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails, or is not installed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None
