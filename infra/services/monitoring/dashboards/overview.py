"""Owns the Platform Overview dashboard (specification section 6)."""

from __future__ import annotations

from catalog.contract import Metric
from infra.services.monitoring.dashboards.model import Dashboard, Panel, Query

_DAY = 86_400
_HELD_BACK = (
    " or ".join(
        f'label_replace(max by (agent_id, app) ({chosen}), "why", "{why}", "", "")'
        for chosen, why in (
            (f"{Metric.QUARANTINED} == 1", "quarantined"),
            (f"{Metric.UNAVAILABLE} == 1", "not loaded"),
            (f"{Metric.ENABLED} == 0", "turned off"),
        )
    )
    + ' or on () label_replace(vector(0), "agent_id", "none", "", "")'
)
_COST = "The mean of the cost a second so far, times the length of the period: an estimate until the period is over."

OVERVIEW = Dashboard(
    "platform-overview",
    "Platform Overview",
    "All agents: how much, how well, how fast, at what cost.",
    (
        (
            "Now",
            (
                Panel(
                    "Total request rate",
                    "stat",
                    [Query("fleet:requests:rate5m")],
                    "reqps",
                    width=4,
                    height=5,
                ),
                Panel(
                    "Global error rate",
                    "stat",
                    [Query("fleet:error_ratio:rate5m or vector(0)")],
                    "percentunit",
                    width=4,
                    height=5,
                    limits=(0.01, 0.05),
                    description="Server errors (statuses of 500 and above) per request.",
                ),
                Panel(
                    "P95 response time",
                    "stat",
                    [Query("fleet:processing_seconds:p95")],
                    "s",
                    width=4,
                    height=5,
                    limits=(5, 10),
                ),
                Panel(
                    "Active agents",
                    "stat",
                    [Query("fleet:agents_enabled")],
                    width=4,
                    height=5,
                    description="Agents that are served and not turned off.",
                ),
                Panel(
                    "Cost per day (estimate)",
                    "stat",
                    [Query(f"avg_over_time(fleet:cost_dollars:rate5m[1d]) * {_DAY}")],
                    "currencyUSD",
                    width=4,
                    height=5,
                    description=_COST,
                ),
                Panel(
                    "Cost per month (estimate)",
                    "stat",
                    [Query(f"avg_over_time(fleet:cost_dollars:rate5m[30d]) * {_DAY} * 30")],
                    "currencyUSD",
                    width=4,
                    height=5,
                    description=_COST,
                ),
            ),
        ),
        (
            "Requests",
            (
                Panel(
                    "Total request rate",
                    "timeseries",
                    [Query("fleet:requests:rate5m", "all agents"), Query("sum by (pool) (agent:requests:rate5m)", "{{pool}}")],
                    "reqps",
                ),
                Panel(
                    "Global error rate",
                    "timeseries",
                    [Query("fleet:error_ratio:rate5m or vector(0)", "server errors")],
                    "percentunit",
                    limits=(0.01, 0.05),
                ),
                Panel(
                    "Response time (P50, P95, P99)",
                    "timeseries",
                    [Query(f"fleet:processing_seconds:p{percent}", f"P{percent}") for percent in (50, 95, 99)],
                    "s",
                ),
                Panel(
                    "Errors by code",
                    "timeseries",
                    [Query("sum by (code) (agent:errors:rate5m)", "{{code}}")],
                    "reqps",
                    description="All of them, callers' mistakes too.",
                ),
                Panel(
                    "Executions running and refused",
                    "timeseries",
                    [
                        Query("sum by (app) (app:executions_in_flight)", "running {{app}}"),
                        Query("sum by (app) (app:concurrency_refusals:rate5m) or 0 * sum by (app) (app:executions_in_flight)", "refused a second {{app}}"),
                    ],
                ),
                Panel(
                    "P95 by workload",
                    "timeseries",
                    [Query("histogram_quantile(0.95, sum by (app, le) (app:processing_seconds_bucket:rate5m))", "{{app}}")],
                    "s",
                ),
            ),
        ),
        (
            "Agents",
            (
                Panel(
                    "Top 10 most-used agents",
                    "bars",
                    [Query("topk(10, sum by (agent_id) (avg_over_time(agent:requests:rate5m[$__range])) * $__range_s)", "{{agent_id}}")],
                    width=12,
                    height=10,
                    description="Requests in the period shown.",
                ),
                Panel(
                    "Top 10 agents by cost",
                    "bars",
                    [Query("topk(10, sum by (agent_id) (avg_over_time(agent:cost_dollars:rate5m[$__range])) * $__range_s)", "{{agent_id}}")],
                    "currencyUSD",
                    width=12,
                    height=10,
                ),
                Panel(
                    "Active agents",
                    "timeseries",
                    [
                        Query("fleet:agents_enabled", "turned on"),
                        Query("count(sum by (agent_id) (agent:requests:rate5m) > 0) or vector(0)", "used in the last 5 minutes"),
                        Query("count(agent:known unless on (agent_id, app, pool) agent:serving_pods) or vector(0)", "down"),
                    ],
                ),
                Panel("Tokens a second", "timeseries", [Query("sum by (direction) (agent:tokens:rate5m)", "{{direction}}")]),
                Panel(
                    "Cost an hour",
                    "timeseries",
                    [Query("sum by (pool) (agent:cost_dollars:rate5m) * 3600", "{{pool}}")],
                    "currencyUSD",
                ),
                Panel(
                    "Agents held back",
                    "table",
                    [Query(_HELD_BACK)],
                    width=12,
                    description="Agents that are refused while their neighbours serve: quarantined because executing them ended their process, not loaded because their definition cannot be read, or turned off by an operator.",
                ),
                Panel(
                    "Crashes agents are suspected of",
                    "timeseries",
                    [Query(f"sum by (agent_id, app) ({Metric.CRASH_STRIKES}) or on () label_replace(vector(0), \"agent_id\", \"none\", \"\", \"\")", "{{agent_id}} {{app}}")],
                    width=12,
                ),
            ),
        ),
        (
            "Infrastructure",
            (
                Panel(
                    "Replicas",
                    "timeseries",
                    [Query('kube_deployment_status_replicas{namespace="ai-agents"}', "{{deployment}}")],
                ),
                Panel(
                    "Ready pods",
                    "timeseries",
                    [Query('sum by (namespace) (kube_pod_status_ready{namespace=~"ai-agents(-data)?", condition="true"})', "{{namespace}}")],
                ),
                Panel(
                    "Firing alerts",
                    "table",
                    [Query('count by (alertname, severity) (ALERTS{alertstate="firing", platform="ai-agents"}) or on () label_replace(vector(0), "alertname", "none", "", "")')],
                ),
            ),
        ),
    ),
)  # fmt: skip
