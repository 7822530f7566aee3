"""Owns which agents a process serves, under which name, and what is computed once for each of them.

A pool is up to 500 agents in one process, so one definition that cannot be loaded does not take the others down:
it is left out (503 AGENT_UNAVAILABLE), up to TOLERATED of what the process should serve. The catalog was loaded
strictly when the change was reviewed, so here it means a damaged file, or an image older than the catalog; refusing
to start would turn that into an outage of the whole pool at the next restart or scale-up, and would hold back every
other agent's change behind it. Beyond TOLERATED, or for a process's only agent, it is a bad release: the process
does not start, the rolling update stops, and the old pods go on serving.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container
from dataclasses import astuple, dataclass

import orjson
import structlog

from catalog import models
from catalog.registry import CatalogError, Problem, Registry, content_digest, load_readable
from catalog.schema import AgentSpec
from runtime.agent.limits import Slots
from runtime.agent.prompt import system_of
from runtime.settings import AgentSettings, StartError

TOLERATED = 0.1
"""Greatest part of a process's agents that may be left out."""

log = structlog.get_logger()


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
    version: str
    """What a crash is held against: see ``version_of``."""


def assemble(settings: AgentSettings) -> tuple[dict[str, Served], dict[str, str]]:
    """What the process serves by id, and why it does not serve the others it should, by id.

    Raises CatalogError or StartError where that is too little.
    """
    registry, problems = load_readable(settings.catalog_path, None if settings.serve_agents else settings.serve_pool)
    unreadable: dict[str, Problem] = {problem.agent: problem for problem in reversed(problems)}
    if settings.serve_agents:
        named = {name.replace("-", "_") for name in settings.serve_agents}
        unreadable = {agent: problem for agent, problem in unreadable.items() if agent in named}
    if unreadable and not len(registry):
        raise CatalogError(problems)
    served: dict[str, Served] = {}
    refused: dict[str, StartError] = {}
    chosen = choose(registry, settings, unreadable)
    for agent in chosen:
        try:
            served[agent.id] = _served(agent, settings, alone=len(chosen) == 1)
        except StartError as error:
            refused[agent.id] = error
    if len(unreadable) + len(refused) > TOLERATED * (len(chosen) + len(unreadable)):
        if unreadable:
            raise CatalogError(problems)
        raise next(iter(refused.values()))
    reasons = {agent: str(problem) for agent, problem in unreadable.items()}
    reasons |= {agent: str(error) for agent, error in refused.items()}
    for agent_id, reason in reasons.items():
        log.error("Agent is not served: its definition could not be loaded", agent_id=agent_id, problem=reason)
    return served, reasons


def choose(registry: Registry, settings: AgentSettings, unreadable: Container[str] = ()) -> tuple[AgentSpec, ...]:
    """The agents ``settings`` asks for: serve_agents, else serve_pool's pooled ones, else all. Raises StartError.

    That one of serve_agents is ``unreadable`` is the caller's to judge.
    """
    if settings.serve_agents:
        asked = [name for name in settings.serve_agents if name.replace("-", "_") not in unreadable]
        unknown = [name for name in asked if registry.get(name) is None]
        if unknown:
            raise StartError(
                f"SERVE_AGENTS names agents that the catalog at {settings.catalog_path} does not hold: {', '.join(unknown)}"
            )
        return tuple({agent.id: agent for agent in map(registry.require, asked)}.values())
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


def _served(agent: AgentSpec, settings: AgentSettings, *, alone: bool) -> Served:
    """What is computed once for an agent. Raises StartError where an agent asks its model for what it does not take."""
    choice = _choice(agent, settings)
    places = agent.scaling.concurrency
    if not alone:
        # One agent whose executions hang must leave places to the others, whatever its entry asks for.
        places = min(places, max(1, settings.max_concurrency // 2))
    return Served(agent, system_of(agent), choice, Slots(places), version_of(agent, choice, settings.runtime_image))


def version_of(agent: AgentSpec, choice: ModelChoice, image: str) -> str:
    """The agent as a process executes it: ``<agent id>@<16 hexadecimal digits>``, at most 69 characters.

    Of everything two versions of an agent may differ in (catalog.rollout, and a whole stack's image and model): its
    content, what it asks of which model, and the image. Not of the process's name or size: a pool and a dedicated
    process that run the same share one version, and a candidate that is promoted stays the one it was.
    """
    parts = (content_digest(agent), astuple(choice), image)
    return f"{agent.id}@{hashlib.sha256(orjson.dumps(parts)).hexdigest()[:16]}"


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
