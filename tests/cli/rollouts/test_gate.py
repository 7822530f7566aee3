"""The gate: the rule by itself, and what it is told by a real Prometheus and by processes of this machine."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client.exposition import generate_latest

from catalog.contract import ErrorCode
from cli.__main__ import main
from cli.errors import CommandError, Exit
from cli.local.part import free_ports
from cli.rollouts import gate, measure
from cli.rollouts.gate import Observed, Rule, judge
from cli.rollouts.measure import Pair
from infra.services.monitoring.rules import SERVER_ERRORS
from runtime.metrics import AgentMetrics, new_registry
from tests.cli.rollouts.conftest import AGENT, Catalog
from tests.infra.services.monitoring.servers import prometheus

NAME = AGENT.replace("_", "-")
PAIR = Pair((NAME,), (f"{NAME}-canary",))
GOOD = Observed(1000, 5, 0.8)


@pytest.mark.parametrize(
    ("serving", "candidate", "passed", "said"),
    [
        (GOOD, Observed(100, 0, 0.8), True, "passed errors: candidate 0.00%, serving 0.50%"),
        (GOOD, Observed(1000, 15, 1.0), True, "(+1.00 points, at most +1)"),
        (GOOD, Observed(1000, 16, 0.8), False, "FAILED errors: candidate 1.60%"),
        (
            GOOD,
            Observed(1000, 5, 1.01),
            False,
            "FAILED P95: candidate 1.010 s, serving 0.800 s (1.26 times, at most 1.25)",
        ),
        (
            GOOD,
            Observed(99, 0, 0.1),
            False,
            "too little traffic to judge: the candidate had 99 requests, 100 are needed",
        ),
        (GOOD, Observed(500, 500, None), False, "nothing to compare: the candidate had no timed request"),
        (Observed(), Observed(500, 0, 0.1), False, "nothing to compare: the serving version had no timed request"),
        (Observed(500, 0, 0.0), Observed(500, 0, 0.0), True, "(1.00 times"),
        (Observed(500, 0, 0.0), Observed(500, 0, 0.1), False, "(inf times"),
    ],
)
def test_the_rule_decides_with_its_reasons(serving: Observed, candidate: Observed, passed: bool, said: str) -> None:
    verdict = judge(serving, candidate, Rule())
    assert verdict.passed == passed
    assert said in "\n".join(verdict.reasons)


def test_errors_are_those_the_alerts_count() -> None:
    assert gate.SERVER_ERRORS == SERVER_ERRORS


def test_a_window_is_a_number_and_a_unit() -> None:
    assert [measure.seconds(text) for text in ("90s", "10m", "1h")] == [90, 600, 3600]
    for wrong in ("10", "0m", "m", "1d"):
        with pytest.raises(CommandError, match="write a number and s, m or h"):
            measure.seconds(wrong)


class Process:
    """The metrics of an agent process, exposed as the runtime does; ``away`` for one that does not answer."""

    def __init__(self) -> None:
        self._renew()
        self.away = False
        process = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(503 if process.away else 200)
                self.end_headers()
                self.wfile.write(generate_latest(process.registry))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _renew(self) -> None:
        self.registry = new_registry()
        self._metrics = AgentMetrics(self.registry, [AGENT], lambda _: True)

    def restart(self) -> None:
        """Count from nothing again."""
        self._renew()

    def serve(self, requests: int, errors: int = 0, refused: int = 0, seconds: float = 0.3) -> None:
        """So many requests, of which so many failed by our fault, and so many by the caller's."""
        for code, count in ((ErrorCode.MODEL_ERROR, errors), (ErrorCode.INVALID_REQUEST, refused)):
            if count:
                self._metrics.errors.labels(AGENT, code).inc(count)
        for _ in range(requests):
            self._metrics.processing.observe(seconds)
        # Last, so that a scrape that sees these requests sees everything about them.
        self._metrics.requests[AGENT].inc(requests)


@contextmanager
def _two() -> Iterator[tuple[Process, Process]]:
    serving, candidate = Process(), Process()
    try:
        yield serving, candidate
    finally:
        for one in (serving, candidate):
            one.server.shutdown()
            one.server.server_close()


def test_two_scrapes_of_the_processes_are_the_window_between_them() -> None:
    with _two() as (serving, candidate):
        serving.serve(50, errors=50, seconds=9)
        ports = {NAME: serving.port, f"{NAME}-canary": candidate.port}

        def work(_: float) -> None:
            serving.serve(400, errors=4, refused=9)
            candidate.serve(200, errors=6, seconds=0.3)

        first, second = measure.from_processes(ports, PAIR, 1, work)
    assert (first.requests, first.errors, second.requests, second.errors) == (400, 4, 200, 6)
    assert first.p95 == second.p95 == pytest.approx(0.25 + 0.25 * 0.95)


def test_a_process_that_was_started_anew_or_is_away_is_not_judged() -> None:
    with _two() as (serving, candidate):
        ports = {NAME: serving.port, f"{NAME}-canary": candidate.port}
        candidate.serve(10)
        with pytest.raises(CommandError, match=f"{NAME}-canary was started anew within the window"):
            measure.from_processes(ports, PAIR, 1, lambda _: candidate.restart())
        candidate.away = True
        with pytest.raises(CommandError, match=f"{NAME}-canary does not show its metrics") as away:
            measure.from_processes(ports, PAIR, 1, lambda _: None)
        assert away.value.exit_code == Exit.UNREACHABLE
        with pytest.raises(CommandError, match="does not run here"):
            measure.from_processes({NAME: serving.port}, PAIR, 1, lambda _: None)


@pytest.fixture
def scraped(tmp_path: Path) -> Iterator[tuple[str, Process, Process]]:
    """A real Prometheus that scrapes two processes every second, labelled as a cluster's monitors label them."""
    with _two() as (serving, candidate):
        jobs = [
            {
                "job_name": app,
                "static_configs": [{"targets": [f"127.0.0.1:{one.port}"], "labels": {"app": app, "pod": f"{app}-0"}}],
            }
            for app, one in zip((*PAIR.serving, *PAIR.candidate), (serving, candidate), strict=True)
        ]
        (port,) = free_ports(1)
        configuration = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
        with prometheus(tmp_path, port, configuration) as url:
            yield url, serving, candidate


_HISTORY = 8
"""Seconds of scrapes before the window that a test looks at begins."""
_BEFORE = 6
"""Seconds by which that window begins before what it is to see: more than the queries take, and less than _HISTORY."""


def _until(
    url: str, holds: Callable[[Observed, Observed], bool], since: float | None = None
) -> tuple[Observed, Observed]:
    """What Prometheus says of the window from ``since`` on (default: 10 minutes) once it ``holds``, within a minute.

    It is asked once more then: what a first question was too early for, a later one of the same round may have seen.
    """
    until, held = time.monotonic() + 60, False
    while True:
        window = 600 if since is None else int(time.time() - since) + _BEFORE
        found: tuple[Observed, Observed] | None = None
        # A scrape that took too long leaves nothing until the next.
        with contextlib.suppress(CommandError):
            found = measure.from_prometheus(url, PAIR, window)
            if held and holds(*found):
                return found
            held = holds(*found)
        assert time.monotonic() < until, found
        time.sleep(0.3)


def _requests(serving: float, candidate: float) -> Callable[[Observed, Observed], bool]:
    """Whether so many requests are seen of both."""
    return lambda first, second: (round(first.requests), round(second.requests)) == (serving, candidate)


def test_prometheus_counts_a_new_version_from_its_first_request_and_first_error(
    scraped: tuple[str, Process, Process],
) -> None:
    url, serving, candidate = scraped
    # Before the first scrape, and the only errors there are: `increase` alone would say none.
    serving.serve(400, errors=4, refused=9, seconds=0.3)
    candidate.serve(200, errors=8, seconds=1.5)
    first, second = _until(url, _requests(400, 200))
    assert (first.errors, second.errors) == (4, 8)
    assert first.p95 == pytest.approx(0.25 + 0.25 * 0.95)
    assert second.p95 == pytest.approx(1 + 1.5 * 0.95)
    verdict = judge(first, second, Rule())
    assert not verdict.passed
    assert verdict.reasons[0].startswith("FAILED errors: candidate 4.00%, serving 1.00%")
    assert verdict.reasons[1].startswith("FAILED P95: candidate 2.425 s")


def test_prometheus_sees_only_the_window(scraped: tuple[str, Process, Process]) -> None:
    url, serving, candidate = scraped
    serving.serve(300, errors=300, seconds=20)
    candidate.serve(300, errors=300, seconds=20)
    _until(url, _requests(300, 300))
    time.sleep(_HISTORY)
    began = time.time()
    for one in (serving, candidate):
        one.serve(200, errors=2)
    both = first, second = _until(url, _requests(200, 200), began)
    assert [(one.requests, one.errors, one.p95) for one in both] == [(200, 2, pytest.approx(0.25 + 0.25 * 0.95))] * 2
    assert judge(first, second, Rule()).passed


def test_prometheus_counts_on_where_a_process_was_started_anew(scraped: tuple[str, Process, Process]) -> None:
    url, serving, candidate = scraped
    for one in (serving, candidate):
        one.serve(100)
    _until(url, _requests(100, 100))
    time.sleep(_HISTORY)
    began = time.time()
    candidate.serve(40)
    _until(url, _requests(100, 140))
    candidate.restart()
    candidate.serve(60, errors=6)
    _, found = _until(url, lambda _, candidate: candidate.errors >= 6, began)
    # 40 before and 60 after, by `increase`, which extrapolates to the window's ends: by half at most. Without the 40 it
    # would be 90 at most, with the 100 from before the window 200 at least.
    assert 90 < found.requests < 200


def test_a_prometheus_without_the_versions_or_away_never_lets_anything_pass(
    scraped: tuple[str, Process, Process],
) -> None:
    url, _, _ = scraped
    with pytest.raises(CommandError, match=r"has no agent_requests_total of nobody: is it the Prometheus"):
        measure.from_prometheus(url, Pair(("nobody",), PAIR.candidate), 60)
    (port,) = free_ports(1)
    with pytest.raises(CommandError, match="does not answer") as away:
        measure.from_prometheus(f"http://127.0.0.1:{port}", PAIR, 60)
    assert away.value.exit_code == Exit.UNREACHABLE
    with pytest.raises(CommandError, match=r"refuses: .*parse error"):
        measure.from_prometheus(url, Pair(('"',), PAIR.candidate), 60)
    with pytest.raises(CommandError, match=r"no JSON: is it a Prometheus|does not answer"):
        measure.from_prometheus(f"{url}/graph", PAIR, 60)


def test_versions_without_requests_have_no_p95(scraped: tuple[str, Process, Process]) -> None:
    url, _, _ = scraped
    first, second = _until(url, _requests(0, 0))
    assert first == second == Observed(0, 0, None)


def test_the_commands_show_and_obey_what_prometheus_measured(
    scraped: tuple[str, Process, Process],
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, serving, candidate = scraped
    monkeypatch.setenv("CATALOG_PATH", str(catalog.folder))
    monkeypatch.setenv("FLEET_STATE", str(catalog.folder.parent / "state"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    catalog.edit(lambda text: text.replace("You write business plans", "MARKED You write business plans", 1))
    edited = catalog.file.read_bytes()
    catalog.start(AGENT)
    begun = catalog.file.read_bytes()
    promote = ["rollout", "promote", AGENT, "--prometheus", url, "--no-apply"]
    serving.serve(900, errors=0)
    candidate.serve(100, errors=3)
    _until(url, _requests(900, 100))
    assert main(promote) == Exit.FAILED
    said = capsys.readouterr()
    assert "is not promoted, and nothing was changed" in said.err
    assert "FAILED errors: candidate 3.00%, serving 0.00% (+3.00 points, at most +1)" in said.err
    assert catalog.file.read_bytes() == begun

    assert main(["rollout", "status", AGENT, "--prometheus", url]) == Exit.OK
    shown = capsys.readouterr().out
    assert "serving over 10m: 900 requests, 0.00% failed, P95 0.487 s" in shown
    assert "beside over 10m: 100 requests, 3.00% failed, P95 0.487 s" in shown

    assert main([*promote, "--max-error-increase", "3"]) == Exit.OK
    assert "passed P95" in capsys.readouterr().out
    assert catalog.file.read_bytes() == edited


@pytest.mark.parametrize(
    ("buckets", "wanted"),
    [
        ({}, None),
        ({1.0: 0, math.inf: 0}, None),
        ({1.0: 100, 2.0: 100, math.inf: 100}, 0.95),
        ({1.0: 90, 2.0: 100, math.inf: 100}, 1.5),
        ({1.0: 90, 2.0: 90, math.inf: 100}, 2.0),
    ],
)
def test_a_quantile_lies_within_its_bucket(buckets: dict[float, float], wanted: float | None) -> None:
    found = gate.quantile(buckets)
    assert found == (None if wanted is None else pytest.approx(wanted))
