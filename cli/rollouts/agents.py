"""Owns the rollouts of the catalog: where an agent and a pool are written, and what their versions are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from catalog import registry as catalogs
from catalog import versions
from catalog.registry import CatalogError, Registry, dump_agent
from catalog.rollout import AgentChanges
from catalog.schema import AgentSpec, PoolSpec
from cli.errors import CommandError
from cli.rollouts.moves import Before, Name, Slot
from cli.rollouts.target import Files, Meaning, Target, keys_before
from cli.rollouts.text import Block, New

AGENT_FIELDS = tuple(AgentChanges.model_fields)
POOL_FIELDS = ("resources", "concurrency")
ABSENT: Mapping[str, str] = {"model": "{}", "resources": "{}", "cache_seconds": "0"}
"""What states an agent's default, so that a version can have it where the other one has something else."""


@dataclass(frozen=True)
class CatalogTarget(Target):
    """An agent or a pool of the catalog in ``folder``."""

    folder: Path = Path()
    registry: Registry = field(default_factory=lambda: Registry({}, {}, ()))

    @cached_property
    def pool(self) -> str:
        """Its pool, or itself."""
        return self.name if self.kind == "pool" else self.registry.require(self.name).pool

    @cached_property
    def agents(self) -> tuple[AgentSpec, ...]:
        """The agents whose versions it decides: one, or those the pool serves."""
        if self.kind == "agent":
            return (self.registry.require(self.name),)
        return tuple(agent for agent in self.registry.pool(self.pool) if agent.isolation == "pooled")

    def owner(self) -> Block | New:
        """See Target."""
        return (
            self.files.document(pool_file(self.folder, self.pool)).root
            if self.kind == "pool"
            else self._entry(self.name)
        )

    def slot(self, name: Name) -> Slot:
        """See Target."""
        if self.kind == "pool" and name[0] != "agents":
            absent = "{}" if name[0] == "resources" else str(PoolSpec.model_fields["concurrency"].default)
            return Slot(self.owner(), name[0], name, absent)
        key = name[-1]
        before = AGENT_FIELDS[: AGENT_FIELDS.index(key)] if key in AGENT_FIELDS else ()
        return Slot(self._entry(name[1] if self.kind == "pool" else self.name), key, name, ABSENT.get(key, ""), before)

    def _entry(self, agent: str) -> Block:
        return entry_of(self.files, self.folder, self.registry.require(agent))

    def meaning(self, registry: Registry) -> Meaning:
        """What a catalog says of it."""
        touched = {agent.id for agent in self.agents}
        bare = dict.fromkeys((*AGENT_FIELDS, "rollout"))
        rest = [agent.model_copy(update=bare) if agent.id in touched else agent for agent in registry]
        pools = [
            pool.model_copy(update=dict.fromkeys((*POOL_FIELDS, "rollout"))) if self.kind == "pool" and pool.name == self.pool else pool
            for pool in registry.pools.values()
        ]  # fmt: skip
        serving, other = self.versions(registry)
        return Meaning(serving, other, (rest, pools))

    def versions(self, registry: Registry) -> tuple[object, object]:
        """Content of both versions by a catalog; None where there is no other."""
        if self.kind == "agent":
            agent = registry.require(self.name)
            other = agent.rollout.other if agent.rollout else None
            return dump_agent(agent), dump_agent(agent.changed(other)) if other else None
        pool = registry.pools[self.pool]
        members = [agent for agent in registry.pool(self.pool) if agent.isolation == "pooled"]
        found = versions.workloads(members, {self.pool: pool}, is_dedicated=lambda _: False)
        if not found:
            return None, None
        return content(found[0].serving), content(found[0].other)

    def as_before(self, reference: Registry, names: Iterable[Name]) -> object:
        """Content of what serves once the named fields are again as in ``reference``."""
        wanted: dict[str, dict[str, Any]] = {}
        own: dict[str, Any] = {}
        for name in names:
            if name[0] == "agents" or self.kind == "agent":
                agent = name[1] if self.kind == "pool" else self.name
                wanted.setdefault(agent, {})[name[-1]] = getattr(reference.require(agent), name[-1])
            else:
                own[name[0]] = getattr(reference.pools[self.pool], name[0])
        made = [a.changed(AgentChanges(**wanted[a.id])) if a.id in wanted else a for a in self.agents]
        if self.kind == "agent":
            return dump_agent(made[0])
        return content(versions.Version("", tuple(made), self.registry.pools[self.pool].model_copy(update=own)))

    def changed_since(self, reference: Registry) -> list[Name]:
        """Fields a rollout can carry that are other than in ``reference``; agents it did not have are left alone."""
        found: list[Name] = []
        if self.kind == "pool" and self.pool in reference.pools:
            own, then = self.registry.pools[self.pool], reference.pools[self.pool]
            found += [(key,) for key in POOL_FIELDS if getattr(own, key) != getattr(then, key)]
        for agent in self.agents:
            before = reference.get(agent.id)
            changed = [key for key in AGENT_FIELDS if before and getattr(agent, key) != getattr(before, key)]
            found += [("agents", agent.id, key) if self.kind == "pool" else (key,) for key in changed]
        return found

    def texts(self, names: Iterable[Name], folder: Path, reference: Registry) -> Before:
        """How the named fields are written in another catalog folder."""
        files = Files()
        found: dict[Name, Any] = {}
        for name in names:
            if self.kind == "pool" and name[0] != "agents":
                block = files.document(pool_file(folder, self.pool)).root
            else:
                block = entry_of(files, folder, reference.require(name[1] if self.kind == "pool" else self.name))
            found[name] = block.value(name[-1]), keys_before(block, name[-1])
        # In the order they are written there: what is put back goes behind what stood before it.
        return dict(sorted(found.items(), key=lambda one: len(one[1][1])))


def load(folder: Path) -> Registry:
    """A catalog folder. Raises CommandError with every problem of it."""
    try:
        return catalogs.load(folder)
    except CatalogError as error:
        raise CommandError(str(error)) from None


def content(version: versions.Version | None) -> object:
    """A pool version's content, comparable."""
    if version is None or version.pool is None:
        return None
    return version.pool.resources, version.pool.concurrency, sorted(map(dump_agent, version.agents))


def pool_file(folder: Path, pool: str) -> Path:
    """Where a pool is written."""
    return folder / pool / catalogs.POOL_FILE


def entry_of(files: Files, folder: Path, agent: AgentSpec) -> Block:
    """The lines of an agent. Raises CommandError where there are none."""
    for suffix in (".yaml", ".yml"):
        path = folder / agent.pool / f"{agent.domain}{suffix}"
        if path.exists() and (entry := files.document(path).root.entry("agents", agent.id)) is not None:
            return entry
    raise CommandError(f"{folder / agent.pool / agent.domain}.yaml: has no entry of {agent.id}")
