"""Owns the log format: one JSON object a line, with the specification's keys (section 6) and request_id.

``timestamp``, ``level``, ``agent_id``, ``message``; ``duration_ms`` and ``tokens_used`` where an execution
is meant. Values that look like credentials are masked before a line is written.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import orjson
import structlog

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_CREDENTIALS = re.compile(
    r"(sk-[A-Za-z0-9_-]{3})[A-Za-z0-9_-]{6,}|(eyJ)[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+|(hvs\.)[A-Za-z0-9_-]+|(://[^:/@\s]*:)[^@\s]+(?=@)"
)
_SECRET_KEYS = frozenset(
    {
        "authorization",
        "password",
        "api_key",
        "token",
        "refresh_token",
        "access_token",
        "secret",
        "x-api-key",
        "x-identity-token",
    }
)


class Levels:
    """The level in force, for the process and for single agents; changed while it runs."""

    def __init__(self, level: str) -> None:
        self._process = _LEVELS[level]
        self._agents: dict[str, int] = {}

    def set(self, level: str, agents: Mapping[str, str] | None = None) -> None:
        """Make ``level`` the process's and ``agents`` the levels of single agents by id."""
        self._process = _LEVELS[level]
        self._agents = {agent: _LEVELS[own] for agent, own in (agents or {}).items()}

    def enabled(self, level: str, agent_id: str | None) -> bool:
        """Whether a line of that level and agent is written."""
        return _LEVELS[level] >= self._agents.get(agent_id or "", self._process)


def configure(service: str, level: str, stream: TextIO | None = None) -> Levels:
    """Send all logging of this process, libraries' included, to ``stream`` (stderr) as JSON lines.

    ``service`` is the agent_id of lines that speak of no single agent: the pool's or the process's name.
    """
    levels = Levels(level)

    def finish(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        severity = {"warn": "WARNING", "exception": "ERROR"}.get(method, method.upper())
        agent_id = event.pop("agent_id", None)
        if not levels.enabled(severity, agent_id):
            raise structlog.DropEvent
        timestamp = event.pop("timestamp")
        message = event.pop("event")
        return {"timestamp": timestamp, "level": severity, "agent_id": agent_id or service, "message": message, **event}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            finish,
            mask,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Bridge()], level=logging.INFO, force=True)
    for noisy in ("httpx", "httpx2", "httpcore2", "anthropic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return levels


def mask(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: hides credentials in values, and whole values under names of secrets."""
    for key, value in event.items():
        if key.lower() in _SECRET_KEYS:
            event[key] = "***"
        elif isinstance(value, str) and ("-" in value or "." in value or "@" in value):
            event[key] = _CREDENTIALS.sub(lambda match: f"{next(group for group in match.groups() if group)}***", value)
    return event


def _dumps(value: Any, **_: Any) -> str:
    return orjson.dumps(value, default=str).decode()


class _Bridge(logging.Handler):
    """Libraries log through the standard module; their records become lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, Any] = {"logger": record.name}
            if record.exc_info:
                fields["exc_info"] = record.exc_info
            structlog.get_logger().log(min(max(record.levelno // 10 * 10, 10), 50), record.getMessage(), **fields)
        except Exception:
            self.handleError(record)
