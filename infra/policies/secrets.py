"""Owns policies about secrets: none in clear, none in a pod's environment, none that lost its mark."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.policies.model import SECRET, Policy, Subject, is_secret, is_unknown, texts
from infra.policies.pods import containers, pod

PLACEHOLDER = "pulumi-secret-"
"""Start of what an offline plan puts in the place of a ``secure:`` value (infra.plan.config)."""

_NAME = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIAL|PEPPER)", re.IGNORECASE)
_HARMLESS = re.compile(r"(_FILE|_PATH|_DIR|_NAME|_KIND|_ID|_PUBLIC_KEYS?|_KEYS?|MAX_TOKENS|_TTL|_SECONDS)$")
"""Names that tell where a secret is, or count tokens."""
_FILE = re.compile(r"/[A-Za-z0-9._/-]+")
"""A path: the value tells where the secret is mounted."""
_SHAPES = {
    "an Anthropic API key": re.compile(r"sk-ant-[A-Za-z0-9_-]{20,}"),
    "an AWS access key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----"),
    "a password in a URL": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@]+:[^\s:/@${}]+@"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
    "a Google service-account key": re.compile(r'"private_key_id"\s*:\s*"[0-9a-f]{40}"'),
}


def _environment(subject: Subject) -> Iterator[str]:
    for container in containers(pod(subject)):
        for entry in container.get("env") or ():
            if not isinstance(entry, Mapping):
                continue
            name, value = str(entry.get("name", "")), entry.get("value")
            if is_secret(value):
                yield f"container {container.get('name')}: {name} has a secret as its value, which anyone who may read pods can read"
            elif (
                isinstance(value, str)
                and value
                and _NAME.search(name)
                and not _HARMLESS.search(name)
                and not _FILE.fullmatch(value)
            ):
                yield f"container {container.get('name')}: {name} is written out in the pod's environment"


def _clear_text(subject: Subject) -> Iterator[str]:
    for path, text in texts(subject.properties):
        if PLACEHOLDER in text:
            yield f"{path}: a value that is secret in the stack's configuration arrives here without its mark"
            continue
        for what, shape in _SHAPES.items():
            if shape.search(text):
                yield f"{path}: looks like {what} in clear"


def _kubernetes_secret(subject: Subject) -> Iterator[str]:
    for field in ("stringData", "data"):
        value: Any = subject.properties.get(field)
        if not isinstance(value, Mapping) or SECRET in value or is_unknown(value):
            continue
        for key, item in value.items():
            if isinstance(item, str) and item:
                yield f"{field}.{key} is not marked secret, so the state file holds it in clear"


POLICIES = (
    Policy(
        "secret-in-environment",
        "high",
        "No secret is written into a pod's environment",
        "Read it from Vault or a Kubernetes Secret (valueFrom.secretKeyRef), or mount it as a file.",
        "Specification section 5, security checklist: all secrets in Vault, not in code",
        check=_environment,
    ),
    Policy(
        "secret-in-clear",
        "high",
        "No property holds a secret in clear",
        "Keep it marked: config.require_secret, Output.secret, or a reference to the cloud's secret manager.",
        "Specification section 5, security checklist; Pulumi: secrets are encrypted in state only where they are marked",
        check=_clear_text,
        needs_marks=True,
    ),
    Policy(
        "kubernetes-secret-marked",
        "high",
        "The content of a Kubernetes Secret is marked secret",
        "Wrap it in pulumi.Output.secret, or let the cluster make it (Vault, cert-manager).",
        "Pulumi: secrets are encrypted in state only where they are marked",
        check=_kubernetes_secret,
        types=frozenset({"kubernetes:core/v1:Secret"}),
        needs_marks=True,
    ),
)
