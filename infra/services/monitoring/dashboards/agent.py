"""Owns the Agent Detail dashboard (specification section 6).

What one agent is: its numbers come from its recorded series, its latencies and errors from its log lines (the
histogram has no agent label), CPU and memory from the containers of the workload that serves it.
"""

from __future__ import annotations

from infra.services.monitoring.dashboards.model import Dashboard, Panel, Query, Variable

_AGENT = 'agent_id="$agent"'
_LINES = '{app="$app"} |= `"$agent"` | json agent_id="agent_id", code="code", status="status", duration_ms="duration_ms", level_of="level" | agent_id="$agent"'
_CONTAINERS = '{namespace="ai-agents", container="$app"}'
_POOLED = "Of the whole process that serves the agent: a pool's agents share it."

_VERSIONS = "Two while a rollout is under way, one otherwise: the workloads that serve the agent."


def _quantile(percent: int) -> Query:
    share = f"{percent / 100:g}"
    return Query(
        f'quantile_over_time({share}, {_LINES} | duration_ms != "" | unwrap duration_ms | __error__="" [$__interval]) by (agent_id) / 1000',
        f"P{percent}",
    )


DETAIL = Dashboard(
    "agent-detail",
    "Agent Detail",
    "One agent: requests, errors, latencies, tokens, cost, CPU and memory, and what went wrong of late.",
    (
        (
            "Requests",
            (
                Panel("Request rate", "timeseries", [Query(f"sum(agent:requests:rate5m{{{_AGENT}}})", "requests")], "reqps"),
                Panel(
                    "Error rate",
                    "timeseries",
                    [
                        Query(
                            f"(sum(agent:errors:rate5m{{{_AGENT}}}) or vector(0)) / (sum(agent:requests:rate5m{{{_AGENT}}}) > 0)",
                            "errors per request",
                        )
                    ],
                    "percentunit",
                    limits=(0.01, 0.05),
                    description="All errors, callers' mistakes too.",
                ),
                Panel("Errors by code", "timeseries", [Query(f"sum by (code) (agent:errors:rate5m{{{_AGENT}}})", "{{code}}")], "reqps"),
            ),
        ),
        (
            "Response time",
            (
                Panel("Response time (P50, P95, P99)", "timeseries", [_quantile(percent) for percent in (50, 95, 99)], "s", "loki"),
                Panel(
                    "Mean response time",
                    "timeseries",
                    [Query(f"sum(agent:seconds:rate5m{{{_AGENT}}}) / (sum(agent:requests:rate5m{{{_AGENT}}}) > 0)", "mean")],
                    "s",
                ),
                Panel(
                    "Response time distribution",
                    "heatmap",
                    [Query('sum by (le) (app:processing_seconds_bucket:rate5m{app="$app"})', "{{le}}")],
                    "s",
                    description=_POOLED,
                ),
            ),
        ),
        (
            "Versions",
            (
                Panel(
                    "Requests by version",
                    "timeseries",
                    [Query(f"sum by (app) (agent:requests:rate5m{{{_AGENT}}})", "{{app}}")],
                    "reqps",
                    description=_VERSIONS,
                ),
                Panel(
                    "Error rate by version",
                    "timeseries",
                    [Query(f"(sum by (app) (agent:errors:rate5m{{{_AGENT}}}) or 0 * sum by (app) (agent:requests:rate5m{{{_AGENT}}})) / (sum by (app) (agent:requests:rate5m{{{_AGENT}}}) > 0)", "{{app}}")],
                    "percentunit",
                    limits=(0.01, 0.05),
                    description=_VERSIONS,
                ),
                Panel(
                    "P95 by version",
                    "timeseries",
                    [Query(f"histogram_quantile(0.95, sum by (app, le) (app:processing_seconds_bucket:rate5m) and on (app) agent:serving_pods{{{_AGENT}}})", "{{app}}")],
                    "s",
                    description=f"{_VERSIONS} {_POOLED}",
                ),
            ),
        ),
        (
            "Tokens and cost",
            (
                Panel(
                    "Token usage",
                    "timeseries",
                    [Query(f"sum by (direction) (agent:tokens:rate5m{{{_AGENT}}})", "{{direction}} a second")],
                ),
                Panel(
                    "Cost an hour",
                    "timeseries",
                    [Query(f"sum(agent:cost_dollars:rate5m{{{_AGENT}}}) * 3600", "dollars an hour")],
                    "currencyUSD",
                ),
                Panel(
                    "Answers from the cache",
                    "timeseries",
                    [Query(f"sum(agent:cache_hits:rate5m{{{_AGENT}}}) or vector(0)", "a second")],
                    "reqps",
                ),
            ),
        ),
        (
            "Resources",
            (
                Panel(
                    "CPU",
                    "timeseries",
                    [
                        Query(f"container:cpu_seconds:rate5m{_CONTAINERS}", "{{pod}}"),
                        Query(f"max(container:cpu_of_limit:ratio{_CONTAINERS})", "most of the limit (1 = all)"),
                    ],
                    description=_POOLED,
                ),
                Panel(
                    "Memory",
                    "timeseries",
                    [
                        Query(f"container:memory_working_set_bytes{_CONTAINERS}", "{{pod}} working set"),
                        Query(f"max by (pod) (container_memory_usage_bytes{_CONTAINERS})", "{{pod}} with file cache"),
                    ],
                    "bytes",
                    description=_POOLED,
                ),
                Panel(
                    "Pods that serve it",
                    "timeseries",
                    [
                        Query(f"sum(agent:serving_pods{{{_AGENT}}}) or vector(0)", "ready"),
                        Query('max(kube_deployment_status_replicas{namespace="ai-agents", deployment="$app"})', "replicas"),
                    ],
                ),
            ),
        ),
        (
            "Logs",
            (
                Panel(
                    "Recent errors",
                    "logs",
                    [Query(f'{_LINES} | code != "" or level_of =~ "WARNING|ERROR|CRITICAL"')],
                    source="loki",
                    width=24,
                    height=10,
                    description="Requests that failed (with their code) and what the agent complained of.",
                ),
            ),
        ),
    ),
    (
        Variable("agent", "label_values(agent:serving_pods, agent_id)"),
        Variable("app", 'label_values(agent:serving_pods{agent_id="$agent"}, app)', hidden=True),
    ),
)  # fmt: skip
