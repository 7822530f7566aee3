"""Owns what an audit event is made of, before it is a row."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal

Kind = Literal["execution", "refusal", "request", "login", "session", "administration"]
"""execution: an agent was called; refusal: control said no; request: a read of control's own API;
login: a password was tried; session: a refresh or logout; administration: something was changed."""

_TEXT_LENGTH = 512
"""Most characters kept of a text a client chose (path, address, request id)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the audit. ``status`` None with kind execution: admitted, not finished yet."""

    kind: Kind
    request_id: str
    event_id: uuid.UUID = field(default_factory=uuid.uuid4)
    occurred_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    user_id: str | None = None
    username: str | None = None
    credential: str | None = None
    credential_id: str | None = None
    address: str | None = None
    method: str | None = None
    path: str | None = None
    agent_id: str | None = None
    owner: str | None = None
    action: str | None = None
    target: str | None = None
    status: int | None = None
    error_code: str | None = None
    details: Mapping[str, Any] | None = None

    def row(self) -> dict[str, Any]:
        """As column values; texts are shortened and cleaned of what PostgreSQL cannot store."""
        values = {name: getattr(self, name) for name in _NAMES}
        for name in _TEXTS:
            if values[name] is not None:
                values[name] = clean(values[name], _TEXT_LENGTH)
        values["completed_at"] = self.occurred_at if self.status is not None else None
        return values


_NAMES = tuple(each.name for each in fields(Event))
_TEXTS = ("request_id", "username", "address", "method", "path", "agent_id", "target")


def clean(text: str, length: int) -> str:
    """``text`` without control characters and lone surrogates, at most ``length`` characters."""
    text = text[:length]
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "�" for character in text)
