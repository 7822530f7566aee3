"""Owns the protocol between the execution path and whatever model answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from catalog.contract import ErrorCode
from catalog.schema import AgentSpec
from runtime.errors import PlatformError


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a model: everything it is told and how it should answer."""

    agent: AgentSpec
    model: str
    system: str
    """The agent's own instructions."""
    user: str
    """The user turn: every text of the caller's, in delimited sections."""
    max_tokens: int
    temperature: float | None = None
    effort: str | None = None
    task: str = ""
    """The task_description alone; what the offline model quotes."""
    values: Mapping[str, str] = field(default_factory=dict)
    """The declared inputs as the caller gave them or their defaults; what the offline model quotes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said and what it used."""

    text: str
    model: str
    stop_reason: str
    """The Messages API's stop_reason: end_turn, max_tokens, refusal, …"""
    input_tokens: int
    output_tokens: int
    paid: bool = True
    """False where nobody is charged for it."""


class ModelError(PlatformError):
    """A call that gave no answer; ``input_tokens`` and ``output_tokens`` were spent all the same, where known."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        retry_after: int | None = None,
        input_tokens: int = 0,
        output_tokens: int = 0,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code, message, retry_after=retry_after, details=details)
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens


class ModelClient(Protocol):
    """Something that answers calls. Shared by all requests of a process."""

    @property
    def notice(self) -> str | None:
        """What every response's metadata must say of this model, if anything."""
        ...

    @property
    def problem(self) -> str | None:
        """Why the process should not get requests at the moment (for /ready), or None."""
        ...

    async def complete(self, call: Call) -> Answer:
        """The model's answer. Raises ModelError. Cancelling it cancels the call."""
        ...

    async def run(self) -> None:
        """What must go on in the background, until cancelled; may return at once."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
