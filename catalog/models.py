"""Owns what is known of Claude model ids: which are served, which are retired, which settings they take.

The catalog refuses a setting its model would refuse, so a mistake is found in review and not by a caller.
Sources: the installed SDK's model list and deprecation table (a test compares), Anthropic's model pages,
"Migrating to Claude Opus 4.7" (sampling parameters removed from 4.7 on), "Effort" (Opus 4.5 and all of 4.6 on).
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_MODEL = "claude-sonnet-5-5"
"""What CLAUDE_MODEL is where nobody sets it: the current Sonnet."""


@dataclass(frozen=True, slots=True)
class Model:
    """Which settings one model takes."""

    temperature: bool = False
    effort: bool = True


CURRENT: dict[str, Model] = {
    "claude-fable-5-2": Model(),
    "claude-mythos-5-2": Model(),
    "claude-haiku-5-5": Model(),
    "claude-sonnet-5-5": Model(),
    "claude-opus-5-5": Model(),
    "claude-fable-5-1": Model(),
    "claude-mythos-5-1": Model(),
    "claude-fable-5": Model(),
    "claude-mythos-5": Model(),
    "claude-sonnet-5": Model(),
    "claude-opus-5": Model(),
    "claude-opus-4-8": Model(),
    "claude-opus-4-7": Model(),
    "claude-opus-4-6": Model(temperature=True),
    "claude-sonnet-4-6": Model(temperature=True),
    "claude-opus-4-5": Model(temperature=True),
    "claude-opus-4-5-20251101": Model(temperature=True),
    "claude-haiku-4-5": Model(temperature=True, effort=False),
    "claude-haiku-4-5-20251001": Model(temperature=True, effort=False),
}

_SUCCESSORS = {
    "haiku": "claude-haiku-5-5",
    "sonnet": "claude-sonnet-5-5",
    "opus": "claude-opus-5-5",
    "mythos": "claude-mythos-5-2",
    "instant": "claude-haiku-5-5",
}
_RETIRED_PREFIXES = ("claude-1", "claude-2", "claude-3", "claude-instant")
_RETIRED = {
    "claude-opus-4-0", "claude-opus-4-20250514", "claude-opus-4-1", "claude-opus-4-1-20250805", "claude-sonnet-4-0",
    "claude-sonnet-4-20250514", "claude-mythos-preview", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929",
}  # fmt: skip


def require_model(model: str) -> Model:
    """What ``model`` takes. Raises ValueError for a retired id, naming its successor.

    An id this table does not know (a newer one, a private one) is let through and takes every setting:
    the API has the last word on those.
    """
    if model in _RETIRED or model.startswith(_RETIRED_PREFIXES):
        successor = next((new for family, new in _SUCCESSORS.items() if family in model), DEFAULT_MODEL)
        raise ValueError(f"model {model} is retired: calls with it fail; use {successor}")
    if not model.startswith("claude-"):
        raise ValueError(f"model {model} is not a Claude model id (claude-…); the default is {DEFAULT_MODEL}")
    return CURRENT.get(model, Model(temperature=True, effort=True))


def require_settings(model: str, *, temperature: float | None, effort: str | None) -> None:
    """Raises ValueError where ``model`` does not take a setting that is given."""
    takes = require_model(model)
    if temperature is not None and not takes.temperature:
        raise ValueError(
            f"model {model} does not take a temperature (removed with Claude Opus 4.7): leave temperature out"
        )
    if effort is not None and not takes.effort:
        raise ValueError(f"model {model} does not take an effort: leave effort out")
