"""Owns asking git what files were: a folder as a commit had it, when the catalog changed. Never touches the work tree."""

from __future__ import annotations

import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from cli.errors import CommandError, Exit


@dataclass(frozen=True)
class Commit:
    """A commit that changed a folder."""

    identity: str
    date: str
    subject: str
    tree: str
    """The folder's own content: commits with the same have the same files."""

    @property
    def short(self) -> str:
        """The identity as people write it."""
        return self.identity[:10]


def resolve(folder: Path, reference: str) -> str:
    """The commit a reference means. Raises CommandError where there is none, or no repository."""
    found = _git(folder, "rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}", check=False)
    if found.returncode == 0:
        return found.stdout.decode().strip()
    if _git(folder, "rev-parse", "--git-dir", check=False).returncode:
        raise CommandError(f"{folder} is in no git repository: what was before is read from its history")
    raise CommandError(f"{reference!r} is no commit of this repository", Exit.USAGE)


def is_past(folder: Path, commit: str) -> bool:
    """Whether the branch itself was at a commit: one that a merge brought in was nobody's but its own branch's."""
    return commit.encode() in _git(folder, "rev-list", "--first-parent", "HEAD").stdout.split()


@contextmanager
def unpacked(folder: Path, commit: str) -> Iterator[Path]:
    """A temporary folder as ``folder`` was in a commit. Raises CommandError where it was not there."""
    archived = _git(folder, "archive", "--format=tar", commit, ".", check=False)
    if archived.returncode:
        raise CommandError(f"{commit[:10]} has no {folder.name}: {archived.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory(prefix="fleet-history-") as temporary:
        made = Path(temporary) / folder.name
        made.mkdir()
        with tarfile.open(fileobj=BytesIO(archived.stdout)) as tar:
            tar.extractall(made, filter="data")
        yield made


def commits(folder: Path, reference: str = "HEAD") -> Iterator[Commit]:
    """Commits by which the branch changed a folder, newest first, as they are asked for; a merge is one of them."""
    # NUL ends what git prints: a subject may hold what Python takes for the end of a line.
    listed = _git(folder, "log", "-z", "--first-parent", "--format=%H%x00%cs%x00%s", reference, "--", ".").stdout
    fields = iter(listed.decode(errors="replace").split("\0"))
    for identity, date, subject in zip(fields, fields, fields, strict=False):
        tree = _git(folder, "rev-parse", "--verify", "--quiet", f"{identity}:./", check=False).stdout.decode().strip()
        if tree:
            yield Commit(identity, date, subject, tree)


def uncommitted(folder: Path) -> list[str]:
    """Files of a folder that are not as in HEAD, new ones too."""
    listed = _git(
        folder, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", "."
    ).stdout.decode()
    return [entry[3:] for entry in listed.split("\0") if entry]


def patch(folder: Path) -> bytes:
    """What differs from HEAD in a folder, new files too, as `git apply` takes it; the index stays as it is."""
    with tempfile.TemporaryDirectory(prefix="fleet-patch-") as temporary:
        index = {"GIT_INDEX_FILE": str(Path(temporary) / "index")}
        _git(folder, "read-tree", "HEAD", environment=index)
        _git(folder, "add", "--all", ".", environment=index)
        return _git(folder, "diff", "--cached", "--binary", "HEAD", "--", ".", environment=index).stdout


def since(path: Path) -> str:
    """Since when the rollout in a file is as it is, in words; empty where git does not know."""
    changed = _git(path.parent, "status", "--porcelain", "--", path.name, check=False)
    if changed.returncode or changed.stdout.strip():
        return "not committed yet" if not changed.returncode else ""
    pattern = r"^\s*(rollout|strategy|active|canary_percent|canaryPercent|candidate|previous):"
    found = _git(path.parent, "log", "-1", "--format=%cs", f"-G{pattern}", "--", path.name, check=False)
    date = found.stdout.decode().strip()
    return f"since {date}" if date else ""


def _git(
    folder: Path, *arguments: str, check: bool = True, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            check=False,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError:
        raise CommandError("git is not on PATH: what was before is read from its history") from None
    if check and done.returncode:
        raise CommandError(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done
