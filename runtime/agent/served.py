"""Owns which agents a process serves, under which name, and what is computed once for each of them."""

from __future__ import annotations

from dataclasses import dataclass

from catalog import models
from catalog.registry import Registry
from catalog.schema import AgentSpec
from runtime.agent.limits import Slots
from runtime.agent.prompt import system_of
from runtime.settings import AgentSettings, StartError


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model answers an agent and how; settings the model does not take are None."""

    model: str
    max_tokens: int
    temperature: float | None
    effort: str | None


@dataclass(slots=True)
class Served:
    """One agent of this process, ready to be asked."""

    spec: AgentSpec
    system: str
    choice: ModelChoice
    slots: Slots


def choose(registry: Registry, settings: AgentSettings) -> tuple[AgentSpec, ...]:
    """The agents ``settings`` asks for: serve_agents, else serve_pool's pooled ones, else all. Raises StartError."""
    if settings.serve_agents:
        unknown = [name for name in settings.serve_agents if registry.get(name) is None]
        if unknown:
            raise StartError(
                f"SERVE_AGENTS names agents that the catalog at {settings.catalog_path} does not hold: {', '.join(unknown)}"
            )
        return tuple({agent.id: agent for agent in map(registry.require, settings.serve_agents)}.values())
    if settings.serve_pool:
        chosen = tuple(agent for agent in registry.pool(settings.serve_pool) if agent.isolation == "pooled")
        if not chosen:
            raise StartError(
                f"SERVE_POOL: the catalog at {settings.catalog_path} holds no pooled agent of the pool {settings.serve_pool}"
            )
        return chosen
    return registry.agents


def service_name(settings: AgentSettings) -> str:
    """What the process calls itself: service_name, else its one agent's id, else its pool's name, else "agents"."""
    if settings.service_name:
        return settings.service_name
    if len(settings.serve_agents) == 1:
        return settings.serve_agents[0].replace("-", "_")
    return settings.serve_pool or "agents" if not settings.serve_agents else "agents"


def prepare(agents: tuple[AgentSpec, ...], settings: AgentSettings) -> dict[str, Served]:
    """What is computed once for each agent, by id. Raises StartError where an agent asks its model for what it does not take."""
    return {
        agent.id: Served(agent, system_of(agent), _choice(agent, settings), Slots(agent.scaling.concurrency))
        for agent in agents
    }


def _choice(agent: AgentSpec, settings: AgentSettings) -> ModelChoice:
    model = agent.model.model or settings.claude_model
    own = agent.model
    try:
        models.require_settings(model, temperature=own.temperature, effort=own.effort)
    except ValueError as error:
        raise StartError(f"agent {agent.id} with CLAUDE_MODEL={settings.claude_model}: {error}") from None
    # The agent's own temperature was checked; the fleet's is only meant for models that take one.
    fleet = settings.temperature if models.require_model(model).temperature else None
    return ModelChoice(
        model,
        own.max_tokens or settings.max_tokens,
        own.temperature if own.temperature is not None else fleet,
        own.effort,
    )


def overridden(choice: ModelChoice, model: str) -> ModelChoice:
    """``choice`` with another model, without the settings that one does not take."""
    takes = models.require_model(model)
    return ModelChoice(
        model,
        choice.max_tokens,
        choice.temperature if takes.temperature else None,
        choice.effort if takes.effort else None,
    )
