"""Policies as code: pure functions over resources, run offline by `fleet check` and by the engine as a policy pack."""

from __future__ import annotations

from infra.policies import cloud, graph, kubernetes, secrets
from infra.policies.model import Finding, Policy, Severity, Subject, evaluate

POLICIES: tuple[Policy, ...] = (*secrets.POLICIES, *kubernetes.POLICIES, *cloud.POLICIES, *graph.POLICIES)
"""Every policy there is."""

__all__ = ["POLICIES", "Finding", "Policy", "Severity", "Subject", "evaluate"]
