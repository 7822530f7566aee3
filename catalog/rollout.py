"""Owns how a new version takes over (specification section 7): strategies, what the other version changes.

While a rollout is under way the catalog states both versions, so that a plan needs no memory but the checkout:
the entry itself is the version that serves, and its ``rollout`` holds what the other one has different, as
``candidate`` before it takes over and as ``previous`` after a blue-green switch. Applying those changes is
``versions.py``, moving a rollout on by editing these files the command `fleet rollout`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Generic, Literal, Protocol, Self, TypeVar

from pydantic import Field, StringConstraints, model_validator

from catalog.values import InputName, InputSpec, ModelSettings, PromptTemplate, Resources, Spec

Strategy = Literal["rolling", "blue-green", "canary"]
Colour = Literal["blue", "green"]
AgentId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*_agent_[0-9]{3}$")]

DEFAULT_PERCENT = 10
"""Share of requests a canary begins with (specification section 7: 10% to the new version)."""


class _Changes(Spec):
    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(f"changes nothing; it takes {', '.join(type(self).model_fields)}")
        return self


class AgentChanges(_Changes):
    """What another version of an agent has different, each field whole; what it leaves out is the agent's own."""

    prompt: PromptTemplate | None = Field(default=None, description="What the model is told; default the agent's own.")
    inputs: Mapping[InputName, InputSpec] | None = Field(
        default=None, min_length=2, max_length=5, description="Declared inputs; default the agent's own."
    )
    model: ModelSettings | None = Field(
        default=None, description="Which model answers and how; default the agent's own."
    )
    resources: Resources | None = Field(
        default=None, description="Requests and limits of one replica; default the agent's own."
    )
    cache_seconds: int | None = Field(
        default=None, ge=0, le=86_400, description="How long an answer may be served again; default the agent's own."
    )


class PoolChanges(_Changes):
    """What another version of a pool has different; what it leaves out is the pool's own."""

    agents: Mapping[AgentId, AgentChanges] | None = Field(
        default=None, min_length=1, description="Changes of the pool's agents by id; default none."
    )
    resources: Resources | None = Field(
        default=None, description="Requests and limits of one pool process; default the pool's own."
    )
    concurrency: int | None = Field(
        default=None, ge=1, le=10_000, description="Most executions at once in one process; default the pool's own."
    )


class Rollout(Protocol):
    """What the rollouts of an agent, a pool and a stack have in common."""

    @property
    def strategy(self) -> Strategy: ...
    @property
    def active(self) -> Colour: ...
    @property
    def canary_percent(self) -> int: ...
    @property
    def candidate(self) -> object | None: ...
    @property
    def previous(self) -> object | None: ...
    @property
    def other(self) -> object | None: ...


def check(rollout: Rollout) -> None:
    """Raises ValueError where a rollout holds a version that its strategy has no place for."""
    if rollout.candidate is not None and rollout.previous is not None:
        raise ValueError("has both a candidate and a previous version: finish or abort one of them first")
    if rollout.strategy == "rolling" and rollout.candidate is not None:
        raise ValueError("a rolling rollout has no candidate: change the entry itself, or say canary or blue-green")
    if rollout.strategy != "blue-green" and rollout.previous is not None:
        raise ValueError("only a blue-green rollout keeps the previous version")


C = TypeVar("C", bound=_Changes)


class _Rollout(Spec, Generic[C]):
    strategy: Strategy = Field(default="rolling", description="rolling, blue-green or canary; default rolling.")
    active: Colour = Field(default="blue", description="The colour that serves, for blue-green; default blue.")
    canary_percent: int = Field(
        default=DEFAULT_PERCENT,
        ge=1,
        le=90,
        description="Share of requests the candidate gets, percent, for canary; default 10.",
    )
    candidate: C | None = Field(
        default=None, description="The new version while it is tried: what it has different; default none."
    )
    previous: C | None = Field(
        default=None,
        description="The version before, kept for switching back after a blue-green switch: what it has different; default none.",
    )

    @model_validator(mode="after")
    def _versions_fit_the_strategy(self) -> Self:
        check(self)
        return self

    @property
    def other(self) -> C | None:
        """What the version beside the one that serves has different; None where there is one version."""
        return self.candidate if self.candidate is not None else self.previous


class AgentRollout(_Rollout[AgentChanges]):
    """How a new version of an agent takes over."""


class PoolRollout(_Rollout[PoolChanges]):
    """How a new version of a pool takes over."""
