"""Owns reading the catalog's files into a validated, searchable Registry.

The one place of the package that reads files. Errors are collected over all files and raised as one
CatalogError, so that an author sees everything wrong in one run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import orjson
import yaml_rs
from pydantic import ValidationError

from catalog.schema import AgentSpec, DomainSpec, PoolSpec
from catalog.values import PoolName

POOLS_FOLDER = Path(__file__).parent / "pools"
"""The catalog that ships with the platform."""

POOL_FILE = "pool.yaml"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the catalog: where (file, agent, field) and what."""

    file: str
    agent: str
    field: str
    message: str

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.agent, self.field) if part)
        return f"{where}: {self.message}"


class CatalogError(ValueError):
    """The catalog is broken; ``problems`` holds every error of every file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(f"the catalog has {count}:\n" + "\n".join(f"  {problem}" for problem in self.problems))


class UnknownAgentError(KeyError):
    """No agent of that id or name."""

    def __str__(self) -> str:
        return f"no agent {self.args[0]!r} in the catalog"


@dataclass(frozen=True)
class Registry:
    """The validated catalog: agents in order of pool and number, with lookups and search.

    Immutable; indexes are built on first use.
    """

    pools: Mapping[str, PoolSpec]
    domains: Mapping[tuple[str, str], DomainSpec]
    agents: tuple[AgentSpec, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.agents)

    def __iter__(self) -> Iterator[AgentSpec]:
        return iter(self.agents)

    def get(self, name: str) -> AgentSpec | None:
        """The agent of that id or Kubernetes name, or None."""
        return self._by_id.get(name) or self._by_id.get(name.replace("-", "_"))

    def require(self, name: str) -> AgentSpec:
        """The agent of that id or Kubernetes name. Raises UnknownAgentError."""
        agent = self.get(name)
        if agent is None:
            raise UnknownAgentError(name)
        return agent

    def having(self, agents: Iterable[AgentSpec]) -> Registry:
        """This catalog with these agents too, each in its place; one of the same id is replaced."""
        merged = {agent.id: agent for agent in (*self.agents, *agents)}
        return replace(self, agents=_ordered(merged.values()))

    def by_number(self, pool: str, number: int) -> AgentSpec | None:
        """The agent of that number within the pool, or None."""
        return self._by_number.get((pool, number))

    def pool(self, name: str) -> tuple[AgentSpec, ...]:
        """All agents of a pool, in order of number."""
        return tuple(agent for agent in self.agents if agent.pool == name)

    def search(
        self,
        text: str = "",
        *,
        pool: str | None = None,
        domain: str | None = None,
        tag: str | None = None,
        owner: str | None = None,
    ) -> list[AgentSpec]:
        """Agents that match every filter and every word of ``text``, best match first, then catalog order.

        A word matches anywhere in id, name, tags, description or domain; a match in the name counts most.
        """
        words = text.lower().split()
        found: list[tuple[int, int, AgentSpec]] = []
        for position, (agent, haystack) in enumerate(zip(self.agents, self._haystacks, strict=True)):
            if (pool and agent.pool != pool) or (domain and agent.domain != domain) or (owner and agent.owner != owner):
                continue
            if tag and tag not in agent.tags:
                continue
            if not all(word in haystack for word in words):
                continue
            name = agent.name.lower()
            found.append((-sum(word in name for word in words), position, agent))
        return [agent for _, _, agent in sorted(found, key=lambda entry: entry[:2])]

    def digest(self, agents: Iterable[AgentSpec] | None = None) -> str:
        """SHA-256 (64 hexadecimal digits) of the given agents' content, of all by default; order does not matter."""
        chosen = self.agents if agents is None else agents
        return _combined(self.agent_digest(agent.id) for agent in chosen)

    def agent_digest(self, agent_id: str) -> str:
        """SHA-256 (64 hexadecimal digits) of one agent's whole content. Raises UnknownAgentError."""
        known = self._digests.get(agent_id)
        if known is None:
            known = self._digests[agent_id] = content_digest(self.require(agent_id))
        return known

    @cached_property
    def _by_id(self) -> dict[str, AgentSpec]:
        return {agent.id: agent for agent in self.agents}

    @cached_property
    def _by_number(self) -> dict[tuple[str, int], AgentSpec]:
        return {(agent.pool, agent.number): agent for agent in self.agents}

    @cached_property
    def _haystacks(self) -> tuple[str, ...]:
        return tuple(" ".join((a.id, a.name, a.description, a.domain, a.pool, *a.tags)).lower() for a in self.agents)

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {}


def dump_agent(agent: AgentSpec, *, rollout: bool = False) -> bytes:
    """One agent as canonical JSON (sorted keys, defaults left out): what digests and ConfigMaps are made of.

    Without its rollout unless asked for: trying a new version beside it changes nothing about the one that serves.
    """
    content = agent.model_dump(mode="json", exclude_defaults=True, exclude=None if rollout else {"rollout"})
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def digest_of(agents: Iterable[AgentSpec]) -> str:
    """SHA-256 (64 hexadecimal digits) of agents' content as given, in the catalog or not; order does not matter."""
    return _combined(content_digest(agent) for agent in agents)


def _combined(digests: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def content_digest(agent: AgentSpec) -> str:
    """SHA-256 (64 hexadecimal digits) of one agent's canonical JSON."""
    return hashlib.sha256(dump_agent(agent)).hexdigest()


def load(folder: Path = POOLS_FOLDER, pool: PoolName | None = None) -> Registry:
    """Read and validate every pool of ``folder``, or just one: a process that serves one need not read the others.

    Takes either the repository's form (``<pool>/pool.yaml`` and ``<pool>/<domain>.yaml``) or, in a pod,
    the mounted form: ``<agent id>.json`` files at any depth, one canonical agent each (see dump_agent).
    Raises CatalogError with every problem of every file.
    """
    if not folder.is_dir():
        raise CatalogError([Problem(str(folder), "", "", "no such folder")])
    if any(folder.glob(f"*/{POOL_FILE}")):
        return _load_repository(folder, pool)
    mounted, problems = _load_mounted(folder)
    if problems:
        raise CatalogError(problems)
    return mounted


def load_readable(folder: Path = POOLS_FOLDER, pool: PoolName | None = None) -> tuple[Registry, tuple[Problem, ...]]:
    """As ``load``, but in the mounted form without the agents that cannot be loaded; their problems beside it.

    For a process that serves many agents; who reviews a change loads strictly. Each problem names its agent.
    Raises CatalogError where there is nothing to load.
    """
    if folder.is_dir() and not any(folder.glob(f"*/{POOL_FILE}")):
        mounted, problems = _load_mounted(folder)
        return mounted, tuple(problems)
    return load(folder, pool), ()


def _load_repository(folder: Path, only: PoolName | None) -> Registry:
    problems: list[Problem] = []
    pools: dict[str, PoolSpec] = {}
    domains: dict[tuple[str, str], DomainSpec] = {}
    agents: list[AgentSpec] = []
    files: dict[str, str] = {}
    names = get_args(PoolName)
    folders = (path for path in folder.iterdir() if path.is_dir() and only in (None, path.name))
    for pool_folder in sorted(folders, key=lambda path: _pool_order(path.name)):
        pool = pool_folder.name
        if pool not in names:
            problems.append(Problem(pool, "", "", f"not a pool; the pools are {', '.join(names)}"))
            continue
        for path in sorted(pool_folder.glob("*.y*ml")):
            file = path.relative_to(folder).as_posix()
            data = _parse(path, file, problems)
            if data is None:
                continue
            if path.name == POOL_FILE:
                pools.update(_validated_pool(data, pool, file, problems))
                continue
            domain = _validated_domain(data, pool, path.stem, file, problems)
            if domain is not None:
                domains[pool, path.stem] = domain
                agents += domain.agents
                files.update((agent.id, file) for agent in domain.agents)
        if pool not in pools and not any(problem.file == f"{pool}/{POOL_FILE}" for problem in problems):
            problems.append(
                Problem(f"{pool}/{POOL_FILE}", "", "", "missing; it states the pool's title and description")
            )
    problems += _duplicates(agents, files)
    problems += _misplaced_rollouts(pools, agents)
    if problems:
        raise CatalogError(problems)
    return Registry(pools, domains, _ordered(agents))


def _load_mounted(folder: Path) -> tuple[Registry, list[Problem]]:
    problems: list[Problem] = []
    agents: dict[str, AgentSpec] = {}
    # A ConfigMap volume keeps its data behind a hidden `..data` link; the visible names are the files.
    for path in sorted(
        path
        for path in folder.rglob("*.json")
        if not any(part.startswith("..") for part in path.relative_to(folder).parts)
    ):
        file = path.relative_to(folder).as_posix()
        try:
            agent = AgentSpec.model_validate_json(path.read_bytes())
            agents[agent.id] = agent
        except ValidationError as error:
            problems += [
                Problem(file, path.stem, _field(e["loc"]), _message(e)) for e in error.errors(include_url=False)
            ]
        except Exception as error:
            # Whatever one file does to its reader is that file's problem, and named like the others.
            problems.append(Problem(file, path.stem, "", f"cannot be read ({type(error).__name__}: {error})"))
    if not agents and not problems:
        raise CatalogError([Problem(str(folder), "", "", "holds neither <pool>/pool.yaml nor <agent id>.json files")])
    ordered = _ordered(agents.values())
    pools = {
        name: PoolSpec(name=name, title=name.title(), description=f"Agents of the {name} pool.")
        for name in get_args(PoolName)
        if any(a.pool == name for a in ordered)
    }
    return Registry(pools, {}, ordered), problems


def _ordered(agents: Iterable[AgentSpec]) -> tuple[AgentSpec, ...]:
    return tuple(sorted(agents, key=lambda agent: (_pool_order(agent.pool), agent.number)))


def _pool_order(name: str) -> int:
    names = get_args(PoolName)
    return names.index(name) if name in names else len(names)


def _parse(path: Path, file: str, problems: list[Problem]) -> dict[str, Any] | None:
    try:
        data = yaml_rs.loads(path.read_text("utf-8"))
    except (yaml_rs.YAMLDecodeError, UnicodeDecodeError) as error:
        problems.append(Problem(file, "", "", f"not readable as YAML: {error}"))
        return None
    if not isinstance(data, dict):
        problems.append(Problem(file, "", "", "must be a mapping (title, description, …)"))
        return None
    return data


def _validated_pool(data: dict[str, Any], pool: str, file: str, problems: list[Problem]) -> dict[str, PoolSpec]:
    try:
        return {pool: PoolSpec.model_validate({"name": pool, **data})}
    except ValidationError as error:
        problems += [Problem(file, "", _field(e["loc"]), _message(e)) for e in error.errors(include_url=False)]
        return {}


def _validated_domain(
    data: dict[str, Any], pool: str, domain: str, file: str, problems: list[Problem]
) -> DomainSpec | None:
    # What the file's place states once is filled in for every agent; a file that states it again must agree.
    agents = data.get("agents")
    implied = {"pool": pool, "domain": domain, "owner": data.get("owner")}
    if isinstance(agents, list):
        data = {**data, "agents": [{**implied, **agent} if isinstance(agent, dict) else agent for agent in agents]}
    try:
        spec = DomainSpec.model_validate(data)
    except ValidationError as error:
        for e in error.errors(include_url=False):
            location = e["loc"]
            if location == ("agents",) and e["type"] == "too_short" and agents:
                continue  # Pydantic counts only the agents that are valid; their own errors say it all.
            agent = ""
            if len(location) > 1 and location[0] == "agents" and isinstance(agents, list):
                index = int(location[1])
                entry = agents[index]
                agent = str(entry.get("id", f"agent {index + 1}")) if isinstance(entry, dict) else f"agent {index + 1}"
                location = location[2:]
            problems.append(Problem(file, agent, _field(location), _message(e)))
        return None
    for spec_agent in spec.agents:
        if (spec_agent.pool, spec_agent.domain) != (pool, domain):
            problems.append(
                Problem(
                    file,
                    spec_agent.id,
                    "pool/domain",
                    f"says {spec_agent.pool}/{spec_agent.domain}, but the file lies in {pool}/{domain}",
                )
            )
    return spec


def _duplicates(agents: list[AgentSpec], files: Mapping[str, str]) -> Iterator[Problem]:
    seen: dict[tuple[str, ...], AgentSpec] = {}
    for agent in agents:
        keys = {
            ("id", agent.id),
            ("number", agent.pool, str(agent.number)),
            ("name", agent.name.lower()),
            ("description", agent.description.lower()),
        }
        for key in sorted(keys):
            other = seen.setdefault(key, agent)
            if other is not agent:
                where = f" (in {files[other.id]})"
                yield Problem(
                    files[agent.id],
                    agent.id,
                    key[0],
                    f"the same {key[0]} as {other.id}{where}; it must be unique{' within the pool' if key[0] == 'number' else ''}",
                )


def _misplaced_rollouts(pools: Mapping[str, PoolSpec], agents: list[AgentSpec]) -> Iterator[Problem]:
    """Changes of a pool's rollout that have no agent to change, or whose agent is rolled out by itself."""
    for name, pool in pools.items():
        changes = pool.rollout.other if pool.rollout else None
        if changes is None:
            continue
        members = {agent.id: agent for agent in agents if agent.pool == name}
        apart = [agent.id for agent in members.values() if agent.rollout and agent.rollout.other]
        if apart:
            yield Problem(
                f"{name}/{POOL_FILE}",
                "",
                "rollout",
                f"the pool and its agent {apart[0]} have two versions at once: finish or abort one of them",
            )
        for agent_id, change in (changes.agents or {}).items():
            agent = members.get(agent_id)
            problem = ""
            if agent is None:
                problem = f"no agent of that id in the pool {name}"
            elif agent.isolation == "dedicated":
                problem = "runs dedicated, so a rollout of the pool does not reach it: give it a rollout of its own"
            else:
                try:
                    agent.changed(change)
                except ValidationError as error:
                    problem = "; ".join(_message(each) for each in error.errors(include_url=False))
            if problem:
                yield Problem(f"{name}/{POOL_FILE}", agent_id, "rollout.agents", problem)


def _field(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _message(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return "unknown key; see the JSON Schema for the keys there are"
    return message[0].lower() + message[1:]
