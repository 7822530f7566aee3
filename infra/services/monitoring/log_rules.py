"""Owns what is counted in the gateway's access log: recording rules of Loki's ruler. Pure.

nginx tells its numbers in its structured log (infra/gateway/nginx.conf.j2), since not every build of it has
stub_status. Loki's ruler reads the log every half minute and writes what it counts to Prometheus, where
dashboards and alerts find it beside everything else.
"""

from __future__ import annotations

from typing import Final

from infra.pods import Manifest
from infra.services.monitoring.rules import INTERVAL_SECONDS, Recording, group

GATEWAY_LOGS: Final = '{app="gateway"}'
"""Streams of the gateway; the collector sets ``app`` from the pod's label of that name."""
TENANT: Final = "fake"
"""What Loki calls the one tenant where authentication is off."""

# Lines of the error log are not JSON and have no status.
_REQUESTS: Final = f'{GATEWAY_LOGS} | json status="status", agent_id="agent_id", refusal="refusal", seconds="duration_seconds", bytes="response_bytes" | status != ""'


def _quantile(percent: int) -> Recording:
    share = f"{percent / 100:g}"
    return Recording(
        f"gateway:request_seconds:p{percent}",
        f'quantile_over_time({share}, {_REQUESTS} | unwrap seconds | __error__="" [5m]) by (app)',
    )


RECORDINGS: Final = (
    Recording("gateway:requests:rate1m", f"sum by (status) (rate({_REQUESTS} [1m]))"),
    Recording("gateway:refusals:rate1m", f'sum by (refusal) (rate({_REQUESTS} | refusal != "" [1m]))'),
    Recording(
        "gateway:response_bytes:rate1m", f'sum(rate({_REQUESTS} | unwrap bytes | __error__="" [1m]))'
    ),
    *(_quantile(percent) for percent in (50, 95, 99)),
)  # fmt: skip


def groups() -> list[Manifest]:
    """The rule groups of Loki's ruler."""
    return [group("ai-agents.gateway", (rule.manifest() for rule in RECORDINGS), INTERVAL_SECONDS)]
