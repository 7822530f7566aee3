"""Owns keeping an agent that kills its process from being executed: what came before, who runs alone, who is refused.

Records are of versions of agents (served.py): every process that serves the version keeps to them, and none that serves
another version of the same agent. Callers and operators, who know agents, ask by agent.

At the start the journal of the process before (journal.py) is judged (blame.py) into records that all processes
share through one Redis key, so that retries that wander over a pool's pods add up; a transaction makes judging one
atomic step, and the key expires with its last record. The crashes a process could not share are kept beside its
journal, judged for itself alone, and shared when Redis is back.

What the judgement reads is wall-clock time: processes whose clocks differ by seconds differ by as much in when a
quarantine ends.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, WatchError

from catalog.contract import REDIS_CRASHES, ErrorCode
from runtime.agent import blame
from runtime.agent.blame import Crash, Record, Rules
from runtime.agent.journal import Journal, JournalError
from runtime.agent.limits import overloaded
from runtime.errors import PlatformError
from runtime.metrics import AgentMetrics

POLL_SECONDS = 2.0
"""How soon a process follows what another found out."""
WAIT_SECONDS = 5.0
"""Longest a suspect's execution waits until no other suspect runs."""
_UNSHARED = 100
"""Most crashes kept while Redis is away; older ones are past judging by then."""

log = structlog.get_logger()


class Quarantine:
    """The suspects and the quarantined of a fleet, as one process sees and adds to them."""

    def __init__(
        self, redis: Redis, metrics: AgentMetrics, *, service: str, versions: Mapping[str, str], rules: Rules,
        journal: Path | None, slots: int, exempt: Callable[[], Collection[str]] = frozenset,
    ) -> None:  # fmt: skip
        """``versions``: what the process serves, by agent. ``exempt``: agents nothing is held against, for as long as they are.

        ``journal`` None: the process's own crashes go unnoticed, others' quarantines are kept.
        """
        self._redis = redis
        self._metrics = metrics
        self._service = service
        self._versions = versions
        self._rules = rules
        self._path = journal
        self._slots = slots
        self._exempt = exempt
        self._journal: Journal | None = None
        self._unshared: list[Crash] = []
        self._shared: dict[str, Record] = {}
        self._held: dict[str, Record] = {}
        self._remembered: tuple[dict[str, Record], list[Crash]] = ({}, [])
        self._survived: Counter[str] = Counter()
        self._alone = asyncio.Lock()

    async def start(self) -> None:
        """Open the journal and judge what it says. Takes no longer than one round of Redis commands; never raises."""
        if self._path is not None:
            try:
                self._journal = Journal(self._path, self._slots)
            except JournalError as error:
                log.warning(
                    "No crash journal: a crash of this process will not be traced to an agent", problem=str(error)
                )
        if self._journal is not None:
            self._recall()
            if self._journal.crashed:
                crash = Crash(self._service, self._journal.crashed, time.time())
                log.error("The process before this one died while it executed", versions=sorted(crash.versions))
                self._unshared = [*self._unshared, crash][-_UNSHARED:]
        await self._share()

    async def run(self) -> None:
        """Follow what other processes find out, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._share()

    def ending(self) -> None:
        """The process was told to stop: what is cut off from now on is nobody's fault."""
        if self._journal is not None:
            self._journal.ending()

    async def close(self) -> None:
        """Give back journal and connections."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        await self._redis.aclose()

    def refusal(self, agent_id: str) -> PlatformError | None:
        """The 503 for an agent in quarantine; None for every other."""
        seconds = self._remaining(agent_id)
        if seconds <= 0:
            return None
        return PlatformError(
            ErrorCode.AGENT_QUARANTINED,
            f"This agent is held back because executing it ended its process several times. It is tried again in {seconds} seconds",
            retry_after=seconds,
        )

    @property
    def quarantined(self) -> tuple[str, ...]:
        """The process's agents that are refused now."""
        return tuple(agent for agent in sorted(self._held) if self._remaining(agent) > 0)

    @asynccontextmanager
    async def execution(self, agent_id: str) -> AsyncIterator[None]:
        """Around one execution: noted in the journal; a suspect's waits until no other suspect runs. Raises PlatformError 503."""
        alone = self._suspected(agent_id)
        if alone:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._alone.acquire()
            except TimeoutError:
                self._metrics.concurrency_refusals.labels("suspects").inc()
                raise overloaded("agent") from None
        slot = self._journal.enter(self._versions[agent_id], alone=alone) if self._journal is not None else 0
        try:
            yield
        finally:
            if self._journal is not None:
                self._journal.leave(slot)
            if alone:
                self._survived[agent_id] += 1
                self._alone.release()

    def _suspected(self, agent_id: str) -> bool:
        record = self._held.get(agent_id)
        return record is not None and self._survived[agent_id] < record.passes and agent_id not in self._exempt()

    def _remaining(self, agent_id: str) -> int:
        record = self._held.get(agent_id)
        if record is None or agent_id in self._exempt():
            return 0
        return math.ceil(record.until - time.time())

    async def _share(self) -> None:
        """Judge what was not shared yet, take over what others found out, and keep both for a process after this one."""
        try:
            if self._unshared:
                self._shared, self._unshared = await self._judge(), []
            else:
                self._shared = _readable(await self._redis.get(REDIS_CRASHES))
        except (RedisError, OSError) as error:
            if self._unshared:
                log.warning("Redis is away; crashes count for this process alone", error=type(error).__name__)
        now = time.time()
        records = blame.current(self._shared, now, self._rules)
        for crash in self._unshared:
            records = blame.judged(records, crash, self._rules)
        self._take_over(records)
        self._remember()

    async def _judge(self) -> dict[str, Record]:
        async with self._redis.pipeline(transaction=True) as pipeline:
            for _ in range(20):
                try:
                    await pipeline.watch(REDIS_CRASHES)
                    records = _readable(await pipeline.get(REDIS_CRASHES))
                    for crash in self._unshared:
                        records = blame.judged(records, crash, self._rules)
                    longest = max((record.expires(self._rules) for record in records.values()), default=0.0)
                    pipeline.multi()  # type: ignore[no-untyped-call]
                    pipeline.set(REDIS_CRASHES, blame.dump(records), px=max(1, int((longest - time.time()) * 1000)))
                    await pipeline.execute()
                except WatchError:
                    continue
                return records
        raise RedisError("other processes kept judging at the same time")

    def _take_over(self, records: dict[str, Record]) -> None:
        held = {agent: records[version] for agent, version in self._versions.items() if version in records}
        for agent, record in held.items():
            known = self._held.get(agent)
            if known is None or record.strikes > known.strikes or record.until > known.until:
                self._survived.pop(agent, None)
            if record.until > time.time() and (known is None or record.until > known.until):
                seconds = round(record.until - time.time())
                log.error(
                    "Agent quarantined: executing it ended its process",
                    agent_id=agent,
                    version=self._versions[agent],
                    seconds=seconds,
                )
        cleared, self._held = self._held.keys() - held.keys(), held
        quarantined = set(self.quarantined)
        for agent, record in held.items():
            self._metrics.quarantined.labels(agent).set(agent in quarantined)
            self._metrics.crash_strikes.labels(agent).set(record.strikes)
        for agent in cleared:
            self._metrics.quarantined.remove(agent)
            self._metrics.crash_strikes.remove(agent)
            log.info("Agent cleared of suspicion", agent_id=agent)

    @property
    def _memory(self) -> Path | None:
        return self._path.with_name(f"{self._path.name}.json") if self._path is not None else None

    def _recall(self) -> None:
        """What the process before knew and could not share."""
        assert self._memory is not None
        try:
            document = orjson.loads(self._memory.read_bytes())
            self._shared = blame.load(orjson.dumps(document["shared"]))
            self._unshared = [Crash(**crash) for crash in document["unshared"]]
            self._remembered = (self._shared, self._unshared)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("What the process before knew of crashes cannot be read", file=str(self._memory))

    def _remember(self) -> None:
        known = (self._shared, self._unshared)
        if self._memory is None or self._journal is None or known == self._remembered:
            return
        document = orjson.dumps(
            {
                "shared": orjson.loads(blame.dump(self._shared)),
                "unshared": [asdict(crash) for crash in self._unshared],
            }
        )
        beside = self._memory.with_name(f"{self._memory.name}.new")
        try:
            beside.unlink(missing_ok=True)
            with beside.open("xb") as file:
                file.write(document)
            beside.replace(self._memory)
            self._remembered = known
        except OSError as error:
            log.warning("What is known of crashes cannot be kept", file=str(self._memory), problem=error.strerror)


def _readable(document: str | bytes | None) -> dict[str, Record]:
    try:
        return blame.load(document)
    except ValueError:
        # Of another version of the platform, or damaged: suspicion begins anew rather than that nobody is judged.
        return {}
