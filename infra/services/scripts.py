"""Owns how the code of in-cluster jobs (infra.services.jobs) gets into a pod, and the pods that run it. Pure.

The package is a ConfigMap, immutable and named by its content, mounted as ``jobs`` and run with the runtime's image,
which has Python, hvac and the catalog's contract. So a job changes with the program that renders it, not with an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from infra import pods
from infra.naming import labels
from infra.pods import Manifest
from infra.workloads.manifests import USER_ID

PACKAGE = "jobs"
MOUNT = "/opt/fleet"
VAULT_TOKEN_MOUNT = "/var/run/secrets/vault"
VAULT_CA_MOUNT = "/etc/vault-ca"
_FOLDER = Path(__file__).parent / PACKAGE


@cache
def package() -> dict[str, str]:
    """The package's files by name."""
    return {file.name: file.read_text("utf-8") for file in sorted(_FOLDER.glob("*.py"))}


def digest(*parts: str) -> str:
    """A short name for a job's code and what else decides whether it must run again."""
    text = "\0".join((*(item for pair in package().items() for item in pair), *parts))
    return sha256(text.encode()).hexdigest()[:10]


def config_map(namespace: str) -> Manifest:
    """The package as an immutable ConfigMap."""
    metadata = {"name": f"{PACKAGE}-{digest()}", "namespace": namespace, "labels": labels(PACKAGE, "jobs")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True, "data": package()}


@dataclass(frozen=True)
class Script:
    """One module of the package as a pod."""

    name: str
    namespace: str
    module: str
    service_account: str
    image: str
    environment: Mapping[str, Any]
    """Plain values, which may be Pulumi outputs."""
    arguments: Sequence[str] = ()
    role: str = ""
    """Value of the label network policies select by; default: the name."""
    audience: str = ""
    """Mount a service-account token with this audience for Vault; empty: none."""
    account_token: bool = False
    """Mount the pod's own token for the Kubernetes API."""
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[Manifest] = ()
    mounts: Sequence[Manifest] = ()
    memory: str = "256Mi"
    pull_secret: str = ""


def job(script: Script, version: str) -> Manifest:
    """A Job, named by ``version`` too, so that a new version runs anew."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(script, f"{script.name}-{version}"),
        "spec": {"backoffLimit": 10, "activeDeadlineSeconds": 1800, "template": _template(script)},
    }


def cron_job(script: Script, schedule: str, *, suspend: bool = False) -> Manifest:
    """A CronJob, one at a time; suspended it is a template for `kubectl create job --from`."""
    spec: Manifest = {
        "schedule": schedule,
        "timeZone": "Etc/UTC",
        "suspend": suspend,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 3600,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "spec": {"backoffLimit": 3, "activeDeadlineSeconds": 3600, "template": _template(script)},
        },
    }
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": _metadata(script, script.name), "spec": spec}


def _template(script: Script) -> Manifest:
    container: Manifest = {
        "name": script.name,
        "image": script.image,
        "command": ["python", "-m", f"{PACKAGE}.{script.module}"],
        "args": list(script.arguments),
        "env": [
            # The image's own packages (the catalog's contract) beside ours.
            pods.env_value("PYTHONPATH", f"{MOUNT}:/app"),
            *(pods.env_value(name, value) for name, value in script.environment.items()),
        ],
        "resources": pods.resources("50m", "500m", "128Mi", script.memory),
        "securityContext": pods.container_security(),
        "volumeMounts": [
            pods.mount("jobs", f"{MOUNT}/{PACKAGE}", read_only=True),
            pods.mount("tmp", "/tmp"),
            *script.mounts,
        ],
    }
    volumes: list[Manifest] = [
        {"name": "jobs", "configMap": {"name": config_map(script.namespace)["metadata"]["name"]}},
        {"name": "tmp", "emptyDir": {}},
        *script.volumes,
    ]
    if script.audience:
        token = {"path": "token", "audience": script.audience, "expirationSeconds": 3600}
        volumes.append({"name": "vault-token", "projected": {"sources": [{"serviceAccountToken": token}]}})
        volumes.append({"name": "vault-ca", "configMap": {"name": "vault-ca"}})
        container["volumeMounts"] += [
            pods.mount("vault-token", VAULT_TOKEN_MOUNT, read_only=True),
            pods.mount("vault-ca", VAULT_CA_MOUNT, read_only=True),
        ]
    pod: Manifest = {
        "serviceAccountName": script.service_account,
        "automountServiceAccountToken": script.account_token,
        "enableServiceLinks": False,
        # A failed container starts again in the same pod, where what it spooled still is.
        "restartPolicy": "OnFailure",
        "securityContext": pods.pod_security(USER_ID),
        "containers": [container],
        "volumes": volumes,
    }
    if script.pull_secret:
        pod["imagePullSecrets"] = [{"name": script.pull_secret}]
    return {"metadata": {"labels": {**_labels(script), **script.labels}}, "spec": pod}


def _labels(script: Script) -> Manifest:
    return {**labels(script.name, "jobs"), "role": script.role or script.name}


def _metadata(script: Script, name: str) -> Manifest:
    return {"name": name, "namespace": script.namespace, "labels": labels(script.name, "jobs")}
