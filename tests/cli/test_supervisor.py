"""Keeping parts alive, shown with parts that are shell commands."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cli.local.part import Part, PartError
from cli.local.supervisor import Supervisor, Task
from tests.e2e.platform import has_ended

PATH = {"PATH": "/usr/bin:/bin"}


class Watched:
    """A supervisor and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.supervisor = Supervisor(lambda name: folder / f"{name}.log", self.lines.append)

    def part(self, name: str, script: str, *, ready: Callable[[], bool] = lambda: True, **options: object) -> Part:
        return Part(name, ["sh", "-c", script], ready, PATH, folder=self.folder, **options)  # type: ignore[arg-type]

    def trapping(self, name: str, script: str, **options: object) -> Part:
        """A part that is ready once its script has set its traps and touched ``<name>.set``."""
        return self.part(name, script, ready=(self.folder / f"{name}.set").exists, **options)

    def pid(self, name: str) -> int:
        pid: int = self.supervisor.parts[name]["pid"]
        return pid


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.supervisor.stop(hurry=lambda: True)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_parts_start_when_what_they_need_is_ready(watched: Watched) -> None:
    order: list[str] = []
    watched.supervisor.launch(
        watched.part("last", "sleep 60", needs=frozenset({"task", "first"})),
        Task("task", lambda: order.append("task"), frozenset({"first"})),
        watched.part("first", "sleep 60", ready=lambda: order.append("first") or True),
    )
    watched.supervisor.wait_ready()
    assert order == ["first", "task"]
    assert watched.supervisor.parts["last"]["state"] == "ready"


def test_a_part_that_never_gets_ready_fails_the_start_with_the_end_of_its_log(watched: Watched) -> None:
    watched.supervisor.launch(watched.part("broken", "echo the reason >&2; exit 3", ready=lambda: False))
    with pytest.raises(PartError, match=r"(?s)broken ended with exit code 3 before it was ready.*the reason"):
        watched.supervisor.wait_ready()


def test_a_failed_task_fails_the_start(watched: Watched) -> None:
    def fail() -> None:
        raise PartError("no")

    watched.supervisor.launch(Task("task", fail), watched.part("needs-it", "sleep 60", needs=frozenset({"task"})))
    with pytest.raises(PartError, match="no"):
        watched.supervisor.wait_ready()


def test_a_crashed_part_comes_back_with_growing_pauses_and_says_so(watched: Watched) -> None:
    watched.supervisor.launch(watched.part("fragile", "sleep 60"))
    watched.supervisor.wait_ready()
    for restart in (1, 2):
        before = watched.pid("fragile")
        os.kill(before, signal.SIGKILL)
        until(
            lambda before=before: (
                watched.supervisor.parts["fragile"]["state"] == "ready" and watched.pid("fragile") != before
            )
        )  # type: ignore[misc]
        assert watched.supervisor.parts["fragile"]["restarts"] == restart
    said = [line for line in watched.lines if "starting it again" in line]
    assert "ended with signal SIGKILL; starting it again in 0.25 s (restart 1" in said[0]
    assert "starting it again in 0.5 s (restart 2" in said[1]
    assert any("fragile is back after" in line for line in watched.lines)


def test_what_a_crashed_part_left_in_its_group_is_killed_before_it_comes_back(watched: Watched) -> None:
    watched.supervisor.launch(watched.part("master", "sleep 61 & wait"))
    watched.supervisor.wait_ready()
    until(lambda: bool(psutil.Process(watched.pid("master")).children()))
    (worker,) = psutil.Process(watched.pid("master")).children()
    os.kill(watched.pid("master"), signal.SIGKILL)
    until(lambda: has_ended(worker.pid))


def test_stages_stop_from_the_highest_and_nothing_starts_again(watched: Watched, tmp_path: Path) -> None:
    order = tmp_path / "order"
    for stage, name in enumerate(("store", "agent", "gateway")):
        watched.supervisor.launch(
            watched.trapping(
                name,
                f"trap 'sleep 0.2; echo {name} >> {order}; exit 0' TERM; touch {name}.set; sleep 60 & wait",
                stage=stage,
            )
        )
    watched.supervisor.wait_ready()
    watched.supervisor.stop()
    assert order.read_text().split() == ["gateway", "agent", "store"]
    assert {part["state"] for part in watched.supervisor.parts.values()} == {"stopped"}


def test_a_part_that_does_not_end_is_killed_in_time_or_in_a_hurry(watched: Watched) -> None:
    stubborn = "trap '' TERM; touch {}.set; while :; do sleep 0.1; done"
    watched.supervisor.launch(
        watched.trapping("slow", stubborn.format("slow"), drain_seconds=0.5, stage=1),
        watched.trapping("slower", stubborn.format("slower"), drain_seconds=600),
    )
    watched.supervisor.wait_ready()
    pids = [watched.pid("slow"), watched.pid("slower")]
    # Whoever is told of the first loses patience with the second.
    watched.supervisor.stop(hurry=lambda: any("slow did not end within" in line for line in watched.lines))
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert any("slow did not end within" in line for line in watched.lines)
    assert "slower was killed" in watched.lines


def test_a_part_started_beside_another_takes_its_name_and_the_other_goes(watched: Watched) -> None:
    watched.supervisor.launch(watched.part("agents", "sleep 60"))
    watched.supervisor.wait_ready()
    old = watched.pid("agents")
    (before,) = [watched.supervisor.kept("agents")]
    new = watched.supervisor.begin(watched.part("agents", "sleep 61"), {"role": "serving"})
    assert watched.supervisor.wait_up([new])
    assert watched.supervisor.parts.keys() == {"agents", "agents (new)"}
    assert watched.supervisor.parts["agents (new)"]["role"] == "serving"
    watched.supervisor.succeed([new])
    assert watched.pid("agents (old)") == old
    watched.supervisor.retire([before])
    assert watched.supervisor.parts.keys() == {"agents"}
    assert watched.pid("agents") != old
    assert not psutil.pid_exists(old)
    # It is kept like any other from now on.
    os.kill(watched.pid("agents"), signal.SIGKILL)
    until(lambda: watched.supervisor.parts["agents"]["restarts"] == 1)


def test_a_part_that_fails_beside_another_harms_nothing_and_says_why(watched: Watched) -> None:
    """What the one that serves writes meanwhile into the same log is not what is said."""
    watched.supervisor.launch(watched.part("agents", "echo before >&2; sleep 60"))
    watched.supervisor.wait_ready()
    until(lambda: "before" in (watched.folder / "agents.log").read_text())
    chatter = 'for _ in 1 2 3 4 5 6; do echo \'{"level":"INFO"}\'; done'
    new = watched.supervisor.begin(
        watched.part("agents", f"echo the reason >&2; {chatter}; exit 3", ready=lambda: False)
    )
    with pytest.raises(PartError) as failed:
        watched.supervisor.wait_up([new])
    assert "agents ended with exit code 3 before it was ready" in str(failed.value)
    assert str(failed.value).endswith("ends:\n  the reason")
    watched.supervisor.retire([new])
    assert watched.supervisor.parts.keys() == {"agents"}
    assert watched.supervisor.parts["agents"]["state"] == "ready"
    watched.supervisor.launch(watched.part("later", "sleep 60"))
    assert watched.supervisor.wait_ready()


def test_a_part_that_is_not_ready_yet_can_be_given_up(watched: Watched) -> None:
    new = watched.supervisor.begin(watched.part("agents", "sleep 60", ready=lambda: False))
    until(lambda: watched.supervisor.parts["agents"]["state"] == "starting")
    pid = watched.pid("agents")
    assert not watched.supervisor.wait_up([new], interrupted=lambda: True)
    watched.supervisor.retire([new], hurry=lambda: True)
    assert watched.supervisor.parts == {}
    assert not psutil.pid_exists(pid)
