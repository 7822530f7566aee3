"""Owns which agents a stack runs and in how many versions: fleet.* settings and the catalog, or every problem at once."""

from __future__ import annotations

from catalog import versions
from catalog.registry import Registry
from catalog.schema import AgentSpec
from catalog.versions import Workload
from infra.settings import PlatformSpec, SettingsError


def select(spec: PlatformSpec, registry: Registry) -> tuple[AgentSpec, ...]:
    """The stack's agents in catalog order. Raises SettingsError naming every agent or domain the catalog lacks."""
    fleet = spec.fleet
    problems: list[tuple[str, str]] = []
    known = {f"{agent.pool}/{agent.domain}" for agent in registry}
    problems += [
        ("fleet.domains", f"no domain {name!r} in the catalog (they are written pool/domain)")
        for name in fleet.domains
        if name not in known
    ]
    problems += [
        ("fleet.agents", f"no agent {agent!r} in the catalog") for agent in fleet.agents if registry.get(agent) is None
    ]
    if problems:
        raise SettingsError(problems)
    if fleet.agents:
        chosen = set(fleet.agents)
        return tuple(agent for agent in registry if agent.id in chosen)
    return tuple(
        agent
        for agent in registry
        if (not fleet.pools or agent.pool in fleet.pools)
        and (not fleet.domains or f"{agent.pool}/{agent.domain}" in fleet.domains)
    )


def is_dedicated(agent: AgentSpec, spec: PlatformSpec) -> bool:
    """Whether the agent has a Deployment of its own in this stack."""
    return spec.fleet.isolation == "dedicated" or agent.isolation == "dedicated"


def workloads(spec: PlatformSpec, registry: Registry) -> tuple[Workload, ...]:
    """The stack's workloads, pools first. Raises SettingsError (see select), and where two rollouts cross."""
    agents = select(spec, registry)
    rollout = spec.fleet.rollout
    if rollout is not None and rollout.other is not None:
        crossed = list(versions.under_way(agents, registry.pools))
        if crossed:
            names = ", ".join(crossed[:3]) + (f" and {len(crossed) - 3} more" if len(crossed) > 3 else "")
            problem = (
                f"the whole fleet has two versions, and so has {names} by the catalog: finish or abort one of them"
            )
            raise SettingsError([("fleet.rollout", problem)])
    return versions.workloads(
        agents, registry.pools, is_dedicated=lambda agent: is_dedicated(agent, spec), fleet=rollout
    )
