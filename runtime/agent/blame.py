"""Owns the rule that finds the agent that kills its process among those that were running beside it. Pure.

A crash names everybody who was in flight, mostly innocent. Whoever was in flight in a crash is a suspect, and
suspects run one at a time in a process until they have survived some executions (quarantine.py), so that the next
crash of the same cause finds one suspect in flight alone:

- Blamed is the suspect that ran alone; without one, everybody in flight. The others in flight stay suspects.
- Where one is blamed, it explains the crash before, too: suspects of its pool with one strike that were not in
  flight now are cleared.
- An agent blamed by itself, for the ``strikes``-th time within ``window`` seconds of each other, is quarantined.

So an agent that kills on every execution is known by the second crash and gone after the third, whatever runs
beside it. Each quarantine is twice as long as the one before, up to LONGEST times the first; when it ends one more
crash is enough for the next. What this cannot tell apart: crashes that come from no agent at all, such as a leak,
look like those of a suspect that ran each time; and two agents that kill in turns take an innocent one with them
about every second time (simulated), until its quarantine ends. An operator exempts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import orjson

LONGEST = 16
"""Most times the first quarantine's length: 4 hours where that is 15 minutes."""
PASSES = 5
"""Executions after which a suspect no longer runs alone; doubled with every strike, so that an agent only some of
whose requests kill is alone the longer, the more often it was there."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When and for how long."""

    strikes: int = 3
    window: float = 600.0
    """Seconds a suspicion lasts without another crash."""
    quarantine: float = 900.0
    """Seconds of the first one."""


@dataclass(frozen=True, slots=True)
class Crash:
    """The end of a process that nobody asked for."""

    service: str
    """Name that the processes of a pool share."""
    agents: Mapping[str, bool]
    """In flight, and whether as a suspect that ran alone."""
    at: float
    """Epoch seconds."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is held against one agent."""

    service: str
    strikes: int
    at: float
    """Of the last crash it was blamed for, epoch seconds."""
    quarantines: int = 0
    until: float = 0.0
    """End of the last quarantine, epoch seconds; 0 where there was none."""

    def expires(self, rules: Rules) -> float:
        """When it is forgotten, epoch seconds."""
        return max(self.at, self.until) + rules.window

    @property
    def passes(self) -> int:
        """Executions it must survive in a process before it may run beside other suspects."""
        return PASSES << max(self.strikes - 1, 0)


Records = Mapping[str, Record]


def current(records: Records, now: float, rules: Rules) -> dict[str, Record]:
    """``records`` without those that are forgotten by ``now``."""
    return {agent: record for agent, record in records.items() if now < record.expires(rules)}


def judged(records: Records, crash: Crash, rules: Rules) -> dict[str, Record]:
    """``records`` after ``crash``, without those that are forgotten by then."""
    kept = current(records, crash.at, rules)
    blamed = [agent for agent, alone in crash.agents.items() if alone] or list(crash.agents)
    named = len(blamed) == 1
    if named:
        kept = {agent: record for agent, record in kept.items() if not _cleared(agent, record, crash)}
    for agent in blamed:
        before = kept.get(agent, Record(crash.service, 0, crash.at))
        kept[agent] = _struck(before, crash, rules, named=named)
    for agent in crash.agents:
        kept.setdefault(agent, Record(crash.service, 1, crash.at))
    return kept


def _cleared(agent: str, record: Record, crash: Crash) -> bool:
    # Two strikes, or a quarantine, come from having been named before: another culprit does not clear that.
    once = record.strikes < 2 and not record.quarantines
    return once and agent not in crash.agents and record.service == crash.service


def _struck(before: Record, crash: Crash, rules: Rules, *, named: bool) -> Record:
    strikes, times = before.strikes + 1, before.quarantines
    if not named or strikes < rules.strikes:
        return Record(crash.service, strikes, crash.at, times, before.until)
    until = crash.at + rules.quarantine * min(2**times, LONGEST)
    # Tried again at its end, with one strike to go.
    return Record(crash.service, rules.strikes - 1, crash.at, times + 1, until)


def dump(records: Records) -> bytes:
    """As JSON."""
    return orjson.dumps({agent: asdict(record) for agent, record in records.items()})


def load(document: str | bytes | None) -> dict[str, Record]:
    """From JSON; None is none. Raises ValueError."""
    try:
        return {agent: Record(**record) for agent, record in orjson.loads(document or b"{}").items()}
    except (AttributeError, TypeError) as error:
        raise ValueError(str(error)) from None
