"""Owns what a preview says: one structure, as text for a terminal or JSON; ``markdown`` makes a comment of it.

Secrets are redacted before anything arrives here (``diff``, ``plan.redacted``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.plan import agents, impact
from infra.plan.agents import AgentChange
from infra.plan.cost import Costs, costs
from infra.plan.diff import ACTIONS, Change, Diff
from infra.plan.plan import Plan
from infra.policies.model import SEVERITIES, Finding

SIGNS = {"created": "+", "changed": "~", "replaced": "±", "moved": "→", "deleted": "-"}
_PROPERTIES = 8
"""Properties shown of one changed resource."""
_VALUE = 100
"""Characters shown of a value."""


@dataclass(frozen=True)
class Preview:
    """Everything known of one stack's plan."""

    plan: Plan
    costs: Costs
    findings: tuple[Finding, ...]
    diff: Diff | None = None
    base: str = ""
    """What the diff is against: a commit or a file."""
    base_costs: Costs | None = None
    fresh: tuple[Finding, ...] = ()
    """Findings that the base does not have."""
    agents: tuple[AgentChange, ...] = ()
    effects: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def cost_difference(self) -> float | None:
        """US dollars a month more or less than the base; None without one, or where nothing has a price."""
        if self.base_costs is None or not self.costs.as_of:
            return None
        return self.costs.total - self.base_costs.total

    @property
    def is_unchanged(self) -> bool:
        """Whether it was compared and nothing differs that a reviewer would want to see."""
        return self.diff is not None and not (
            self.diff.changes or self.agents or self.refusals or self.fresh or self.notes
        )


def preview(plan: Plan, diff: Diff | None = None, base: str = "", notes: Iterable[str] = ()) -> Preview:
    """A plan with its costs and findings, and what differs from ``diff.base``."""
    from infra.plan.check import findings

    found = tuple(findings(plan))
    if diff is None:
        return Preview(plan, costs(plan), found, notes=tuple(notes))
    known = {_violation(item) for item in findings(diff.base)}
    return Preview(
        plan,
        costs(plan),
        found,
        diff,
        base,
        costs(diff.base) if diff.base.resources else None,
        tuple(item for item in found if _violation(item) not in known),
        tuple(agents.changes(diff.base, plan)),
        tuple(impact.blast_radius(diff)),
        tuple(impact.refusals(diff)),
        tuple(notes),
    )


def _violation(found: Finding) -> tuple[str, str, str]:
    return found.policy.id, found.name, found.message


def as_dict(shown: Preview) -> dict[str, Any]:
    """The preview as JSON data."""
    plan = shown.plan
    answer: dict[str, Any] = {
        "stack": plan.stack,
        "mode": plan.mode,
        "seconds": plan.seconds,
        "resources": {
            "total": len(plan.managed),
            "layers": {layer: dict(sorted(plan.by_kind(items).items())) for layer, items in plan.by_layer().items()},
        },
        "agents": len(agents.documents(plan)),
        "cost": shown.costs.as_dict(),
        "findings": [item.as_dict() for item in shown.findings],
        "notes": list(shown.notes),
    }
    if shown.diff is not None:
        answer["against"] = {
            "base": shown.base,
            "counts": shown.diff.counts,
            "changes": [_change(item) for item in shown.diff.changes],
            "agents": [
                {
                    "agent": item.agent,
                    "action": item.action,
                    "text": item.text,
                    "digest": {"before": item.before, "after": item.after},
                }
                for item in shown.agents
            ],
            "new_findings": [item.as_dict() for item in shown.fresh],
            "blast_radius": list(shown.effects),
            "refused": list(shown.refusals),
            "cost_difference": None if shown.cost_difference is None else round(shown.cost_difference, 2),
        }
    return answer


def _change(item: Change) -> dict[str, Any]:
    found: dict[str, Any] = {
        "action": item.action,
        "urn": item.resource.urn,
        "kind": item.resource.label,
        "name": item.resource.name,
    }
    if item.properties:
        found["properties"] = [entry.path for entry in item.properties]
    if item.why:
        found["why"] = item.why
    if item.advice:
        found["advice"] = item.advice
    return found


def text(shown: Preview) -> str:
    """The preview for a terminal, plain text (the caller styles nothing: it is read in pipes and logs too)."""
    return "\n".join(_text(shown)) + "\n"


def _text(shown: Preview) -> Iterator[str]:
    plan = shown.plan
    yield f"{plan.stack}: {len(plan.managed):,} resources, {len(agents.documents(plan)):,} agents ({plan.seconds:.1f} s)"
    for note in shown.notes:
        yield f"  note: {note}"
    for layer, items in plan.by_layer().items():
        yield f"\n{layer} ({len(items):,})"
        yield from _wrapped(f"{count:,} {kind}" for kind, count in plan.by_kind(items).most_common())
    yield from ("", *cost_lines(shown.costs))
    yield from ("", *finding_lines(shown.findings))
    if shown.diff is not None:
        yield from ("", *_diff_lines(shown))


def _wrapped(words: Iterable[str], width: int = 110) -> Iterator[str]:
    line = ""
    for word in words:
        if line and len(line) + len(word) + 2 > width:
            yield f"  {line},"
            line = ""
        line = f"{line}, {word}" if line else word
    if line:
        yield f"  {line}"


def cost_lines(found: Costs) -> Iterator[str]:
    """Costs as lines of text."""
    if found.as_of:
        yield f"cost a month: ${found.total:,.0f} (list prices of {found.as_of}, {found.region})"
    else:
        yield "cost a month: not estimated"
    for line in found.lines[:12]:
        note = f"   {line.note}" if line.note else ""
        yield f"  {line.monthly:>10,.2f}  {line.count} × {line.kind}{note}"
    if len(found.lines) > 12:
        rest = found.lines[12:]
        yield f"  {sum(line.monthly for line in rest):>10,.2f}  {len(rest)} smaller kinds"
    for item in found.compute:
        here = "  ← this stack" if item.isolation == found.isolation else ""
        yield f"  {item.monthly:>10,.2f}  compute {item.isolation}: {item.nodes:,} × {item.node} for {item.pods:,} pods, {item.cpu:,.1f} vCPU, {item.memory:,.1f} GiB{here}"
    if found.by_use:
        yield "  charged by use, not estimated: " + _listed(found.by_use)
    if found.not_priced:
        yield "  not priced: " + _listed(found.not_priced)
    if found.model is not None:
        model = found.model
        monthly = (
            f", ${model.monthly:,.0f} a month at {model.requests_per_day:,} executions a day"
            if model.monthly is not None
            else " (set fleet.requestsPerDay for a month)"
        )
        yield f"  model: ${model.average:.4f} an execution on average ({model.model}){monthly}"
        if model.unknown:
            yield f"  model not priced: {', '.join(model.unknown)}"
    yield from (f"  {remark}" for remark in found.remarks)


def _listed(counted: Any) -> str:
    return ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in sorted(counted.items()))


def finding_lines(found: Sequence[Finding]) -> Iterator[str]:
    """Findings as lines of text, the same finding of several resources on one."""
    if not found:
        yield "policies: no findings"
        return
    counted = {severity: sum(item.policy.severity == severity for item in found) for severity in SEVERITIES}
    yield "policies: " + ", ".join(f"{count} {severity}" for severity, count in counted.items() if count)
    for (policy, message), names in _grouped(found).items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"  {policy.severity:<6}  {policy.id}: {', '.join(names[:3])}{more}: {message}"
        yield f"          {policy.remedy}"


def _grouped(found: Iterable[Finding]) -> dict[tuple[Any, str], list[str]]:
    grouped: dict[tuple[Any, str], list[str]] = {}
    for item in found:
        grouped.setdefault((item.policy, item.message), []).append(item.name or "(stack)")
    return grouped


def _diff_lines(shown: Preview) -> Iterator[str]:
    diff = shown.diff
    assert diff is not None
    counted = ", ".join(f"{count:,} {action}" for action, count in diff.counts.items()) or "nothing differs"
    yield f"against {shown.base}: {counted}"
    yield from (f"  {word}" for word in shown.effects)
    yield f"  {cost_words(shown)}"
    yield from (f"  REFUSED: {word}" for word in shown.refusals)
    for action in ACTIONS:
        for change in diff.of(action):
            yield f"  {SIGNS[action]} {change.resource.label} {change.resource.name}" + (
                f"   replaced because of {change.why}" if change.why else ""
            )
            if change.advice:
                yield f"      keep it: {change.advice}"
            yield from (f"      {line}" for line in property_lines(change))
    if shown.agents:
        yield ""
        yield "agents:"
        for item in shown.agents:
            digests = f" {item.before} → {item.after}" if item.action == "changed" else ""
            yield f"  {item.agent}: {item.action}{digests}" + (f" {item.text}" if item.action == "moved" else "")
            if item.action == "changed":
                yield from (f"    {line}" for line in item.text.split("\n"))


def cost_words(shown: Preview) -> str:
    """What a change costs, in a line."""
    if shown.cost_difference is not None:
        return f"cost: {money(shown.cost_difference)} a month"
    return f"cost: ${shown.costs.total:,.0f} a month, all of it new" if shown.costs.as_of else "cost: not estimated"


def money(difference: float) -> str:
    """A difference in US dollars: ``+$12``, ``-$0.40``, ``±$0``."""
    if abs(difference) < 0.005:
        return "±$0"
    return f"{'+' if difference > 0 else '-'}${abs(difference):,.{0 if abs(difference) >= 10 else 2}f}"


def property_lines(change: Change) -> Iterator[str]:
    """The changed properties of one resource as lines, the first of them."""
    # An agent's text is shown as text further down, and its digest says nothing to a reader.
    listed = [
        item for item in change.properties if not item.path.startswith("data.") and "catalog-digest" not in item.path
    ]
    for item in listed[:_PROPERTIES]:
        yield f"{item.path}: {_short(item.before)} → {_short(item.after)}"
    if len(listed) > _PROPERTIES:
        yield f"… and {len(listed) - _PROPERTIES} more properties"


def _short(value: Any) -> str:
    told = value if isinstance(value, str) else repr(value)
    told = told.replace("\n", "⏎")
    return told if len(told) <= _VALUE else f"{told[:_VALUE]}…"
