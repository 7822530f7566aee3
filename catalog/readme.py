"""Owns the README of an agent: the fourth of its files (specification section 2), generated and never stored."""

from __future__ import annotations

import json
import textwrap

from catalog import models
from catalog.contract import CONTEXT_KEYS, TASK_LIMIT
from catalog.schema import AgentSpec

_DEFAULT_TOKENS = 4096


def readme(agent: AgentSpec, base_url: str = "http://127.0.0.1:8000") -> str:
    """Markdown: description, usage examples with curl against ``base_url``, inputs, configuration.

    Says nothing of the agent's instructions: whoever may call it may read this.
    """
    return (
        "\n\n".join((_head(agent), _usage(agent, base_url.rstrip("/")), _inputs(agent), _configuration(agent))) + "\n"
    )


def _head(agent: AgentSpec) -> str:
    points = "\n".join(f"- {point}" for point in agent.prompt.answer)
    tags = ", ".join(f"`{tag}`" for tag in agent.tags)
    return (
        f"# {agent.name}\n\n{agent.description}\n\n"
        f"Agent `{agent.id}` · pool {agent.pool} · domain {agent.domain} · owner {agent.owner} · tags {tags}\n\n"
        f"A good answer contains:\n\n{points}"
    )


def _usage(agent: AgentSpec, base_url: str) -> str:
    full: dict[str, object] = {
        "task_description": agent.example,
        "context": {name: spec.example for name, spec in agent.inputs.items()},
    }
    return (
        "## Usage\n\n"
        "A task is enough; every input has a default:\n\n"
        f"{_curl(agent, base_url, {'task_description': agent.example})}\n\n"
        "With every input:\n\n"
        f"{_curl(agent, base_url, full)}\n\n"
        "`$TOKEN` is an API key (`sk-…`) or the `access_token` of `POST /auth/login`. The answer:\n\n"
        "```json\n"
        '{\n  "result": "…",\n  "metadata": {"agent_id": "'
        + agent.id
        + '", "model": "…", "tokens_used": 2847, "timestamp": "2025-01-15T10:30:00Z"},\n'
        '  "processing_time_ms": 4235.67\n}\n```'
    )


def _curl(agent: AgentSpec, base_url: str, body: dict[str, object]) -> str:
    # A quoted here-document: the shell looks at nothing in it, whatever an example contains.
    document = json.dumps(body, ensure_ascii=False, indent=2)
    command = f"""
        curl -sS {base_url}/agents/{agent.id}/api/v1/execute \\
          -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
          --data-binary @- <<'JSON'
        """
    return f"```bash\n{textwrap.dedent(command).strip()}\n{document}\nJSON\n```"


def _inputs(agent: AgentSpec) -> str:
    rows = "\n".join(
        f"| `{name}` | {_cell(spec.description)} | {_cell(spec.default)} | {_cell(spec.example)} |"
        for name, spec in agent.inputs.items()
    )
    return (
        "## Inputs\n\n"
        f"`task_description` (required, at most {TASK_LIMIT} characters) says what is wanted. Keys of `context`:\n\n"
        f"| Key | What it is | Default | Example |\n|---|---|---|---|\n{rows}\n\n"
        f"Other keys (at most {CONTEXT_KEYS} in all) reach the model as additional context."
    )


def _configuration(agent: AgentSpec) -> str:
    settings, scaling, resources = agent.model, agent.scaling, agent.resources
    rows = {
        "Model (`CLAUDE_MODEL`)": settings.model or f"the fleet's, by default {models.DEFAULT_MODEL}",
        "Most tokens of an answer (`MAX_TOKENS`)": settings.max_tokens or f"the fleet's, by default {_DEFAULT_TOKENS}",
        "Temperature (`TEMPERATURE`)": "the model's own" if settings.temperature is None else settings.temperature,
        "Effort": settings.effort or "the model's own",
        "Answers cached": f"for {agent.cache_seconds} s" if agent.cache_seconds else "no",
        "Isolation": agent.isolation,
        "Port where it runs dedicated (`PORT`)": agent.port,
        "Replicas where it runs dedicated": f"{scaling.min_replicas} to {scaling.max_replicas} at {scaling.cpu_percent}% CPU",
        "Resources where it runs dedicated": f"{resources.cpu_request} to {resources.cpu_limit} CPU, {resources.memory_request} to {resources.memory_limit} memory",
        "Executions at once in one process": scaling.concurrency,
        "Rollout": agent.rollout.strategy if agent.rollout else "as its fleet",
    }
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"## Configuration\n\n| Setting | Value |\n|---|---|\n{lines}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
