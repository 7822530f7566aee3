"""Owns the shape of the catalog's data: what an agent, a domain and a pool are.

Everything here is validated user data: frozen, ``extra=forbid``, every field described with its unit
and default. Reading files is ``registry.py``; names shared by infra and runtime are ``contract.py``.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator

from catalog import models
from catalog.contract import AGENT_PORT_BASE, TASK_LIMIT
from catalog.template import Template, TemplateError, compile_template

AGENTS_PER_POOL = 500
"""Specification section 1: three agent pools of 500 agents."""

PoolName = Literal["business", "technology", "knowledge"]
Isolation = Literal["pooled", "dedicated"]

# The YAML reader turns a quoted "2026-01-01" into a date all the same; the text is what was meant.
_dates_are_text = BeforeValidator(lambda value: value.isoformat() if isinstance(value, datetime.date) else value)
Line = Annotated[
    str, _dates_are_text, StringConstraints(strip_whitespace=True, min_length=1, max_length=600, pattern=r"^[^\n]*$")
]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,40}$")]
InputName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
CpuQuantity = Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]*m|[1-9][0-9]*)$")]
MemoryQuantity = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*(Mi|Gi)$")]


class Spec(BaseModel):
    """Base of all validated data: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


class InputSpec(Spec):
    """One declared input: a key of the request's ``context`` that the prompt uses."""

    description: Line = Field(description="What the caller should put here, one line.")
    default: Line = Field(
        description="The text used where the caller gives none, so that a bare task_description works."
    )
    example: Line = Field(description="A realistic value, used in the generated README and the example request.")


class PromptTemplate(Spec):
    """What the model is told. Instructions are the author's alone; callers' text only reaches ``request``."""

    instructions: Annotated[str, StringConstraints(strip_whitespace=True, min_length=200, max_length=6000)] = Field(
        description="System prompt: who the agent is and how it works. Takes no placeholders; literal braces are doubled."
    )
    request: Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=1000)] = Field(
        description="Opening of the user turn; names every declared input as {input}. The caller's task_description follows it."
    )
    answer: tuple[Line, ...] = Field(
        min_length=3,
        max_length=8,
        description="What a good answer contains, one point each; appended to the instructions.",
    )

    @field_validator("instructions")
    @classmethod
    def _instructions_take_no_placeholder(cls, text: str) -> str:
        identifiers = _compiled(text).identifiers
        if identifiers:
            names = ", ".join(f"{{{name}}}" for name in sorted(identifiers))
            raise ValueError(
                f"instructions are the system prompt, which callers' values never reach: move {names} to `request`, or double the braces"
            )
        return text

    @field_validator("request")
    @classmethod
    def _request_compiles(cls, text: str) -> str:
        _compiled(text)
        return text

    @cached_property
    def system(self) -> str:
        """The system prompt: the instructions and the points of a good answer."""
        points = "\n".join(f"- {point}" for point in self.answer)
        return f"{_compiled(self.instructions).render({})}\n\nA good answer contains:\n{points}"

    @cached_property
    def compiled_request(self) -> Template:
        """The compiled opening of the user turn."""
        return _compiled(self.request)


def _compiled(text: str) -> Template:
    try:
        return compile_template(text)
    except TemplateError as error:
        raise ValueError(str(error)) from None


class ModelSettings(Spec):
    """Which model answers and how. Empty means the fleet's own setting (CLAUDE_MODEL, MAX_TOKENS, TEMPERATURE)."""

    model: str | None = Field(
        default=None,
        description="Claude model id; default: the fleet's CLAUDE_MODEL. Retired ids are refused with a successor.",
    )
    max_tokens: int | None = Field(
        default=None, ge=1, le=64_000, description="Most tokens of an answer; default: the fleet's MAX_TOKENS (4096)."
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Sampling temperature 0 to 1, only for models that take it; default: the model's own.",
    )
    effort: Literal["low", "medium", "high"] | None = Field(
        default=None, description="Reasoning effort, only for models that take it; default: the model's own."
    )

    @model_validator(mode="after")
    def _model_takes_what_is_asked(self) -> ModelSettings:
        if self.model is not None:
            models.require_settings(self.model, temperature=self.temperature, effort=self.effort)
        return self


class Resources(Spec):
    """Kubernetes requests and limits of one replica. Defaults: specification section 2, Resource Limits."""

    cpu_request: CpuQuantity = Field(default="250m", description="CPU requested, Kubernetes quantity; default 250m.")
    cpu_limit: CpuQuantity = Field(default="500m", description="CPU limit, Kubernetes quantity; default 500m.")
    memory_request: MemoryQuantity = Field(
        default="256Mi", description="Memory requested, Kubernetes quantity; default 256Mi."
    )
    memory_limit: MemoryQuantity = Field(
        default="512Mi", description="Memory limit, Kubernetes quantity; default 512Mi."
    )

    @model_validator(mode="after")
    def _requests_fit_limits(self) -> Resources:
        if cpu_millis(self.cpu_request) > cpu_millis(self.cpu_limit):
            raise ValueError(f"cpu_request {self.cpu_request} is above cpu_limit {self.cpu_limit}")
        if memory_mib(self.memory_request) > memory_mib(self.memory_limit):
            raise ValueError(f"memory_request {self.memory_request} is above memory_limit {self.memory_limit}")
        return self


def cpu_millis(quantity: str) -> int:
    """Thousandths of a CPU of a Kubernetes CPU quantity such as ``250m`` or ``2``."""
    return int(quantity[:-1]) if quantity.endswith("m") else int(quantity) * 1000


def memory_mib(quantity: str) -> int:
    """Mebibytes of a Kubernetes memory quantity such as ``256Mi`` or ``1Gi``."""
    return int(quantity[:-2]) * (1024 if quantity.endswith("Gi") else 1)


class Scaling(Spec):
    """Horizontal scaling. Defaults: specification section 4, HorizontalPodAutoscaler."""

    min_replicas: int = Field(default=2, ge=1, le=100, description="Fewest replicas; default 2.")
    max_replicas: int = Field(default=10, ge=1, le=100, description="Most replicas; default 10.")
    cpu_percent: int = Field(default=70, ge=10, le=100, description="CPU target, percent of the request; default 70.")
    memory_percent: int | None = Field(
        default=None, ge=10, le=100, description="Memory target, percent of the request; default: none."
    )
    concurrency: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="Most executions of one agent at once in one process, 503 beyond; default 16.",
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Scaling:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is above max_replicas {self.max_replicas}")
        return self


class Rollout(Spec):
    """How a new version takes over. Default: rolling, maxSurge 1, maxUnavailable 0 (specification section 7)."""

    strategy: Literal["rolling", "blue-green", "canary"] = Field(
        default="rolling", description="rolling, blue-green or canary; default rolling."
    )
    active: Literal["blue", "green"] = Field(
        default="blue", description="The colour that serves, for blue-green; default blue."
    )
    canary_percent: int = Field(
        default=10, ge=1, le=90, description="Share of requests the new version gets, percent, for canary; default 10."
    )


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
    rollout: Rollout = Field(default=Rollout(), description="How a new version takes over; default rolling.")
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
    rollout: Rollout = Field(
        default=Rollout(), description="How a new version of the pool takes over; default rolling."
    )
    concurrency: int = Field(
        default=256, ge=1, le=10_000, description="Most executions at once in one process, 503 beyond; default 256."
    )


AGENT_ID = re.compile(r"[a-z][a-z0-9_]*_agent_[0-9]{3}")
"""What an agent id looks like, for places that must recognise one before looking it up."""
