"""Control follows a mounted catalog, laid out as the kubelet lays a ConfigMap volume out."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from catalog.registry import CatalogError, dump_agent, load
from catalog.rollout import AgentChanges, AgentRollout
from catalog.schema import AgentSpec
from catalog.values import ModelSettings
from runtime.control.catalog import CatalogSource
from runtime.settings import ControlSettings
from tests.runtime.control.conftest import Control, serving

AGENT = "business_plan_agent_009"
OTHER = "market_entry_assessment_agent_002"


class Mount:
    """A ConfigMap volume: each state in a folder of its own, ``..data`` pointed at the one in force by a rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._states = 0

    def write(self, agents: Iterable[AgentSpec], **broken: str) -> None:
        """The next state, as Kubernetes' AtomicWriter puts it in force."""
        self._states += 1
        state = self.folder / f"..state-{self._states}"
        state.mkdir()
        for agent in agents:
            (state / f"{agent.id}.json").write_bytes(dump_agent(agent, rollout=True))
        for name, text in broken.items():
            (state / f"{name}.json").write_text(text)
        (self.folder / "..data_tmp").symlink_to(state.name)
        os.replace(self.folder / "..data_tmp", self.folder / "..data")
        before = self.folder / f"..state-{self._states - 1}"
        for file in state.iterdir():
            link = self.folder / file.name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / file.name)
        for link in self.folder.glob("*.json"):
            if not link.exists():
                link.unlink()
        if before.is_dir():
            shutil.rmtree(before)


@pytest.fixture
def agents(small_catalog: Path) -> dict[str, AgentSpec]:
    return {agent.id: agent for agent in load(small_catalog)}


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path / "mounted")


@asynccontextmanager
async def _following(mount: Mount, poll_seconds: float = 0.01) -> AsyncIterator[CatalogSource]:
    """A source that follows the mount; still, when the block ends."""
    source = CatalogSource(mount.folder, poll_seconds=poll_seconds)
    run = asyncio.create_task(source.run())
    try:
        yield source
        assert not run.done()
    finally:
        run.cancel()


async def _until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.02)


async def test_a_new_agent_and_a_changed_one_are_known_to_a_running_control(
    settings: ControlSettings, agents: dict[str, AgentSpec], mount: Mount
) -> None:
    new = agents.pop(OTHER)
    mount.write(agents.values())
    async with serving(settings.model_copy(update={"catalog_path": mount.folder})) as control:
        uri = f"/agents/{OTHER}/api/v1/execute"
        assert (await control.authorize(uri=uri)).headers["X-Refusal"] == "AGENT_NOT_FOUND"
        before = await _shown(control, AGENT)
        changed = agents[AGENT].model_copy(
            update={"description": "Says something else than it did before, and at some length."}
        )
        mount.write([*(each for each in agents.values() if each.id != AGENT), changed, new])
        await _until(lambda: control.services.catalog.current.get(OTHER) is not None)
        assert (await control.authorize(uri=uri)).is_success
        after = await _shown(control, AGENT)
        assert after["description"] == changed.description
        assert after["digest"] != before["digest"]


async def _shown(control: Control, agent: str) -> dict[str, str]:
    answer = await control.ask("GET", f"/api/v1/agents/{agent}")
    assert answer.status_code == 200, answer.text
    shown: dict[str, str] = answer.json()
    return shown


async def test_a_removed_agent_is_unknown(agents: dict[str, AgentSpec], mount: Mount) -> None:
    mount.write(agents.values())
    async with _following(mount) as source:
        del agents[AGENT]
        mount.write(agents.values())
        await _until(lambda: len(source.current) == len(agents))
    assert source.current.get(AGENT) is None


async def test_a_rollout_under_way_is_known(agents: dict[str, AgentSpec], mount: Mount) -> None:
    rollout = AgentRollout(strategy="canary", candidate=AgentChanges(model=ModelSettings(max_tokens=512)))
    mount.write([agents[AGENT].model_copy(update={"rollout": rollout})])
    assert CatalogSource(mount.folder).current.require(AGENT).rollout == rollout


async def test_an_agent_that_cannot_be_read_is_unavailable_and_the_others_are_served(
    settings: ControlSettings, agents: dict[str, AgentSpec], mount: Mount
) -> None:
    mount.write([agents[OTHER]], **{AGENT: '{"id": 3, "prompt": "SECRET"}'})
    with capture_logs() as said:
        source = CatalogSource(mount.folder)
    assert [agent.id for agent in source.current] == [OTHER]
    (entry,) = said
    assert entry["agent_id"] == AGENT
    assert "SECRET" not in str(entry)
    async with serving(settings.model_copy(update={"catalog_path": mount.folder})) as control:
        answer = await control.authorize(uri=f"/agents/{AGENT}/api/v1/execute")
        assert (answer.status_code, answer.headers["X-Refusal"]) == (403, "AGENT_UNAVAILABLE")
        assert (await control.authorize(uri=f"/agents/{OTHER}/api/v1/execute")).is_success


async def test_an_agent_whose_new_definition_cannot_be_read_keeps_the_one_before(
    agents: dict[str, AgentSpec], mount: Mount
) -> None:
    mount.write(agents.values())
    async with _following(mount) as source:
        others = [agent for agent in agents.values() if agent.id != AGENT][:10]
        broken = dump_agent(agents[AGENT]).decode().replace('"id":', '"key_of_a_newer_image":1,"id":')
        mount.write(others, **{AGENT: broken})
        await _until(lambda: len(source.current) == 11)
    assert source.current.get(AGENT) == agents[AGENT]
    assert source.unreadable == frozenset()
    assert [agent.number for agent in source.current.pool("business")] == sorted(
        agent.number for agent in (*others, agents[AGENT]) if agent.pool == "business"
    )


async def test_states_that_come_faster_than_they_are_read_do_not_end_the_following(
    agents: dict[str, AgentSpec], mount: Mount
) -> None:
    mount.write(agents.values())
    async with _following(mount, poll_seconds=0) as source:
        chosen = list(agents.values())
        for number in range(40):
            await asyncio.to_thread(mount.write, chosen[number % 5 :])
            await asyncio.sleep(0.005)
        mount.write(chosen[:7])
        await _until(lambda: len(source.current) == 7)
        assert source.unreadable == frozenset()


async def test_a_state_with_nothing_to_read_leaves_the_last_good_one_in_force(
    agents: dict[str, AgentSpec], mount: Mount
) -> None:
    mount.write(agents.values())
    async with _following(mount) as source:
        for state in ({}, {AGENT: "no JSON"}):
            mount.write([], **state)
            await asyncio.sleep(0.3)
            assert len(source.current) == len(agents)
        mount.write([agents[OTHER]])
        await _until(lambda: len(source.current) == 1)


def test_a_mount_with_nothing_to_read_stops_a_control_that_starts(mount: Mount) -> None:
    mount.write([], **{AGENT: "no JSON"})
    with pytest.raises(CatalogError, match=AGENT):
        CatalogSource(mount.folder)


async def test_the_repositorys_own_form_is_not_followed(small_catalog: Path) -> None:
    await asyncio.wait_for(CatalogSource(small_catalog).run(), 20)
