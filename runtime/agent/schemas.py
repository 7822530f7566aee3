"""Owns the OpenAPI description of the Agent API's bodies.

Requests are checked by ``prompt.parse``, which says more than a generic validator and costs less; these
models state the same shapes for readers and tools. A test holds the two together.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from catalog.contract import CONTEXT_BYTES, CONTEXT_KEY_LENGTH, CONTEXT_KEYS, CONTEXT_VALUE_BYTES, TASK_LIMIT, Header


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


class Metadata(BaseModel):
    """Facts about an answer."""

    agent_id: str
    model: str
    tokens_used: int = Field(description="Input and output tokens of this request; 0 for a cached answer.")
    timestamp: str = Field(description="UTC, RFC 3339.")
    input_tokens: int
    output_tokens: int
    stop_reason: str | None = Field(
        default=None, description="Only where the answer did not simply end: max_tokens, refusal, …"
    )
    cached: bool | None = Field(default=None, description="true where the answer came from the cache.")
    notice: str | None = Field(default=None, description="Said by the offline model: no model was called.")


class ExecuteResponse(BaseModel):
    """An agent's answer."""

    result: str
    metadata: Metadata
    processing_time_ms: float


class Health(BaseModel):
    """A process or an agent that is alive."""

    status: str = Field(description="healthy; for a single agent also disabled.")
    agent_id: str = Field(description="The agent, or the process's own name.")
    version: str
    timestamp: str


class Ready(BaseModel):
    """A process that takes requests."""

    status: str
    agents: int = Field(description="How many agents the process serves.")


class ErrorBody(BaseModel):
    """What went wrong."""

    code: str
    message: str
    details: dict[str, Any] | None = None
    retry_after: int | None = Field(default=None, description="Seconds; also in the header Retry-After.")


class ErrorEnvelope(BaseModel):
    """The body of every 4xx and 5xx."""

    error: ErrorBody


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorEnvelope, "description": description}
    for status, description in {
        401: "No valid identity token",
        404: "No such agent here",
        413: "The body is too large",
        415: "The body is not JSON",
        422: "The request is not valid; details name field and issue",
        500: "Something went wrong here",
        502: "The model API failed, cannot be reached, or does not know the model",
        503: "Overloaded, turned off, or the model API is",
        504: "The model did not answer in time",
    }.items()
}
"""Responses of an execution that are not answers."""

REQUEST_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": ExecuteRequest.model_json_schema()}}},
}
IDENTITY_PARAMETER: dict[str, Any] = {
    "name": Header.IDENTITY,
    "in": "header",
    "required": True,
    "schema": {"type": "string"},
    "description": "Set by the gateway.",
}
AGENT_PARAMETER: dict[str, Any] = {
    "name": Header.AGENT_ID,
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Where the process serves several agents.",
}


def path_parameter(name: str) -> dict[str, Any]:
    """The OpenAPI parameter of a path's ``{name}``."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
