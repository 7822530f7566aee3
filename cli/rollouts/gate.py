"""Owns the decision whether a candidate may go on: error rate and P95 of both versions over a window, by rule. Pure.

Also what asks Prometheus for them, as text; asking is measure's. Histograms have no agent label but one of their
process, ``app``: the version's name. A counter that came to be within the window counts from nothing: `increase` alone
would miss what it had at its first scrape, which for a new version may be all there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from catalog.contract import STATUS, ErrorCode, Metric

SERVER_ERRORS: Final = "|".join(
    code for code, status in STATUS.items() if status >= 500 and code is not ErrorCode.AGENT_DISABLED
)
"""Codes that count against a version, as the alerts count them: not what a caller did wrong, nor what was turned off."""
QUANTILE: Final = 0.95


@dataclass(frozen=True)
class Observed:
    """What one version did within the window."""

    requests: float = 0
    errors: float = 0
    """Requests that failed by the platform's fault."""
    p95: float | None = None
    """Seconds below which 95% of its requests were done; None: no request was timed."""

    @property
    def error_percent(self) -> float:
        """Share of failed requests, percent; 0 without requests."""
        return 100 * self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class Rule:
    """What a candidate must hold to."""

    min_requests: int = 100
    max_error_increase: float = 1.0
    """Percentage points its error rate may be above the serving version's."""
    max_p95_ratio: float = 1.25
    """How many times the serving version's P95 its own may be."""


@dataclass(frozen=True)
class Verdict:
    """The decision with its reasons."""

    passed: bool
    reasons: tuple[str, ...]


def judge(serving: Observed, candidate: Observed, rule: Rule) -> Verdict:
    """Whether the candidate may go on. What cannot be judged does not pass."""
    if candidate.requests < rule.min_requests:
        return Verdict(
            False,
            (f"too little traffic to judge: the candidate had {candidate.requests:.0f} requests, {rule.min_requests} are needed",),
        )  # fmt: skip
    if not serving.requests or serving.p95 is None or candidate.p95 is None:
        silent = "candidate" if candidate.p95 is None else "serving version"
        return Verdict(False, (f"nothing to compare: the {silent} had no timed request in the window",))
    increase = candidate.error_percent - serving.error_percent
    ratio = candidate.p95 / serving.p95 if serving.p95 else math.inf if candidate.p95 else 1.0
    errors_pass = increase <= rule.max_error_increase
    speed_passes = ratio <= rule.max_p95_ratio
    return Verdict(
        errors_pass and speed_passes,
        (
            f"{_mark(errors_pass)} errors: candidate {candidate.error_percent:.2f}%, serving {serving.error_percent:.2f}% "
            f"({increase:+.2f} points, at most {rule.max_error_increase:+g})",
            f"{_mark(speed_passes)} P95: candidate {candidate.p95:.3f} s, serving {serving.p95:.3f} s "
            f"({ratio:.2f} times, at most {rule.max_p95_ratio:g})",
        ),
    )


def _mark(passes: bool) -> str:
    return "passed" if passes else "FAILED"


def queries(apps: Iterable[str], seconds: int) -> Mapping[str, str]:
    """PromQL for one version that runs as ``apps``, over the last ``seconds``: field of Observed → expression."""
    label = f'app=~"{"|".join(apps)}"'
    requests = _increase(f"{Metric.REQUESTS}{{{label}}}", seconds)
    errors = _increase(f'{Metric.ERRORS}{{{label},code=~"{SERVER_ERRORS}"}}', seconds)
    buckets = _increase(f"{Metric.PROCESSING}_bucket{{{label}}}", seconds)
    return {
        "requests": f"sum({requests})",
        # The series of an error comes with the first one: none is no error, where there are requests.
        "errors": f"sum({errors}) or 0 * sum({requests})",
        "p95": f"histogram_quantile({QUANTILE}, sum by (le) ({buckets}))",
    }


def _increase(series: str, seconds: int) -> str:
    """What each counter grew by: exactly, but where its process was started anew or is gone.

    `increase` would extrapolate a counter that was zero less than others, and so move a quantile by buckets.
    """
    before = f"{series} offset {seconds}s"
    within = f"{series}[{seconds}s]"
    return f"({series} unless {before}) or (({series} - {before}) unless resets({within}) > 0) or increase({within})"


def quantile(buckets: Mapping[float, float], share: float = QUANTILE) -> float | None:
    """Upper bound → cumulative count, as a quantile in the way of PromQL's histogram_quantile; None without counts."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if not total or bounds[-1] != math.inf:
        return None
    rank = share * total
    below, before = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if bound == math.inf:
                return below
            return below + (bound - below) * (rank - before) / (buckets[bound] - before)
        below, before = bound, buckets[bound]
    return None
