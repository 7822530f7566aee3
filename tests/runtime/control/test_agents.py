"""The catalog through the API."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import yaml_rs

from catalog.registry import load
from catalog.rollout import AgentChanges, AgentRollout
from runtime.dynamic import DynamicSettings
from runtime.settings import ControlSettings
from tests.runtime.control.conftest import Control, error_of, serving

AGENT = "business_plan_agent_009"


async def test_agents_are_listed_in_pages_with_their_total(control: Control) -> None:
    first = (await control.ask("GET", "/api/v1/agents?limit=30")).json()
    second = (await control.ask("GET", "/api/v1/agents?limit=30&page=2")).json()
    ids = [agent["id"] for agent in first["items"] + second["items"]]
    assert (first["total"], first["next_page"], second["next_page"]) == (50, 2, None)
    assert len(set(ids)) == 50


async def test_agents_are_found_by_text_and_filters(control: Control) -> None:
    async def found(query: str) -> set[str]:
        return {
            agent["id"] for agent in (await control.ask("GET", f"/api/v1/agents?limit=100&{query}")).json()["items"]
        }

    assert AGENT in await found("q=business+plan")
    assert len(await found("pool=business")) == 25
    assert await found("domain=strategy") == await found("owner=corporate-strategy") == await found("pool=business")
    assert "market_entry_assessment_agent_002" in await found("tag=market-entry")
    assert await found("q=zzzz") == set()


async def test_one_agent_says_what_a_caller_needs_and_its_prompt_to_administrators_only(control: Control) -> None:
    user = await control.user("ada")
    seen = (await control.ask("GET", f"/api/v1/agents/{AGENT}", user["api_key"])).json()
    assert (seen["id"], seen["pool"], seen["enabled"]) == (AGENT, "business", True)
    assert set(seen["example"]["context"]) == set(seen["inputs"])
    assert "prompt" not in seen
    full = (await control.ask("GET", f"/api/v1/agents/{AGENT}")).json()
    assert full["prompt"]["instructions"]
    assert (
        full["prompt"]["instructions"]
        not in (await control.ask("GET", f"/api/v1/agents/{AGENT}", user["api_key"])).text
    )


async def test_the_instructions_of_a_version_that_is_tried_are_not_for_everybody(
    control: Control, settings: ControlSettings, small_catalog: Path, tmp_path: Path
) -> None:
    secret = "SECRET-INSTRUCTIONS: " + "answer as the new version does. " * 10
    candidate = AgentChanges(
        prompt=load(small_catalog).require(AGENT).prompt.model_copy(update={"instructions": secret})
    )
    tried = AgentRollout(strategy="canary", canary_percent=20, candidate=candidate)
    tried_catalog = shutil.copytree(small_catalog, tmp_path / "catalog")
    file = tried_catalog / "business" / "strategy.yaml"
    domain = yaml_rs.loads(file.read_text("utf-8"))
    for agent in domain["agents"]:
        if agent["id"] == AGENT:
            agent["rollout"] = tried.model_dump(mode="json", exclude_defaults=True)
    file.write_text(json.dumps(domain), "utf-8")
    user = await control.user("ada")
    async with serving(settings.model_copy(update={"catalog_path": tried_catalog})) as other:
        answer = await other.ask("GET", f"/api/v1/agents/{AGENT}", user["api_key"])
    assert answer.json()["rollout"] == {"strategy": "canary", "active": "blue", "canary_percent": 20}
    assert "SECRET-INSTRUCTIONS" not in answer.text


async def test_an_agent_that_is_turned_off_says_so(control: Control) -> None:
    control.services.dynamic.current = DynamicSettings(disabled_agents=frozenset({AGENT}))
    assert (await control.ask("GET", f"/api/v1/agents/{AGENT}")).json()["enabled"] is False


async def test_the_readme_is_markdown(control: Control) -> None:
    answer = await control.ask("GET", f"/api/v1/agents/{AGENT}/readme")
    assert answer.headers["Content-Type"].startswith("text/markdown")
    assert answer.text.startswith("# ")
    assert f"/agents/{AGENT}/api/v1/execute" in answer.text


async def test_an_unknown_agent_is_a_404(control: Control) -> None:
    for path in ("/api/v1/agents/nobody_agent_001", "/api/v1/agents/nobody_agent_001/readme"):
        answer = await control.ask("GET", path)
        assert (answer.status_code, error_of(answer)["code"]) == (404, "AGENT_NOT_FOUND")
