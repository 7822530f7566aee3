"""Asking a running platform to take over the catalog: the pipe, the answers, and what ends in between."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.errors import CommandError, Exit
from cli.local.apply import Applied, Request, Requests, apply
from cli.local.state import State, open_state

DONE = Applied(("a", "control"), ("b",), (), 3, 1.5)


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = open_state(tmp_path / ("a folder whose path is longer than what a socket's name may be " * 3) / "state")
    assert made is not None
    return made


@pytest.fixture
def answering(state: State) -> Iterator[Callable[[Callable[[Request], None]], None]]:
    """Plays the running platform: holds the lock and answers what comes by the given function until the test ends."""
    ended, threads = threading.Event(), list[threading.Thread]()
    ready = threading.Event()

    def serve(answer: Callable[[Request], None]) -> None:
        with state.locked():
            requests = Requests(state)
            ready.set()
            try:
                while not ended.is_set():
                    for request in requests.take():
                        answer(request)
                        if ended.is_set():
                            return
            finally:
                requests.close()

    def start(answer: Callable[[Request], None]) -> None:
        threads.append(threading.Thread(target=serve, args=(answer,)))
        threads[-1].start()
        assert ready.wait(60)

    start.ended = ended  # type: ignore[attr-defined]
    yield start
    ended.set()
    if (state.folder / "requests").exists():
        (state.folder / "requests").write_bytes(b"\n")
    for thread in threads:
        thread.join(60)


def test_an_answer_comes_line_by_line(state: State, answering) -> None:  # type: ignore[no-untyped-def]
    def answer(request: Request) -> None:
        request.say("one")
        request.say("two: ü")
        request.applied(DONE)

    answering(answer)
    said: list[str] = []
    assert apply(state, said.append) == DONE
    assert said == ["one", "two: ü"]
    assert list((state.folder / "answers").iterdir()) == []
    assert stat.S_IMODE((state.folder / "requests").stat().st_mode) == 0o600


def test_a_refusal_is_the_callers_error(state: State, answering) -> None:  # type: ignore[no-untyped-def]
    answering(lambda request: request.failed("the catalog has 1 problem"))
    with pytest.raises(CommandError, match="the catalog has 1 problem") as refused:
        apply(state, print)
    assert refused.value.exit_code == Exit.FAILED


def test_a_platform_that_ends_without_an_answer_is_said(state: State, answering) -> None:  # type: ignore[no-untyped-def]
    answering(lambda request: answering.ended.set())
    with pytest.raises(CommandError, match="stopped before") as refused:
        apply(state, print)
    assert refused.value.exit_code == Exit.UNREACHABLE


def test_a_caller_that_no_longer_listens_is_no_trouble(state: State, answering) -> None:  # type: ignore[no-untyped-def]
    def answer(request: Request) -> None:
        request.answer.unlink()
        request.say("nobody hears this")
        request.applied(DONE)
        answering.ended.set()

    answering(answer)
    with pytest.raises(CommandError, match="stopped before"):
        apply(state, print)


def test_what_is_no_request_is_passed_over_and_a_signal_wakes(state: State) -> None:
    with state.locked():
        requests = Requests(state)
        requests.wake()
        assert list(requests.take()) == []
        (state.folder / "requests").write_bytes(b"../../etc/passwd\n0123456789abcdef\n01234567")
        assert [request.answer.name for request in requests.take()] == ["0123456789abcdef"]
        (state.folder / "requests").write_bytes(b"89abcdef\n")
        assert [request.answer.name for request in requests.take()] == ["0123456789abcdef"]
        requests.close()


def test_a_signal_may_come_after_the_end_of_asking(state: State) -> None:
    requests = Requests(state)
    requests.close()
    requests.wake()
    with pytest.raises(CommandError, match="does not run here"):
        apply(state, print)


def test_a_pipe_that_a_killed_platform_left_is_nobody(state: State) -> None:
    import os

    os.mkfifo(state.folder / "requests")
    with pytest.raises(CommandError, match="does not run here") as refused:
        apply(state, print)
    assert refused.value.exit_code == Exit.UNREACHABLE
