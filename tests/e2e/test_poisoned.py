"""One agent kills its process whenever it is executed: the pool finds it out, refuses it, and goes on.

Or one version of it does, a candidate: then that one is refused, and the version that serves goes on.

The stand-in for the Messages API knows which process is waiting for it, so it does the killing: nothing in the
product knows of this test.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from cli.local.apply import apply
from cli.local.state import open_state
from tests.e2e.platform import AGENT, Platform, fleet, started, wait
from tests.e2e.rollouts import OTHER, Catalog, execute, prompt
from tests.messages_api import MessagesApi, serving

POISONED = "market_entry_assessment_agent_002"
NEIGHBOURS = (
    "business_plan_agent_009",
    "strategic_options_agent_003",
    "operating_model_design_agent_004",
    "scenario_planning_agent_005",
    "okr_cascade_agent_006",
)
PART = "pool-business"
QUARANTINE_SECONDS = 20
"""Long enough for what is looked at while it lasts."""
MODEL_SECONDS = 0.05


@pytest.fixture
def messages_api() -> Iterator[MessagesApi]:
    with serving(delay=MODEL_SECONDS) as api:
        yield api


@contextmanager
def platform(folder: Path, api: MessagesApi, part: str = PART, **more: str) -> Iterator[Platform]:
    """A platform whose business pool, or another ``part``, dies of every request that says ``behave:poison``."""
    environment = {
        "ANTHROPIC_API_KEY": "sk-ant-test",
        "ANTHROPIC_BASE_URL": api.url,
        "QUARANTINE_SECONDS": str(QUARANTINE_SECONDS),
        "QUARANTINE_WINDOW_SECONDS": "600",
        **more,
    }
    with started(folder, environment) as running:
        api.on_arrival["poison"] = lambda: os.kill(running.part(part)["pid"], signal.SIGKILL)
        yield running


CUT_OFF = "CUT_OFF"
"""The outcome of a request whose process died between the head and the body of its answer: two writes of the server."""


class Callers:
    """One thread an agent, executing it until told to stop; ``statuses`` counts what each got."""

    def __init__(self, platform: Platform, key: str, agents: tuple[str, ...], task: str, pause: float = 0.0) -> None:
        self.statuses: dict[str, Counter[str]] = {agent: Counter() for agent in agents}
        self._platform, self._key, self._task, self._pause, self._stop = platform, key, task, pause, threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(agent,), daemon=True) for agent in agents]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def count(self, outcome: str) -> int:
        """How many requests ended so, of all agents."""
        return sum(counts[outcome] for counts in self.statuses.values())

    @property
    def lost(self) -> int:
        """How many requests a crash took along."""
        return self.count("BAD_GATEWAY") + self.count(CUT_OFF)

    def _call(self, agent: str) -> None:
        with self._platform.client(self._key) as client:
            while not self._stop.wait(self._pause):
                try:
                    answer = client.post(f"/agents/{agent}/api/v1/execute", json={"task_description": self._task})
                    outcome = "200" if answer.status_code == 200 else answer.json()["error"]["code"]
                except (httpx.RemoteProtocolError, httpx.NetworkError):
                    outcome = CUT_OFF
                self.statuses[agent][outcome] += 1
                if outcome != "200":
                    self._stop.wait(0.02)


def test_an_agent_that_kills_its_process_is_quarantined_and_its_neighbours_go_on(
    state_folder: Path, messages_api: MessagesApi
) -> None:
    with platform(state_folder, messages_api) as running:
        kill, killed = messages_api.on_arrival["poison"], list[float]()

        def killing() -> None:
            killed.append(time.monotonic())
            kill()

        messages_api.on_arrival["poison"] = killing
        key = running.new_user("load", per_minute=1_000_000)
        evil = running.new_user("evil", per_minute=1_000_000)
        with Callers(running, key, NEIGHBOURS, "Plan") as neighbours:
            wait("load", lambda: all(counts["200"] > 5 for counts in neighbours.statuses.values()))
            with Callers(running, evil, (POISONED,), "behave:poison", pause=0.1) as poison:
                wait("the quarantine", lambda: poison.count("AGENT_QUARANTINED") > 0, 180)
                assert running.part(PART)["restarts"] == 3
                pid = running.part(PART)["pid"]
                before = {agent: counts["200"] for agent, counts in neighbours.statuses.items()}
                # A caller's next answer says that what the last crash did to it is counted.
                wait(
                    "each neighbour's next answer",
                    lambda: all(counts["200"] > before[agent] for agent, counts in neighbours.statuses.items()),
                )
                lost = neighbours.lost
                served = neighbours.count("200")
                # Poison goes on; nothing happens any more.
                refused = poison.count("AGENT_QUARANTINED")
                wait(
                    "the neighbours' answers beside refusals",
                    lambda: neighbours.count("200") > served + 100 and poison.count("AGENT_QUARANTINED") > refused + 5,
                )
                # Nobody else lost a request since, and each crash cut off at most one of each caller.
                assert neighbours.lost == lost
                assert messages_api.cancelled <= 3 * (len(NEIGHBOURS) + 1)
                assert running.part(PART)["pid"] == pid
                # It ends after its time, is tried again, kills once, and is refused for longer.
                wait("the next try", lambda: running.part(PART)["restarts"] == 4, QUARANTINE_SECONDS * 6)
                wait("the pool's return", lambda: running.part(PART)["state"] == "ready")
                refused = poison.count("AGENT_QUARANTINED")
                wait("the next refusal", lambda: poison.count("AGENT_QUARANTINED") > refused)
        with running.client(evil) as client:
            answer = client.post(f"/agents/{POISONED}/api/v1/execute", json={"task_description": "Plan"})
        assert answer.json()["error"]["code"] == "AGENT_QUARANTINED"
        # Refused for twice as long, of which no more can have passed than since the fourth crash.
        left = int(answer.headers["Retry-After"])
        assert 2 * QUARANTINE_SECONDS - (time.monotonic() - killed[3]) <= left <= 2 * QUARANTINE_SECONDS
        # Every execution reached the model once: the gateway repeated none of those that were cut off.
        executed = poison.count("200") + poison.count("BAD_GATEWAY")
        assert messages_api.counts["poison"] == 4 <= executed
        # What was cut off is in the audit as what it is: unfinished.
        unfinished = [entry for entry in running.audit(user="evil", agent=POISONED) if entry["status"] is None]
        assert len(unfinished) >= 4
        # An operator overrules it, and the agent answers what does not kill.
        assert fleet(running.folder, "settings", "set", f"quarantine_exempt+={POISONED}").returncode == 0
        with running.client(evil) as client:
            path = f"/agents/{POISONED}/api/v1/execute"
            wait(
                "the exemption",
                lambda: client.post(path, json={"task_description": "Plan"}).status_code == 200,
                QUARANTINE_SECONDS,
            )


def test_a_candidate_that_kills_its_process_is_quarantined_alone_also_promoted_until_its_prompt_is_mended(
    state_folder: Path, messages_api: MessagesApi, tmp_path: Path
) -> None:
    catalog = Catalog(tmp_path / "catalog")
    catalog.write()
    canary = f"{AGENT.replace('_', '-')}-canary"
    # Longer than the test: no quarantine here ends by time.
    lasting = {"CATALOG_PATH": str(catalog.folder), "QUARANTINE_SECONDS": "600", "QUARANTINE_WINDOW_SECONDS": "600"}
    with platform(state_folder, messages_api, canary, **lasting) as running, ExitStack() as stack:
        client = stack.enter_context(running.client(running.new_user("load", per_minute=1_000_000)))

        def take_over(**rollout: Any) -> None:
            catalog.extra = {AGENT: {"rollout": {"strategy": "canary", "canary_percent": 1, **rollout}}}
            catalog.write()
            state = open_state(running.folder, create=False)
            assert state is not None
            apply(state, lambda line: None)

        def outcome(agent: str = AGENT, **headers: str) -> str:
            answer = execute(client, agent, **headers)
            return "200" if answer.status_code == 200 else str(answer.json()["error"]["code"])

        take_over(candidate={"prompt": prompt("behave:poison")})
        wait("the quarantine", lambda: outcome(canary="true") == "AGENT_QUARANTINED", 180)
        assert running.part(canary)["restarts"] == messages_api.counts["poison"] == 3
        # Most of these go to the version that serves, and the candidate's own share is refused, not tried. That of 50
        # requests more than 10 are of a share of 1% happens once in 10^11 times.
        outcomes = Counter(outcome() for _ in range(50))
        assert outcomes["200"] >= 40
        assert outcomes.keys() <= {"200", "AGENT_QUARANTINED"}
        # Promoted, it is known in the pool before it kills that.
        catalog.prompts[AGENT] = "behave:poison"
        take_over()
        assert (outcome(), outcome(OTHER)) == ("AGENT_QUARANTINED", "200")
        assert (running.part(PART)["restarts"], messages_api.counts["poison"]) == (0, 3)
        # Mended, it is free at once, and so is the version before.
        for version in ("mended", "one"):
            catalog.prompts[AGENT] = version
            take_over()
            assert outcome() == "200"


def test_a_platform_that_is_killed_as_a_whole_holds_it_against_nobody_who_was_not_there(
    state_folder: Path, messages_api: MessagesApi
) -> None:
    with platform(state_folder, messages_api) as running, running.client() as client:
        path = f"/agents/{POISONED}/api/v1/execute"
        os.kill(running.part(PART)["pid"], signal.SIGKILL)
        wait("the restart", lambda: running.part(PART)["restarts"] == 1 and running.part(PART)["state"] == "ready")
        assert client.post(path, json={"task_description": "Plan"}).status_code == 200
        port = running.part(PART)["port"]
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        assert "agent_crash_strikes{" not in metrics
