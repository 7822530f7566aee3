"""Owns finding the pod inside an object: the pod spec of any workload kind, its containers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.policies.model import Subject, dig

_PATHS = {
    "Pod": "spec",
    "Deployment": "spec.template.spec",
    "StatefulSet": "spec.template.spec",
    "DaemonSet": "spec.template.spec",
    "ReplicaSet": "spec.template.spec",
    "Job": "spec.template.spec",
    "CronJob": "spec.jobTemplate.spec.template.spec",
}


def pod(subject: Subject) -> Mapping[str, Any]:
    """The pod spec of a workload; empty for everything else."""
    path = _PATHS.get(subject.kind) if subject.kubernetes else None
    found = dig(subject.properties, path) if path else None
    return found if isinstance(found, Mapping) else {}


def containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Containers and init containers of a pod spec."""
    for key in ("initContainers", "containers"):
        for container in spec.get(key) or ():
            if isinstance(container, Mapping):
                yield container
