"""Owns the log collector: the values of Grafana Alloy's chart and its configuration. Pure.

One on every node. It reads the containers' logs from the node's disk (the API server is not asked for the logs
of 3,000 pods), so it mounts /var/log and runs as root, with no capability but that of reading. Labels are few
and bounded: namespace, app, container, role, level. Agent, pod and request id stay out of them, since each
would multiply Loki's streams: the pod is structured metadata, the rest is in the line, which is JSON.
"""

from __future__ import annotations

from typing import Final

from infra import pods
from infra.pods import Manifest
from infra.services.monitoring.names import LOKI_URL

STREAM_LABELS: Final = ("namespace", "app", "container", "role")
"""Labels of Loki's streams that come from Kubernetes; ``level`` comes from the line."""

CONFIGURATION: Final = f"""\
logging {{
  level  = "warn"
  format = "json"
}}

discovery.kubernetes "pods" {{
  role = "pod"
  selectors {{
    role  = "pod"
    field = "spec.nodeName=" + sys.env("HOSTNAME")
  }}
}}

discovery.relabel "pods" {{
  targets = discovery.kubernetes.pods.targets
  rule {{
    source_labels = ["__meta_kubernetes_namespace"]
    target_label  = "namespace"
  }}
  rule {{
    source_labels = ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
    target_label  = "app"
  }}
  rule {{
    source_labels = ["__meta_kubernetes_pod_label_app"]
    regex         = "(.+)"
    target_label  = "app"
  }}
  rule {{
    source_labels = ["__meta_kubernetes_pod_label_role"]
    target_label  = "role"
  }}
  rule {{
    source_labels = ["__meta_kubernetes_pod_container_name"]
    target_label  = "container"
  }}
  rule {{
    source_labels = ["__meta_kubernetes_pod_name"]
    target_label  = "pod"
  }}
  rule {{
    source_labels = ["__meta_kubernetes_pod_uid", "__meta_kubernetes_pod_container_name"]
    separator     = "/"
    replacement   = "/var/log/pods/*$1/*.log"
    target_label  = "__path__"
  }}
}}

local.file_match "pods" {{
  path_targets = discovery.relabel.pods.output
}}

loki.source.file "pods" {{
  targets    = local.file_match.pods.targets
  forward_to = [loki.process.pods.receiver]
}}

loki.process "pods" {{
  forward_to = [loki.write.loki.receiver]
  stage.cri {{ }}
  stage.json {{
    expressions = {{ level = "level" }}
  }}
  stage.labels {{
    values = {{ level = "" }}
  }}
  stage.structured_metadata {{
    values = {{ pod = "" }}
  }}
  stage.label_drop {{
    values = ["filename", "stream", "pod"]
  }}
}}

loki.write "loki" {{
  endpoint {{
    url = "{LOKI_URL}/loki/api/v1/push"
  }}
}}
"""
"""Alloy's configuration. Without braces in pairs of two: the chart passes it through Helm's templates."""


def values() -> Manifest:
    """The release's values."""
    return {
        "fullnameOverride": "alloy",
        "crds": {"create": False},
        "alloy": {
            "configMap": {"content": CONFIGURATION},
            "enableReporting": False,
            "mounts": {"varlog": True, "dockercontainers": False, "extra": [pods.mount("data", "/var/lib/alloy")]},
            # Where it has read to survives a restart of the pod.
            "storagePath": "/var/lib/alloy",
            "securityContext": {
                "runAsUser": 0,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "resources": pods.resources("50m", "500m", "128Mi", "512Mi"),
        },
        "controller": {
            "type": "daemonset",
            "volumes": {"extra": [{"name": "data", "hostPath": {"path": "/var/lib/alloy", "type": "DirectoryOrCreate"}}]},
            # Pods on every node write logs.
            "tolerations": [{"operator": "Exists"}],
            "priorityClassName": "ai-agents-platform",
        },
        "configReloader": {"resources": pods.resources("10m", "100m", "32Mi", "64Mi")},
        "rbac": {
            "rules": [{"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": ["get", "list", "watch"]}],
            "clusterRules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}],
        },
        "serviceMonitor": {"enabled": True},
    }  # fmt: skip
