"""Owns what a rollout can be of: an agent, a pool or a stack; where each is written and what its versions are.

Reads the catalog and stack files. Changing their text is moves', which texts may replace them ``change.py``'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from catalog import registry as catalogs
from catalog import versions
from catalog.registry import CatalogError, Registry, dump_agent
from catalog.rollout import AgentChanges, Colour, Rollout
from catalog.schema import AgentSpec, PoolSpec
from cli.errors import CommandError, Exit
from cli.rollouts.moves import Before, Name, Slot
from cli.rollouts.text import Block, Document, New
from infra import settings
from infra.plan import config
from infra.plan.config import ConfigError, Project
from infra.settings import FleetChanges, PlatformSpec

AGENT_FIELDS = tuple(AgentChanges.model_fields)
POOL_FIELDS = ("resources", "concurrency")
ABSENT: Mapping[str, str] = {"model": "{}", "resources": "{}", "cache_seconds": "0"}
"""What states an agent's default, so that a version can have it where the other one has something else."""

# A stack's fields: name within the changes → section and key where the serving version has it.
_STACK: Mapping[str, tuple[str, str]] = {
    "image": ("images", "runtime"),
    "model": ("fleet", "model"),
    "maxTokens": ("fleet", "maxTokens"),
    "logLevel": ("fleet", "logLevel"),
}
Kind = Literal["agent", "pool", "stack"]


class Files:
    """The files a change reads and maybe changes."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[bytes, Document]] = {}

    def document(self, path: Path) -> Document:
        """A file's text. Raises TextError where it cannot be read as a mapping."""
        if path not in self._read:
            content = path.read_bytes()
            self._read[path] = content, Document(content.decode(), f"{path.parent.name}/{path.name}")
        return self._read[path][1]

    @property
    def changes(self) -> dict[Path, tuple[bytes, bytes]]:
        """Path → content before and after, of files that change."""
        found = {path: (before, document.changed.encode()) for path, (before, document) in self._read.items()}
        return {path: pair for path, pair in found.items() if pair[0] != pair[1]}


@dataclass(frozen=True)
class Meaning:
    """What files say of a target: both versions, and everything else that must not change with them."""

    serving: object
    other: object
    rest: object


@dataclass(frozen=True)
class Target(ABC):
    """One agent, pool or stack."""

    kind: Kind
    name: str
    rollout: Rollout | None
    percent_key: str = "canary_percent"
    files: Files = field(default_factory=Files)

    @property
    def shown(self) -> str:
        """What to call it in a sentence."""
        return self.name if self.kind == "agent" else f"the {self.kind} {self.name}"

    @property
    def is_under_way(self) -> bool:
        """Whether there is a version beside the one that serves."""
        return self.rollout is not None and (self.rollout.candidate is not None or self.rollout.previous is not None)

    @abstractmethod
    def owner(self) -> Block | New:
        """The block that holds the rollout."""

    @abstractmethod
    def slot(self, name: Name) -> Slot:
        """Where the serving version has a field."""

    def keeps(self, active: Colour, *, finished: bool) -> Colour | None:
        """The colour that stays written when a rollout is over, since what serves is named by it."""
        return active if finished or active == "green" else None


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

    def keeps(self, active: Colour, *, finished: bool) -> Colour | None:
        """See Target; an agent that goes back to its pool has no colour of its own."""
        if self.kind == "agent" and self.registry.require(self.name).isolation == "pooled":
            return None
        return super().keeps(active, finished=finished)

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
            found[name] = block.value(name[-1]), _before(block, name[-1])
        # In the order they are written there: what is put back goes behind what stood before it.
        return dict(sorted(found.items(), key=lambda one: len(one[1][1])))


@dataclass(frozen=True)
class StackTarget(Target):
    """A stack's whole fleet."""

    project: Project | None = None
    spec: PlatformSpec | None = None

    @property
    def path(self) -> Path:
        """The stack's file."""
        assert self.project is not None
        return self.project.stacks / f"Pulumi.{self.name}.yaml"

    def owner(self) -> Block | New:
        """See Target."""
        return self._section(self.files, self.path, "fleet")

    def slot(self, name: Name) -> Slot:
        """See Target."""
        section, key = _STACK[name[0]]
        default = getattr(settings.FleetSettings() if section == "fleet" else settings.ImageSettings(), _python(key))
        return Slot(
            self._section(self.files, self.path, section), key, name, f'"{default}"' if default == "" else str(default)
        )

    def meaning(self, spec: PlatformSpec) -> Meaning:
        """What a stack's settings say of it."""
        serving = serving_of(spec)
        rollout = spec.fleet.rollout
        changes = (rollout.candidate or rollout.previous) if rollout else None
        fleet = spec.fleet.model_copy(update={"rollout": None, "model": "", "max_tokens": 0, "log_level": ""})
        rest = spec.model_copy(update={"fleet": fleet, "images": spec.images.model_copy(update={"runtime": ""})})
        return Meaning(serving, other_of(serving, changes), rest)

    def texts(self, names: Iterable[Name], path: Path) -> Before:
        """How the named fields are written in another file of the stack."""
        files = Files()
        found: dict[Name, Any] = {}
        for name in names:
            section, key = _STACK[name[0]]
            block = self._section(files, path, section)
            found[name] = (block.value(key), _before(block, key)) if isinstance(block, Block) else (None, ())
        return dict(sorted(found.items(), key=lambda one: len(one[1][1])))

    def _section(self, files: Files, path: Path, section: str) -> Block | New:
        root = files.document(path).root
        values = root.block("config")
        if values is None:
            raise CommandError(f"{path}: has no config")
        for key in (f"{settings.PROJECT}:{section}", section):
            if key in values:
                return values.block_or_new(key)
        return values.block_or_new(f"{settings.PROJECT}:{section}")


def serving_of(spec: PlatformSpec) -> dict[str, object]:
    """What a rollout of the fleet may change, as it serves now."""
    return {name: getattr(getattr(spec, section), _python(key)) for name, (section, key) in _STACK.items()}


def other_of(serving: Mapping[str, object], changes: FleetChanges | None) -> dict[str, object] | None:
    """The same of the version beside it."""
    if changes is None:
        return None
    stated = {name: getattr(changes, _python(name)) for name in _STACK}
    return {**serving, **{name: value for name, value in stated.items() if value is not None}}


def content(version: versions.Version | None) -> object:
    """A pool version's content, comparable."""
    if version is None or version.pool is None:
        return None
    return version.pool.resources, version.pool.concurrency, sorted(map(dump_agent, version.agents))


def find(name: str, folder: Path) -> CatalogTarget | StackTarget:
    """What a name means; ``pool:``, ``agent:`` or ``stack:`` before it decides where it means several things.

    Raises CommandError where it means nothing, or several things.
    """
    kind, colon, bare = name.rpartition(":")
    registry = load(folder)
    found: dict[str, Callable[[], CatalogTarget | StackTarget]] = {}
    agent = registry.get(bare)
    if agent is not None:
        found["agent"] = lambda: CatalogTarget("agent", agent.id, agent.rollout, folder=folder, registry=registry)
    if bare in registry.pools:
        found["pool"] = lambda: CatalogTarget(
            "pool", bare, registry.pools[bare].rollout, folder=folder, registry=registry
        )
    if bare in stack_names():
        found["stack"] = lambda: stack(bare)
    if colon:
        found = {key: make for key, make in found.items() if key == kind}
    if len(found) > 1:
        listed = " or ".join(f"{key}:{bare}" for key in found)
        raise CommandError(f"{name!r} means several things: say {listed}", Exit.USAGE)
    if not found:
        raise CommandError(_unknown(name, bare, registry), Exit.NOT_FOUND)
    return next(iter(found.values()))()


def _unknown(name: str, bare: str, registry: Registry) -> str:
    from difflib import get_close_matches

    known = [*(agent.id for agent in registry), *registry.pools, *stack_names()]
    near = get_close_matches(bare, known, 3) or get_close_matches(bare.replace("-", "_"), known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "fleet agents search and fleet stacks list what there is"
    return f"there is no agent, pool or stack {name!r}; {hint}"


def stack(name: str) -> StackTarget:
    """A stack's target. Raises CommandError with every problem of its file."""
    project = config.project()
    spec = stack_spec(project, name)
    return StackTarget("stack", name, spec.fleet.rollout, "canaryPercent", project=project, spec=spec)


def stack_spec(project: Project, name: str) -> PlatformSpec:
    """A stack's validated settings. Raises CommandError with every problem of its file."""
    try:
        return settings.parse(dict(config.own_values(config.stack_config(project, name), project.name)))
    except (ConfigError, settings.SettingsError) as error:
        raise CommandError(str(error), Exit.USAGE) from None


def stack_names() -> list[str]:
    """Names of the stacks there are; none where this is no project."""
    try:
        return config.stacks(config.project())
    except ConfigError:
        return []


def load(folder: Path) -> Registry:
    """A catalog folder. Raises CommandError with every problem of it."""
    try:
        return catalogs.load(folder)
    except CatalogError as error:
        raise CommandError(str(error)) from None


def under_way(folder: Path) -> Iterator[CatalogTarget | StackTarget]:
    """Everything that has two versions: pools, agents, stacks. Stack files that cannot be read are left out."""
    registry = load(folder)
    for name in versions.under_way(registry, registry.pools):
        if name in registry.pools:
            yield CatalogTarget("pool", name, registry.pools[name].rollout, folder=folder, registry=registry)
        else:
            yield CatalogTarget("agent", name, registry.require(name).rollout, folder=folder, registry=registry)
    yield from stacks_under_way()


def stacks_under_way() -> Iterator[StackTarget]:
    """Stacks with two versions; files that cannot be read are left out."""
    for name in stack_names():
        try:
            found = stack(name)
        except CommandError:
            continue
        if found.is_under_way:
            yield found


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


def _before(block: Block, key: str) -> tuple[str, ...]:
    return block.keys[: block.keys.index(key)] if key in block.keys else ()


def _python(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
