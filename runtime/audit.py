"""Owns how an agent tells control what became of an execution: one Redis stream entry per completion.

The admitted row is already in PostgreSQL when the agent is called; the completion names it by event id and
control applies it once, so delivering an entry twice changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Completion:
    """What became of one execution."""

    event_id: str
    status: int
    """HTTP status answered; 499 where the caller hung up first."""
    error_code: str
    """Code of the error envelope; empty for an answer."""
    model: str
    input_tokens: int
    output_tokens: int
    cost_dollars: str
    """Decimal text, US dollars; "0" where nothing was paid, "" where the model has no known price."""
    duration_ms: float
    completed_at: str
    """UTC, RFC 3339."""
    cached: bool = False
    task: str = ""
    """The caller's text; only where the operator switched texts on."""
    answer: str = ""

    def fields(self) -> dict[str, bytes]:
        """As fields of a Redis stream entry."""
        return {"completion": orjson.dumps(asdict(self))}

    @classmethod
    def from_fields(cls, fields: dict[Any, Any]) -> Completion:
        """Of the fields of a Redis stream entry (text or bytes keys). Raises ValueError where it is not one."""
        raw = fields.get("completion", fields.get(b"completion"))
        if raw is None:
            raise ValueError("a stream entry without a completion")
        return cls(**orjson.loads(raw))
