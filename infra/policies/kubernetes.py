"""Owns policies about Kubernetes objects and Helm releases, one at a time: pods, images, charts, namespaces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.policies.model import Policy, Subject, dig, is_unknown
from infra.policies.pods import containers, pod

_PSS = "Kubernetes Pod Security Standards, restricted: https://kubernetes.io/docs/concepts/security/pod-security-standards/"
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_VERSION = re.compile(r"^v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$")
_RETIRED = {
    "bitnami": "Bitnami's images and charts are no longer maintained for free",
    "kubernetes.github.io/ingress-nginx": "ingress-nginx is retired: no fixes since March 2026",
    "grafana.github.io/helm-charts/loki": "the old Loki chart repository is for Grafana Enterprise Logs only",
}
_RELEASE = frozenset({"kubernetes:helm.sh/v3:Release"})


def _restricted(subject: Subject) -> Iterator[str]:
    spec = pod(subject)
    if not spec:
        return
    for flag in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(flag):
            yield f"{flag} is on"
    for volume in spec.get("volumes") or ():
        if isinstance(volume, Mapping) and "hostPath" in volume:
            yield f"volume {volume.get('name')} is a hostPath"
    outer = spec.get("securityContext") or {}
    for container in containers(spec):
        inner: Any = container.get("securityContext") or {}
        name = container.get("name")
        if is_unknown(inner) or is_unknown(outer):
            continue
        if inner.get("privileged"):
            yield f"container {name} is privileged"
        if inner.get("allowPrivilegeEscalation") is not False:
            yield f"container {name}: allowPrivilegeEscalation is not false"
        if inner.get("runAsNonRoot", outer.get("runAsNonRoot")) is not True:
            yield f"container {name}: runAsNonRoot is not true"
        if inner.get("runAsUser", outer.get("runAsUser")) == 0:
            yield f"container {name} runs as root"
        if "ALL" not in (dig(inner, "capabilities", {}).get("drop") or ()):
            yield f"container {name} does not drop all capabilities"
        profile = (inner.get("seccompProfile") or outer.get("seccompProfile") or {}).get("type")
        if profile not in ("RuntimeDefault", "Localhost"):
            yield f"container {name} has no seccomp profile"


def _read_only_root(subject: Subject) -> Iterator[str]:
    for container in containers(pod(subject)):
        if dig(container, "securityContext.readOnlyRootFilesystem") is not True:
            yield f"container {container.get('name')} can write to its root file system"


def _resources(subject: Subject) -> Iterator[str]:
    for container in containers(pod(subject)):
        for side in ("requests", "limits"):
            missing = [what for what in ("cpu", "memory") if dig(container, f"resources.{side}.{what}") is None]
            # A CPU limit throttles bursts and protects nobody; what must not grow is memory.
            if side == "limits":
                missing = [what for what in missing if what == "memory"]
            if missing:
                yield f"container {container.get('name')} has no {side} for {' and '.join(missing)}"


def _images(subject: Subject) -> Iterator[str]:
    for container in containers(pod(subject)):
        image = container.get("image")
        if isinstance(image, str) and not _DIGEST.search(image):
            yield f"container {container.get('name')}: {image} is not pinned by digest"


def _latest(subject: Subject) -> Iterator[str]:
    for container in containers(pod(subject)):
        image = container.get("image")
        if isinstance(image, str) and not _DIGEST.search(image):
            tag = image.rpartition("/")[2].partition(":")[2]
            if tag in ("", "latest"):
                yield f"container {container.get('name')}: {image} can be another image tomorrow"


def _probes(subject: Subject) -> Iterator[str]:
    if subject.kind not in ("Deployment", "StatefulSet"):
        return
    for container in pod(subject).get("containers") or ():
        missing = [
            probe
            for probe in ("livenessProbe", "readinessProbe")
            if isinstance(container, Mapping) and not container.get(probe)
        ]
        if missing and container.get("ports"):
            yield f"container {container.get('name')} listens but has no {' and no '.join(missing)}"


def _token(subject: Subject) -> Iterator[str]:
    spec = pod(subject)
    if (
        spec
        and spec.get("automountServiceAccountToken") is not False
        and spec.get("serviceAccountName") in (None, "default")
    ):
        yield "mounts the default service account's token"


def _namespace(subject: Subject) -> Iterator[str]:
    level = (subject.get("metadata.labels") or {}).get("pod-security.kubernetes.io/enforce")
    reason = (subject.get("metadata.annotations") or {}).get("ai-agents/pod-security-exception")
    if level != "restricted" and not reason and not is_unknown(level):
        yield f"enforces {level or 'no level'} of pod security"


def _chart_pinned(subject: Subject) -> Iterator[str]:
    version = subject.get("version")
    if not is_unknown(version) and not (isinstance(version, str) and _VERSION.match(version)):
        yield f"chart {subject.get('chart')} has no exact version (got {version!r})"


def _chart_maintained(subject: Subject) -> Iterator[str]:
    repository = str(subject.get("repositoryOpts.repo") or "").removesuffix("/")
    where = f"{repository}/{subject.get('chart')}".lower()
    for part, reason in _RETIRED.items():
        if part in where:
            yield f"{where}: {reason}"


def _public_service(subject: Subject) -> Iterator[str]:
    if subject.get("spec.type") == "NodePort":
        yield "opens a port on every node"
    if (
        subject.get("spec.type") == "LoadBalancer"
        and (subject.get("metadata.labels") or {}).get("app.kubernetes.io/component") != "gateway"
    ):
        yield "is reachable from outside without passing the gateway"


POLICIES = (
    Policy(
        "pod-security",
        "high",
        "Pods meet the restricted Pod Security Standard",
        "Set the security context as infra/workloads/manifests.py does; a pod that needs the host belongs in a namespace of its own.",
        _PSS,
        check=_restricted,
    ),
    Policy(
        "read-only-root",
        "medium",
        "Containers cannot write to their root file system",
        "Set readOnlyRootFilesystem and mount an emptyDir where the process writes.",
        "CIS Kubernetes Benchmark 5.2; NSA/CISA Kubernetes Hardening Guidance",
        check=_read_only_root,
    ),
    Policy(
        "namespace-pod-security",
        "high",
        "Namespaces enforce restricted pod security",
        "Label it pod-security.kubernetes.io/enforce: restricted, or state why not in the annotation ai-agents/pod-security-exception.",
        _PSS,
        check=_namespace,
        types=frozenset({"kubernetes:core/v1:Namespace"}),
    ),
    Policy(
        "resources",
        "high",
        "Containers state what they need and what memory they may use",
        "Set resources.requests for cpu and memory and resources.limits for memory.",
        "Specification section 2, Resource Limits",
        check=_resources,
    ),
    Policy(
        "image-digest",
        "medium",
        "Images are pinned by digest",
        "Name the image as registry/name:tag@sha256:<digest>.",
        "Specification section 5, security checklist: container images scanned (what was scanned must be what runs)",
        check=_images,
    ),
    Policy(
        "image-latest",
        "high",
        "No image goes by latest or by no tag",
        "Name a version, and its digest.",
        "Kubernetes documentation, Images: avoid the :latest tag in production",
        check=_latest,
    ),
    Policy(
        "probes",
        "medium",
        "Processes that listen say whether they live and are ready",
        "Add a livenessProbe that asks the process alone and a readinessProbe that asks what it needs.",
        "Specification section 3, GET /health",
        check=_probes,
    ),
    Policy(
        "service-account-token",
        "low",
        "Pods do not mount the default service account's token",
        "Set automountServiceAccountToken: false, or a service account with the rights it needs.",
        "CIS Kubernetes Benchmark 5.1.5 and 5.1.6",
        check=_token,
    ),
    Policy(
        "chart-pinned",
        "high",
        "Helm releases name an exact chart version",
        "Set version to one release, such as 0.34.1.",
        "Helm documentation: without a version the newest chart is installed",
        check=_chart_pinned,
        types=_RELEASE,
    ),
    Policy(
        "chart-maintained",
        "high",
        "No chart that is retired or moved",
        "Use its successor: grafana-community for Loki, plain nginx for the gateway, the vendor's own chart.",
        "Vendors' announcements, docs of the platform's charts",
        check=_chart_maintained,
        types=_RELEASE,
    ),
    Policy(
        "public-service",
        "high",
        "Only the gateway is reachable from outside",
        "Make the Service ClusterIP and route through the gateway.",
        "Specification section 1, architecture; section 5, network security",
        check=_public_service,
        types=frozenset({"kubernetes:core/v1:Service"}),
    ),
)
