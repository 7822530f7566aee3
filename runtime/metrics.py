"""Owns the Prometheus metrics of both applications: names, labels, and how they are exposed.

The specification's four names (section 6) are exact. Labels are bounded: agent_id by the agents the process
serves, error codes by the enum, everything else by literals here. No label ever holds a caller's text.

``agent_processing_seconds`` has no agent label, as in the specification's exposition: with one, 1,500 agents
are 22,500 series, 249 ms of a blocked event loop and 2.4 MB a scrape (49 ms without, measured with
prometheus-client 0.26). Seconds per agent are a plain counter, so a mean per agent is one division; the
distribution of one agent is in the logs' duration_ms, and in this histogram where the agent runs dedicated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from starlette.responses import Response

from catalog.contract import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

PROCESSING_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
"""Seconds; 1, 5 and 10 are the specification's (section 3 and the HighResponseTime alert)."""
AUTHORIZATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


def new_registry() -> CollectorRegistry:
    """A registry of its own for one application, with the process's CPU, memory and file descriptors."""
    # The _created series double the exposition and tell nobody anything here.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry) -> Response:
    """All metrics in Prometheus' text format 0.0.4."""
    return Response(generate_latest(registry), media_type=CONTENT_TYPE)


def dependency_gauge(registry: CollectorRegistry) -> Gauge:
    """1 where the process reached the dependency at its last attempt, else 0."""
    return Gauge(Metric.DEPENDENCY_UP, "Whether the process reaches a dependency", ["dependency"], registry=registry)


class AgentMetrics:
    """The metrics of an agent process; ``enabled`` says whether an agent is turned on at the moment."""

    def __init__(self, registry: CollectorRegistry, agent_ids: Iterable[str], enabled: Callable[[str], bool]) -> None:
        ids = tuple(agent_ids)
        requests = Counter(Metric.REQUESTS, "Total number of requests", ["agent_id"], registry=registry)
        self.requests = {agent_id: requests.labels(agent_id) for agent_id in ids}
        """Children by agent: made at once, so that a first request is an increase and not a new series."""
        self.errors = Counter(Metric.ERRORS, "Total number of errors", ["agent_id", "code"], registry=registry)
        self.processing = Histogram(
            Metric.PROCESSING, "Request processing time", buckets=PROCESSING_BUCKETS, registry=registry
        )
        self.seconds = Counter(
            Metric.SECONDS, "Total request processing time of an agent", ["agent_id"], registry=registry
        )
        self.tokens = Counter(Metric.TOKENS, "Total tokens consumed", ["agent_id", "direction"], registry=registry)
        self.cost = Counter(Metric.COST, "Total cost of model calls in US dollars", ["agent_id"], registry=registry)
        self.cache_hits = Counter(Metric.CACHE_HITS, "Answers served from the cache", ["agent_id"], registry=registry)
        self.concurrency_refusals = Counter(
            Metric.CONCURRENCY_REFUSALS,
            "Executions refused because too many were running",
            ["scope"],
            registry=registry,
        )
        self.in_flight = Gauge(Metric.IN_FLIGHT, "Executions running now", registry=registry)
        self.completions_pending = Gauge(
            Metric.COMPLETIONS_PENDING, "Completions not yet handed to Redis", registry=registry
        )
        self.completions_dropped = Counter(
            Metric.COMPLETIONS_DROPPED, "Completions given up because too many were pending", registry=registry
        )
        # Gauges, though crashes only add up: the process that counts them is a new one after each.
        self.quarantined = Gauge(
            Metric.QUARANTINED,
            "1 for an agent that is refused because executing it ended its process, 0 for a suspect",
            ["agent_id"],
            registry=registry,
        )
        self.crash_strikes = Gauge(
            Metric.CRASH_STRIKES,
            "Crashes of its process that an agent is suspected of, within the window",
            ["agent_id"],
            registry=registry,
        )
        self.unavailable = Gauge(
            Metric.UNAVAILABLE, "1 for an agent whose definition could not be loaded", ["agent_id"], registry=registry
        )
        self.dependency_up = dependency_gauge(registry)
        registry.register(_Enabled(ids, enabled))


class _Enabled(Collector):
    def __init__(self, agent_ids: tuple[str, ...], enabled: Callable[[str], bool]) -> None:
        self._agent_ids = agent_ids
        self._enabled = enabled

    def collect(self) -> Iterator[Family]:
        family = GaugeMetricFamily(
            Metric.ENABLED, "1 for an agent that is turned on, 0 for one an operator turned off", labels=["agent_id"]
        )
        for agent_id in self._agent_ids:
            family.add_metric([agent_id], float(self._enabled(agent_id)))
        yield family

    def describe(self) -> Iterator[Family]:
        yield GaugeMetricFamily(Metric.ENABLED, "1 for an agent that is turned on", labels=["agent_id"])


class ControlMetrics:
    """The metrics of a control process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.authorizations = Counter(
            Metric.AUTHORIZATIONS,
            "Authorization decisions by outcome (allowed, or the refusal's code)",
            ["outcome"],
            registry=registry,
        )
        self.authorization_seconds = Histogram(
            Metric.AUTHORIZATION_SECONDS,
            "Time to decide an authorization",
            buckets=AUTHORIZATION_BUCKETS,
            registry=registry,
        )
        self.rate_refusals = Counter(Metric.RATE_REFUSALS, "Requests refused by the rate limit", registry=registry)
        self.logins = Counter(
            Metric.LOGINS, "Logins by outcome (success, failure, limited)", ["outcome"], registry=registry
        )
        self.audit_lag = Gauge(
            Metric.AUDIT_LAG,
            "Age in seconds of the oldest completion in the stream that is not yet applied",
            registry=registry,
        )
        self.audit_pending = Gauge(
            Metric.AUDIT_PENDING, "Completions in the stream that are not applied", registry=registry
        )
        self.dependency_up = dependency_gauge(registry)
