"""Owns names and tags of a stack's resources: one prefix, one set of tags, Kubernetes' standard labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.settings import NAMESPACE, PROJECT, PlatformSpec


@dataclass(frozen=True)
class Placement:
    """Names and marks everything of a stack shares; made once from the settings."""

    prefix: str
    """Start of physical names: ``agents-<environment>``."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags or labels for everything that takes them."""
    protect: bool = False
    """Protect resources that hold data (Pulumi's protect and the cloud's deletion protection)."""


def placement(spec: PlatformSpec) -> Placement:
    """What everything of the stack shares. Tag keys and values are lower case, which all three clouds take."""
    tags = {
        "platform": PROJECT,
        "environment": spec.environment,
        "managed-by": "pulumi",
        **spec.extra_tags,
    }
    return Placement(prefix=f"agents-{spec.environment}", tags=tags, protect=spec.protected)


def labels(name: str, component: str) -> dict[str, str]:
    """Kubernetes' recommended labels of an object that belongs to ``name``, plus the selector label ``app``."""
    return {
        "app": name,
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": PROJECT,
        "app.kubernetes.io/managed-by": "pulumi",
    }


__all__ = ["NAMESPACE", "labels", "placement"]
