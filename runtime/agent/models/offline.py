"""Owns the offline model: a deterministic, plainly labelled answer for development and tests. Calls nobody."""

from __future__ import annotations

from runtime.agent.models.base import Answer, Call

NAME = "offline"
NOTICE = "No model was called: this process has no ANTHROPIC_API_KEY. The result is composed from the agent's own description; token counts are estimates."
_CHARACTERS_PER_TOKEN = 4
"""Anthropic's rule of thumb for English text (glossary, "Tokens")."""


class OfflineModel:
    """Answers every call at once from the agent's specification and the caller's own words."""

    notice: str | None = NOTICE
    problem: str | None = None

    async def complete(self, call: Call) -> Answer:
        """The same text for the same call, saying in its first line that no model wrote it."""
        agent = call.agent
        inputs = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in call.values.items())
        points = "\n".join(f"{number}. {point}" for number, point in enumerate(agent.prompt.answer, 1))
        text = (
            f"[Offline answer of {agent.name}: no model was called]\n\n"
            f"Task: {call.task}\n\nWorking from:\n{inputs}\n\nAn answer by Claude would contain:\n{points}"
        )  # fmt: skip
        spent = (len(call.system) + len(call.user)) // _CHARACTERS_PER_TOKEN
        words, stop_reason = _cut(text, call.max_tokens)
        return Answer(words, NAME, stop_reason, spent, len(words) // _CHARACTERS_PER_TOKEN, paid=False)

    async def run(self) -> None:
        """Nothing goes on in the background."""

    async def close(self) -> None:
        """Nothing is open."""


def _cut(text: str, max_tokens: int) -> tuple[str, str]:
    limit = max_tokens * _CHARACTERS_PER_TOKEN
    return (text, "end_turn") if len(text) <= limit else (text[:limit], "max_tokens")
