"""Who is blamed for a dead process, and that blame reaches every process: the rule, the journal, and both with Redis."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis.asyncio
from pydantic import SecretStr

from catalog.contract import REDIS_CRASHES
from catalog.models import DEFAULT_MODEL
from catalog.schema import AgentSpec
from runtime import redis as own_redis
from runtime.agent import blame
from runtime.agent.blame import LONGEST, PASSES, Crash, Record, Rules, judged
from runtime.agent.journal import Journal, JournalError
from runtime.agent.quarantine import Quarantine
from runtime.agent.served import ModelChoice, version_of
from runtime.errors import PlatformError
from runtime.metrics import AgentMetrics, exposition, new_registry
from tests.messages_api import MessagesApi
from tests.runtime.agent.conftest import AGENT, OTHER, StartAgent
from tests.runtime.agent.test_execution import until

ROOT = Path(__file__).parents[3]
RULES = Rules(strikes=3, window=600, quarantine=900)
EVIL = "evil_agent_001"


def crash(at: float, *agents: str, alone: str = "", service: str = "pool") -> Crash:
    return Crash(service, {agent: agent == alone for agent in agents}, at)


def quarantined(records: blame.Records, now: float) -> set[str]:
    return {agent for agent, record in records.items() if record.until > now}


def test_everybody_in_flight_is_suspected_and_nobody_refused_after_one_crash() -> None:
    records = judged({}, crash(0, "a", "b", EVIL), RULES)
    assert {agent: record.strikes for agent, record in records.items()} == {"a": 1, "b": 1, EVIL: 1}
    assert quarantined(records, 1) == set()


def test_the_suspect_that_ran_alone_is_blamed_and_suspects_that_were_not_there_are_cleared() -> None:
    records = judged({}, crash(0, "a", "b", EVIL), RULES)
    records = judged(records, crash(1, "a", "new", EVIL, alone=EVIL), RULES)
    assert {agent: record.strikes for agent, record in records.items()} == {"a": 1, "new": 1, EVIL: 2}
    records = judged(records, crash(2, EVIL, alone=EVIL), RULES)
    assert set(records) == {EVIL}
    assert (quarantined(records, 901), quarantined(records, 903)) == ({EVIL}, set())


def test_a_crash_clears_no_suspect_of_another_pool() -> None:
    records = judged(judged({}, crash(0, "theirs", service="other"), RULES), crash(1, EVIL), RULES)
    assert set(records) == {"theirs", EVIL}


def test_many_that_crash_together_again_and_again_are_not_refused_but_stay_alone_longer() -> None:
    records: dict[str, Record] = {}
    for at in range(5):
        records = judged(records, crash(at, "a", "b"), RULES)
    assert quarantined(records, 6) == set()
    assert records["a"].passes == PASSES * 16


def test_each_quarantine_is_twice_the_one_before_up_to_a_limit_and_takes_one_crash() -> None:
    now, lengths, records = 0.0, [], {EVIL: Record("pool", 2, 0.0)}
    for _ in range(7):
        records = judged(records, crash(now, EVIL), RULES)
        lengths.append((records[EVIL].until - now) / RULES.quarantine)
        now = records[EVIL].until + 1
    assert lengths == [1, 2, 4, 8, LONGEST, LONGEST, LONGEST]


def test_a_suspicion_is_forgotten_after_the_window_and_a_quarantine_that_long_after_its_end() -> None:
    records = judged({}, crash(0, "a"), RULES)
    assert blame.current(records, 599, RULES)
    assert not blame.current(records, 600, RULES)
    records = {EVIL: Record("pool", 2, 0.0, 1, 900.0)}
    assert blame.current(records, 1499, RULES)
    assert not blame.current(records, 1500, RULES)


def test_versions_that_nobody_serves_any_more_are_forgotten() -> None:
    records: dict[str, Record] = {}
    for number in range(100):
        records = judged(records, crash(number * RULES.window, version(EVIL, str(number))), RULES)
    assert set(records) == {version(EVIL, "99")}


def test_records_survive_being_written_and_what_is_not_records_is_refused() -> None:
    records = judged({}, crash(0, "a", EVIL), RULES)
    assert blame.load(blame.dump(records)) == records
    assert blame.load(None) == {}
    for malformed in (b"[]", b"{", b'{"a": {"strikes": 1}}', b'{"a": 3}'):
        with pytest.raises(ValueError, match=r"."):
            blame.load(malformed)


@pytest.mark.parametrize(("chance", "crashes"), [(1.0, 3), (0.5, 4), (0.1, 8)])
def test_whatever_runs_beside_it_one_culprit_is_found_in_few_crashes(chance: float, crashes: int) -> None:
    """A pool of 50 agents, five of them busy, in steps; the rule as the process applies it, over 100 courses of chance."""
    wrong = 0
    for seed in range(100):
        found, others = _course(random.Random(seed), chance)
        assert found <= crashes, seed
        wrong += bool(others)
    # An agent that kills rarely may have an innocent one taken for it, until that one's quarantine ends.
    assert wrong <= (0 if chance > 0.1 else 5)


def _course(chance: random.Random, kills: float) -> tuple[int, set[str]]:
    """Crashes until the culprit is quarantined, and who else was."""
    agents = [f"a{number}" for number in range(50)]
    records: dict[str, Record] = {}
    survived: dict[str, int] = {}
    crashes, others = 0, set[str]()
    for step in range(2000):
        now = step * 0.5
        wanted = [agent for agent in agents if chance.random() < (0.8 if agent in agents[:5] else 0.05)]
        wanted += [EVIL] if chance.random() < 0.3 else []
        chance.shuffle(wanted)
        flying: dict[str, bool] = {}
        for agent in wanted:
            record = records.get(agent)
            suspect = record is not None and survived.get(agent, 0) < record.passes
            if (record is None or record.until <= now) and not (suspect and any(flying.values())):
                flying[agent] = suspect
        if EVIL in flying and chance.random() < kills:
            crashes += 1
            records, survived = judged(records, Crash("pool", flying, now), RULES), {}
            others |= quarantined(records, now) - {EVIL}
            if EVIL in quarantined(records, now):
                return crashes, others
        else:
            for agent, alone in flying.items():
                survived[agent] = survived.get(agent, 0) + alone
    raise AssertionError("never found")


# ── the journal ──


def test_a_killed_processs_journal_names_who_was_in_flight(tmp_path: Path, spec: AgentSpec) -> None:
    agent = spec.model_copy(update={"id": "as_long_as_an_id_can_possibly_ever_become_agent_002".rjust(52, "x")})
    longest = version_of(agent, ModelChoice(DEFAULT_MODEL, 4096, None, None), "image")
    assert len(longest) == 69
    program = (
        "import os, signal, sys; from pathlib import Path; from runtime.agent.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), 4)\n"
        f"ended = journal.enter('ended_agent_001@0'); journal.enter('{longest}')\n"
        "journal.leave(ended); journal.enter('short_agent_003@0', alone=True); journal.enter('short_agent_003@0')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    file = tmp_path / "journal"
    done = subprocess.run([sys.executable, "-c", program, str(file)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    journal = Journal(file, 4)
    assert journal.crashed == {longest: False, "short_agent_003@0": True}
    journal.close()
    again = Journal(file, 4)
    assert again.crashed == {}
    again.close()


def test_what_is_in_flight_when_a_process_is_told_to_stop_is_not_held_against_anybody(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", 4)
    journal.enter("a_agent_001")
    journal.ending()
    content = (tmp_path / "journal").read_bytes()
    journal.close()
    (tmp_path / "copy").write_bytes(content)
    assert Journal(tmp_path / "copy", 4).crashed == {}


def test_a_journal_takes_no_more_than_it_has_room_for_and_one_process_only(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    journal = Journal(file, 1)
    slot = journal.enter("a_agent_001")
    assert journal.enter("b_agent_002") == 0
    journal.leave(0)
    journal.leave(slot)
    assert journal.enter("c_agent_003") == slot
    with pytest.raises(JournalError, match="another process"):
        Journal(file, 1)
    journal.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"VERSIONS-RUNNING",
        b"AGENTS-IN-FLIGHTR".ljust(64, b"\0") + b"Ma_agent_001".ljust(64, b"\0"),
        os.urandom(1000),
    ],
)
def test_a_file_that_is_no_journal_names_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal").write_bytes(content)
    journal = Journal(tmp_path / "journal", 2)
    assert journal.crashed == {}
    journal.close()


def test_a_journal_is_never_opened_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "journal").symlink_to(tmp_path / "victim")
    with pytest.raises(JournalError):
        Journal(tmp_path / "journal", 2)
    assert (tmp_path / "victim").read_bytes() == b"precious"


# ── both, with Redis ──


@asynccontextmanager
async def process(
    journal: Path, redis_url: str, *, rules: Rules = RULES, exempt: Any = frozenset, agents: tuple[str, ...] = ("a", "b", EVIL),
    serves: str = "one", service: str = "pool",
) -> AsyncIterator[Quarantine]:  # fmt: skip
    """A process of the name ``service`` that serves the version ``serves`` of ``agents``."""
    made = Quarantine(
        own_redis.connect(SecretStr(redis_url)), AgentMetrics(new_registry(), agents, lambda _: True), service=service,
        versions={agent: version(agent, serves) for agent in agents}, rules=rules, journal=journal, slots=8, exempt=exempt,
    )  # fmt: skip
    await made.start()
    try:
        yield made
    finally:
        await made.close()


def version(agent: str, which: str = "one") -> str:
    """The name of a version, as served.version_of makes them."""
    return f"{agent}@{which}"


def died(journal: Path, *agents: str, serves: str = "one") -> None:
    """Leave what a process leaves that dies while it executes ``agents`` in the version ``serves``."""
    left = Journal(journal, 8)
    for agent in agents:
        left.enter(version(agent, serves), alone=agent == EVIL)
    content = journal.read_bytes()
    left.close()
    journal.write_bytes(content)


async def test_crashes_of_different_processes_add_up_and_all_of_them_refuse(tmp_path: Path, redis_url: str) -> None:
    for name in ("one", "two", "three"):
        died(tmp_path / name, EVIL, "a")
        async with process(tmp_path / name, redis_url):
            pass
    async with process(tmp_path / "four", redis_url) as another:
        refusal = another.refusal(EVIL)
        assert refusal is not None
        assert (refusal.status, refusal.code) == (503, "AGENT_QUARANTINED")
        assert 840 <= (refusal.retry_after or 0) <= 900
        assert another.refusal("a") is None
        assert another.quarantined == (EVIL,)


async def test_a_candidate_that_kills_takes_neither_the_version_that_serves_nor_the_mended_one_with_it(
    tmp_path: Path, redis_url: str
) -> None:
    for name in ("one", "two", "three"):
        died(tmp_path / name, EVIL, serves="candidate")
        async with process(tmp_path / name, redis_url, serves="candidate", service="pool-canary"):
            pass
    new = tmp_path / "new"
    async with process(new, redis_url, serves="candidate", service="pool-canary") as replica:
        assert replica.quarantined == (EVIL,)
    async with process(new, redis_url, serves="one") as serving:
        assert (serving.quarantined, serving.refusal(EVIL)) == ((), None)
        async with serving.execution(EVIL), serving.execution(EVIL):
            pass  # Nor is it a suspect.
    async with process(new, redis_url, serves="mended", service="pool-canary") as mended:
        assert mended.refusal(EVIL) is None
    async with process(new, redis_url, serves="candidate", agents=(EVIL,)) as promoted:
        assert promoted.quarantined == (EVIL,)


async def test_a_process_reports_of_its_predecessor_what_that_one_served(tmp_path: Path, redis_url: str) -> None:
    died(tmp_path / "journal", EVIL, serves="before")
    async with process(tmp_path / "journal", redis_url, rules=Rules(1, 600, 900)) as successor:
        assert successor.quarantined == ()
    async with process(tmp_path / "other", redis_url, serves="before") as same:
        assert same.quarantined == (EVIL,)


async def test_two_processes_that_judge_at_once_lose_no_crash(tmp_path: Path, redis_url: str) -> None:
    for number in range(8):
        died(tmp_path / str(number), "a", "b")

    async def one(number: int) -> None:
        async with process(tmp_path / str(number), redis_url):
            pass

    await asyncio.gather(*map(one, range(8)))
    async with redis.asyncio.Redis.from_url(redis_url) as store:
        assert blame.load(await store.get(REDIS_CRASHES))[version("a")].strikes == 8
        assert 0 < await store.pttl(REDIS_CRASHES) <= RULES.window * 1000


async def test_a_process_without_redis_protects_itself_and_tells_the_others_later(
    tmp_path: Path, redis_url: str
) -> None:
    nowhere = "redis://127.0.0.1:1/0"
    for _ in range(3):
        died(tmp_path / "journal", EVIL)
        async with process(tmp_path / "journal", nowhere) as cut_off:
            pass
    assert cut_off.quarantined == (EVIL,)
    async with process(tmp_path / "other", redis_url) as other:
        assert other.quarantined == ()
    async with process(tmp_path / "journal", redis_url) as back, process(tmp_path / "other", redis_url) as other:
        assert back.quarantined == other.quarantined == (EVIL,)
    async with redis.asyncio.Redis.from_url(redis_url) as store:
        assert blame.load(await store.get(REDIS_CRASHES))[version(EVIL)].quarantines == 1


async def test_a_malformed_document_in_redis_is_judged_over(tmp_path: Path, redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as store:
        await store.set(REDIS_CRASHES, b"not json")
    died(tmp_path / "journal", EVIL)
    async with process(tmp_path / "journal", redis_url) as started:
        assert started.refusal(EVIL) is None
    async with redis.asyncio.Redis.from_url(redis_url) as store:
        assert blame.load(await store.get(REDIS_CRASHES))[version(EVIL)].strikes == 1


async def test_what_a_process_of_before_versions_left_is_neither_read_nor_touched(
    tmp_path: Path, redis_url: str
) -> None:
    until = time.time() + 900
    held = {EVIL: {"service": "pool", "strikes": 2, "at": until - 900, "quarantines": 1, "until": until}}
    unshared = [{"service": "pool", "agents": {"a": True}, "at": until - 900}]
    (tmp_path / "journal.json").write_bytes(orjson.dumps({"shared": held, "unshared": unshared}))
    async with redis.asyncio.Redis.from_url(redis_url) as store:
        await store.set("crashes", orjson.dumps(held))
        died(tmp_path / "journal", EVIL)
        async with process(tmp_path / "journal", redis_url) as newer:
            assert newer.quarantined == ()
        assert orjson.loads(await store.get("crashes")) == held
        assert set(blame.load(await store.get(REDIS_CRASHES))) == {version(EVIL)}


async def test_suspects_run_one_at_a_time_until_they_survived_and_others_run_beside_them(
    tmp_path: Path, redis_url: str
) -> None:
    died(tmp_path / "journal", "a", "b")
    async with process(tmp_path / "journal", redis_url, agents=("a", "b", "free")) as started:
        running: list[str] = []

        async def execute(agent: str, work: Awaitable[object]) -> None:
            async with started.execution(agent):
                running.append(agent)
                assert sum(each in "ab" for each in running) <= 1
                await work
                running.remove(agent)

        async with asyncio.timeout(60):
            end = asyncio.Event()
            long = asyncio.create_task(execute("a", end.wait()))
            await asyncio.sleep(0)
            # What nobody suspects does not wait for what only ends after it.
            await asyncio.gather(*(execute("free", asyncio.sleep(0.05)) for _ in range(3)))
            assert running == ["a"]
            others = [asyncio.create_task(execute("b", asyncio.sleep(0.001))) for _ in range(PASSES)]
            await asyncio.sleep(0.05)
            end.set()
            await asyncio.gather(long, *others)
            async with started.execution("b"), started.execution("b"):
                pass


async def test_a_suspect_that_cannot_run_soon_is_told_to_come_back(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.agent.quarantine.WAIT_SECONDS", 0.05)
    died(tmp_path / "journal", "a", "b")
    async with process(tmp_path / "journal", redis_url) as started, started.execution("a"):
        with pytest.raises(PlatformError) as refused:
            async with started.execution("b"):
                pass
    assert (refused.value.code, refused.value.retry_after) == ("OVERLOADED", 1)


async def test_an_exempt_agent_is_not_refused(tmp_path: Path, redis_url: str) -> None:
    died(tmp_path / "journal", EVIL)
    exempt: set[str] = set()
    async with process(tmp_path / "journal", redis_url, rules=Rules(1, 600, 900), exempt=lambda: exempt) as started:
        assert started.quarantined == (EVIL,)
        exempt.add(EVIL)
        assert (started.quarantined, started.refusal(EVIL)) == ((), None)


async def test_an_exempt_agent_runs_as_if_nobody_suspected_it(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.agent.quarantine.WAIT_SECONDS", 0.05)
    died(tmp_path / "journal", "a", "b")
    exempt = {"a"}
    async with process(tmp_path / "journal", redis_url, exempt=lambda: exempt) as started, started.execution("b"):
        async with started.execution("a"), started.execution("a"):
            pass
        exempt.clear()
        with pytest.raises(PlatformError):
            async with started.execution("a"):
                pass


async def test_a_journal_that_cannot_be_written_is_done_without(tmp_path: Path, redis_url: str) -> None:
    async with process(tmp_path / "no" / "such" / "folder", redis_url) as started, started.execution("a"):
        assert started.quarantined == ()


async def killed(start_agent: StartAgent, messages_api: MessagesApi, *, crash_journal: Path, **settings: Any) -> None:
    """Leave what a process of those settings leaves that is killed while it executes AGENT."""
    content: list[bytes] = []
    messages_api.on_arrival["normal"] = lambda: content.append(crash_journal.read_bytes())
    async with start_agent(crash_journal=crash_journal, **settings) as agent:
        assert (await agent.execute()).status_code == 200
    del messages_api.on_arrival["normal"]
    crash_journal.write_bytes(content[0])


@pytest.mark.parametrize(
    "candidate",
    [{"spec": {"description": "What another version of the entry says that it does, and for whom."}}, {"claude_model": "claude-opus-5-5"}, {"max_tokens": 100}, {"runtime_image": "ghcr.io/acme/runtime@sha256:b"}],
    ids=["the agent's content", "the model", "the length of answers", "the image"],
)  # fmt: skip
async def test_a_version_is_whatever_a_rollout_can_change(
    start_agent: StartAgent, tmp_path: Path, messages_api: MessagesApi, candidate: dict[str, Any]
) -> None:
    serving = {"crash_journal": tmp_path / "serving", "service_name": "pool-business", "quarantine_strikes": 1}
    canary = {**serving, "crash_journal": tmp_path / "canary", "service_name": "pool-business-canary", **candidate}
    await killed(start_agent, messages_api, **canary)
    async with start_agent(**canary) as tried:
        assert (await tried.execute()).json()["error"]["code"] == "AGENT_QUARANTINED"
    async with start_agent(**serving) as beside:
        assert (await beside.execute()).status_code == 200
        assert "agent_crash_strikes{" not in await beside.metrics()
    alone = {"serve_agents": (AGENT,), "service_name": AGENT}
    for promoted in ({**serving, **candidate}, {**serving, **alone, **candidate}):
        async with start_agent(**promoted) as after:
            assert (await after.client.get("/ready")).json()["quarantined"] == [AGENT]


async def test_callers_of_a_quarantined_agent_and_operators_are_told_and_its_neighbours_serve(
    start_agent: StartAgent, tmp_path: Path, messages_api: MessagesApi
) -> None:
    settings: dict[str, Any] = {"crash_journal": tmp_path / "journal", "service_name": "pool", "quarantine_seconds": 12}
    await killed(start_agent, messages_api, **settings)
    async with start_agent(**settings, quarantine_strikes=1) as agent:
        answer = await agent.execute()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "AGENT_QUARANTINED")
        assert int(answer.headers["Retry-After"]) == answer.json()["error"]["retry_after"] in range(1, 13)
        assert (await agent.execute(agent_id=OTHER)).status_code == 200
        assert (await agent.client.get(f"/agents/{AGENT}/health")).json()["status"] == "quarantined"
        assert (await agent.client.get(f"/agents/{OTHER}/health")).json()["status"] == "healthy"
        assert (await agent.client.get("/ready")).json() == {"status": "ready", "agents": 2, "quarantined": [AGENT]}
        metrics = await agent.metrics()
        assert f'agent_quarantined{{agent_id="{AGENT}"}} 1.0' in metrics
        assert f'agent_crash_strikes{{agent_id="{OTHER}"}}' not in metrics
        assert {completion.error_code for completion in await agent.completions(3)} == {"AGENT_QUARANTINED", ""}

        async def tried_again() -> bool:
            return (await agent.execute()).status_code == 200

        async with asyncio.timeout(60):
            while not await tried_again():
                await asyncio.sleep(0.1)
        await until(
            lambda: f'agent_quarantined{{agent_id="{AGENT}"}} 0.0' in exposition(agent.app.state.registry).body.decode()
        )


# ── definitions that cannot be loaded ──


def catalog_of(folder: Path, spec: Any, count: int, broken: int) -> Path:
    """``count`` agents in the mounted form, the first ``broken`` of them damaged in different ways."""
    from catalog import registry

    folder.mkdir()
    damaged = (
        b"{",
        b"\xff\xfe",
        b'{"id": "x"}',
        orjson.dumps({**orjson.loads(registry.dump_agent(spec)), "unknown": 1}),
    )
    for number in range(1, count + 1):
        name = f"some_agent_{number:03d}"
        content = registry.dump_agent(spec.model_copy(update={"id": name, "number": number, "name": name}))
        (folder / f"{name}.json").write_bytes(damaged[number % 4] if number <= broken else content)
    return folder


async def test_agents_that_cannot_be_loaded_are_left_out_and_said_everywhere(
    start_agent: StartAgent, spec: Any, tmp_path: Path
) -> None:
    async with start_agent(catalog_path=catalog_of(tmp_path / "many", spec, 40, 4)) as agent:
        refused = await agent.execute(agent_id="some_agent_001")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "AGENT_UNAVAILABLE")
        assert (await agent.execute(agent_id="some_agent_005")).status_code == 200
        assert (await agent.execute(agent_id="some_agent_099")).status_code == 404
        assert (await agent.client.get("/agents/some_agent_002/health")).json()["status"] == "unavailable"
        ready = (await agent.client.get("/ready")).json()
        assert (ready["agents"], sorted(ready["unavailable"])) == (
            36,
            [f"some_agent_00{number}" for number in range(1, 5)],
        )
        assert "some_agent_003.json" in ready["unavailable"]["some_agent_003"]
        assert 'agent_unavailable{agent_id="some_agent_004"} 1.0' in await agent.metrics()


@pytest.mark.parametrize(("count", "broken", "problem"), [(40, 5, "problems"), (9, 1, "problem"), (1, 1, "problem")])
def test_a_process_of_which_too_much_cannot_be_loaded_does_not_start(
    keys: Any, spec: Any, tmp_path: Path, count: int, broken: int, problem: str
) -> None:
    folder = catalog_of(tmp_path / "many", spec, count, broken)
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "agent"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": os.environ["PATH"], "IDENTITY_PUBLIC_KEYS": str(keys.public), "CATALOG_PATH": str(folder), "PORT": "0"},
    )  # fmt: skip
    assert done.returncode == 2
    assert problem in done.stderr
    assert "some_agent_001" in done.stderr
    assert "Traceback" not in done.stderr


def test_noting_an_execution_costs_microseconds(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", 256)

    def seconds() -> float:
        started = time.perf_counter()
        for _ in range(1_000):
            journal.leave(journal.enter(AGENT))
        return (time.perf_counter() - started) / 1_000

    # The quickest of ten: whatever else the machine does, it does not do all the time.
    assert min(seconds() for _ in range(10)) < 100e-6
    journal.close()
