"""fleet rollout on the platform of this machine: each step is applied at once, and the gate measures its processes."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.local.apply import Requests
from cli.local.state import open_state
from tests.cli.rollouts.conftest import AGENT, Catalog, of_domain
from tests.docs.handbook import page
from tests.e2e import rollouts
from tests.e2e.platform import Platform, fleet, shared_folder, started, wait

NAME = AGENT.replace("_", "-")
OPENING = "You write business plans"


@pytest.fixture
def committed(tmp_path: Path) -> Catalog:
    """A catalog of one domain in a repository, edited since."""
    found = of_domain(tmp_path, "business", "strategy")
    subprocess.run(["git", "-C", str(found.folder.parent), "init", "--quiet"], check=True)
    _commit(found)
    found.edit(lambda text: text.replace(OPENING, f"MARKED {OPENING}", 1))
    return found


def _commit(catalog: Catalog) -> None:
    git = ["git", "-C", str(catalog.folder.parent), "-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for arguments in (["add", "--all"], ["commit", "--quiet", "--message", "As it is"]):
        subprocess.run([*git, *arguments], check=True)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder, removed with what the platform keeps outside it."""
    folder = tmp_path / "state"
    yield folder
    outside = shared_folder(folder)
    if outside is not None:
        shutil.rmtree(outside, ignore_errors=True)


@contextmanager
def _load(platform: Platform, key: str) -> Iterator[list[int]]:
    """Requests to both versions in turn, for the length of a with block; their statuses."""
    statuses: list[int] = []
    over = threading.Event()

    def call() -> None:
        with platform.client(key) as client:
            for number in itertools.count():
                if over.is_set():
                    return
                header = {"canary": "true"} if number % 2 else {}
                path, body = f"/agents/{AGENT}/api/v1/execute", {"task_description": "Plan a bakery"}
                statuses.append(client.post(path, json=body, headers=header).status_code)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def test_a_canary_is_started_measured_and_promoted_where_it_runs(state: Path, committed: Catalog) -> None:
    environment = {"CATALOG_PATH": str(committed.folder)}
    edited = committed.file.read_bytes()
    with started(state, environment) as platform:

        def rollout(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
            done = fleet(platform.folder, "rollout", *arguments, environment=environment)
            assert done.returncode == code, done.stdout + done.stderr
            return done

        said = rollout("start", AGENT).stdout
        assert "Applied here in" in said
        assert f"{NAME}-canary" in said
        (shown,) = json.loads(rollout("status", "--json").stdout)
        assert [row["version"] for row in shown["rows"] if row["runs"].startswith("ready, process ")] == [
            NAME,
            f"{NAME}-canary",
        ]
        gate = ("promote", AGENT, "--gate", "--window", "5s", "--max-p95-ratio", "100", "--min-requests", "5")
        begun = committed.file.read_bytes()
        idle = rollout(*gate, code=1)
        assert "too little traffic to judge: the candidate had 0 requests" in idle.stderr
        assert committed.file.read_bytes() == begun

        key = platform.new_user("caller", per_minute=100_000)
        with _load(platform, key) as statuses:
            said = rollout(*gate).stdout
        assert "passed errors: candidate 0.00%, serving 0.00%" in said
        assert "stopped" in said
        assert set(statuses) == {200}
        assert committed.file.read_bytes() == edited
        assert not any(NAME in part["name"] for part in platform.status["parts"])

        said = fleet(platform.folder, "rollback", "--discard", "--yes", environment=environment).stdout
        assert f"1 agent changes: {AGENT}" in said
        assert "Applied here in" in said


def test_the_handbooks_steps_work_one_after_another(state: Path, committed: Catalog) -> None:
    environment = {"CATALOG_PATH": str(committed.folder)}
    steps = [words for words in page("DELIVERY.md").commands if words[0] in ("rollout", "rollback")]
    assert [words[1] for words in steps] == ["start", "status", "promote", "promote", "abort", "--list"]
    with started(state, environment) as platform:
        for words in steps:
            if words[1] == "abort":
                _commit(committed)
                committed.edit(lambda text: text.replace(OPENING, f"AGAIN {OPENING}", 1))
                again = fleet(platform.folder, *steps[0], environment=environment)
                assert again.returncode == 0, again.stdout + again.stderr
            done = fleet(platform.folder, *words, environment=environment)
            assert done.returncode == 0, f"fleet {' '.join(words)}: {done.stdout}{done.stderr}"
        assert not any(NAME in part["name"] for part in platform.status["parts"])
    # The promoted one serves, the one that was aborted is gone.
    assert f"MARKED {OPENING}" in committed.file.read_text()
    assert "AGAIN" not in committed.file.read_text()


def test_files_that_the_platform_does_not_take_are_put_back(state: Path, committed: Catalog) -> None:
    before = committed.file.read_bytes()
    opened = open_state(state)
    assert opened is not None
    # Somebody holds the lock as a platform does that is starting, and answers nobody yet.
    with opened.locked():
        refused = fleet(state, "rollout", "start", AGENT, environment={"CATALOG_PATH": str(committed.folder)})
    assert refused.returncode == 3, refused.stdout + refused.stderr
    assert "The files are as they were." in refused.stderr
    assert committed.file.read_bytes() == before


def test_where_files_cannot_be_put_back_the_reason_stays_and_that_is_said(state: Path, committed: Catalog) -> None:
    opened = open_state(state)
    assert opened is not None
    # Stands in for the platform: it answers the request as one does whose nginx takes no new routes, late enough for
    # somebody to edit the file.
    with opened.locked():
        requests = Requests(opened)

        def answer() -> None:
            for request in requests.take():
                committed.edit(lambda text: text + "# mine\n")
                request.failed("nginx does not take the configuration: invalid number of arguments")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        refused = fleet(state, "rollout", "start", AGENT, environment={"CATALOG_PATH": str(committed.folder)})
        thread.join(60)
        requests.close()
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert "nginx does not take the configuration: invalid number of arguments" in refused.stderr
    assert "The files could not be put back, so they are not what runs: " in refused.stderr
    assert f"{committed.file} was changed meanwhile: look at it first; no file was replaced" in refused.stderr
    assert "nothing was changed" not in refused.stderr
    assert committed.file.read_text().endswith("# mine\n")


def test_up_again_takes_an_edited_catalog_over_without_a_failed_request(state: Path, tmp_path: Path) -> None:
    edited = rollouts.Catalog(tmp_path / "pools")
    edited.write()
    environment = {"CATALOG_PATH": str(edited.folder)}
    with started(state, environment) as platform:

        def up(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
            done = fleet(platform.folder, "up", *arguments, environment=environment)
            assert done.returncode == code, done.stdout + done.stderr
            return done

        assert "The platform already runs" in up().stdout
        key = platform.new_user("caller", per_minute=100_000)
        for version, arguments in (("two", ()), ("three", ("--detach",))):
            edited.prompts = dict.fromkeys(rollouts.AGENTS, version)
            edited.write()
            with rollouts.Load(platform, key, callers=4) as load:
                said = up(*arguments).stdout
                load.settle()
                wait("an answer of the new version", lambda: load.count > 20)
                after = load.take()
            assert "Starting pool-business" in said
            assert "Applied here in" in said
            assert load.failures == []
            assert set(after) == {version}
        assert "The platform already runs" in up("--detach").stdout

        (edited.folder / "business" / "planning.yaml").write_text("title: [\n")
        refused = up(code=1)
        assert "business/planning.yaml" in refused.stderr
        assert "Nothing has changed: what ran goes on." in refused.stderr
        with platform.client(key) as client:
            assert rollouts.version_of(rollouts.execute(client, AGENT)) == "three"


def test_up_beside_a_platform_that_answers_nobody_yet_says_that_it_runs(state: Path) -> None:
    opened = open_state(state)
    assert opened is not None
    # What a platform that was killed left, whose successor has just begun.
    opened.record_run({"pid": 1, "ready": True, "parts": {}})
    with opened.locked():
        for arguments in ((), ("--detach",)):
            done = fleet(state, "up", *arguments)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "The platform already runs" in done.stdout
