"""Owns the rule that finds the agent that kills its process among those that were running beside it. Pure.

What is suspected, blamed and quarantined is one version of an agent (served.py says what makes one): a candidate that
kills does not take the version that serves with it, nor a prompt's mistake the prompt that mends it. To the rule a
version is a name.

A crash names everybody who was in flight, mostly innocent. Whoever was in flight in a crash is a suspect, and
suspects run one at a time in a process until they have survived some executions (quarantine.py), so that the next
crash of the same cause finds one suspect in flight alone:

- Blamed is the suspect that ran alone; without one, everybody in flight. The others in flight stay suspects.
- Where one is blamed, it explains the crash before, too: suspects of its pool with one strike that were not in
  flight now are cleared.
- Who is blamed alone, for the ``strikes``-th time within ``window`` seconds of each other, is quarantined.

So one that kills on every execution is known by the second crash and gone after the third, whatever runs
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
    versions: Mapping[str, bool]
    """In flight, and whether as a suspect that ran alone."""
    at: float
    """Epoch seconds."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is held against one version of an agent."""

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
"""By version."""


def current(records: Records, now: float, rules: Rules) -> dict[str, Record]:
    """``records`` without those that are forgotten by ``now``."""
    return {version: record for version, record in records.items() if now < record.expires(rules)}


def judged(records: Records, crash: Crash, rules: Rules) -> dict[str, Record]:
    """``records`` after ``crash``, without those that are forgotten by then."""
    kept = current(records, crash.at, rules)
    blamed = [version for version, alone in crash.versions.items() if alone] or list(crash.versions)
    named = len(blamed) == 1
    if named:
        kept = {version: record for version, record in kept.items() if not _cleared(version, record, crash)}
    for version in blamed:
        before = kept.get(version, Record(crash.service, 0, crash.at))
        kept[version] = _struck(before, crash, rules, named=named)
    for version in crash.versions:
        kept.setdefault(version, Record(crash.service, 1, crash.at))
    return kept


def _cleared(version: str, record: Record, crash: Crash) -> bool:
    # Two strikes, or a quarantine, come from having been named before: another culprit does not clear that.
    once = record.strikes < 2 and not record.quarantines
    return once and version not in crash.versions and record.service == crash.service


def _struck(before: Record, crash: Crash, rules: Rules, *, named: bool) -> Record:
    strikes, times = before.strikes + 1, before.quarantines
    if not named or strikes < rules.strikes:
        return Record(crash.service, strikes, crash.at, times, before.until)
    until = crash.at + rules.quarantine * min(2**times, LONGEST)
    # Tried again at its end, with one strike to go.
    return Record(crash.service, rules.strikes - 1, crash.at, times + 1, until)


def dump(records: Records) -> bytes:
    """As JSON."""
    return orjson.dumps({version: asdict(record) for version, record in records.items()})


def load(document: str | bytes | None) -> dict[str, Record]:
    """From JSON; None is none. Raises ValueError."""
    try:
        return {version: Record(**record) for version, record in orjson.loads(document or b"{}").items()}
    except (AttributeError, TypeError) as error:
        raise ValueError(str(error)) from None
