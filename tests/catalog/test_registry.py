from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from catalog import registry
from catalog.registry import CatalogError, Registry, UnknownAgentError, content_digest, dump_agent
from catalog.schema import AgentSpec

AGENT = """
  - id: {id}
    name: {name}
    description: Does one thing for one reader, described in a sentence of its own for {id}.
    prompt:
      instructions: |-
        {instructions}
      request: "Consider {{topic}} for {{reader}}."
      answer: [First point, Second point, Third point]
    inputs:
      topic: {{description: What it is about, default: the task, example: pricing}}
      reader: {{description: Who reads it, default: a colleague, example: the board}}
    tags: [testing]
    example: Do the thing.
"""
INSTRUCTIONS = "Work in the order a careful person would. " * 6


def write(folder: Path, *agents: str, file: str = "business/strategy.yaml", title: str = "Strategy") -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    pool = path.parent / "pool.yaml"
    pool.write_text("title: Business\ndescription: Agents for tests of the registry.\n")
    path.write_text(f"title: {title}\ndescription: A domain for tests.\nowner: team-a\nagents:{''.join(agents)}")
    return folder


def agent(agent_id: str = "first_agent_001", name: str = "First", instructions: str = INSTRUCTIONS) -> str:
    return AGENT.format(id=agent_id, name=name, instructions=instructions)


def problems(folder: Path) -> list[str]:
    with pytest.raises(CatalogError) as refused:
        registry.load(folder)
    return [str(problem) for problem in refused.value.problems]


def test_there_are_1500_agents_in_three_pools_of_twenty_domains_of_25(shipped: Registry) -> None:
    assert len(shipped) == 1500
    assert Counter(agent.pool for agent in shipped) == {"business": 500, "technology": 500, "knowledge": 500}
    domains = Counter((agent.pool, agent.domain) for agent in shipped)
    assert len(domains) == 60
    assert set(domains.values()) == {25}


def test_numbers_run_from_1_to_500_in_every_pool(shipped: Registry) -> None:
    for pool in shipped.pools:
        assert [agent.number for agent in shipped.pool(pool)] == list(range(1, 501))


def test_the_specifications_example_is_there_under_its_port(shipped: Registry) -> None:
    example = shipped.require("business_plan_agent_009")
    assert (example.kubernetes_name, example.port, example.pool) == ("business-plan-agent-009", 8209, "business")


def test_agents_are_found_by_id_kubernetes_name_and_number(shipped: Registry) -> None:
    example = shipped.require("business_plan_agent_009")
    assert shipped.get("business-plan-agent-009") is example
    assert shipped.by_number("business", 9) is example
    assert shipped.by_number("business", 501) is None
    assert shipped.get("nobody_agent_001") is None
    with pytest.raises(UnknownAgentError, match="nobody_agent_001"):
        shipped.require("nobody_agent_001")


def test_search_takes_words_and_filters_and_puts_names_first(shipped: Registry) -> None:
    found = shipped.search("business plan")
    assert found[0].id == "business_plan_agent_009"
    assert all(
        "business"
        in agent.id + agent.name.lower() + agent.description.lower() + agent.domain + agent.pool + " ".join(agent.tags)
        for agent in found
    )
    assert shipped.search("", pool="knowledge", domain="statistics") == [a for a in shipped if a.domain == "statistics"]
    tag = shipped.require("business_plan_agent_009").tags[0]
    assert all(tag in agent.tags for agent in shipped.search(tag=tag))
    assert shipped.search("no such words anywhere") == []


def test_every_agent_works_with_a_bare_task_description(shipped: Registry) -> None:
    for spec in shipped:
        opening = spec.prompt.compiled_request.render({name: entry.default for name, entry in spec.inputs.items()})
        assert "{" not in opening.replace("{{", ""), spec.id


def test_a_digest_follows_the_content_and_nothing_else(shipped: Registry) -> None:
    spec = shipped.require("business_plan_agent_009")
    same = AgentSpec.model_validate_json(dump_agent(spec))
    assert content_digest(same) == shipped.agent_digest(spec.id)
    other = spec.model_copy(update={"cache_seconds": 60})
    assert content_digest(other) != shipped.agent_digest(spec.id)
    some = list(shipped)[:10]
    assert shipped.digest(some) == shipped.digest(reversed(some))
    assert shipped.digest(some) != shipped.digest(some[:9])


def test_the_mounted_form_gives_the_same_agents(shipped: Registry, tmp_path: Path) -> None:
    chosen = [shipped.require("business_plan_agent_009"), shipped.pool("knowledge")[0]]
    for spec in chosen:
        (tmp_path / f"{spec.id}.json").write_bytes(dump_agent(spec))
    mounted = registry.load(tmp_path)
    assert list(mounted) == chosen
    assert [mounted.agent_digest(spec.id) for spec in chosen] == [shipped.agent_digest(spec.id) for spec in chosen]


def test_every_error_of_every_file_is_reported_in_one_run(tmp_path: Path) -> None:
    write(
        tmp_path,
        agent().replace("tags: [testing]", "tags: [testing]\n    colour: blue"),
        agent("second_agent_777", "Second").replace("example: Do the thing.", ""),
    )
    write(tmp_path, "\n  - just text\n", file="business/finance.yaml")
    (tmp_path / "technology").mkdir()
    (tmp_path / "technology" / "pool.yaml").write_text("title: [unclosed\n")
    found = problems(tmp_path)
    assert any(line.startswith("business/strategy.yaml: first_agent_001: colour: unknown key") for line in found)
    assert any(line.startswith("business/strategy.yaml: second_agent_777: example:") for line in found)
    assert any("business/finance.yaml: agent 1" in line for line in found)
    assert any(line.startswith("technology/pool.yaml: not readable as YAML") for line in found)


@pytest.mark.parametrize("placeholder", ["{a.b}", "{a[0]}", "{a!r}", "{a:>9}"])
def test_a_template_attack_is_refused_with_file_and_agent(tmp_path: Path, placeholder: str) -> None:
    write(tmp_path, agent().replace("{topic}", placeholder))
    (found,) = problems(tmp_path)
    assert found.startswith("business/strategy.yaml: first_agent_001: prompt.request:")
    assert "only {identifier} is allowed" in found


def test_instructions_take_no_placeholder(tmp_path: Path) -> None:
    write(tmp_path, agent(instructions=INSTRUCTIONS + "Think of {topic}."))
    (found,) = problems(tmp_path)
    assert "callers' values never reach" in found


def test_request_and_inputs_must_name_the_same(tmp_path: Path) -> None:
    write(
        tmp_path,
        agent().replace("{reader}", "the reader"),
        agent("second_agent_002", "Second").replace("{topic}", "{subject} {topic}"),
    )
    found = problems(tmp_path)
    assert "business/strategy.yaml: first_agent_001: inputs declares reader, which prompt.request never names" in found
    assert (
        "business/strategy.yaml: second_agent_002: prompt.request names subject, which inputs does not declare" in found
    )


def test_two_agents_may_not_share_id_number_name_or_description(tmp_path: Path) -> None:
    write(tmp_path, agent(), file="business/strategy.yaml")
    write(tmp_path, agent("other_agent_001", "First"), file="business/finance.yaml")
    found = problems(tmp_path)
    assert any(
        "the same name as other_agent_001" in line or "the same name as first_agent_001" in line for line in found
    )
    assert any("the same number as" in line and "unique within the pool" in line for line in found)


def test_a_repeated_key_is_an_error_and_not_the_last_one_wins(tmp_path: Path) -> None:
    write(tmp_path, agent().replace("tags: [testing]", "tags: [testing]\n    tags: [other]"))
    (found,) = problems(tmp_path)
    assert "duplicate" in found


def test_a_quoted_date_stays_the_text_it_was(tmp_path: Path) -> None:
    write(tmp_path, agent().replace("example: pricing", 'example: "2026-01-31"'))
    assert registry.load(tmp_path).require("first_agent_001").inputs["topic"].example == "2026-01-31"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "{model: claude-3-5-sonnet-20241022}",
            "model claude-3-5-sonnet-20241022 is retired: calls with it fail; use claude-sonnet-5-5",
        ),
        ("{model: claude-sonnet-5-5, temperature: 0.7}", "does not take a temperature"),
        ("{model: claude-haiku-4-5, effort: low}", "does not take an effort"),
        ("{model: gpt-4}", "is not a Claude model id"),
        ("{max_tokens: 0}", "greater than or equal to 1"),
    ],
)
def test_a_model_setting_that_would_fail_is_refused_at_load(tmp_path: Path, setting: str, message: str) -> None:
    write(tmp_path, agent().replace("tags: [testing]", f"tags: [testing]\n    model: {setting}"))
    (found,) = problems(tmp_path)
    assert message in found
    assert ": model" in found


def test_a_folder_that_is_not_there_is_said_plainly(tmp_path: Path) -> None:
    assert problems(tmp_path / "nowhere") == [f"{tmp_path / 'nowhere'}: no such folder"]
    (tmp_path / "empty").mkdir()
    assert "holds neither" in problems(tmp_path / "empty")[0]


def test_one_pool_can_be_read_without_the_others(shipped: Registry) -> None:
    assert registry.load(pool="knowledge").agents == shipped.pool("knowledge")
