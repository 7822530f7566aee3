"""Owns reading what two versions did: from a Prometheus, or on this machine from the processes themselves.

Whatever cannot be read is a CommandError: nothing is judged blind. The decision is ``gate.py``'s.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from catalog.contract import Metric
from cli.errors import CommandError, Exit
from cli.rollouts import gate
from cli.rollouts.gate import Observed

_SECONDS = 30.0
_DURATION = re.compile(r"([0-9]+)(s|m|h)")
_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Pair:
    """Names of the processes of both versions: one each for an agent or a pool, one a workload for a stack."""

    serving: tuple[str, ...]
    candidate: tuple[str, ...]


def seconds(text: str) -> int:
    """Seconds of a duration such as ``10m``. Raises CommandError for anything else."""
    found = _DURATION.fullmatch(text)
    if found is None or not int(found[1]):
        raise CommandError(f"--window {text}: write a number and s, m or h, such as 10m", Exit.USAGE)
    return int(found[1]) * _UNITS[found[2]]


def from_prometheus(url: str, pair: Pair, window: int) -> tuple[Observed, Observed]:
    """Both versions over the last ``window`` seconds. Raises CommandError where it does not answer or has no data."""
    return _asked(url, pair.serving, window), _asked(url, pair.candidate, window)


def _asked(url: str, apps: tuple[str, ...], window: int) -> Observed:
    expressions = gate.queries(apps, window)
    requests = _query(url, expressions["requests"])
    if requests is None:
        named = apps[0] if len(apps) == 1 else f"{apps[0]} and {len(apps) - 1} more"
        raise CommandError(f"{url} has no {Metric.REQUESTS} of {named}: is it the Prometheus of this platform?")
    errors, p95 = _query(url, expressions["errors"]), _query(url, expressions["p95"])
    return Observed(requests, errors or 0.0, None if p95 is None or math.isnan(p95) else p95)


def _query(url: str, expression: str) -> float | None:
    import httpx2 as httpx

    try:
        answer = httpx.post(f"{url.rstrip('/')}/api/v1/query", data={"query": expression}, timeout=_SECONDS)
        data: Any = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(f"the Prometheus at {url} does not answer: {error}", Exit.UNREACHABLE) from None
    except ValueError:
        raise CommandError(f"{url} answered {answer.status_code} and no JSON: is it a Prometheus?") from None
    try:
        if data["status"] != "success":
            raise CommandError(f"the Prometheus at {url} refuses: {data.get('error', answer.status_code)}")
        result = data["data"]["result"]
        return float(result[0]["value"][1]) if result else None
    except (KeyError, IndexError, TypeError, ValueError):
        raise CommandError(f"{url} does not answer as a Prometheus does") from None


def from_processes(
    ports: Mapping[str, int], pair: Pair, window: int, wait: Callable[[float], None] = time.sleep
) -> tuple[Observed, Observed]:
    """Both versions over the next ``window`` seconds, scraped at its beginning and end; ``ports`` of their processes.

    Raises CommandError where one does not run, or was started anew in between.
    """
    missing = [name for name in (*pair.serving, *pair.candidate) if name not in ports]
    if missing:
        raise CommandError(f"{', '.join(missing)}: does not run here; fleet status shows what does", Exit.UNREACHABLE)
    before = {name: _scraped(name, ports[name]) for name in (*pair.serving, *pair.candidate)}
    wait(window)
    after = {name: _scraped(name, ports[name]) for name in before}
    return _between(before, after, pair.serving), _between(before, after, pair.candidate)


@dataclass(frozen=True)
class _Scrape:
    started: float
    requests: float
    errors: float
    buckets: Mapping[float, float]


def _scraped(name: str, port: int) -> _Scrape:
    import httpx2 as httpx
    from prometheus_client.parser import text_string_to_metric_families

    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=_SECONDS)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise CommandError(f"{name} does not show its metrics: {error}", Exit.UNREACHABLE) from None
    started = requests = errors = 0.0
    buckets: dict[float, float] = {}
    counted = set(gate.SERVER_ERRORS.split("|"))
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name == Metric.REQUESTS:
                requests += sample.value
            elif sample.name == Metric.ERRORS and sample.labels["code"] in counted:
                errors += sample.value
            elif sample.name == f"{Metric.PROCESSING}_bucket":
                buckets[float(sample.labels["le"])] = sample.value
            elif sample.name == "process_start_time_seconds":
                started = sample.value
    return _Scrape(started, requests, errors, buckets)


def _between(before: Mapping[str, _Scrape], after: Mapping[str, _Scrape], names: Iterable[str]) -> Observed:
    requests = errors = 0.0
    buckets: dict[float, float] = {}
    for name in names:
        then, now = before[name], after[name]
        if now.started != then.started or now.requests < then.requests:
            raise CommandError(
                f"{name} was started anew within the window: it is not fit to go on; fleet logs {name} says why"
            )
        requests += now.requests - then.requests
        errors += now.errors - then.errors
        for bound, count in now.buckets.items():
            buckets[bound] = buckets.get(bound, 0) + count - then.buckets.get(bound, 0)
    return Observed(requests, errors, gate.quantile(buckets))
