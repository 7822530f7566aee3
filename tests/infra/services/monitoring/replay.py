"""The metrics of a cluster's exporters, replayed: cAdvisor, kube-state-metrics, and the exporters of the stores.

Names, labels and order of magnitude are those of the real exporters (cAdvisor in the kubelet of Kubernetes 1.35,
kube-state-metrics 2.20, postgres_exporter 0.20, redis_exporter 1.89, Vault 2.0, cert-manager 1.21). A value with
``@rate`` is a counter that grows by so much a second from when the server started.
"""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

_POD = 'container="{0}",namespace="ai-agents",pod="{0}-0"'
WORKLOADS: Final = ("pool-business", "pool-technology", "pool-knowledge", "control", "gateway")


def _cadvisor() -> str:
    lines = ["# TYPE container_cpu_usage_seconds_total counter"]
    lines += [f'container_cpu_usage_seconds_total{{{_identity(name)},cpu="total"}} 400 @0.05' for name in WORKLOADS]
    # The pod's own cgroup, as cAdvisor reports it: without a container's name.
    lines += [
        f'container_cpu_usage_seconds_total{{container="",cpu="total",id="/kubepods/{name}",image="",name="",namespace="ai-agents",pod="{name}-0"}} 401 @0.051'
        for name in WORKLOADS
    ]
    for metric, value in (
        ("container_memory_usage_bytes", 310_000_000),
        ("container_memory_working_set_bytes", 240_000_000),
    ):
        lines += [f"# TYPE {metric} gauge", *(f"{metric}{{{_identity(name)}}} {value}" for name in WORKLOADS)]
    return "\n".join(lines)  # fmt: skip


def _identity(name: str) -> str:
    return f'{_POD.format(name)},id="/kubepods/{name}/1",image="ghcr.io/your-org/ai-agents-runtime@sha256:0",name="1"'


def _kube_state() -> str:
    lines = ["# TYPE kube_deployment_spec_replicas gauge"]
    for name in WORKLOADS:
        where = f'namespace="ai-agents",deployment="{name}"'
        lines += [
            f"kube_deployment_spec_replicas{{{where}}} 1",
            f"kube_deployment_status_replicas{{{where}}} 1",
            f"kube_deployment_status_replicas_available{{{where}}} 1",
        ]
        for condition in ("true", "false", "unknown"):
            lines.append(f'kube_pod_status_ready{{namespace="ai-agents",pod="{name}-0",uid="1",condition="{condition}"}} {int(condition == "true")}')  # fmt: skip
        for resource, unit, value in (("cpu", "core", "0.5"), ("memory", "byte", "536870912")):
            lines.append(f'kube_pod_container_resource_limits{{namespace="ai-agents",pod="{name}-0",uid="1",container="{name}",node="n1",resource="{resource}",unit="{unit}"}} {value}')  # fmt: skip
    lines.append('kube_statefulset_replicas{namespace="consul",statefulset="consul-server"} 3')
    lines.append('kube_statefulset_status_replicas_ready{namespace="consul",statefulset="consul-server"} 3')
    return "\n".join(lines)


_POSTGRES = """\
# HELP pg_up Whether the last scrape of metrics from PostgreSQL was able to connect to the server (1 for yes, 0 for no).
# TYPE pg_up gauge
pg_up 1
# TYPE pg_stat_activity_count gauge
pg_stat_activity_count{application_name="",backend_type="client backend",datname="agents",state="active",usename="agents_admin",wait_event="",wait_event_type=""} 2
pg_stat_activity_count{application_name="",backend_type="client backend",datname="agents",state="idle",usename="agents_admin",wait_event="ClientRead",wait_event_type="Client"} 9
# TYPE pg_settings_max_connections gauge
pg_settings_max_connections{server="127.0.0.1:5432"} 100
# TYPE pg_stat_database_xact_commit counter
pg_stat_database_xact_commit{datid="16384",datname="agents"} 120334 @12
# TYPE pg_stat_database_xact_rollback counter
pg_stat_database_xact_rollback{datid="16384",datname="agents"} 41 @0.1
# TYPE pg_database_size_bytes gauge
pg_database_size_bytes{datname="agents"} 8.5319e+07"""

_REDIS = """\
# HELP redis_up Information about the Redis instance
# TYPE redis_up gauge
redis_up 1
# TYPE redis_memory_used_bytes gauge
redis_memory_used_bytes 4.1e+06
# TYPE redis_memory_max_bytes gauge
redis_memory_max_bytes 4.02653184e+08
# TYPE redis_commands_processed_total counter
redis_commands_processed_total 90211 @40
# TYPE redis_evicted_keys_total counter
redis_evicted_keys_total 0"""

_VAULT = """\
# HELP vault_core_unsealed vault_core_unsealed
# TYPE vault_core_unsealed gauge
vault_core_unsealed{cluster=""} 0
vault_core_unsealed{cluster="vault-cluster-1"} 1
# TYPE vault_core_handle_request summary
vault_core_handle_request{quantile="0.5"} 0.31
vault_core_handle_request_sum 812 @0.4
vault_core_handle_request_count 2203 @1.2"""


def _certificates() -> str:
    labels = 'issuer_group="cert-manager.io",issuer_kind="ClusterIssuer",issuer_name="letsencrypt",name="gateway",namespace="ai-agents"'
    return f"# TYPE certmanager_certificate_expiration_timestamp_seconds gauge\ncertmanager_certificate_expiration_timestamp_seconds{{{labels}}} {time.time() + 60 * 86_400:.0f}"


def pages() -> Mapping[str, str]:
    """Exposition by exporter."""
    return {
        "cadvisor": _cadvisor(),
        "kube-state-metrics": _kube_state(),
        "postgres": _POSTGRES,
        "redis-state": _REDIS,
        "redis-cache": _REDIS.replace("redis_evicted_keys_total 0", "redis_evicted_keys_total 12 @0.2"),
        "vault": _VAULT,
        "cert-manager": _certificates(),
    }


@contextmanager
def serving() -> Iterator[int]:
    """All pages on a free port, as ``/<exporter>``; the port."""
    content, began = pages(), time.monotonic()

    def grown(match: re.Match[str]) -> str:
        return f"{float(match[1]) + float(match[2]) * (time.monotonic() - began):.4f}"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = content.get(self.path.strip("/").split("?")[0])
            self.send_response(404 if text is None else 200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write((re.sub(r"(\S+) @(\S+)", grown, text or "") + "\n").encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
