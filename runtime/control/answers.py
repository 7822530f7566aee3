"""Owns the shapes of control's answers, for its OpenAPI document. Handlers build their bodies themselves: nothing is
validated or serialised by these on a request; tests hold every answer against them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from catalog.rollout import Colour, Strategy
from catalog.schema import AgentSpec
from catalog.values import InputSpec, Isolation, ModelSettings, PromptTemplate, Resources, Scaling
from runtime.control import examples
from runtime.control.store.events import Kind
from runtime.control.store.users import Role
from runtime.openapi import Answer


def _example(*values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": list(values)})


class Health(Answer):
    """The process runs."""

    model_config = _example(
        {"status": "healthy", "agent_id": "control", "version": "1.0.0", "timestamp": "2026-11-23T10:30:00Z"}
    )
    status: Literal["healthy"]
    agent_id: str = Field(description="The process's own name.")
    version: str
    timestamp: datetime


class Ready(Answer):
    """The process takes requests."""

    model_config = _example({"status": "ready", "redis": "up", "database": "up"})
    status: Literal["ready"]
    redis: Literal["up"]
    database: Literal["up"]


class Tokens(Answer):
    """What a session's holder sends from now on."""

    model_config = _example(examples.TOKENS)
    access_token: str = Field(description="Sent as Authorization: Bearer.")
    token_type: Literal["bearer"]
    expires_in: int = Field(description="Life of the access token, seconds.")
    refresh_token: str = Field(description="Good for one POST /auth/refresh.")


class Limit(Answer):
    """A user's limit."""

    model_config = _example({"requests_per_minute": 100, "source": "default"})
    requests_per_minute: int = Field(ge=0)
    source: Literal["user", "settings", "default"] = Field(
        description="user: set for them; settings: the operator's dynamic settings; default: the platform's."
    )


class User(Answer):
    """A user."""

    model_config = _example(examples.USER)
    id: UUID
    username: str
    role: Role
    enabled: bool
    limit: Limit
    created_at: datetime


class UserWithPassword(User):
    """A user, and the password that was made up for them."""

    model_config = _example({**examples.USER, "password": "correct-horse-battery-staple"})
    password: str | None = Field(default=None, description="Only where none was given: made up, shown this once.")


class Users(Answer):
    """A page of users."""

    model_config = _example({"items": [examples.USER], "total": 1, "next_cursor": None})
    items: list[User]
    total: int = Field(description="On all pages.")
    next_cursor: str | None = Field(description="The next page's cursor; null on the last.")


class Session(Tokens):
    """A new session and whose it is."""

    model_config = _example({**examples.TOKENS, "user": examples.USER})
    user: User


class Credential(Answer):
    """What the request was made with."""

    kind: Literal["session", "key"]
    id: UUID = Field(description="Of the session or the API key.")


class Me(User):
    """The caller."""

    model_config = _example({**examples.USER, "credential": {"kind": "key", "id": examples.KEY["id"]}})
    credential: Credential


class Key(Answer):
    """An API key, without the key."""

    model_config = _example(examples.KEY)
    id: UUID
    username: str
    name: str
    prefix: str = Field(description="Its first characters, to recognise it by.")
    created_at: datetime
    expires_at: datetime | None = Field(description="null: never.")
    revoked_at: datetime | None = Field(description="null: it was not.")


class CreatedKey(Key):
    """A new API key."""

    model_config = _example({**examples.KEY, "key": "sk-3fJ9…"})
    key: str = Field(description="Shown this once.")


class Keys(Answer):
    """API keys."""

    model_config = _example({"items": [examples.KEY], "total": 1})
    items: list[Key]
    total: int


class AgentSummary(Answer):
    """An agent in a list."""

    model_config = _example(examples.SUMMARY)
    id: str
    name: str
    description: str
    pool: str
    domain: str
    owner: str = Field(description="Team that answers for it.")
    tags: list[str]
    isolation: Isolation
    enabled: bool = Field(description="false: an operator turned it off.")


class Agents(Answer):
    """A page of agents."""

    model_config = _example({"items": [examples.SUMMARY], "total": 1, "page": 1, "limit": 50, "next_page": None})
    items: list[AgentSummary]
    total: int = Field(description="On all pages.")
    page: int
    limit: int
    next_page: int | None = Field(description="null on the last page.")


class Example(Answer):
    """A request the agent can execute as it stands."""

    task_description: str
    context: dict[str, str]


class RolloutState(Answer):
    """How a new version of the agent takes over."""

    strategy: Strategy
    active: Colour
    canary_percent: int


class Agent(AgentSummary):
    """An agent."""

    model_config = _example(examples.AGENT)
    number: int = Field(description="Within its pool.")
    kubernetes_name: str
    inputs: dict[str, InputSpec]
    example: Example
    answer: list[str] = Field(description="What a good answer contains.")
    model: ModelSettings
    scaling: Scaling
    resources: Resources
    rollout: RolloutState | None = Field(description="null: as the stack's, else rolling.")
    cache_seconds: int
    digest: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of its definition.")
    prompt: PromptTemplate | None = Field(default=None, description="Only for administrators.")


class AuditEvent(Answer):
    """Something that happened."""

    model_config = _example(examples.EVENT)
    event_id: UUID
    occurred_at: datetime
    kind: Kind
    request_id: str
    user_id: UUID | None
    username: str | None
    credential: Literal["session", "key", "password"] | None
    credential_id: UUID | None = Field(description="Of the session or API key.")
    address: str | None = Field(description="The client's, as the gateway saw it.")
    method: str | None
    path: str | None
    agent_id: str | None
    owner: str | None = Field(description="Team that owned the agent at the time.")
    action: str | None = Field(description="What an administrative act did: user.disable, key.create, …")
    target: str | None = Field(description="Whom or what it was done to.")
    status: int | None = Field(description="HTTP status; null: not finished.")
    error_code: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_dollars: float | None = Field(description="null: not completed, or the model has no known price.")
    duration_ms: float | None
    cached: bool | None
    completed_at: datetime | None
    details: dict[str, Any] | None
    state: Literal["finished", "unfinished"]
    task: str | None = Field(default=None, description="Only where the operator switched texts on.")
    answer: str | None = Field(default=None, description="Only where the operator switched texts on.")


class Audit(Answer):
    """A page of events, newest first."""

    model_config = _example({"items": [examples.EVENT], "next_cursor": None})
    items: list[AuditEvent]
    next_cursor: str | None = Field(description="The next page's cursor; null on the last.")


class Sums(Answer):
    """Executions summed up."""

    model_config = _example(examples.SUMS)
    requests: int
    errors: int
    unfinished: int = Field(description="Admitted and never completed.")
    cached: int
    input_tokens: int
    output_tokens: int
    tokens: int
    cost_dollars: float = Field(description="Of those with a known price.")
    unpriced: int = Field(description="Completed without a known price.")


class UsageItem(Sums):
    """Executions of one agent, user, owner team or day."""

    model_config = _example({"agent": "business_plan_agent_009", **examples.SUMS})
    agent: str | None = Field(default=None, description="Agent id, where by is agent.")
    user: str | None = Field(default=None, description="Username, where by is user.")
    owner: str | None = Field(default=None, description="Team, where by is owner.")
    day: date | None = Field(default=None, description="UTC day, where by is day.")


class Usage(Answer):
    """Executions summed up by something."""

    model_config = _example(
        {"by": "agent", "items": [{"agent": "business_plan_agent_009", **examples.SUMS}], "totals": examples.SUMS}
    )
    by: Literal["agent", "user", "owner", "day"]
    items: list[UsageItem]
    totals: Sums | None = Field(description="null where there was no execution.")


def shown_rollout(agent: AgentSpec) -> dict[str, Any] | None:
    """``RolloutState`` of an agent: a version that is tried has instructions of its own, which are not everybody's."""
    return (
        None if agent.rollout is None else agent.rollout.model_dump(mode="json", include=set(RolloutState.model_fields))
    )
