"""What the tests of rollouts share: a catalog of three agents that tests write, load that never pauses, exact statistics."""

from __future__ import annotations

import json
import math
import operator
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx

from tests.e2e.platform import AGENT, Platform, wait

POOL = "pool-business"
APART = "market_sizing_agent_010"
OTHER = "cash_forecast_agent_011"
AGENTS = (AGENT, APART, OTHER)


def prompt(version: str) -> dict[str, Any]:
    """A prompt whose version is read off the offline model's answer, which lists the points of ``answer``."""
    return {
        "instructions": f"Work as version {version} does. "
        + "State what is known, what is assumed and what follows. " * 4,
        "request": "Work on {subject} for {audience}.",
        "answer": [f"version={version}", "What is assumed", "What follows"],
    }


def version_of(answer: httpx.Response) -> str:
    """The version that answered."""
    text: str = answer.json()["result"]
    return text.split("version=", 1)[1].split("\n", 1)[0]


@dataclass
class Catalog:
    """A catalog's folder: one pool, one domain, three agents. ``write`` makes the files say what the attributes do."""

    folder: Path
    prompts: dict[str, str] = field(default_factory=lambda: dict.fromkeys(AGENTS, "one"))
    """The version of each agent's own prompt."""
    pool: dict[str, Any] = field(default_factory=dict)
    """What pool.yaml says besides its title, such as a rollout."""
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What single agents' entries say besides."""

    def write(self) -> None:
        folder = self.folder / "business"
        folder.mkdir(parents=True, exist_ok=True)
        # JSON is YAML.
        _replace(folder / "pool.yaml", {"title": "Business", "description": "Agents of the tests.", **self.pool})
        agents = [{**_entry(agent, self.prompts[agent]), **self.extra.get(agent, {})} for agent in AGENTS]
        domain = {"title": "Planning", "description": "Plans.", "owner": "planning", "agents": agents}
        _replace(folder / "planning.yaml", domain)

    def roll(self, strategy: str, **more: Any) -> None:
        """State the pool's rollout and write."""
        self.pool = {"rollout": {"strategy": strategy, **more}}
        self.write()

    def changes(self, version: str) -> dict[str, Any]:
        """A candidate or previous version of the pool in which all agents' prompts are of ``version``."""
        return {"agents": {agent: {"prompt": prompt(version)} for agent in AGENTS}}


def _entry(agent: str, version: str) -> dict[str, Any]:
    name = agent[:-10].replace("_", " ").capitalize()
    given = {name: {"description": f"The {name}", "default": "none", "example": "a bakery"} for name in ("subject", "audience")}  # fmt: skip
    return {
        "id": agent,
        "name": name,
        "description": f"{name}: one of three agents that tests roll out in new versions.",
        "prompt": prompt(version),
        "inputs": given,
        "tags": ["test"],
        "example": "Do it",
    }


def _replace(path: Path, data: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(data))
    partial.replace(path)


class Load:
    """Callers of all agents that never pause. Every answer but 200, and every broken connection, is a failure."""

    def __init__(self, platform: Platform, key: str, *, callers: int = 8, agents: tuple[str, ...] = AGENTS) -> None:
        self.failures: list[str] = []
        self.answered: Counter[str] = Counter()
        """Answers by the version that gave them."""
        self._platform, self._key, self._agents = platform, key, agents
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._begun = [0] * callers
        self._threads = [threading.Thread(target=self._call, args=(n,), daemon=True) for n in range(callers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        with self._lock:
            return self.answered.total()

    def take(self) -> Counter[str]:
        """The answers since the last time."""
        with self._lock:
            taken, self.answered = self.answered, Counter()
        return taken

    def settle(self) -> None:
        """Let the answers pass to requests sent before now: each caller has begun another once they are counted."""
        before = list(self._begun)
        wait("the callers' next requests", lambda: all(map(operator.gt, self._begun, before)))
        self.take()

    def _call(self, caller: int) -> None:
        number = caller
        with self._platform.client(self._key) as client:
            while not self._stop.is_set():
                self._begun[caller] += 1
                number += 1
                problem, version = "", ""
                try:
                    answer = execute(client, self._agents[number % len(self._agents)])
                    if answer.status_code == 200:
                        version = version_of(answer)
                    else:
                        problem = f"{answer.status_code} {answer.text}"
                except httpx.TransportError as error:
                    problem = repr(error)
                with self._lock:
                    if problem:
                        self.failures.append(problem)
                    else:
                        self.answered[version] += 1


def execute(client: httpx.Client, agent: str, **headers: str) -> httpx.Response:
    """One execution."""
    return client.post(f"/agents/{agent}/api/v1/execute", json={"task_description": "Plan it"}, headers=headers)


def is_plausible(count: int, total: int, share: float, alpha: float) -> bool:
    """Whether the two-sided Clopper-Pearson interval of ``count`` of ``total`` at confidence 1 - alpha contains ``share``.

    By its definition: neither so few nor so many have a chance of at most alpha/2 where each comes with ``share``. So
    a true share is refused with a chance of at most alpha (Clopper and Pearson, 1934).
    """
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) + k * math.log(share) + (total - k) * math.log1p(-share)
        for k in range(total + 1)
    ]  # fmt: skip
    fewer = math.fsum(math.exp(each) for each in logs[: count + 1])
    more = math.fsum(math.exp(each) for each in logs[count:])
    return fewer > alpha / 2 and more > alpha / 2
