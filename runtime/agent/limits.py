"""Owns how many executions run at once, per agent and in the process. Waiting for a model costs no CPU, but
memory, connections and the model's own limits; beyond these caps a caller is told to come back.
"""

from __future__ import annotations

from catalog.contract import ErrorCode
from runtime.errors import PlatformError

RETRY_AFTER_SECONDS = 1
"""Executions take seconds; a place is likely to be free after one."""


class Slots:
    """A counter with a limit."""

    __slots__ = ("limit", "running")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0


def take(agent: Slots, process: Slots) -> str:
    """Take a place in both, or in neither: "" where that worked, else the scope that is full, "agent" or "process"."""
    if agent.running >= agent.limit:
        return "agent"
    if process.running >= process.limit:
        return "process"
    agent.running += 1
    process.running += 1
    return ""


def give_back(agent: Slots, process: Slots) -> None:
    """Give back what take took."""
    agent.running -= 1
    process.running -= 1


def overloaded(scope: str) -> PlatformError:
    """The 503 for a full ``scope``."""
    who = "This agent" if scope == "agent" else "This part of the platform"
    return PlatformError(
        ErrorCode.OVERLOADED,
        f"{who} is at its limit of concurrent executions. Retry after {RETRY_AFTER_SECONDS} second",
        retry_after=RETRY_AFTER_SECONDS,
    )
