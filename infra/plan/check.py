"""Owns running the policies over a recorded plan."""

from __future__ import annotations

from infra.plan.plan import Plan
from infra.policies import POLICIES, Finding, Subject, evaluate


def subjects(plan: Plan) -> list[Subject]:
    """A plan's managed resources as policies see them."""
    return [Subject(item.type, item.inputs, item.name, item.urn, item.protect) for item in plan.managed]


def findings(plan: Plan) -> list[Finding]:
    """All violations of a plan, gravest first."""
    return evaluate(POLICIES, subjects(plan))
