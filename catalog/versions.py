"""Owns which versions run: the catalog's rollouts → sets of processes, and how requests are shared among them. Pure.

Both targets read this, so that a rollout means the same as Deployments in a cluster and as processes on one machine.
While a pooled agent has two versions of its own, both run dedicated; its pool keeps it, unrouted, so that trying a
prompt never touches the 499 others, and answers for it where its own processes are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeGuard

from catalog.rollout import AgentChanges, Colour, PoolChanges, Rollout, Strategy
from catalog.schema import AgentSpec, PoolSpec


@dataclass(frozen=True)
class Version:
    """One set of equal processes."""

    name: str
    """``pool-business``, ``pool-business-canary``, ``business-plan-agent-009-green``: unique in the fleet."""
    agents: tuple[AgentSpec, ...]
    """What it serves, as this version has it; one for a dedicated agent."""
    pool: PoolSpec | None
    """The pool's settings as this version has them; None for a dedicated agent."""
    beside: bool = False
    """Whether this is the version beside the one that serves: a canary or an idle colour."""


@dataclass(frozen=True)
class Workload:
    """What requests of some agents are sent to: the version that serves, and maybe another beside it."""

    name: str
    agents: tuple[str, ...]
    """Ids of the agents whose requests come here."""
    serving: Version
    other: Version | None = None
    strategy: Strategy = "rolling"
    percent: int = 0
    """Share of the requests that ``other`` gets; 0: those alone that ask for it (``canary: true``)."""
    fallback: str = ""
    """Name of the workload that can answer for the same agents, as the serving version does; empty: none."""

    @property
    def versions(self) -> tuple[Version, ...]:
        """The one or two versions."""
        return (self.serving,) if self.other is None else (self.serving, self.other)


def workloads(
    agents: Iterable[AgentSpec],
    pools: Mapping[str, PoolSpec],
    *,
    is_dedicated: Callable[[AgentSpec], bool],
    fleet: Rollout | None = None,
) -> tuple[Workload, ...]:
    """The workloads of a fleet in catalog order, pools first.

    ``fleet`` is the rollout of the whole fleet, such as a new image: where it is under way every workload has two
    versions, with the same agents in both; else it is the default of what states no rollout of its own.
    """
    chosen = tuple(agents)
    pooled = [agent for agent in chosen if not is_dedicated(agent)]
    found = [
        _pool(pools[name], tuple(members), fleet) for name, members in groupby(pooled, key=lambda agent: agent.pool)
    ]
    found += [_agent(agent, fleet, "") for agent in chosen if is_dedicated(agent)]
    found += [_agent(agent, fleet, f"pool-{agent.pool}") for agent in pooled if runs_apart(agent)]
    return tuple(found)


def runs_apart(agent: AgentSpec) -> bool:
    """Whether a rollout of its own makes the agent run dedicated while it lasts."""
    return agent.rollout is not None and agent.rollout.other is not None


def under_way(agents: Iterable[AgentSpec], pools: Mapping[str, PoolSpec]) -> Iterator[str]:
    """Pools and agents with two versions by the catalog, as people name them: a pool's name, an agent's id."""
    listed = tuple(agents)
    for name in dict.fromkeys(agent.pool for agent in listed):
        rollout = pools[name].rollout
        if rollout is not None and rollout.other is not None:
            yield name
    yield from (agent.id for agent in listed if runs_apart(agent))


def _pool(pool: PoolSpec, agents: tuple[AgentSpec, ...], fleet: Rollout | None) -> Workload:
    name = f"pool-{pool.name}"
    rollout = _effective(pool.rollout, fleet)
    other: Version | None = None
    if _is_under_way(rollout):
        settings, members = pool, agents
        if isinstance(changes := rollout.other, PoolChanges):
            settings, members = _changed_pool(pool, changes), tuple(_changed_members(agents, changes))
        other = Version(_other_name(name, rollout), members, settings, beside=True)
    routed = tuple(agent.id for agent in agents if not runs_apart(agent))
    return _workload(Version(_serving_name(name, rollout), agents, pool), other, name, routed, rollout)


def _agent(agent: AgentSpec, fleet: Rollout | None, fallback: str) -> Workload:
    name = agent.kubernetes_name
    rollout = _effective(agent.rollout, fleet)
    other: Version | None = None
    if _is_under_way(rollout):
        changes = rollout.other
        new = agent.changed(changes) if isinstance(changes, AgentChanges) else agent
        other = Version(_other_name(name, rollout), (new,), None, beside=True)
    serving = Version(_serving_name(name, rollout), (agent,), None)
    return replace(_workload(serving, other, name, (agent.id,), rollout), fallback=fallback)


def _workload(
    serving: Version, other: Version | None, name: str, agents: tuple[str, ...], rollout: Rollout | None
) -> Workload:
    if rollout is None:
        return Workload(name, agents, serving)
    percent = rollout.canary_percent if other is not None and rollout.strategy == "canary" else 0
    return Workload(name, agents, serving, other, rollout.strategy, percent)


def _effective(own: Rollout | None, fleet: Rollout | None) -> Rollout | None:
    return fleet if own is None or _is_under_way(fleet) else own


def _is_under_way(rollout: Rollout | None) -> TypeGuard[Rollout]:
    return rollout is not None and rollout.other is not None


def _serving_name(name: str, rollout: Rollout | None) -> str:
    return f"{name}-{rollout.active}" if rollout is not None and rollout.strategy == "blue-green" else name


def _other_name(name: str, rollout: Rollout) -> str:
    return f"{name}-{idle(rollout.active)}" if rollout.strategy == "blue-green" else f"{name}-canary"


def idle(active: Colour) -> Colour:
    """The colour that does not serve."""
    return "green" if active == "blue" else "blue"


def _changed_pool(pool: PoolSpec, changes: PoolChanges) -> PoolSpec:
    new = {name: getattr(changes, name) for name in ("resources", "concurrency")}
    return pool.model_copy(update={name: value for name, value in new.items() if value is not None})


def _changed_members(agents: tuple[AgentSpec, ...], changes: PoolChanges) -> Iterator[AgentSpec]:
    of = changes.agents or {}
    for agent in agents:
        yield agent.changed(of[agent.id]) if agent.id in of else agent
