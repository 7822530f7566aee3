"""The README of an agent: generated, complete, and its examples work in a shell."""

from __future__ import annotations

import json
import subprocess

from catalog import registry
from catalog.readme import readme
from catalog.registry import POOLS_FOLDER
from catalog.schema import AgentSpec


def _agents() -> list[AgentSpec]:
    problems: list[registry.Problem] = []
    domain = registry._validated_domain(
        registry._parse(POOLS_FOLDER / "business/strategy.yaml", "strategy.yaml", problems) or {},
        "business",
        "strategy",
        "strategy.yaml",
        problems,
    )
    assert domain is not None, problems
    return list(domain.agents)


def test_it_has_description_usage_inputs_and_configuration() -> None:
    agent = next(agent for agent in _agents() if agent.id == "business_plan_agent_009")
    text = readme(agent, "https://agents.example.com/")
    assert text.startswith(f"# {agent.name}\n\n{agent.description}\n")
    for heading in ("## Usage", "## Inputs", "## Configuration"):
        assert f"\n{heading}\n" in text
    assert "curl -sS https://agents.example.com/agents/business_plan_agent_009/api/v1/execute" in text
    for name, spec in agent.inputs.items():
        assert f"| `{name}` | {spec.description}" in text
    assert "| Port where it runs dedicated (`PORT`) | 8209 |" in text
    assert agent.prompt.instructions[:80] not in text


def test_every_example_is_a_command_a_shell_takes_and_a_request_the_platform_takes() -> None:
    for agent in _agents():
        blocks = [part.split("```", 1)[0] for part in readme(agent).split("```bash\n")[1:]]
        assert len(blocks) == 2
        for block, context in zip(blocks, (False, True), strict=True):
            assert subprocess.run(["sh", "-n"], input=block, text=True, check=False).returncode == 0
            sent = subprocess.run(
                ["sh"], input=f"curl() {{ cat; }}\n{block}", text=True, capture_output=True, check=True
            ).stdout
            body = json.loads(sent)
            assert body["task_description"] == agent.example
            assert set(body.get("context", {})) == (set(agent.inputs) if context else set())


def test_a_cell_cannot_break_the_table() -> None:
    agent = _agents()[0]
    name, spec = next(iter(agent.inputs.items()))
    changed = agent.model_copy(update={"inputs": {**agent.inputs, name: spec.model_copy(update={"example": "a | b"})}})
    assert "a \\| b" in readme(changed)
