"""Owns the OpenAPI description of the Agent API's bodies.

Requests are checked by ``prompt.parse``, which says more than a generic validator and costs less; these
models state the same shapes for readers and tools. A test holds the two together.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from catalog.contract import (
    CONTEXT_BYTES,
    CONTEXT_KEY_LENGTH,
    CONTEXT_KEYS,
    CONTEXT_VALUE_BYTES,
    TASK_LIMIT,
    ErrorCode,
    Header,
)
from runtime.openapi import WITH_BODY, Answer, refusals


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [value]})


class ExecuteRequest(BaseModel):
    """A task for an agent."""

    model_config = ConfigDict(extra="forbid")

    task_description: str = Field(min_length=1, max_length=TASK_LIMIT, description="What is to be done.")
    context: (
        Annotated[
            dict[Annotated[str, Field(min_length=1, max_length=CONTEXT_KEY_LENGTH)], str | float | bool],
            Field(max_length=CONTEXT_KEYS),
        ]
        | None
    ) = Field(
        default=None,
        description=f"The agent's declared inputs and anything else it should know: at most {CONTEXT_KEYS} keys, {CONTEXT_VALUE_BYTES} bytes a value, {CONTEXT_BYTES} bytes in all.",
    )


class Metadata(Answer):
    """Facts about an answer."""

    agent_id: str
    model: str
    tokens_used: int = Field(description="Input and output tokens of this request; 0 for a cached answer.")
    timestamp: datetime = Field(description="UTC.")
    input_tokens: int
    output_tokens: int
    stop_reason: str | None = Field(
        default=None, description="Only where the answer did not simply end: max_tokens, refusal, …"
    )
    cached: bool | None = Field(default=None, description="true where the answer came from the cache.")
    notice: str | None = Field(default=None, description="Said by the offline model: no model was called.")


class ExecuteResponse(Answer):
    """An agent's answer."""

    model_config = _example(
        {
            "result": "# Business plan\n\n…",
            "metadata": {
                "agent_id": "business_plan_agent_009",
                "model": "claude-sonnet-5-5",
                "tokens_used": 512,
                "timestamp": "2026-11-23T10:30:00Z",
                "input_tokens": 400,
                "output_tokens": 112,
            },
            "processing_time_ms": 2410.52,
        }
    )
    result: str
    metadata: Metadata
    processing_time_ms: float


class Health(Answer):
    """A process or an agent that is alive."""

    model_config = _example(
        {
            "status": "healthy",
            "agent_id": "business_plan_agent_009",
            "version": "1.0.0",
            "timestamp": "2026-11-23T10:30:00Z",
        }
    )

    status: Literal["healthy", "disabled", "quarantined", "unavailable"] = Field(
        description="healthy; for a single agent also disabled, quarantined, or unavailable (its definition could not be loaded)."
    )
    agent_id: str = Field(description="The agent, or the process's own name.")
    version: str
    timestamp: datetime


class Ready(Answer):
    """A process that takes requests."""

    model_config = _example({"status": "ready", "agents": 500})

    status: Literal["ready"]
    agents: int = Field(description="How many agents the process serves.")
    unavailable: dict[str, str] | None = Field(
        default=None, description="Agents it should serve and cannot load, with the reason."
    )
    quarantined: list[str] | None = Field(
        default=None, description="Agents it refuses because executing them ended their process."
    )


EXECUTION_ERRORS = refusals(
    ErrorCode.UNAUTHENTICATED,
    ErrorCode.FORBIDDEN,
    ErrorCode.AGENT_NOT_FOUND,
    *WITH_BODY,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.RATE_LIMIT_EXCEEDED,
    ErrorCode.MODEL_ERROR,
    ErrorCode.MODEL_UNAVAILABLE,
    ErrorCode.BAD_GATEWAY,
    ErrorCode.AGENT_DISABLED,
    ErrorCode.AGENT_QUARANTINED,
    ErrorCode.AGENT_UNAVAILABLE,
    ErrorCode.OVERLOADED,
    ErrorCode.SERVICE_UNAVAILABLE,
    ErrorCode.TIMEOUT,
)
"""Responses of an execution that are not answers; some of them only the gateway's and control's."""

_REQUEST = {
    "task_description": "Plan a bakery with two employees",
    "context": {"audience": "a local bank"},
}
REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": ExecuteRequest.model_json_schema(), "example": _REQUEST}},
    },
}
CANARY_PARAMETER: dict[str, Any] = {
    "name": Header.CANARY.value,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "enum": ["true"]},
    "description": "Asks for the agent's new version while one is tried.",
}
IDENTITY: dict[str, Any] = {
    "type": "apiKey",
    "in": "header",
    "name": Header.IDENTITY.value,
    "description": "What the gateway sends in place of the caller's credential: a token good for a minute and this one request. A client cannot.",
}
AGENT_PARAMETER: dict[str, Any] = {
    "name": Header.AGENT_ID.value,
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Where the process serves several agents.",
}


def path_parameter(name: str) -> dict[str, Any]:
    """The OpenAPI parameter of a path's ``{name}``."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
