"""Owns the values the catalog's specs are made of: texts, inputs, prompt, model settings, resources, scaling.

Frozen, ``extra=forbid``, every field described with its unit and default. What an agent, a domain and a pool
are is ``schema.py``; how a new version takes over is ``rollout.py``.
"""

from __future__ import annotations

import datetime
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator

from catalog import models
from catalog.template import Template, TemplateError, compile_template

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
