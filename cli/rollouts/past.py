"""Owns the catalog's past: its versions by content digest, and what returning to one changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog import registry as catalogs
from catalog.registry import CatalogError, Registry
from cli.errors import CommandError, Exit
from cli.rollouts import history
from cli.rollouts.change import Changes
from cli.rollouts.history import Commit

_SHORTEST = 6


@dataclass(frozen=True)
class Difference:
    """Ids of agents that another version of the catalog has otherwise."""

    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many agents it is about."""
        return len(self.changed) + len(self.added) + len(self.removed)


@dataclass(frozen=True)
class Version:
    """The catalog as a commit left it."""

    commit: Commit
    registry: Registry | None
    """None where this version of the platform cannot load it."""

    @property
    def digest(self) -> str:
        """Its content's digest (64 hexadecimal digits), empty where it cannot be loaded."""
        return self.registry.digest() if self.registry else ""


def difference(before: Registry, after: Registry) -> Difference:
    """What of ``before`` is otherwise in ``after``, by content; a rollout under way is none."""
    old, new = ({agent.id: one.agent_digest(agent.id) for agent in one} for one in (before, after))
    return Difference(
        tuple(sorted(agent for agent in old.keys() & new.keys() if old[agent] != new[agent])),
        tuple(sorted(new.keys() - old.keys())),
        tuple(sorted(old.keys() - new.keys())),
    )


def versions(folder: Path) -> Iterator[Version]:
    """The catalog's versions newest first, as they are asked for: commits that left other files than the one after."""
    tree = ""
    for commit in history.commits(folder):
        if commit.tree != tree:
            yield at(folder, commit)
        tree = commit.tree


def at(folder: Path, commit: Commit) -> Version:
    """The catalog as a commit left it."""
    with history.unpacked(folder, commit.identity) as then:
        try:
            return Version(commit, catalogs.load(then))
        except CatalogError:
            return Version(commit, None)


def before(folder: Path, present: Registry) -> Version:
    """The newest version with other content than the present one. Raises CommandError where there is none."""
    now = present.digest()
    for version in versions(folder):
        if version.registry is not None and version.digest != now:
            return version
    raise CommandError(f"the history of {folder} has no version of the catalog that differs from this one")


def named(folder: Path, name: str) -> Version:
    """The version a commit, or the beginning of a digest, names. Raises CommandError where there is none."""
    try:
        commit = history.resolve(folder, name)
    except CommandError:
        if len(name) < _SHORTEST or set(name) - set("0123456789abcdef"):
            raise
        found = next((version for version in versions(folder) if version.digest.startswith(name)), None)
        if found is None:
            raise CommandError(
                f"--to {name}: neither a commit nor the digest of a version; fleet rollback --list shows them",
                Exit.NOT_FOUND,
            ) from None
        return found
    version = at(folder, next(iter(history.commits(folder, commit)), Commit(commit, "", "", "")))
    if version.registry is None:
        raise CommandError(
            f"--to {name}: this version of the platform cannot load the catalog of {version.commit.short}"
        )
    return version


def restoring(folder: Path, commit: Commit) -> Changes:
    """The changes that make the catalog's files those of a commit; other files in the folder stay."""
    with history.unpacked(folder, commit.identity) as then:
        wanted = {path.relative_to(then): path.read_bytes() for path in sorted(then.rglob("*")) if path.is_file()}
    there = {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.glob("*/*.y*ml"))
        if not path.name.startswith(".")
    }
    for name in wanted.keys() - there.keys():
        if (folder / name).exists():
            there[name] = (folder / name).read_bytes()
    names = sorted(wanted.keys() | there.keys())
    pairs = {folder / name: (there.get(name), wanted.get(name)) for name in names}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}
