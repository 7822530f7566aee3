"""A checkout of its own to roll out in: this tree's program and catalog in a fresh repository, and its commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from infra.plan.config import ROOT

PARTS = ("catalog", "cli", "infra", "runtime", "stacks", "Pulumi.yaml")


@dataclass(frozen=True)
class Checkout:
    """The repository's folder; commands run its own program."""

    root: Path
    state: Path

    @property
    def pools(self) -> Path:
        """Its catalog."""
        return self.root / "catalog" / "pools"

    def fleet(self, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command, which must end with ``code``."""
        kept = {name: value for name, value in os.environ.items() if name not in ("CATALOG_PATH", "KUBECONFIG")}
        finished = subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            env={**kept, "FLEET_STATE": str(self.state), **environment},
            stdin=subprocess.DEVNULL,
        )
        assert finished.returncode == code, finished.stdout + finished.stderr
        return finished

    def git(self, *arguments: str) -> str:
        """Run git; what it prints."""
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout

    def commit(self, subject: str) -> str:
        """Commit everything; the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", subject)
        return self.git("rev-parse", "HEAD").strip()

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace the first ``old`` in a file, which must be there."""
        text = (self.root / path).read_text()
        assert old in text
        (self.root / path).write_text(text.replace(old, new, 1))


def made(folder: Path) -> Checkout:
    """A fresh checkout in ``folder``, committed."""
    root = folder / "checkout"
    root.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / part)
    (root / ".gitignore").write_text("__pycache__/\n")
    found = Checkout(root, folder / "state")
    found.git("init", "--quiet", "--initial-branch", "main")
    found.commit("First")
    return found
