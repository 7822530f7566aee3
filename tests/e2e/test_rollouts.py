"""New versions take over while callers never pause: rolling, canary, blue-green, and what goes wrong on the way.

On the real platform: nginx, control, the stores and one process for each version; the offline model answers, whose
text names the version of the prompt it was asked with. The catalog is edited as `fleet rollout` edits it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cli.errors import CommandError, Exit
from cli.local.apply import Applied, apply
from cli.local.state import open_state
from tests.e2e.conftest import fresh_folder
from tests.e2e.platform import AGENT, Platform, fleet, has_ended, started, wait
from tests.e2e.rollouts import AGENTS, APART, OTHER, POOL, Catalog, Load, execute, is_plausible, prompt, version_of
from tests.messages_api import serving

CANARY, BLUE, GREEN = f"{POOL}-canary", f"{POOL}-blue", f"{POOL}-green"
MEASURED = 2400
ALPHA = 4e-7


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    made = Catalog(tmp_path_factory.mktemp("catalog"))
    made.write()
    return made


@pytest.fixture(scope="module")
def running(catalog: Catalog) -> Iterator[Platform]:
    with fresh_folder() as folder, started(folder, {"CATALOG_PATH": str(catalog.folder)}) as platform:
        yield platform


@pytest.fixture(scope="module")
def key(running: Platform) -> str:
    return running.new_user("load", per_minute=1_000_000)


@pytest.fixture
def plain(running: Platform, catalog: Catalog) -> Catalog:
    """The catalog without a rollout, every agent's version one, taken over."""
    catalog.prompts, catalog.pool, catalog.extra = dict.fromkeys(AGENTS, "one"), {}, {}
    catalog.write()
    take_over(running)
    return catalog


@pytest.fixture
def load(running: Platform, key: str, plain: Catalog) -> Iterator[Load]:
    """Eight callers for the length of a test, of whose requests none may fail."""
    with Load(running, key) as calling:
        wait("load", lambda: calling.count > 50)
        yield calling
        passed(calling)
    assert calling.failures == []


def take_over(platform: Platform) -> Applied:
    """Have the platform take over the catalog as it is, as `fleet rollout` does."""
    state = open_state(platform.folder, create=False)
    assert state is not None
    return apply(state, lambda line: None)


def passed(load: Load, count: int = 60) -> None:
    """Wait for so many more answers."""
    reached = load.count
    wait("requests", lambda: load.count >= reached + count, 600)


def asked(load: Load) -> set[str]:
    """Versions that answer requests sent from now on; answers to those that were on their way are let pass."""
    load.settle()
    passed(load)
    return set(load.take())


def processes(platform: Platform) -> dict[str, int]:
    """Process ids of the agents' versions."""
    parts = platform.status["parts"]
    return {part["name"]: part["pid"] for part in parts if part["name"].split("-")[0] not in ("postgres", "valkey", "control", "nginx")}  # fmt: skip


def roles(platform: Platform) -> dict[str, str]:
    """What each version is, by the run record."""
    return {part["name"]: part["role"] for part in platform.status["parts"] if "role" in part}


def by_header(platform: Platform, key: str, count: int = 20, agent: str = AGENT) -> set[str]:
    """Versions that answer requests which ask for the new one."""
    with platform.client(key) as client:
        return {version_of(execute(client, agent, canary="true")) for _ in range(count)}


def share_of(load: Load, version: str) -> tuple[int, int]:
    """How many of at least MEASURED requests the version answered."""
    load.settle()
    passed(load, MEASURED)
    taken = load.take()
    return taken[version], taken.total()


def test_a_rolling_change_of_one_prompt_replaces_its_process_without_a_failed_request(
    running: Platform, plain: Catalog, load: Load
) -> None:
    before = processes(running)
    plain.prompts[AGENT] = "two"
    plain.write()
    applied = take_over(running)
    assert (applied.started, applied.kept) == ((POOL, "control"), ())
    assert sorted(applied.stopped) == sorted(applied.started)
    after = processes(running)
    assert after.keys() == before.keys() == {POOL}
    assert after != before
    assert has_ended(before[POOL])
    load.take()
    passed(load, 300)
    # The one agent is asked every third time and answers as version two alone.
    answers = load.take()
    assert set(answers) == {"one", "two"}
    with running.client() as client:
        assert version_of(execute(client, AGENT)) == "two"
        assert version_of(execute(client, OTHER)) == "one"
        # Control has learnt of it, too.
        assert client.get(f"/api/v1/agents/{AGENT}").json()["answer"][0] == "version=two"


def test_nothing_is_started_or_stopped_where_nothing_changed(running: Platform, plain: Catalog, load: Load) -> None:
    before = {part["name"]: part["pid"] for part in running.status["parts"]}
    applied = take_over(running)
    assert (applied.started, applied.stopped) == ((), ())
    assert set(applied.kept) == {POOL, "control"}
    assert {part["name"]: part["pid"] for part in running.status["parts"]} == before


def test_a_canary_gets_its_share_and_every_request_that_asks_for_it_until_it_is_promoted(
    running: Platform, key: str, plain: Catalog, load: Load
) -> None:
    """The share is right: 10%, then 50%, of MEASURED requests each.

    nginx draws by a request's random id, so the canary's count is binomial. It passes where the two-sided
    Clopper-Pearson interval at confidence 1 - 4e-7 contains the share, so both measurements together fail by chance
    less often than 1e-6. Of 2,400 requests that interval reaches about 5.1 standard errors to each side (±3.1
    points at 10%, ±5.2 at 50%): a canary that gets 15%, or stays at 10% when 50% are asked for, is found out.
    """
    plain.roll("canary", canary_percent=10, candidate=plain.changes("two"))
    stable = processes(running)[POOL]
    assert take_over(running).started == (CANARY, "control")
    both = processes(running)
    assert both[POOL] == stable, "the version that serves is left alone"
    assert not any(has_ended(pid) for pid in (both[POOL], both[CANARY]))
    assert roles(running) == {POOL: "serving", CANARY: "canary 10%"}
    count, total = share_of(load, "two")
    assert is_plausible(count, total, 0.10, ALPHA), f"{count} of {total}"
    assert by_header(running, key, 200) == {"two"}

    plain.roll("canary", canary_percent=50, candidate=plain.changes("two"))
    assert set(take_over(running).kept) == {POOL, CANARY}
    assert processes(running) == both
    count, total = share_of(load, "two")
    assert is_plausible(count, total, 0.50, ALPHA), f"{count} of {total}"

    plain.prompts, plain.pool = dict.fromkeys(AGENTS, "two"), {"rollout": {"strategy": "canary"}}
    plain.write()
    assert set(take_over(running).stopped) == {POOL, CANARY, "control"}
    assert asked(load) == {"two"}
    assert processes(running).keys() == {POOL}


def test_an_aborted_canary_leaves_the_version_that_served(running: Platform, key: str, plain: Catalog, load: Load) -> None:  # fmt: skip
    stable = processes(running)[POOL]
    plain.roll("canary", canary_percent=40, candidate=plain.changes("two"))
    take_over(running)
    assert asked(load) == {"one", "two"}
    plain.pool = {}
    plain.write()
    assert set(take_over(running).stopped) == {CANARY, "control"}
    assert asked(load) == {"one"}
    assert processes(running) == {POOL: stable}
    assert by_header(running, key) == {"one"}, "without a canary the header asks for nothing"


def test_blue_and_green_switch_and_switch_back(running: Platform, key: str, plain: Catalog, load: Load) -> None:
    plain.roll("blue-green", active="blue", candidate=plain.changes("two"))
    take_over(running)
    both = processes(running)
    assert both.keys() == {BLUE, GREEN}
    assert roles(running) == {BLUE: "serving", GREEN: "idle"}
    assert asked(load) == {"one"}
    assert by_header(running, key) == {"two"}

    # Green serves, and what blue has different is kept as the previous version: no process changes.
    plain.prompts = dict.fromkeys(AGENTS, "two")
    plain.roll("blue-green", active="green", previous=plain.changes("one"))
    take_over(running)
    assert asked(load) == {"two"}
    assert by_header(running, key) == {"one"}
    assert processes(running) == both
    assert roles(running) == {GREEN: "serving", BLUE: "idle"}

    plain.prompts = dict.fromkeys(AGENTS, "one")
    plain.roll("blue-green", active="blue", candidate=plain.changes("two"))
    take_over(running)
    assert asked(load) == {"one"}
    assert processes(running) == both

    plain.prompts = dict.fromkeys(AGENTS, "two")
    plain.roll("blue-green", active="green", previous=plain.changes("one"))
    take_over(running)
    plain.roll("blue-green", active="green")
    assert set(take_over(running).stopped) == {BLUE, "control"}
    assert asked(load) == {"two"}
    assert processes(running) == {GREEN: both[GREEN]}


def test_a_canary_of_one_pooled_agent_runs_beside_its_pool_which_answers_where_it_is_gone(
    running: Platform, key: str, plain: Catalog
) -> None:
    name = APART.replace("_", "-")
    pool = processes(running)[POOL]
    candidate = {"prompt": prompt("two")}
    plain.extra = {APART: {"rollout": {"strategy": "canary", "canary_percent": 30, "candidate": candidate}}}
    plain.write()
    with Load(running, key) as others, Load(running, key, callers=2, agents=(APART,)) as own:
        wait("load", lambda: others.count > 50)
        assert take_over(running).started == (name, f"{name}-canary", "control")
        live = processes(running)
        assert live == {POOL: pool, name: live[name], f"{name}-canary": live[f"{name}-canary"]}
        assert asked(own) == {"one", "two"}
        assert by_header(running, key, agent=APART) == {"two"}
        assert by_header(running, key, agent=OTHER) == {"one"}
        plain.prompts[APART], plain.extra = "two", {}
        plain.write()
        take_over(running)
        assert processes(running).keys() == {POOL}
        assert asked(own) == {"two"}
    assert others.failures + own.failures == []

    plain.extra = {APART: {"rollout": {"strategy": "canary", "canary_percent": 30, "candidate": {"prompt": prompt("three")}}}}  # fmt: skip
    plain.write()
    take_over(running)
    before = running.part(name)
    os.kill(before["pid"], signal.SIGKILL)
    # One that is dying may still take a connection, and what is sent to it is lost; one that has ended takes none.
    wait("its end", lambda: has_ended(before["pid"]))
    with running.client(key) as client:
        answers = [execute(client, APART) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    wait("the restart", lambda: running.part(name)["restarts"] > before["restarts"] and running.part(name)["state"] == "ready")  # fmt: skip


def test_a_canary_that_dies_costs_no_more_than_what_it_was_working_on(running: Platform, key: str, plain: Catalog) -> None:  # fmt: skip
    """Of its share, nginx answers by the version that serves; requests that ask for it outright are told (502)."""
    plain.roll("canary", canary_percent=50, candidate=plain.changes("two"))
    take_over(running)
    callers = 8
    with Load(running, key, callers=callers) as load:
        assert asked(load) == {"one", "two"}
        before = running.part(CANARY)
        os.kill(before["pid"], signal.SIGKILL)
        with running.client(key) as client:
            outright = execute(client, AGENT, canary="true").status_code
        assert outright in (200, 502)
        wait("the restart", lambda: running.part(CANARY)["restarts"] > before["restarts"] and running.part(CANARY)["state"] == "ready")  # fmt: skip
        assert asked(load) == {"one", "two"}, "it gets its share again"
    # Each caller has one request in progress, and none but those can have been with the process that died. What it
    # lost is told, or cut off where the process died between the head and the body of its answer: two writes.
    assert len(load.failures) <= callers
    assert all(failure.startswith(("502 ", "RemoteProtocolError(")) for failure in load.failures)


def test_a_broken_catalog_changes_nothing_and_is_said(running: Platform, plain: Catalog, load: Load) -> None:
    before = {part["name"]: part["pid"] for part in running.status["parts"]}
    plain.extra = {AGENT: {"prompt": {"instructions": "too short"}}}
    plain.write()
    with pytest.raises(CommandError, match=r"(?s)planning\.yaml: business_plan_agent_009: .*Nothing has changed"):
        take_over(running)
    assert {part["name"]: part["pid"] for part in running.status["parts"]} == before
    assert asked(load) == {"one"}


def test_a_process_that_comes_back_serves_what_it_served_whatever_was_edited_meanwhile(
    running: Platform, key: str, plain: Catalog
) -> None:
    plain.prompts = dict.fromkeys(AGENTS, "two")
    plain.write()
    for part in (POOL, "control"):
        before = running.part(part)
        os.kill(before["pid"], signal.SIGKILL)
        wait("the restart", lambda part=part, before=before: running.part(part)["restarts"] > before["restarts"] and running.part(part)["state"] == "ready")  # type: ignore[misc]  # fmt: skip
    with running.client() as client:
        assert version_of(execute(client, AGENT)) == "one"
        assert client.get(f"/api/v1/agents/{AGENT}").json()["answer"][0] == "version=one"


def test_a_version_that_does_not_start_is_stopped_and_its_last_words_are_said(
    running: Platform, plain: Catalog, load: Load
) -> None:
    """The catalog cannot know that the fleet's model takes no temperature; the process that is to serve it does."""
    before = {part["name"]: part["pid"] for part in running.status["parts"]}
    plain.extra = {AGENT: {"model": {"temperature": 0.5}}}
    plain.write()
    with pytest.raises(CommandError) as refused:
        take_over(running)
    said = str(refused.value)
    assert "pool-business ended with exit code 2 before it was ready" in said
    assert "does not take a temperature" in said
    assert said.endswith("Nothing has changed: what ran goes on.")
    assert {part["name"]: part["pid"] for part in running.status["parts"]} == before
    assert asked(load) == {"one"}
    copies = {path.name.rsplit("-", 1)[0] for path in (running.folder / "catalog").iterdir()}
    assert copies == {"whole", POOL}
    assert len(list((running.folder / "catalog").iterdir())) == 2


def test_routes_that_nginx_refuses_leave_those_before(running: Platform, plain: Catalog, load: Load) -> None:
    """No catalog makes a file nginx refuses, so the certificate that its configuration names is damaged meanwhile."""
    plain.roll("canary", canary_percent=50, candidate=plain.changes("two"))
    before = processes(running)
    chain = running.folder / "tls" / "server.pem"
    content = chain.read_bytes()
    chain.write_bytes(b"damaged")
    try:
        with pytest.raises(CommandError, match=r"(?s)nginx refuses the new routes.*Nothing has changed"):
            take_over(running)
    finally:
        chain.write_bytes(content)
    assert processes(running) == before
    assert asked(load) == {"one"}
    assert take_over(running).started == (CANARY, "control")


def test_several_at_once_are_taken_over_one_after_another(running: Platform, plain: Catalog, load: Load) -> None:
    plain.roll("canary", canary_percent=50, candidate=plain.changes("two"))
    done: list[Applied] = []
    asking = [threading.Thread(target=lambda: done.append(take_over(running))) for _ in range(3)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert sorted(len(each.started) for each in done) == [0, 0, 2]
    assert processes(running).keys() == {POOL, CANARY}
    assert asked(load) == {"one", "two"}


def test_where_nothing_runs_there_is_nothing_to_apply(state_folder: Path) -> None:
    state = open_state(state_folder)
    assert state is not None
    with pytest.raises(CommandError, match="fleet up starts it") as refused:
        apply(state, print)
    assert refused.value.exit_code == Exit.UNREACHABLE


@pytest.fixture
def own(catalog: Catalog, tmp_path: Path) -> Catalog:
    """A catalog of the test's own, with a dedicated agent."""
    made = Catalog(tmp_path / "catalog", extra={APART: {"isolation": "dedicated"}})
    made.write()
    return made


def test_killed_in_the_middle_of_a_change_the_next_start_serves_the_catalog_as_it_is(
    own: Catalog, state_folder: Path
) -> None:
    name = APART.replace("_", "-")
    with started(state_folder, {"CATALOG_PATH": str(own.folder)}) as first:
        assert first.part(name)["port"] == 8210, "a dedicated agent answers on its documented port"
        own.prompts = dict.fromkeys(AGENTS, "two")
        own.write()
        failed: list[str] = []

        def ask() -> None:
            try:
                take_over(first)
            except CommandError as error:
                failed.append(str(error))

        asking = threading.Thread(target=ask)
        asking.start()
        # All of them, with their numbers: what was started and is in no record is what nobody could stop.
        wait("the new processes", lambda: all(begun(first, each) for each in (POOL, name, "control")))
        left = [part["pid"] for part in recorded(first).values()]
        first.process.kill()
        first.process.wait()
        asking.join(60)
        assert "the platform stopped before" in failed[0]
    with started(state_folder, {"CATALOG_PATH": str(own.folder)}) as second:
        assert all(has_ended(pid) for pid in left)
        with second.client() as client:
            assert {version_of(execute(client, agent)) for agent in AGENTS} == {"two"}
        assert second.part(name)["port"] == 8210
        # While it is replaced the documented port is taken, so the new version is elsewhere, and reached all the same.
        own.prompts[APART] = "three"
        own.write()
        assert set(take_over(second).kept) == {POOL}
        assert second.part(name)["port"] != 8210
        with second.client() as client:
            assert version_of(execute(client, APART)) == "three"
        stopped = fleet(state_folder, "down")
        assert (stopped.returncode, second.process.wait(60)) == (0, 0)


def test_down_in_the_middle_of_a_change_stops_both_versions(own: Catalog, state_folder: Path) -> None:
    with started(state_folder, {"CATALOG_PATH": str(own.folder)}) as platform:
        own.prompts = dict.fromkeys(AGENTS, "two")
        own.write()
        failed: list[str] = []

        def ask() -> None:
            try:
                take_over(platform)
            except CommandError as error:
                failed.append(str(error))

        asking = threading.Thread(target=ask)
        asking.start()
        wait("the new process", lambda: begun(platform, POOL))
        pids = [part["pid"] for part in recorded(platform).values() if part["pid"]]
        platform.process.send_signal(signal.SIGTERM)
        assert platform.process.wait(120) == 0
        asking.join(60)
        assert "told to stop" in failed[0]
        assert all(has_ended(pid) for pid in pids)


def test_a_request_in_progress_is_answered_by_the_version_it_was_sent_to(own: Catalog, state_folder: Path) -> None:
    """The model takes 6 seconds, longer than the new version's start: the old process is stopped once it has answered."""
    with serving(delay=6) as model:
        environment = {"CATALOG_PATH": str(own.folder), "ANTHROPIC_API_KEY": "test", "ANTHROPIC_BASE_URL": model.url}
        with (
            started(state_folder, environment) as platform,
            platform.client() as client,
            ThreadPoolExecutor(4) as callers,
        ):
            calls = [callers.submit(execute, client, AGENT) for _ in range(4)]
            wait("the requests at the model", lambda: model.running >= 4)
            own.prompts[AGENT] = "two"
            own.write()
            old = platform.part(POOL)["pid"]
            take_over(platform)
            assert model.running == 0, "it returns once what was in progress has ended"
            assert [call.result().status_code for call in calls] == [200] * 4
            assert has_ended(old)


def begun(platform: Platform, name: str) -> bool:
    """Whether the part's next process has begun and is in the run record."""
    return bool(recorded(platform).get(f"{name} (new)", {}).get("pid"))


def recorded(platform: Platform) -> dict[str, dict[str, int]]:
    """The run record's parts; none while it cannot be read."""
    state = open_state(platform.folder, create=False)
    parts: dict[str, dict[str, int]] = state.run.get("parts", {}) if state else {}
    return parts
