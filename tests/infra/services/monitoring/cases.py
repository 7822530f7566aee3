"""Every alert twice: series under which it fires, with what it then says, and series under which it must not.

Series are promtool's notation, one sample every 30 seconds; ``at`` is when the alert is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

POD = 'namespace="ai-agents", pod="pool-business-1", app="pool-business", pool="business", job="agent"'
OTHER = 'namespace="ai-agents", pod="pool-business-2", app="pool-business", pool="business", job="agent"'
LONE = 'namespace="ai-agents", pod="business-plan-agent-009-1", app="business-plan-agent-009", pool="business", job="agent"'
CONTROL = 'namespace="ai-agents", pod="control-1", app="control", job="control"'
CONTAINER = 'namespace="ai-agents", pod="pool-business-1", container="pool-business"'
VAULT = "vault-0.vault-internal.vault.svc.cluster.local:8200"
CONSUL = "consul-server-0.consul-server.consul.svc.cluster.local:8501"
UNRENEWED = "`pulumi up` renews the certificates of Vault's and Consul's servers once they are a year old and starts the servers again with them: either nobody ran it for almost a year, or this server was not started again. When it ends, nothing reaches the server."
POOLED = {"app": "pool-business", "pool": "business"}
DEPLOYED = {f'kube_deployment_spec_replicas{{namespace="ai-agents", deployment="{name}"}}': "2x80" for name in ("pool-business", "business-plan-agent-009")}  # fmt: skip

Series = Mapping[str, str]


@dataclass(frozen=True)
class Firing:
    """An alert as it must arrive: its own labels and its rendered texts."""

    labels: Mapping[str, str]
    summary: str
    description: str


@dataclass(frozen=True)
class Case:
    """One set of series and what fires under it; nothing where ``fires`` is empty."""

    alert: str
    name: str
    series: Series
    at: str
    fires: tuple[Firing, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    """Labels the rule itself sets, beside severity."""


def _requests(pod: str, agent: str, requests: str, errors: str = "", code: str = "MODEL_ERROR") -> dict[str, str]:
    series = {
        f'agent_enabled{{{pod}, agent_id="{agent}"}}': "1x80",
        f'agent_requests_total{{{pod}, agent_id="{agent}"}}': requests,
    }
    return series | ({f'agent_errors_total{{{pod}, agent_id="{agent}", code="{code}"}}': errors} if errors else {})  # fmt: skip


def _served(pod: str, agent: str, values: str) -> dict[str, str]:
    return {f'agent_enabled{{{pod}, agent_id="{agent}"}}': values}


def _down(agent: str, app: str) -> Firing:
    return Firing(
        {"agent_id": agent, "app": app, "pool": "business"},
        f"Agent {agent} is down: no ready pod serves it",
        f"No ready pod of {app} has served {agent} for 2 minutes. Alerts of one pool are one notification: where all of its agents are named, look at the pool.",
    )


NOT_SERVED = {"reason": "not_served"}
FAILING = {"reason": "failing"}

AGENT_DOWN = (
    Case(
        "AgentDown",
        "a dedicated agent whose pods stopped answering",
        {**_served(LONE, "a1", "1x10 stale"), **DEPLOYED},
        "9m",
        (_down("a1", "business-plan-agent-009"),),
        NOT_SERVED,
    ),
    Case(
        "AgentDown",
        "every agent of a pool none of whose pods is up",
        {**_served(POD, "a1", "1x10 stale"), **_served(POD, "a2", "1x10 stale"), **DEPLOYED},
        "9m",
        (_down("a1", "pool-business"), _down("a2", "pool-business")),
        NOT_SERVED,
    ),
    Case(
        "AgentDown",
        "still, half an hour later",
        {**_served(POD, "a1", "1x10 stale"), **DEPLOYED},
        "35m",
        (_down("a1", "pool-business"),),
        NOT_SERVED,
    ),
    Case(
        "AgentDown",
        "a pool whose only pod is up and not ready",
        {
            **_served(POD, "a1", "1x40"),
            **DEPLOYED,
            'kube_pod_status_ready{namespace="ai-agents", pod="pool-business-1", condition="true"}': "1x10 0x30",
        },
        "9m",
        (_down("a1", "pool-business"),),
        NOT_SERVED,
    ),
    Case(
        "AgentDown",
        "an agent of a pool all of whose requests fail",
        {**_requests(POD, "a1", "0+5x40", "0+5x40"), **_requests(POD, "a2", "0+5x40"), **DEPLOYED},
        "10m",
        (
            Firing(
                {"agent_id": "a1", **POOLED},
                "Agent a1 is down: all of its requests fail",
                "Pods of pool-business serve a1, and every request to it has failed with a server error for 2 minutes.",
            ),
        ),
        FAILING,
    ),
    Case(
        "AgentDown",
        "not when one of two pods goes",
        {**_served(POD, "a1", "1x10 stale"), **_served(OTHER, "a1", "1x40"), **DEPLOYED},
        "9m",
    ),
    Case(
        "AgentDown",
        "not for an agent taken out of a pool that runs on",
        {**_served(POD, "a1", "1x10 stale"), **_served(OTHER, "a2", "1x40"), **DEPLOYED},
        "9m",
    ),
    Case(
        "AgentDown",
        "not for an agent taken out of a pool that goes down afterwards",
        {**_served(POD, "gone", "1x10 stale"), **_served(OTHER, "a2", "1x20 stale"), **DEPLOYED},
        "16m",
        (_down("a2", "pool-business"),),
        NOT_SERVED,
    ),
    Case("AgentDown", "not when its Deployment was removed", _served(LONE, "a1", "1x10 stale"), "9m"),
    Case("AgentDown", "not before two minutes", {**_served(POD, "a1", "1x10 stale"), **DEPLOYED}, "6m30s"),
    Case("AgentDown", "not for an agent that is turned off", {**_served(POD, "a1", "0x40"), **DEPLOYED}, "9m"),
    Case(
        "AgentDown",
        "not for callers' mistakes",
        {**_requests(POD, "a1", "0+5x40", "0+5x40", "INVALID_REQUEST"), **DEPLOYED},
        "10m",
    ),
    Case("AgentDown", "not for one success in ten", {**_requests(POD, "a1", "0+10x40", "0+9x40"), **DEPLOYED}, "10m"),
)

ERROR_RATE = (
    Case(
        "HighErrorRate",
        "6% of all requests, spread over agents too quiet to be judged",
        {
            key: value
            for number in range(40)
            for key, value in _requests(POD, f"a{number}", "0+1x40", "0+1x40" if number < 3 else "").items()
        },
        "18m",
        (
            Firing(
                {},
                "7.5% of all requests fail",
                "More than 5% of the requests to all agents have ended with a server error for 5 minutes.",
            ),
        ),
        {"scope": "fleet"},
    ),
    Case(
        "HighErrorRate",
        "one agent among many",
        {**_requests(POD, "a1", "0+10x40", "0+1x40"), **_requests(POD, "a2", "0+1000x40")},
        "18m",
        (
            Firing(
                {"agent_id": "a1", **POOLED},
                "10% of the requests to a1 fail",
                "More than 5% of the requests to a1 (pool-business) have ended with a server error for 5 minutes. Only agents with more than 3 requests a minute are judged.",
            ),
        ),
        {"scope": "agent"},
    ),
    Case("HighErrorRate", "not at 4%", _requests(POD, "a1", "0+100x40", "0+4x40"), "18m"),
    Case("HighErrorRate", "not before five minutes", _requests(POD, "a1", "0+10x40", "0x8 0+5x32"), "7m"),
    Case(
        "HighErrorRate", "not for callers' mistakes", _requests(POD, "a1", "0+10x40", "0+9x40", "INVALID_REQUEST"), "18m"
    ),
)  # fmt: skip


def _buckets(slow: int) -> dict[str, str]:
    """Ten requests every half minute, ``slow`` of them longer than 10 s."""
    return {
        f'agent_processing_seconds_bucket{{{POD}, le="{le}"}}': f"0+{count}x40"
        for le, count in (("5", 0), ("10", 10 - slow), ("20", 10), ("+Inf", 10))
    }


def _database(value: str, pg: str = "") -> dict[str, str]:
    series = {f'dependency_up{{{CONTROL}, dependency="database"}}': value}
    return series | ({'pg_up{job="exporter"}': pg} if pg else {})


_DATABASE = Firing(
    {},
    "PostgreSQL is unavailable",
    "No control process reaches PostgreSQL, or its exporter does not. Nobody can log in and no execution is admitted, since nothing runs unrecorded.",
)
_REDIS = Firing(
    {},
    "Redis (state) is unavailable",
    "Limits, sessions and the audit stream are in it: no execution is admitted while it is away.",
)


def _cpu(share: float) -> dict[str, str]:
    used = share * 0.5 * 30
    return {
        f'container_cpu_usage_seconds_total{{{CONTAINER}}}': f"0+{used:g}x60",
        f'kube_pod_container_resource_limits{{{CONTAINER}, resource="cpu"}}': "0.5x60",
    }  # fmt: skip


def _memory(share: float) -> dict[str, str]:
    return {
        f'container_memory_working_set_bytes{{{CONTAINER}}}': f"{share * 512:g}x60",
        f'kube_pod_container_resource_limits{{{CONTAINER}, resource="memory"}}': "512x60",
    }  # fmt: skip


_CONSUL = {'kube_statefulset_replicas{namespace="consul", statefulset="consul-server"}': "3x40"}
_CONTAINER_LABELS = {"namespace": "ai-agents", "pod": "pool-business-1", "container": "pool-business"}

REST = (
    Case("DatabaseDown", "no control process reaches it", _database("1x10 0x30"), "10m", (_DATABASE,)),
    Case("DatabaseDown", "its exporter says so", {'pg_up{job="exporter"}': "1x10 0x30"}, "10m", (Firing({"job": "exporter"}, _DATABASE.summary, _DATABASE.description),)),
    Case("DatabaseDown", "not when one of two control processes does not reach it", {**_database("0x40"), 'dependency_up{job="control", pod="control-2", dependency="database"}': "1x40"}, "10m"),
    Case("DatabaseDown", "not for one failed attempt", _database("1x10 0 1x30"), "6m"),
    Case(
        "HighResponseTime", "one request in ten takes longer than 10 s", _buckets(1), "15m",
        (Firing({"app": "pool-business"}, "P95 response time of pool-business is 15s", "One request in twenty to the agents of pool-business has taken longer than 10 seconds for 5 minutes."),),
    ),
    Case("HighResponseTime", "not when all take less", _buckets(0), "15m"),
    Case(
        "HighCPUUsage", "90% for longer than 10 minutes", _cpu(0.9), "20m",
        (Firing(_CONTAINER_LABELS, "pool-business-1 uses 90% of its CPU limit", "Container pool-business of ai-agents/pool-business-1 has used more than 80% of its CPU limit for 10 minutes."),),
    ),
    Case("HighCPUUsage", "not at 75%", _cpu(0.75), "25m"),
    Case("HighCPUUsage", "not before ten minutes", _cpu(0.9), "9m"),
    Case(
        "HighMemoryUsage", "90% for longer than 10 minutes", _memory(0.9), "20m",
        (Firing(_CONTAINER_LABELS, "pool-business-1 uses 90% of its memory limit", "Container pool-business of ai-agents/pool-business-1 has held more than 85% of its memory limit for 10 minutes; at 100% the kernel kills it."),),
    ),
    Case("HighMemoryUsage", "not at 80%", _memory(0.8), "20m"),
    Case("HighMemoryUsage", "not before ten minutes", _memory(0.9), "9m"),
    Case(
        "GatewayDown", "no replica is available", {'kube_deployment_status_replicas_available{namespace="ai-agents", deployment="gateway"}': "2x10 0x30"}, "10m",
        (Firing({"namespace": "ai-agents", "deployment": "gateway"}, "No gateway pod is available", "Deployment gateway has no available replica: no request reaches the platform."),),
    ),
    Case("GatewayDown", "not with one of two", {'kube_deployment_status_replicas_available{namespace="ai-agents", deployment="gateway"}': "2x10 1x30"}, "10m"),
    Case(
        "ControlDown", "no replica is available", {'kube_deployment_status_replicas_available{namespace="ai-agents", deployment="control"}': "2x10 0x30"}, "10m",
        (Firing({"namespace": "ai-agents", "deployment": "control"}, "No control pod is available", "Deployment control has no available replica: the gateway answers 503 to every execution."),),
    ),
    Case("ControlDown", "not when another Deployment has none", {'kube_deployment_status_replicas_available{namespace="ai-agents", deployment="other"}': "0x40"}, "10m"),
    Case("RedisDown", "no control process reaches it", {f'dependency_up{{{CONTROL}, dependency="redis"}}': "1x10 0x30"}, "10m", (_REDIS,)),
    Case("RedisDown", "not for the cache", {'redis_up{store="cache"}': "0x40", f'dependency_up{{{CONTROL}, dependency="redis"}}': "1x40"}, "10m"),
    Case(
        "ModelUnavailable", "no process of a pool can use it", {f'dependency_up{{{POD}, dependency="model"}}': "0x40"}, "10m",
        (Firing({"app": "pool-business"}, "pool-business cannot use the model", "No process of pool-business has a usable model client: most often its key cannot be read or is refused."),),
    ),
    Case("ModelUnavailable", "not when one of two can", {f'dependency_up{{{POD}, dependency="model"}}': "0x40", f'dependency_up{{{OTHER}, dependency="model"}}': "1x40"}, "10m"),
    Case(
        "RateLimitRefusals", "one request in ten", {f"control_rate_limit_refusals_total{{{CONTROL}}}": "0+1x60", f'control_authorizations_total{{{CONTROL}, outcome="allowed"}}': "0+10x60"}, "20m",
        (Firing({}, "10% of all requests are refused by the rate limit", "More than 5% of the requests have met their user's limit for 10 minutes: a client without back-off, or limits that are too low."),),
    ),
    Case("RateLimitRefusals", "not one in a hundred", {f"control_rate_limit_refusals_total{{{CONTROL}}}": "0+1x60", f'control_authorizations_total{{{CONTROL}, outcome="allowed"}}': "0+100x60"}, "20m"),
    Case(
        "ConcurrencyRefusals", "one execution in ten", {**_requests(POD, "a1", "0+10x40"), f'agent_concurrency_refusals_total{{{POD}, scope="process"}}': "0+1x40"}, "15m",
        (Firing({"app": "pool-business"}, "pool-business refuses 10% of its requests", "More than 1% of the executions have been refused with 503 for 5 minutes because too many run at once. Waiting for a model costs no CPU, so no autoscaler sees it."),),
    ),
    Case("ConcurrencyRefusals", "not one in a thousand", {**_requests(POD, "a1", "0+1000x40"), f'agent_concurrency_refusals_total{{{POD}, scope="process"}}': "0+1x40"}, "15m"),
    Case(
        "AgentQuarantined", "at once, while any process refuses it", {f'agent_quarantined{{{POD}, agent_id="a1"}}': "0x10 1x30", f'agent_quarantined{{{OTHER}, agent_id="a1"}}': "0x40"}, "6m",
        (Firing({"agent_id": "a1", **POOLED}, "a1 is held back: executing it ended its process", "Processes of pool-business died several times while they executed a1. This version of it is refused everywhere for a while and then tried again; its neighbours serve."),),
    ),
    Case("AgentQuarantined", "not for a suspect, nor when it is tried again", {f'agent_quarantined{{{POD}, agent_id="a1"}}': "1x5 0x35", f'agent_quarantined{{{OTHER}, agent_id="a2"}}': "0x40"}, "6m"),
    Case(
        "AgentUnavailable", "for five minutes", {f'agent_unavailable{{{POD}, agent_id="a1"}}': "1x40"}, "6m",
        (Firing({"agent_id": "a1", **POOLED}, "a1 is not served: its definition cannot be loaded", "Processes of pool-business have run for 5 minutes without a1, whose definition they could not load."),),
    ),
    Case("AgentUnavailable", "not when the next version loads", {f'agent_unavailable{{{POD}, agent_id="a1"}}': "1x5 stale"}, "6m"),
    Case("AuditLag", "more than a minute", {f"control_audit_lag_seconds{{{CONTROL}}}": "90x40"}, "10m", (Firing({}, "The audit is 1m 30s behind", "The oldest completion in the stream has waited for more than a minute, for 5 minutes: control does not drain it, or not fast enough."),)),
    Case("AuditLag", "not when it catches up", {f"control_audit_lag_seconds{{{CONTROL}}}": "90x5 0x35"}, "10m"),
    Case(
        "AuditCompletionsDropped", "one is enough", {f"agent_completions_dropped_total{{{POD}}}": "0x10 1x30"}, "8m",
        (Firing({"app": "pool-business"}, "pool-business gave up completions", "Too many completions waited for Redis, so some will stay visible in the audit as unfinished."),),
    ),
    Case("AuditCompletionsDropped", "not when none was", {f"agent_completions_dropped_total{{{POD}}}": "3x40"}, "8m"),
    Case(
        "CertificateExpiry", "within 14 days", {'certmanager_certificate_expiration_timestamp_seconds{namespace="ai-agents", name="gateway"}': f"{10 * 86_400 + 7_200}x300"}, "2h",
        (Firing({"namespace": "ai-agents", "name": "gateway"}, "Certificate gateway expires in 10d 0h 0m 0s", "Certificate ai-agents/gateway expires within 14 days; cert-manager renews after two thirds of its life, so renewal has failed."),),
    ),
    Case("CertificateExpiry", "not 20 days ahead", {'certmanager_certificate_expiration_timestamp_seconds{namespace="ai-agents", name="gateway"}': f"{20 * 86_400}x300"}, "2h"),
    Case(
        "ServerCertificateExpiry", "within 30 days, of each server by itself",
        {f'probe_ssl_earliest_cert_expiry{{job="certificates", instance="{VAULT}"}}': f"{10 * 86_400 + 7_200}x300", f'probe_ssl_earliest_cert_expiry{{job="certificates", instance="{CONSUL}"}}': f"{400 * 86_400}x300"}, "2h",
        (Firing({"instance": VAULT}, f"The certificate of {VAULT} expires in 10d 0h 0m 0s", UNRENEWED),),
    ),
    Case(
        "ServerCertificateExpiry", "still, when it has ended", {f'probe_ssl_earliest_cert_expiry{{job="certificates", instance="{CONSUL}"}}': "0x300"}, "2h",
        (Firing({"instance": CONSUL}, f"The certificate of {CONSUL} expires in -2h 0m 0s", UNRENEWED),),
    ),
    Case("ServerCertificateExpiry", "not 40 days ahead", {f'probe_ssl_earliest_cert_expiry{{job="certificates", instance="{VAULT}"}}': f"{40 * 86_400}x300"}, "2h"),
    Case("ServerCertificateExpiry", "not of what another job probes", {'probe_ssl_earliest_cert_expiry{job="website", instance="https://example.org"}': "0x300"}, "2h"),
    Case(
        "VaultSealed", "sealed", {'vault_core_unsealed{job="vault", namespace="vault", pod="vault-0"}': "1x10 0x30"}, "10m",
        (Firing({"namespace": "vault", "pod": "vault-0"}, "Vault vault-0 is sealed or away", "The Vault server does not serve secrets: agents keep the key they have read, new pods do not become ready."),),
    ),
    Case(
        "VaultSealed", "away", {'up{job="vault", namespace="vault", pod="vault-0"}': "1x10 0x30"}, "10m",
        (Firing({"namespace": "vault", "pod": "vault-0"}, "Vault vault-0 is sealed or away", "The Vault server does not serve secrets: agents keep the key they have read, new pods do not become ready."),),
    ),
    # The second series is what a real Vault still exposes of the time before it was unsealed.
    Case("VaultSealed", "not when unsealed", {'vault_core_unsealed{job="vault", namespace="vault", pod="vault-0", cluster="c1"}': "1x40", 'vault_core_unsealed{job="vault", namespace="vault", pod="vault-0", cluster=""}': "0x40", 'up{job="vault", namespace="vault", pod="vault-0"}': "1x40"}, "10m"),
    Case(
        "ConsulUnavailable", "no quorum", {**_CONSUL, 'kube_statefulset_status_replicas_ready{namespace="consul", statefulset="consul-server"}': "3x10 1x30"}, "10m",
        (Firing({"namespace": "consul", "statefulset": "consul-server"}, "Consul has 1 ready servers, no quorum", "Dynamic settings keep their last values and discovery its last answers until more than half of its servers are back."),),
    ),
    Case("ConsulUnavailable", "not with one of one", {'kube_statefulset_replicas{namespace="consul", statefulset="consul-server"}': "1x40", 'kube_statefulset_status_replicas_ready{namespace="consul", statefulset="consul-server"}': "1x40"}, "10m"),
    Case("ConsulUnavailable", "not with two of three", {**_CONSUL, 'kube_statefulset_status_replicas_ready{namespace="consul", statefulset="consul-server"}': "3x10 2x30"}, "10m"),
)  # fmt: skip

CASES = (*AGENT_DOWN, *ERROR_RATE, *REST)
