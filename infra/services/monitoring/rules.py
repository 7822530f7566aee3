"""Owns the recording rules over the platform's metrics, and what a Prometheus rule group looks like. Pure.

Why they exist: an agent's metrics come once per pod that serves it, about seven series each (requests, errors,
seconds, two of tokens, cost, enabled). 1,500 pooled agents on two pods a pool are 21,000 raw series, on ten pods
105,000; 1,500 dedicated agents on two pods each some 95,000, since every process has its own histogram.
Dashboards and alerts read what is recorded here: at most nine series an agent, 13,500, whatever the number of
pods. Histograms are recorded per workload, never per agent (runtime.metrics says why there is none per agent).

Labels of every recorded ``agent:`` series: agent_id, app (the Deployment that serves it), pool. Targets carry
``namespace``, ``pod``, ``app`` and ``pool``; monitors.py sees to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from catalog.contract import STATUS, ErrorCode, Metric
from infra.naming import NAMESPACE
from infra.pods import Manifest

INTERVAL_SECONDS: Final = 30
"""How often targets are scraped and rules evaluated, seconds."""

SERVER_ERRORS: Final = "|".join(
    code for code, status in STATUS.items() if status >= 500 and code is not ErrorCode.AGENT_DISABLED
)
"""Error codes that count against the platform: statuses of 500 and above. What a caller did wrong (4xx) must
not wake anybody, nor must an agent that an operator turned off."""

PLATFORM_NAMESPACES: Final = f"{NAMESPACE}(-data)?"
AGENT: Final = "agent_id, app, pool"


@dataclass(frozen=True)
class Recording:
    """A recording rule."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def manifest(self) -> Manifest:
        """As Prometheus and Loki read it."""
        rule: Manifest = {"record": self.record, "expr": self.expr}
        return rule | ({"labels": dict(self.labels)} if self.labels else {})


def _agent_rate(record: str, metric: Metric, by: str = AGENT, matcher: str = "") -> Recording:
    return Recording(f"agent:{record}:rate5m", f"sum by ({by}) (rate({metric}{matcher}[5m]))")


_UNREADY = 'kube_pod_status_ready{condition="true"} == 0'
_DEPLOYED = (
    f'label_replace(kube_deployment_spec_replicas{{namespace="{NAMESPACE}"}} > 0, "app", "$1", "deployment", "(.+)")'
)

# An agent is known from the first time a pod serves it. It stays known while none does, as long as its
# Deployment is there and has no pod left that could say otherwise; an agent taken out of a pool that runs on
# is forgotten, and so is one whose Deployment is gone. The rule reads its own last value, which Prometheus
# still has after being away for less than five minutes. Not last_over_time: that would bring back agents that
# were taken out of a pool within its window when the pool goes down.
_KNOWN = f"""group by ({AGENT}) ({Metric.ENABLED})
or
(
  agent:known
  unless on (app) group by (app) ({Metric.ENABLED})
  and on (app) {_DEPLOYED}
)"""

AGENTS: Final = (
    # A pod that is not ready answers its scrape and gets no request. Without kube-state-metrics all count as ready.
    Recording("agent:serving_pods", f"count by ({AGENT}) ({Metric.ENABLED} unless on (namespace, pod) ({_UNREADY}))"),
    Recording("agent:known", _KNOWN),
    _agent_rate("requests", Metric.REQUESTS),
    _agent_rate("errors", Metric.ERRORS, f"{AGENT}, code"),
    _agent_rate("seconds", Metric.SECONDS),
    _agent_rate("tokens", Metric.TOKENS, f"{AGENT}, direction"),
    _agent_rate("cost_dollars", Metric.COST),
    _agent_rate("cache_hits", Metric.CACHE_HITS),
    Recording("app:processing_seconds_bucket:rate5m", f"sum by (app, pool, le) (rate({Metric.PROCESSING}_bucket[5m]))"),
    Recording("app:concurrency_refusals:rate5m", f"sum by (app, scope) (rate({Metric.CONCURRENCY_REFUSALS}[5m]))"),
    Recording("app:executions_in_flight", f"sum by (app) ({Metric.IN_FLIGHT})"),
)

_SERVER = f'{{code=~"{SERVER_ERRORS}"}}'

FLEET: Final = (
    Recording("fleet:agents_enabled", f"count(max by (agent_id) ({Metric.ENABLED}) == 1)"),
    Recording("fleet:requests:rate5m", "sum(agent:requests:rate5m)"),
    Recording("fleet:errors:rate5m", f"sum(agent:errors:rate5m{_SERVER}) or 0 * sum(agent:requests:rate5m)"),
    # No requests, no ratio: a fleet at rest has no error rate, not one of zero divided by zero.
    Recording("fleet:error_ratio:rate5m", "fleet:errors:rate5m / (fleet:requests:rate5m > 0)"),
    Recording("fleet:cost_dollars:rate5m", "sum(agent:cost_dollars:rate5m)"),
    *(
        Recording(
            f"fleet:processing_seconds:p{percent}",
            f"histogram_quantile({percent / 100:g}, sum by (le) (app:processing_seconds_bucket:rate5m))",
        )
        for percent in (50, 95, 99)
    ),
)

_POD = "namespace, pod, container"
_CONTAINERS = f'{{namespace=~"{PLATFORM_NAMESPACES}", container!=""}}'


def _limit(resource: str) -> str:
    return f'max by ({_POD}) (kube_pod_container_resource_limits{{namespace=~"{PLATFORM_NAMESPACES}", resource="{resource}"}})'


CONTAINERS: Final = (
    Recording("container:cpu_seconds:rate5m", f"max by ({_POD}) (rate(container_cpu_usage_seconds_total{_CONTAINERS}[5m]))"),
    # The working set is what the kernel kills by; container_memory_usage_bytes has file cache in it that is given back.
    Recording("container:memory_working_set_bytes", f"max by ({_POD}) (container_memory_working_set_bytes{_CONTAINERS})"),
    Recording("container:cpu_of_limit:ratio", f"container:cpu_seconds:rate5m / {_limit('cpu')}"),
    Recording("container:memory_of_limit:ratio", f"container:memory_working_set_bytes / {_limit('memory')}"),
)  # fmt: skip

RECORDINGS: Final[Mapping[str, tuple[Recording, ...]]] = {
    # Order matters inside a group (rules are evaluated one after the other), not between groups.
    "agents": (*AGENTS, *FLEET),
    "containers": CONTAINERS,
}


def group(name: str, rules: Iterable[Manifest], seconds: int = INTERVAL_SECONDS) -> Manifest:
    """A rule group."""
    return {"name": name, "interval": f"{seconds}s", "rules": list(rules)}


def recording_groups() -> list[Manifest]:
    """The groups of all recording rules."""
    return [
        group(f"ai-agents.{name}", (rule.manifest() for rule in rules)) for name, rules in sorted(RECORDINGS.items())
    ]


def rule_object(name: str, namespace: str, labels: Mapping[str, str], groups: list[Manifest]) -> dict[str, Any]:
    """A PrometheusRule with ``groups``."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {"groups": groups},
    }
