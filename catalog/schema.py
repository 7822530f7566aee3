"""Owns the shape of the catalog's data: what an agent, a domain and a pool are.

Everything here is validated user data: frozen, ``extra=forbid``, every field described with its unit
and default. What they are made of is ``values.py``, how a new version takes over ``rollout.py``; reading files
is ``registry.py``; names shared by infra and runtime are ``contract.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated

from pydantic import Field, model_validator

from catalog.contract import AGENT_PORT_BASE, TASK_LIMIT
from catalog.rollout import AgentChanges, AgentRollout, PoolRollout
from catalog.values import (
    InputName,
    InputSpec,
    Isolation,
    Line,
    ModelSettings,
    PoolName,
    PromptTemplate,
    Resources,
    Scaling,
    Slug,
    Spec,
)

AGENTS_PER_POOL = 500
"""Specification section 1: three agent pools of 500 agents."""


class AgentSpec(Spec):
    """One agent: a task a professional recognises, its prompt, inputs and how it runs."""

    id: str = Field(
        pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*_agent_[0-9]{3}$",
        max_length=52,
        description="Unique id: <task>_agent_<number>.",
    )
    name: Annotated[Line, Field(max_length=80)] = Field(description="Unique display name.")
    owner: Slug = Field(description="Team that answers for the agent; default: the domain's owner.")
    description: Annotated[Line, Field(min_length=40)] = Field(
        description="What the agent does and for whom, one or two sentences, unique."
    )
    pool: PoolName = Field(description="The pool it runs in; follows from the file's folder.")
    domain: Slug = Field(description="The domain it belongs to; follows from the file's name.")
    prompt: PromptTemplate = Field(description="What the model is told.")
    inputs: Mapping[InputName, InputSpec] = Field(
        min_length=2, max_length=5, description="Declared inputs by name: two to five keys of the request's context."
    )
    model: ModelSettings = Field(
        default=ModelSettings(), description="Which model answers and how; default: the fleet's settings."
    )
    tags: tuple[Slug, ...] = Field(min_length=1, max_length=8, description="Search terms.")
    example: Annotated[Line, Field(max_length=TASK_LIMIT)] = Field(
        description="task_description of the example request; its context is the inputs' examples."
    )
    isolation: Isolation = Field(
        default="pooled",
        description="pooled: served by the pool's processes; dedicated: a Deployment of its own. Default pooled.",
    )
    resources: Resources = Field(
        default=Resources(),
        description="Requests and limits where the agent runs dedicated; default the specification's.",
    )
    scaling: Scaling = Field(
        default=Scaling(),
        description="Replicas where it runs dedicated, and its concurrency anywhere; default the specification's.",
    )
    rollout: AgentRollout | None = Field(
        default=None,
        description="How a new version takes over, and the version that does; default as the stack's, else rolling.",
    )
    cache_seconds: int = Field(
        default=0,
        ge=0,
        le=86_400,
        description="How long an answer may be served again to the same principal, seconds; default 0: never.",
    )

    @model_validator(mode="after")
    def _request_names_exactly_the_inputs(self) -> AgentSpec:
        used, declared = self.prompt.compiled_request.identifiers, set(self.inputs)
        if "task_description" in declared:
            raise ValueError("inputs: task_description is the request's own field, not an input")
        if used - declared:
            raise ValueError(f"prompt.request names {_listed(used - declared)}, which inputs does not declare")
        if declared - used:
            raise ValueError(f"inputs declares {_listed(declared - used)}, which prompt.request never names")
        return self

    @model_validator(mode="after")
    def _number_is_in_range(self) -> AgentSpec:
        if not 1 <= self.number <= AGENTS_PER_POOL:
            raise ValueError(f"id: number {self.number:03d} is not within 001 and {AGENTS_PER_POOL}")
        return self

    @model_validator(mode="after")
    def _other_version_is_valid(self) -> AgentSpec:
        if self.rollout is not None and self.rollout.other is not None:
            self.changed(self.rollout.other)
        return self

    def changed(self, changes: AgentChanges) -> AgentSpec:
        """The agent as another version has it. Raises ValueError where the changes do not fit what they leave."""
        own = {name: getattr(self, name) for name in type(self).model_fields if name != "rollout"}
        new = {name: getattr(changes, name) for name in changes.model_fields_set}
        return AgentSpec(**{**own, **{name: value for name, value in new.items() if value is not None}})

    @cached_property
    def number(self) -> int:
        """1 to 500, unique within the pool; the last three digits of the id."""
        return int(self.id[-3:])

    @cached_property
    def kubernetes_name(self) -> str:
        """The id as a Kubernetes name: ``business-plan-agent-009``."""
        return self.id.replace("_", "-")

    @property
    def port(self) -> int:
        """TCP port of its dedicated process: 8200 + number (specification section 4: 8209 for number 009)."""
        return AGENT_PORT_BASE + self.number


def _listed(names: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names))


class DomainSpec(Spec):
    """One file of the catalog, ``pools/<pool>/<domain>.yaml``: 25 agents and what they share."""

    title: Annotated[Line, Field(max_length=60)] = Field(description="Display name of the domain.")
    description: Line = Field(description="What the domain covers, one or two sentences.")
    owner: Slug = Field(description="Team that answers for its agents unless an agent names another.")
    agents: tuple[AgentSpec, ...] = Field(min_length=1, description="The domain's agents.")


class PoolSpec(Spec):
    """One pool of agents and how its shared processes run (``pools/<pool>/pool.yaml``)."""

    name: PoolName = Field(description="Pool name; follows from the folder.")
    title: Annotated[Line, Field(max_length=60)] = Field(description="Display name.")
    description: Line = Field(description="What the pool's agents have in common.")
    resources: Resources = Field(
        default=Resources(), description="Requests and limits of one pool process; default the specification's."
    )
    scaling: Scaling = Field(
        default=Scaling(), description="Replicas of the pool's Deployment; default 2 to 10 at 70% CPU."
    )
    rollout: PoolRollout | None = Field(
        default=None,
        description="How a new version of the pool takes over, and the version that does; default as the stack's, else rolling.",
    )
    concurrency: int = Field(
        default=256, ge=1, le=10_000, description="Most executions at once in one process, 503 beyond; default 256."
    )


AGENT_ID = re.compile(r"[a-z][a-z0-9_]*_agent_[0-9]{3}")
"""What an agent id looks like, for places that must recognise one before looking it up."""
