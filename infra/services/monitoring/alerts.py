"""Owns the alerts: the specification's six (section 6) and what a fleet of agents needs beside them. Pure.

AgentDown speaks of an agent, whether it runs in a pod of its own or among 500 in a pool: either no ready pod
serves it, or its pods do and every request fails. Severity decides the route (alertmanager.py): critical wakes
somebody, warning is read in the morning. Durations are the specification's where it states one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from catalog.contract import Metric
from infra.naming import NAMESPACE
from infra.pods import Manifest
from infra.services.monitoring.rules import AGENT, SERVER_ERRORS, group

Severity = Literal["critical", "warning"]
RUNBOOK: Final = "docs/RUNBOOK.md"
"""The page in this repository."""


@dataclass(frozen=True)
class Alert:
    """An alert; ``summary`` and ``description`` are Prometheus templates."""

    name: str
    severity: Severity
    expr: str
    wait: str
    """How long it must hold: ``2m``."""
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def manifest(self, runbook: str = RUNBOOK) -> Manifest:
        """As Prometheus reads it; ``runbook``: URL of the page that has a heading for each alert."""
        url = f"{runbook}#{self.name.lower()}"
        texts = {"summary": self.summary, "description": self.description, "runbook_url": url}
        labels = {"severity": self.severity, "platform": "ai-agents", **self.labels}
        return {"alert": self.name, "expr": self.expr, "for": self.wait, "labels": labels, "annotations": texts}


_SERVER = f'{{code=~"{SERVER_ERRORS}"}}'

# At least three requests: one failed call is an error, not an agent that is down.
_ALL_FAIL = f"""sum by ({AGENT}) (rate({Metric.ERRORS}{_SERVER}[2m]))
  >= 0.999 * sum by ({AGENT}) (rate({Metric.REQUESTS}[2m]))
and sum by ({AGENT}) (increase({Metric.REQUESTS}[2m])) >= 3"""

_AGENT_ERRORS = f"""sum by ({AGENT}) (agent:errors:rate5m{_SERVER})
  / (sum by ({AGENT}) (agent:requests:rate5m) > 0.05) > 0.05"""

SPECIFIED: Final = (
    Alert(
        "AgentDown",
        "critical",
        f"agent:known unless on ({AGENT}) agent:serving_pods",
        "2m",
        "Agent {{ $labels.agent_id }} is down: no ready pod serves it",
        "No ready pod of {{ $labels.app }} has served {{ $labels.agent_id }} for 2 minutes. Alerts of one pool are one notification: where all of its agents are named, look at the pool.",
        {"reason": "not_served"},
    ),
    Alert(
        "AgentDown",
        "critical",
        _ALL_FAIL,
        "2m",
        "Agent {{ $labels.agent_id }} is down: all of its requests fail",
        "Pods of {{ $labels.app }} serve {{ $labels.agent_id }}, and every request to it has failed with a server error for 2 minutes.",
        {"reason": "failing"},
    ),
    Alert(
        "HighErrorRate",
        "critical",
        "fleet:error_ratio:rate5m > 0.05",
        "5m",
        "{{ $value | humanizePercentage }} of all requests fail",
        "More than 5% of the requests to all agents have ended with a server error for 5 minutes.",
        {"scope": "fleet"},
    ),
    Alert(
        "HighErrorRate",
        "critical",
        _AGENT_ERRORS,
        "5m",
        "{{ $value | humanizePercentage }} of the requests to {{ $labels.agent_id }} fail",
        "More than 5% of the requests to {{ $labels.agent_id }} ({{ $labels.app }}) have ended with a server error for 5 minutes. Only agents with more than 3 requests a minute are judged.",
        {"scope": "agent"},
    ),
    Alert(
        "DatabaseDown",
        "critical",
        f'max(max_over_time({Metric.DEPENDENCY_UP}{{dependency="database"}}[1m])) == 0 or pg_up == 0',
        "1m",
        "PostgreSQL is unavailable",
        "No control process reaches PostgreSQL, or its exporter does not. Nobody can log in and no execution is admitted, since nothing runs unrecorded.",
    ),
    Alert(
        "HighResponseTime",
        "warning",
        "histogram_quantile(0.95, sum by (app, le) (app:processing_seconds_bucket:rate5m)) > 10",
        "5m",
        "P95 response time of {{ $labels.app }} is {{ $value | humanizeDuration }}",
        "One request in twenty to the agents of {{ $labels.app }} has taken longer than 10 seconds for 5 minutes.",
    ),
    Alert(
        "HighCPUUsage",
        "warning",
        "container:cpu_of_limit:ratio > 0.8",
        "10m",
        "{{ $labels.pod }} uses {{ $value | humanizePercentage }} of its CPU limit",
        "Container {{ $labels.container }} of {{ $labels.namespace }}/{{ $labels.pod }} has used more than 80% of its CPU limit for 10 minutes.",
    ),
    Alert(
        "HighMemoryUsage",
        "warning",
        "container:memory_of_limit:ratio > 0.85",
        "10m",
        "{{ $labels.pod }} uses {{ $value | humanizePercentage }} of its memory limit",
        "Container {{ $labels.container }} of {{ $labels.namespace }}/{{ $labels.pod }} has held more than 85% of its memory limit for 10 minutes; at 100% the kernel kills it.",
    ),
)
"""The specification's alerts (section 6). It states no duration for HighResponseTime and DatabaseDown."""


def _unavailable(name: str, deployment: str, effect: str) -> Alert:
    replicas = f'{{namespace="{NAMESPACE}", deployment="{deployment}"}}'
    return Alert(
        name,
        "critical",
        f"kube_deployment_status_replicas_available{replicas} == 0",
        "1m",
        f"No {deployment} pod is available",
        f"Deployment {deployment} has no available replica: {effect}.",
    )


FLEET: Final = (
    _unavailable("GatewayDown", "gateway", "no request reaches the platform"),
    _unavailable("ControlDown", "control", "the gateway answers 503 to every execution"),
    Alert(
        "RedisDown",
        "critical",
        f'max(max_over_time({Metric.DEPENDENCY_UP}{{job="control", dependency="redis"}}[1m])) == 0 or redis_up{{store="state"}} == 0',
        "1m",
        "Redis (state) is unavailable",
        "Limits, sessions and the audit stream are in it: no execution is admitted while it is away.",
    ),
    Alert(
        "ModelUnavailable",
        "critical",
        f'max by (app) (max_over_time({Metric.DEPENDENCY_UP}{{dependency="model"}}[1m])) == 0',
        "5m",
        "{{ $labels.app }} cannot use the model",
        "No process of {{ $labels.app }} has a usable model client: most often its key cannot be read or is refused.",
    ),
    Alert(
        "RateLimitRefusals",
        "warning",
        f"sum(rate({Metric.RATE_REFUSALS}[5m])) / (sum(rate({Metric.AUTHORIZATIONS}[5m])) > 0) > 0.05",
        "10m",
        "{{ $value | humanizePercentage }} of all requests are refused by the rate limit",
        "More than 5% of the requests have met their user's limit for 10 minutes: a client without back-off, or limits that are too low.",
    ),
    Alert(
        "ConcurrencyRefusals",
        "warning",
        "sum by (app) (app:concurrency_refusals:rate5m) / on (app) (sum by (app) (agent:requests:rate5m) > 0) > 0.01",
        "5m",
        "{{ $labels.app }} refuses {{ $value | humanizePercentage }} of its requests",
        "More than 1% of the executions have been refused with 503 for 5 minutes because too many run at once. Waiting for a model costs no CPU, so no autoscaler sees it.",
    ),
    Alert(
        "AgentQuarantined",
        "warning",
        f"max by ({AGENT}) ({Metric.QUARANTINED}) == 1",
        "0m",
        "{{ $labels.agent_id }} is held back: executing it ended its process",
        "Processes of {{ $labels.app }} died several times while they executed {{ $labels.agent_id }}. This version of it is refused everywhere for a while and then tried again; its neighbours serve.",
    ),
    Alert(
        "AgentUnavailable",
        "warning",
        f"max by ({AGENT}) ({Metric.UNAVAILABLE}) == 1",
        "5m",
        "{{ $labels.agent_id }} is not served: its definition cannot be loaded",
        "Processes of {{ $labels.app }} have run for 5 minutes without {{ $labels.agent_id }}, whose definition they could not load.",
    ),
    Alert(
        "AuditLag",
        "warning",
        f"max({Metric.AUDIT_LAG}) > 60",
        "5m",
        "The audit is {{ $value | humanizeDuration }} behind",
        "The oldest completion in the stream has waited for more than a minute, for 5 minutes: control does not drain it, or not fast enough.",
    ),
    Alert(
        "AuditCompletionsDropped",
        "critical",
        f"sum by (app) (increase({Metric.COMPLETIONS_DROPPED}[10m])) > 0",
        "0m",
        "{{ $labels.app }} gave up completions",
        "Too many completions waited for Redis, so some will stay visible in the audit as unfinished.",
    ),
    Alert(
        "CertificateExpiry",
        "warning",
        "min by (namespace, name) (certmanager_certificate_expiration_timestamp_seconds) - time() < 14 * 86400",
        "1h",
        "Certificate {{ $labels.name }} expires in {{ $value | humanizeDuration }}",
        "Certificate {{ $labels.namespace }}/{{ $labels.name }} expires within 14 days; cert-manager renews after two thirds of its life, so renewal has failed.",
    ),
    Alert(
        "ServerCertificateExpiry",
        "warning",
        'min by (instance) (probe_ssl_earliest_cert_expiry{job="certificates"}) - time() < 30 * 86400',
        "1h",
        "The certificate of {{ $labels.instance }} expires in {{ $value | humanizeDuration }}",
        "`pulumi up` renews the certificates of Vault's and Consul's servers once they are a year old and starts the servers again with them: either nobody ran it for almost a year, or this server was not started again. When it ends, nothing reaches the server.",
    ),
    Alert(
        "VaultSealed",
        "critical",
        # max: after unsealing, Vault still exposes the value of the time before, under another cluster's name.
        'max by (namespace, pod) (vault_core_unsealed) == 0 or max by (namespace, pod) (up{job="vault"}) == 0',
        "1m",
        "Vault {{ $labels.pod }} is sealed or away",
        "The Vault server does not serve secrets: agents keep the key they have read, new pods do not become ready.",
    ),
    Alert(
        "ConsulUnavailable",
        "warning",
        """kube_statefulset_status_replicas_ready{statefulset="consul-server"}
  <= on (namespace, statefulset) kube_statefulset_replicas{statefulset="consul-server"} / 2""",
        "2m",
        "Consul has {{ $value }} ready servers, no quorum",
        "Dynamic settings keep their last values and discovery its last answers until more than half of its servers are back.",
    ),
)
"""What a fleet needs beside them."""

ALERTS: Final = (*SPECIFIED, *FLEET)


def alert_groups(runbook: str = RUNBOOK) -> list[Manifest]:
    """The groups of all alerts, which link to ``runbook``."""
    return [
        group("ai-agents.specified", (alert.manifest(runbook) for alert in SPECIFIED)),
        group("ai-agents.fleet", (alert.manifest(runbook) for alert in FLEET)),
    ]
