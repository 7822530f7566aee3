"""Owns the dashboard of what the agents depend on: gateway, control, PostgreSQL, Redis, Vault, certificates."""

from __future__ import annotations

from infra.services.monitoring.dashboards.model import Dashboard, Panel, Query
from infra.services.monitoring.log_rules import GATEWAY_LOGS

_LINES = f'{GATEWAY_LOGS} | json status="status", agent_id="agent_id", seconds="duration_seconds", path="path"'

STORES = Dashboard(
    "gateway-and-stores",
    "Gateway and Data Stores",
    "What every agent depends on. The gateway's numbers are counted in its log.",
    (
        (
            "Gateway",
            (
                Panel(
                    "Requests by status", "timeseries", [Query("gateway:requests:rate1m", "{{status}}")], "reqps"
                ),
                Panel(
                    "Server errors per request",
                    "timeseries",
                    [Query('(sum(gateway:requests:rate1m{status=~"5.."}) or vector(0)) / (sum(gateway:requests:rate1m) > 0)', "5xx")],
                    "percentunit",
                    limits=(0.01, 0.05),
                ),
                Panel(
                    "Response time at the gateway",
                    "timeseries",
                    [Query(f"gateway:request_seconds:p{percent}", f"P{percent}") for percent in (50, 95, 99)],
                    "s",
                ),
                Panel(
                    "Refusals by reason",
                    "timeseries",
                    [Query("gateway:refusals:rate1m", "{{refusal}}")],
                    "reqps",
                    description="What control refused, by its reason; the limit per address is status 429 without a reason.",
                ),
                Panel("Bytes answered a second", "timeseries", [Query("gateway:response_bytes:rate1m", "bytes")], "Bps"),
                Panel(
                    "Top 10 agents at the gateway",
                    "bars",
                    [Query(f'topk(10, sum by (agent_id) (count_over_time({_LINES} | status != "" | agent_id != "" [$__range])))', "{{agent_id}}")],
                    source="loki",
                ),
                Panel(
                    "Failed requests",
                    "logs",
                    [Query(f'{_LINES} | status >= 500')],
                    source="loki",
                    width=24,
                ),
            ),
        ),
        (
            "Control and audit",
            (
                Panel(
                    "Authorizations by outcome",
                    "timeseries",
                    [Query("sum by (outcome) (rate(control_authorizations_total[5m]))", "{{outcome}}")],
                    "reqps",
                ),
                Panel(
                    "Time to authorize",
                    "timeseries",
                    [
                        Query(
                            f"histogram_quantile({percent / 100:g}, sum by (le) (rate(control_authorization_seconds_bucket[5m])))",
                            f"P{percent}",
                        )
                        for percent in (50, 95, 99)
                    ],
                    "s",
                ),
                Panel(
                    "Refused by the rate limit",
                    "timeseries",
                    [Query("sum(rate(control_rate_limit_refusals_total[5m]))", "refused")],
                    "reqps",
                ),
                Panel(
                    "Audit: completions that wait",
                    "timeseries",
                    [
                        Query("max(control_audit_pending_events)", "in the stream"),
                        Query("sum(agent_completions_pending)", "not yet in Redis"),
                    ],
                ),
                Panel("Audit: how far behind", "timeseries", [Query("max(control_audit_lag_seconds)", "lag")], "s"),
                Panel(
                    "Logins by outcome",
                    "timeseries",
                    [Query("sum by (outcome) (rate(control_logins_total[5m]))", "{{outcome}}")],
                    "reqps",
                ),
            ),
        ),
        (
            "Data stores",
            (
                Panel(
                    "Reached by the platform",
                    "timeseries",
                    [Query("min by (app, dependency) (dependency_up)", "{{app}}: {{dependency}}")],
                    description="1: the process reached it at its last attempt.",
                ),
                Panel(
                    "PostgreSQL: connections",
                    "timeseries",
                    [
                        Query("sum by (state) (pg_stat_activity_count)", "{{state}}"),
                        Query("max(pg_settings_max_connections)", "most there may be"),
                    ],
                    description="From the exporter, where the stack knows the password; a managed database's numbers are the cloud's to show.",
                ),
                Panel(
                    "PostgreSQL: transactions",
                    "timeseries",
                    [
                        Query("sum(rate(pg_stat_database_xact_commit[5m]))", "committed a second"),
                        Query("sum(rate(pg_stat_database_xact_rollback[5m]))", "rolled back a second"),
                    ],
                ),
                Panel(
                    "PostgreSQL: size", "timeseries", [Query("max by (datname) (pg_database_size_bytes)", "{{datname}}")], "bytes"
                ),
                Panel(
                    "Redis: memory",
                    "timeseries",
                    [
                        Query("redis_memory_used_bytes", "{{store}} used"),
                        Query("redis_memory_max_bytes > 0", "{{store}} most there may be"),
                    ],
                    "bytes",
                ),
                Panel(
                    "Redis: commands",
                    "timeseries",
                    [Query("sum by (store) (rate(redis_commands_processed_total[5m]))", "{{store}} a second")],
                ),
                Panel(
                    "Redis: evicted keys",
                    "timeseries",
                    [Query("sum by (store) (rate(redis_evicted_keys_total[5m]))", "{{store}} a second")],
                    description="The cache may evict, the state never.",
                ),
            ),
        ),
        (
            "Secrets and certificates",
            (
                Panel("Vault: unsealed", "stat", [Query("max by (pod) (vault_core_unsealed)", "{{pod}}")], width=6, height=5),
                Panel(
                    "Vault: requests",
                    "timeseries",
                    [Query("sum(rate(vault_core_handle_request_count[5m]))", "a second")],
                    width=9,
                ),
                Panel(
                    "Certificates: days left",
                    "bars",
                    [
                        Query(
                            "(min by (namespace, name) (certmanager_certificate_expiration_timestamp_seconds) - time()) / 86400",
                            "{{namespace}}/{{name}}",
                        )
                    ],
                    "d",
                    width=9,
                ),
            ),
        ),
    ),
)  # fmt: skip
