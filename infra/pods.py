"""Owns the parts every pod of ours shares: restricted pod security, probes, environment. Pure.

"Restricted" is the Kubernetes Pod Security Standard of that name, plus a read-only root file system.
"""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]


def pod_security(user: int) -> Manifest:
    """Security context of a pod that runs as ``user``, never as root."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Manifest:
    """Security context of a container: no privileges, no capabilities, nothing written outside its volumes."""
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def namespace(name: str, labels: Manifest, enforce: str = "restricted") -> Manifest:
    """A namespace under a Pod Security Standard, enforced, audited and warned about."""
    modes = {f"pod-security.kubernetes.io/{mode}": enforce for mode in ("enforce", "audit", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**labels, **modes}}}


def http_probe(path: str, port: str, *, period: int, failures: int) -> Manifest:
    """An HTTP probe every ``period`` seconds that fails after ``failures`` failures in a row."""
    get = {"path": path, "port": port}
    return {"httpGet": get, "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures}


def env_value(name: str, value: Any) -> Manifest:
    """An environment variable with a plain value."""
    return {"name": str(name), "value": value}


def env_secret(name: str, secret: Any, key: str | None = None, *, optional: bool = False) -> Manifest:
    """An environment variable from a key of a Secret, by default the key of its own name."""
    reference: Manifest = {"name": secret, "key": key or str(name)}
    if optional:
        reference["optional"] = True
    return {"name": str(name), "valueFrom": {"secretKeyRef": reference}}


def mount(name: str, path: str, *, read_only: bool = False) -> Manifest:
    """A volume mount."""
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}


def resources(cpu: str, cpu_limit: str, memory: str, memory_limit: str) -> Manifest:
    """Requests and limits as Kubernetes quantities."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu_limit, "memory": memory_limit}}


def spread(app: str) -> list[Manifest]:
    """Spread of an app's pods over zones and nodes.

    ScheduleAnyway: a lost zone must not keep the pods from being scheduled in the others.
    """
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": app}},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def deployment(metadata: Manifest, app: str, template: Manifest, **spec: Any) -> Manifest:
    """A Deployment that never goes below what runs while it rolls; ``spec`` adds to its spec.

    ``replicas`` is left out: an autoscaler owns it, and both would fight (pulumi-kubernetes#2491).
    """
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    selector = {"matchLabels": {"app": app}}
    body = {"revisionHistoryLimit": 2, "selector": selector, "strategy": rolling, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": body}


def cluster_ip(metadata: Manifest, app: str, name: str, port: int) -> Manifest:
    """A Service inside the cluster: one named port to the pods labelled ``app``."""
    ports = [{"name": name, "port": port, "targetPort": name, "protocol": "TCP"}]
    spec = {"type": "ClusterIP", "selector": {"app": app}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def autoscaler(metadata: Manifest, deployment: str, fewest: int, most: int, targets: dict[str, int | None]) -> Manifest:
    """A HorizontalPodAutoscaler: ``targets`` are percentages of the request by resource, None for no target."""
    metrics = [
        {
            "type": "Resource",
            "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}},
        }
        for name, percent in targets.items()
        if percent is not None
    ]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
            "minReplicas": fewest,
            "maxReplicas": most,
            "metrics": metrics,
        },
    }


def disruption_budget(metadata: Manifest, app: str) -> Manifest:
    """At most one replica is taken away at a time by drains and upgrades.

    A crash-looping pod must not keep a node from draining, hence AlwaysAllow.
    """
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}
