"""Catalogs to roll out in: one domain of the shipped catalog, small enough to load at once, as it is and as it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from catalog.registry import POOLS_FOLDER
from cli.rollouts import change, targets
from cli.rollouts.agents import CatalogTarget
from cli.rollouts.change import Asked, Changes

AGENT = "business_plan_agent_009"


@dataclass(frozen=True)
class Catalog:
    """A catalog of one domain, and the same folder as a commit had it."""

    folder: Path
    then: Path
    file: Path
    pool: Path

    def edit(self, change: Callable[[str], str]) -> None:
        """Change the domain's file as an author does."""
        self.file.write_bytes(change(self.file.read_bytes().decode()).encode())

    def target(self, name: str) -> CatalogTarget:
        """What a name means now."""
        found = targets.find(name, self.folder)
        assert isinstance(found, CatalogTarget)
        return found

    def start(self, name: str, strategy: str = "canary", **terms: int) -> Changes:
        """Start a rollout of what differs, written."""
        changes = change.start(self.target(name), self.then, Asked(strategy, **terms), "HEAD")  # type: ignore[arg-type]
        change.write(changes)
        return changes

    def move(self, name: str, step: Callable[[CatalogTarget], Changes]) -> None:
        """Take one step, written."""
        change.write(step(self.target(name)))


def of_domain(folder: Path, pool: str, domain: str) -> Catalog:
    """A catalog of one shipped domain."""
    for which in ("now", "then"):
        (folder / which / "pools" / pool).mkdir(parents=True)
        for name in ("pool.yaml", f"{domain}.yaml"):
            shutil.copy(POOLS_FOLDER / pool / name, folder / which / "pools" / pool / name)
    now = folder / "now" / "pools"
    return Catalog(now, folder / "then" / "pools", now / pool / f"{domain}.yaml", now / pool / "pool.yaml")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """The domain business/strategy."""
    return of_domain(tmp_path, "business", "strategy")
