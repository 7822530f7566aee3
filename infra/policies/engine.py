"""Owns handing the policies to the engine: each becomes a Pulumi policy of the same id, severity and remedy.

High severity is mandatory, the rest advisory. Values that are unknown in a preview arrive from the engine as
sentinels and become the same markers an offline plan has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy import Policy as EnginePolicy
from pulumi_policy import Severity as EngineSeverity
from pulumi_policy.proxy import UnknownValueError

from infra.policies.model import UNKNOWN, Policy, Subject

_SEVERITIES = {"high": EngineSeverity.HIGH, "medium": EngineSeverity.MEDIUM, "low": EngineSeverity.LOW}


def policies(chosen: Iterable[Policy]) -> list[EnginePolicy]:
    """The engine's form of ``chosen``, without what needs secret marks."""
    found: list[EnginePolicy] = []
    for policy in chosen:
        if policy.needs_marks:
            continue
        about: dict[str, Any] = {
            "name": policy.id,
            "description": f"{policy.title}. {policy.remedy} ({policy.source})",
            "enforcement_level": EnforcementLevel.MANDATORY if policy.severity == "high" else EnforcementLevel.ADVISORY,
            "severity": _SEVERITIES[policy.severity],
            "display_name": policy.title,
            "remediation_steps": policy.remedy,
        }
        if policy.check is not None:
            found.append(ResourceValidationPolicy(validate=_resource_validation(policy), **about))
        elif policy.graph is not None:
            found.append(StackValidationPolicy(validate=_stack_validation(policy), **about))
    return found


def _resource_validation(policy: Policy) -> Any:
    def validate(args: ResourceValidationArgs, report_violation: ReportViolation) -> None:
        subject = Subject(args.resource_type, plain(args.props), args.name, args.urn, args.opts.protect)
        if policy.check is not None and policy.applies(subject):
            for message in policy.check(subject):
                report_violation(f"{message}. {policy.remedy}")

    return validate


def _stack_validation(policy: Policy) -> Any:
    def validate(args: StackValidationArgs, report_violation: ReportViolation) -> None:
        subjects = [
            Subject(item.resource_type, plain(item.props), item.name, item.urn, item.opts.protect)
            for item in args.resources
        ]
        if policy.graph is not None:
            for urn, message in policy.graph(subjects):
                report_violation(f"{message}. {policy.remedy}", urn or None)

    return validate


def plain(value: Any) -> Any:
    """The engine's properties as plain data; what is unknown becomes the marker of an offline plan.

    The engine wraps properties so that reading an unknown raises.
    """
    if isinstance(value, Mapping):
        return {str(key): _read(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_read(value, index) for index in range(len(value))]
    return value


def _read(holder: Any, key: Any) -> Any:
    try:
        return plain(holder[key])
    except UnknownValueError:
        return {UNKNOWN: True}
