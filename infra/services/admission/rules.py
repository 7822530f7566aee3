"""Owns the admission rules as Kubernetes objects: policy and binding of each, in CEL. Pure.

They look at pods and at the pod templates of everything that makes pods, so that a Deployment is refused and not
merely its pods. A LimitRange fills in what a pod leaves out before these rules see it: what leaves limits out is
therefore found at the template. Pod Security Admission (the namespaces' labels) does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from infra.naming import NAMESPACE, labels
from infra.pods import Manifest
from infra.services.admission.registries import allowed
from infra.services.policies import roles
from infra.services.policies.connections import namespaces
from infra.settings import PlatformSpec

_WORKLOADS: Final = [
    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods"]},
    {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments", "statefulsets", "daemonsets", "replicasets"],
    },
    {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["jobs", "cronjobs"]},
]  # fmt: skip
_DEBUGGING: Final = {
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "operations": ["CREATE", "UPDATE"],
    "resources": ["pods/ephemeralcontainers"],
}

_POD: Final = (
    "object.kind == 'Pod' ? object.spec : "
    "(object.kind == 'CronJob' ? object.spec.jobTemplate.spec.template.spec : object.spec.template.spec)"
)
_CONTAINERS: Final = (
    "variables.pod.containers + (has(variables.pod.initContainers) ? variables.pod.initContainers : [])"
)
_ALL: Final = f"{_CONTAINERS} + (has(variables.pod.ephemeralContainers) ? variables.pod.ephemeralContainers : [])"
# Docker's own rule: what comes before the first slash is a registry where it has a dot or a colon.
_FULL: Final = (
    "c.image.matches('^([^/]+[.:][^/]*|localhost)/') ? c.image : "
    "(c.image.contains('/') ? 'docker.io/' + c.image : 'docker.io/library/' + c.image)"
)
_PINNED: Final = (
    "c.image.contains('@sha256:') || (c.image.matches('(^|/)[^/:]+:[^/:]+$') && !c.image.endsWith(':latest'))"
)
_LIMITED: Final = (
    "has(c.resources) && has(c.resources.limits) && 'memory' in c.resources.limits"
    " && has(c.resources.requests) && 'memory' in c.resources.requests && 'cpu' in c.resources.requests"
)
_PRIVILEGED: Final = "has(c.securityContext) && has(c.securityContext.privileged) && c.securityContext.privileged"


@dataclass(frozen=True)
class Rule:
    """One rule: ``culprits`` is CEL for the names of containers that break it, ``says`` what a person reads."""

    name: str
    culprits: str
    says: str
    debugging: bool = True
    """Whether it holds for containers added to a running pod too."""
    warned: tuple[str, ...] = ()
    """Namespaces where it is said and not enforced."""
    extra: tuple[tuple[str, str], ...] = ()
    """Further (CEL that must be true, message)."""


def rules(spec: PlatformSpec) -> tuple[Rule, ...]:
    """The rules of this stack's cluster."""
    # A whole repository ends where its tag or digest begins; a publisher's prefix ends with a slash.
    ends = (prefix if prefix.endswith("/") else prefix + end for prefix in allowed(spec) for end in (":", "@"))
    prefixes = ", ".join(f"'{prefix}'" for prefix in dict.fromkeys(ends))
    charts = tuple(name for name in namespaces(spec) if name not in (NAMESPACE, roles.DATA))
    host = " && ".join(f"!(has(variables.pod.{flag}) && variables.pod.{flag})" for flag in ("hostNetwork", "hostPID", "hostIPC"))  # fmt: skip
    return (
        Rule(
            "images-pinned",
            f"variables.all.filter(c, !({_PINNED})).map(c, c.name)",
            "name a version or a digest: latest, or no tag, is another image tomorrow",
        ),
        Rule(
            "image-registries",
            f"variables.all.filter(c, ![{prefixes}].exists(from, ({_FULL}).startsWith(from))).map(c, c.name)",
            "its image comes from a registry that is not on the list (infra/services/admission/registries.py)",
        ),
        Rule(
            "limits",
            f"variables.containers.filter(c, !({_LIMITED})).map(c, c.name)",
            "state resources.requests for cpu and memory and resources.limits for memory",
            debugging=False,
            # What a chart leaves out, the namespace's LimitRange fills in; refusing would keep it from being installed.
            warned=charts,
        ),
        Rule(
            "no-privileged",
            f"variables.all.filter(c, {_PRIVILEGED}).map(c, c.name)",
            "no container of ours is privileged",
            extra=(
                (
                    f"({host}) || (has(namespaceObject.metadata.name) && namespaceObject.metadata.name == '{roles.COLLECTORS}')",
                    f"only node exporters in {roles.COLLECTORS} use the node's own network or processes",
                ),
            ),
        ),
    )


def manifests(spec: PlatformSpec) -> list[Manifest]:
    """Policies and bindings of every rule."""
    ours = namespaces(spec)
    made: list[Manifest] = []
    for rule in rules(spec):
        name = f"ai-agents-{rule.name}"
        made.append(_policy(name, rule))
        made.append(_binding(name, name, [item for item in ours if item not in rule.warned], ["Deny", "Audit"]))
        warned = [item for item in ours if item in rule.warned]
        if warned:
            made.append(_binding(f"{name}-charts", name, warned, ["Warn", "Audit"]))
    return made


def _policy(name: str, rule: Rule) -> Manifest:
    variables = {"pod": _POD, "containers": _CONTAINERS, "all": _ALL, "culprits": rule.culprits}
    validations = [
        {
            "expression": "variables.culprits.size() == 0",
            "messageExpression": f"'container ' + variables.culprits.join(', ') + ': {rule.says}'",
            "message": rule.says,
            "reason": "Forbidden",
        },
        *({"expression": expression, "message": message, "reason": "Forbidden"} for expression, message in rule.extra),
    ]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": labels(name, "policy")},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [*_WORKLOADS, *([_DEBUGGING] if rule.debugging else [])]},
            "variables": [{"name": key, "expression": expression} for key, expression in variables.items()],
            "validations": validations,
        },
    }


def _binding(name: str, policy: str, where: list[str], actions: list[str]) -> Manifest:
    # The label is the API server's own: nobody who may edit a namespace can take it away.
    chosen = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": where}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name, "labels": labels(name, "policy")},
        "spec": {
            "policyName": policy,
            "validationActions": actions,
            "matchResources": {"namespaceSelector": {"matchExpressions": [chosen]}},
        },
    }
